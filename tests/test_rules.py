"""The rewriting engine on a small language of its own."""

from __future__ import annotations

import pytest

from opalg import rules
from opalg.errors import RewriteCycleError
from opalg.nodes import Node, node
from opalg.rules import Step, rewrite, rule


@node
class Number(Node):
    value: int


@node
class Plus(Node):
    left: Node
    right: Node


@node
class Minus(Node):
    inner: Node


@pytest.fixture(autouse=True)
def only_own_rules(monkeypatch):
    monkeypatch.setattr(rules, "RULES", [])


def register_arithmetic():
    @rule(Plus)
    def add_numbers(n):
        """m + n  ->  their sum"""
        if isinstance(n.left, Number) and isinstance(n.right, Number):
            return Number(n.left.value + n.right.value)
        return None

    @rule(Minus, group="merge")
    def cancel_double_minus(n):
        """-(-a)  ->  a

        More text.
        """
        return n.inner.inner if isinstance(n.inner, Minus) else None


def test_rules_apply_until_none_fires():
    register_arithmetic()
    root = Plus(Minus(Minus(Plus(Number(1), Number(2)))), Number(4))
    trace: list[Step] = []
    assert rewrite(root, trace=trace) is Number(7)
    assert [step.rule.name for step in trace] == ["add_numbers", "cancel_double_minus", "add_numbers"]
    assert trace[1].rule.formula == "-(-a)  ->  a"
    assert str(trace[0]).startswith("add_numbers: ")


def test_groups_choose_rules():
    register_arithmetic()
    root = Minus(Minus(Plus(Number(1), Number(2))))
    assert rewrite(root, groups=["merge"]) is Plus(Number(1), Number(2))
    assert rewrite(root, groups=["simplify"]) is Minus(Minus(Number(3)))
    assert rewrite(root, groups=[]) is root


def test_what_a_rule_makes_is_rewritten_too():
    register_arithmetic()

    @rule(Minus)
    def spread_minus(n):
        """-(a + b)  ->  -a + -b"""
        return Plus(Minus(n.inner.left), Minus(n.inner.right)) if isinstance(n.inner, Plus) else None

    @rule(Minus)
    def negate_number(n):
        """-n  ->  the number"""
        return Number(-n.inner.value) if isinstance(n.inner, Number) else None

    leaf = Minus(Number(5))
    assert rewrite(Minus(Plus(Minus(leaf), Number(2)))) is Number(-7)


def test_shared_nodes_are_rewritten_once():
    calls = []

    @rule(Number)
    def look(n):
        """n  ->  n, noting that it was seen"""
        calls.append(n.value)

    root: Node = Number(1)
    for _ in range(30):
        root = Plus(root, root)
    assert rewrite(root) is root
    assert calls == [1]


def test_cycles_are_reported_by_the_names_in_them():
    @rule(Number)
    def to_minus(n):
        """n  ->  -(m)"""
        return Minus(Number(n.value + 1))

    @rule(Plus)
    def innocent(n):
        """a + b  ->  a + b"""
        return n

    with pytest.raises(RewriteCycleError, match="to_minus") as caught:
        rewrite(Plus(Number(0), Number(1)))
    assert "innocent" not in str(caught.value)


def test_rules_that_undo_each_other_are_a_cycle():
    @rule(Number)
    def there(n):
        """0  ->  1"""
        return Number(1) if n.value == 0 else None

    @rule(Number)
    def back(n):
        """1  ->  0"""
        return Number(0) if n.value == 1 else None

    with pytest.raises(RewriteCycleError, match="there") as caught:
        rewrite(Number(0))
    assert "back" in str(caught.value)


def test_a_rule_that_wraps_its_own_node_is_a_cycle():
    @rule(Number)
    def wrap(n):
        """n  ->  -n"""
        return Minus(n)

    with pytest.raises(RewriteCycleError, match="undo each other are wrap"):
        rewrite(Number(0))


def test_long_chains_and_deep_terms_need_no_recursion():
    @rule(Number)
    def count_down(n):
        """n  ->  n - 1"""
        return Number(n.value - 1) if n.value > 0 else None

    assert rewrite(Number(1500)) is Number(0)
    deep: Node = Number(0)
    for _ in range(3000):
        deep = Minus(deep)
    assert rewrite(deep) is deep


def test_a_rule_needs_its_formula():
    with pytest.raises(TypeError, match="needs a docstring"):

        @rule(Number)
        def nameless(n):
            return None

    assert rules.RULES == []
