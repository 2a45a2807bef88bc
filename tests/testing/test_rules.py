"""Checking rewrite rules."""

from __future__ import annotations

import numpy as np
import pytest

from opalg import rules
from opalg.errors import ParameterError
from opalg.facts import YES, exact
from opalg.nodes import node
from opalg.operators import FFT, Composed, Conjugated, Diagonal, Facts, Identity, Matrix, Scaled
from opalg.operators.algebra import LinearOperator
from opalg.operators.diagonal import merge_diagonals_in_product
from opalg.program.expression import Literal
from opalg.rules import RULES, rule
from opalg.testing.report import FailedCheckError
from opalg.testing.rules import check_rule


@pytest.fixture
def a(rng):
    return Matrix(rng.standard_normal((3, 3)))


@pytest.fixture
def d(rng):
    return Diagonal(rng.standard_normal(3))


def test_a_right_rule_passes_under_each_of_its_names(d):
    product = Composed(d, Diagonal(np.ones(3) * 1j))
    registered = next(r for r in RULES if r.function is merge_diagonals_in_product)
    for name in (registered, merge_diagonals_in_product, "merge_diagonals_in_product"):
        report = check_rule(name, product)
        assert report.ok and report.subject.startswith("merge_diagonals_in_product on")
    checked = check_rule(merge_diagonals_in_product, product).checked
    assert set(checked) == {"fires", "shapes", "kinds", "map", "adjoint", "facts", "norm", "settles"}


def test_a_rule_that_does_not_fire_is_a_finding(a, d):
    for given in (Composed(a, a), d):
        report = check_rule("merge_diagonals_in_product", given)
        assert report.failed("fires") and not report.failed("map")


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        (lambda node: node.outer, "map"),
        (lambda node: 2.0 * node, "map"),
        (lambda node: node.outer @ Diagonal(np.array([1.0, 1.0, 1.0 + 1e-9])) @ node.inner, "map"),
        (lambda node: Matrix(np.ones((2, 3))), "shapes"),
        (lambda node: Diagonal(np.ones(3) + 0j) @ node, "kinds"),
        (lambda node: "text", "shapes"),
    ],
)
def test_wrong_rules_are_found(wrong, failing, a, d):
    report = check_rule(wrong, Composed(d, a))
    assert report.failed(failing)
    with pytest.raises(FailedCheckError):
        report.raise_if_failed()


def test_the_worst_place_is_named():
    def spoil(node: LinearOperator) -> LinearOperator:
        return Diagonal(np.array([1.0, 2.0, 7.0]))

    report = check_rule(spoil, Diagonal(np.array([1.0, 2.0, 3.0])))
    (finding, *_) = [f for f in report.findings if f.name == "map"]
    assert finding.where == ((2,), (2,)) and "3 becomes 7" in finding.message


def test_a_conjugate_that_is_forgotten_shows_on_complex_arrays(rng):
    z = Matrix(rng.standard_normal((2, 2)) * (1 + 1j))
    assert check_rule(lambda node: node.operator, Conjugated(z)).failed("map")
    assert check_rule("conjugate_of_known", Conjugated(Matrix(np.eye(2)))).ok


def test_false_facts_of_the_result_are_found(a):
    @node
    class Boasting(Diagonal):
        @property
        def facts(self):
            return Facts(positive=YES, self_adjoint=YES, norm=exact(0.5))

    values = np.array([1.0, -1.0, 1.0])
    report = check_rule(lambda given: Boasting(values), Diagonal(values))
    assert report.failed("facts") and report.failed("norm") and not report.failed("map")


def test_a_rule_that_is_undone_by_others_is_found(monkeypatch, a):
    monkeypatch.setattr(rules, "RULES", [])

    @rule(Scaled)
    def back(node):
        """1 A -> 0 + A"""
        return Composed(Identity((3,)), node.operator)

    @rule(Composed)
    def there(node):
        """I @ A -> 1 A"""
        return Scaled(Literal(1.0), node.inner)

    monkeypatch.setattr("opalg.testing.rules.RULES", rules.RULES)
    report = check_rule(there, Composed(Identity((3,)), a))
    assert report.failed("settles") and "back" in str(report)


def test_results_that_turn_out_real_are_the_same(rng):
    fft = FFT((4,))
    assert check_rule("cancel_isometry", Composed(fft.H, fft)).ok


def test_properties_may_be_left_out(a):
    report = check_rule(lambda node: 2.0 * a, a, skip=("map", "adjoint"), kinds=("real",))
    assert report.ok and "map" not in report.checked


def test_misuse_is_explained(a):
    with pytest.raises(ParameterError, match="no rule is named 'nothing'"):
        check_rule("nothing", a)
    with pytest.raises(ParameterError, match="compares operators"):
        check_rule("cancel_isometry", "node")
    with pytest.raises(ParameterError, match="too large"):
        check_rule("cancel_isometry", Identity((200,)) @ Diagonal(np.ones(200)))
    with pytest.raises(ParameterError, match="'speed' is not one of"):
        check_rule("cancel_isometry", a, skip=("speed",))
