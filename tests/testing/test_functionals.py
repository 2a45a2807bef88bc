"""check_functional: the catalogue passes, seeded faults are caught."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from opalg.facts import exact
from opalg.functionals import FunctionalFacts
from opalg.program.expression import as_expression
from opalg.testing import check_functional
from opalg.testing.functionals import PROPERTIES
from tests.functionals.members import MEMBERS


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("functional", MEMBERS, ids=[f"{i}-{f!r}" for i, f in enumerate(MEMBERS)])
def test_the_whole_catalogue_passes_with_other_arrays(functional, seed):
    """With the first seed it is part of the contract of functionals."""
    report = check_functional(functional, rng=np.random.default_rng(seed))
    assert report, str(report)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_other_libraries_and_precisions(library, dtype):
    if library == "torch":
        pytest.importorskip("torch")
    for functional in (oa.functionals.Norm21(), oa.functionals.Huber(0.7)):
        report = check_functional(functional, library=library, dtype=dtype, kinds=["real"])
        assert report, str(report)


def test_single_precision_on_numpy_and_faults_in_it():
    assert check_functional(oa.functionals.SumSquares(), dtype="float32")
    assert check_functional(Quadratic(), dtype="float32")
    wrong = type("Changed", (Quadratic,), {"prox": lambda self, v, t: v / (1.0 + t)})()
    assert "0.5 t" in str(check_functional(wrong, dtype="float32"))


def test_sets_are_checked_as_indicators():
    report = check_functional(oa.box(-0.5, 1.0))
    assert report and "Indicator" in report.subject


def test_a_functional_may_name_the_shape_that_it_takes():
    class Trace:
        """The sum of the squares of a square matrix and of its mirror image."""

        example_shape = (3, 3)

        def value(self, v):
            assert v.shape[-2] == v.shape[-1]
            return float(np.sum((v + np.swapaxes(v, -1, -2)) ** 2))

        def gradient(self, v):
            return 4.0 * (v + np.swapaxes(v, -1, -2))

    assert check_functional(Trace())
    assert "AssertionError" in str(check_functional(Trace(), shape=(3, 4)))


def test_what_is_not_promised_is_noted_and_not_tried():
    class Loose(Quadratic):
        unpromised = {"dtype": "computes in double"}

        def prox(self, v, t):
            return np.asarray(v / (1.0 + 2.0 * t), dtype=complex if np.iscomplexobj(v) else float)

    report = check_functional(Loose())
    assert report and any("dtype was not tried: computes in double" in note for note in report.notes)


class Quadratic:
    """``|v|^2``, a class of a user's own, right unless one of its parts is changed."""

    facts = FunctionalFacts(
        convex=oa.YES,
        smooth=oa.YES,
        smoothness=exact(2.0),
        strong_convexity=as_expression(2.0),
        quadratic=oa.YES,
        separable=oa.YES,
    )

    def value(self, v):
        return float(np.sum(np.abs(v) ** 2))

    def gradient(self, v):
        return 2.0 * v

    def hessian_vector(self, v, d):
        return 2.0 * d

    def prox(self, v, t):
        return v / (1.0 + 2.0 * t)

    @property
    def conjugate(self):
        return Quarter()


class Quarter:
    """Its conjugate, ``|q|^2 / 4``."""

    def value(self, q):
        return float(np.sum(np.abs(q) ** 2)) / 4

    def prox(self, q, t):
        return q / (1.0 + t / 2)


def test_a_class_of_ones_own_passes():
    report = check_functional(Quadratic())
    assert report, str(report)
    assert set(report.checked) == set(PROPERTIES)
    assert check_functional(Quadratic(), shape=(7,), kinds=["complex"])


def _flattened(v, t):
    return np.sign(v) * np.maximum(np.abs(v) - t, 0)


@pytest.mark.parametrize(
    ("changes", "name", "hint"),
    [
        ({"gradient": lambda self, v: v}, "gradient", "0.5 times"),
        ({"gradient": lambda self, v: -2.0 * v}, "gradient", "-1 times"),
        ({"gradient": lambda self, v: 2.0 * np.abs(v)}, "gradient", ""),
        ({"hessian_vector": lambda self, v, d: d}, "hessian", ""),
        ({"hessian_vector": lambda self, v, d: 2.0 * np.roll(d, 1)}, "hessian", ""),
        ({"prox": lambda self, v, t: v / (1.0 + t)}, "prox", "0.5 t"),
        ({"prox": lambda self, v, t: v / (1.0 + 4 * t)}, "prox", "2 t"),
        ({"prox": lambda self, v, t: _flattened(v, t)}, "prox", ""),
        ({"prox": lambda self, v, t: 1.5 * v}, "nonexpansive", ""),
        ({"prox": lambda self, v, t: (v / (1.0 + 2 * t)).ravel()}, "prox", ""),
        ({"conjugate": property(lambda self: Quadratic())}, "moreau", ""),
        ({"conjugate": property(lambda self: Quadratic())}, "fenchel", ""),
        ({"facts": FunctionalFacts(smoothness=exact(1.9))}, "facts", "Lipschitz"),
        ({"facts": FunctionalFacts(convex=oa.YES, strong_convexity=as_expression(2.2))}, "facts", "strongly convex"),
        ({"facts": FunctionalFacts(indicator=True)}, "facts", "indicator"),
        ({"value": lambda self, v: -float(np.sum(np.abs(v) ** 2))}, "facts", "convex"),
        ({"value": lambda self, v: float(np.sum(np.abs(v) ** 2) + v.sum() ** 2)}, "facts", "separable"),
        ({"value": lambda self, v: float(np.sum(np.abs(v) ** 4))}, "facts", "quadratic"),
        ({"value": lambda self, v: float("nan")}, "value", "NaN"),
        ({"gradient": lambda self, v: 2.0 * v.astype(float)}, "dtype", "float64"),
        ({"gradient": lambda self, v: 2.0 * v[9]}, "gradient", "IndexError"),
    ],
)
def test_faults_are_caught(changes, name, hint):
    report = check_functional(type("Changed", (Quadratic,), changes)())
    assert report.failed(name), str(report)
    assert any(hint in str(f) for f in report.findings if f.name == name), str(report)


def test_a_prox_of_a_sharp_function_with_half_its_threshold_is_caught():
    class Absolute:
        def value(self, v):
            return float(np.sum(np.abs(v)))

        def prox(self, v, t):
            return _flattened(v, self.factor * t)

    right, wrong = Absolute(), Absolute()
    right.factor, wrong.factor = 1.0, 0.5
    assert check_functional(right)
    report = check_functional(wrong)
    assert "prox for the step 0.5 t" in str(report)


def test_misuse_is_refused():
    with pytest.raises(ParameterError, match="no value"):
        check_functional(oa.Identity((3,)))
    with pytest.raises(ParameterError, match="proxy"):
        check_functional(Quadratic(), skip=["proxy"])


def test_skipped_properties_are_not_tried():
    report = check_functional(
        type("Changed", (Quadratic,), {"gradient": lambda self, v: 1.0 * v})(),
        skip=["gradient", "hessian", "facts", "prox"],
    )
    assert report
    assert not {"gradient", "hessian", "facts", "prox"} & set(report.checked)
