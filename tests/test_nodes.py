"""Interning, walking, folding and rebuilding of nodes."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle

import numpy as np
import pytest

import opalg as oa
from opalg import nodes
from opalg.leaves import Indices
from opalg.nodes import Node, fold, node, substitute, transform, walk


@node
class Leafy(Node):
    name: object


@node
class Pair(Node):
    left: Node
    right: Node


@node
class Many(Node):
    parts: tuple
    label: str = ""


@node
class Own(Node):
    name: str
    interned = False


a, b, c = Leafy("a"), Leafy("b"), Leafy("c")


def test_equal_nodes_are_one_object():
    assert Leafy("a") is a
    assert Pair(a, b) is Pair(a, b)
    assert Pair(a, b) is not Pair(b, a)
    assert Many((a, b)) is Many(parts=(a, b))
    assert Many((a, b), "x") is not Many((a, b))


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), (0j, -0j), (1.0, 1 + 0j), ((1,), (1.0,)), ("1", 1)]
)
def test_what_equality_would_merge_stays_apart(one, other):
    assert Leafy(one) is not Leafy(other)
    assert Leafy(one) is Leafy(one)


def test_classes_do_not_mix():
    @node
    class Other(Node):
        name: object

    assert Other("a") is not a


def test_not_interned_nodes_are_compared_by_identity():
    first, second = Own("a"), Own("a")
    assert first is not second
    assert Pair(first, a) is Pair(first, a)
    assert Pair(first, a) is not Pair(second, a)


def test_nodes_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.name = "z"


def test_copies_of_a_node_are_the_node():
    from opalg import Parameter, Variable
    from opalg.leaves import Constant

    for made in (a, Pair(a, b), Own("x"), Parameter(1.0), Constant(1.0), Variable(3, name="v")):
        assert copy.copy(made) is made
        assert copy.deepcopy(made) is made
        assert copy.deepcopy({"inside": [made]})["inside"][0] is made


def test_unused_nodes_are_forgotten():
    gc.collect()
    before = len(nodes._interned)
    Many((Leafy("short-lived"),), "also")
    gc.collect()
    assert len(nodes._interned) == before


def test_children_in_field_order():
    assert Pair(b, a).children == (b, a)
    assert Many((a, 3, c)).children == (a, c)
    assert a.children == ()


def test_walk_visits_each_node_once_children_first():
    shared = Pair(a, b)
    root = Pair(shared, Many((shared, c)))
    order = list(walk(root))
    assert len(order) == len(set(order)) == 6
    for current in order:
        assert all(order.index(child) < order.index(current) for child in current.children)
    assert list(walk(a, a, b)) == [a, b]


def test_walk_is_linear_in_shared_graphs_and_deep_ones():
    current = a
    for _ in range(5000):
        current = Pair(current, current)
    assert sum(1 for _ in walk(current)) == 5001
    while current is not a:  # take the long chain apart without recursion
        current = current.left


def test_fold_counts_paths():
    current = a
    for _ in range(40):
        current = Pair(current, current)
    counts = fold(lambda n, done: sum(done[child] for child in n.children) or 1, current)
    assert counts[current] == 2**40


def test_rebuild_keeps_what_did_not_change():
    root = Many((a, 3, b), "x")
    assert root.rebuild(lambda n: n) is root
    assert root.rebuild(lambda n: c if n is a else n) is Many((c, 3, b), "x")
    assert Pair(a, b).rebuild(lambda n: c) is Pair(c, c)


def test_transform_works_from_the_leaves_up():
    def swap(n):
        return Pair(n.right, n.left) if isinstance(n, Pair) else n

    assert transform(Pair(Pair(a, b), c), swap) is Pair(c, Pair(b, a))


def test_substitute_replaces_by_identity_and_does_not_descend_into_replacements():
    root = Pair(Pair(a, b), a)
    assert substitute(root, {a: c}) is Pair(Pair(c, b), c)
    assert substitute(root, {a: Pair(a, a)}) is Pair(Pair(Pair(a, a), b), Pair(a, a))
    assert substitute(root, {Pair(a, b): c}) is Pair(c, a)
    assert substitute(root, {root: b}) is b
    assert substitute(root, {}) is root


def test_pickled_nodes_are_interned_where_they_arrive():
    gain = oa.Parameter(np.ones((3, 4)), name="gain")
    product = oa.Diagonal(gain) @ oa.Convolve(gain, (3, 4))
    product @ np.ones((3, 4))
    assert pickle.loads(pickle.dumps(oa.Gradient((3, 4)))) is oa.Gradient((3, 4))
    arrived = pickle.loads(pickle.dumps(product))
    assert arrived.outer.diagonal is arrived.inner.kernel
    x = np.random.default_rng(0).standard_normal((3, 4))
    assert np.array_equal(arrived @ x, product @ x)


def test_arrays_of_positions_are_interned_by_their_entries():
    first, again, other = (Indices(np.array(v)) for v in ([2, 0], [2, 0], [0, 2]))
    assert first is again
    assert first is not other
    assert first.distinct
    assert not Indices(np.array([1, 1])).distinct
