"""The strategies draw what they say, everything they draw passes the kit, and failures shrink to small ones."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import opalg as oa
from opalg.nodes import walk
from opalg.operators.algebra import LinearOperator
from opalg.testing import check_operator
from opalg.testing.catalogue import functional_catalogue, operator_catalogue
from opalg.testing.strategies import LAYOUTS, arrays, dtypes, laid_out, operators, shapes
from tests.operators.dense import argument_kinds, real_matrix

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
MODEST = settings(derandomize=True, deadline=None, database=None, suppress_health_check=QUIET)
SEARCH = settings(MODEST, max_examples=300)
LARGEST = 2000  # entries of the matrices that are compared


# What is drawn.


@given(shapes(max_dims=2, max_side=3))
@settings(MODEST, max_examples=30)
def test_shapes_are_small(shape):
    assert 1 <= len(shape) <= 2 and all(1 <= n <= 3 for n in shape)


@given(st.data())
@settings(MODEST, max_examples=60)
def test_arrays_have_the_shape_dtype_and_layout_asked_for(data):
    shape, dtype = data.draw(shapes(min_side=2)), data.draw(dtypes())
    for layout in LAYOUTS:
        x = data.draw(arrays(shape, dtype, layouts=[layout]))
        assert x.shape == shape and x.dtype == dtype and np.all(np.isfinite(x))
    assert data.draw(dtypes("real")).kind == "f"


@pytest.mark.parametrize(
    ("layout", "seen"),
    [
        ("C", lambda x: x.flags.c_contiguous),
        ("F", lambda x: x.flags.f_contiguous),
        ("strided", lambda x: x.strides[-1] == 16),
        ("reversed", lambda x: x.strides[-1] == -8),
        ("broadcast", lambda x: x.strides[0] == 0),
        ("read-only", lambda x: not x.flags.writeable),
        ("unaligned", lambda x: not x.flags.aligned),
    ],
)
def test_layouts_are_what_they_are_called(layout, seen):
    x = np.arange(12.0).reshape(3, 4)
    there = laid_out(x, layout)
    assert seen(there)
    assert np.array_equal(there, x) or layout == "broadcast"
    with pytest.raises(ValueError, match="none of the layouts"):
        laid_out(x, "diagonal")


def test_what_is_simplest_comes_first():
    assert find(shapes(), lambda s: True, settings=SEARCH) == (1,)
    smallest = find(arrays(), lambda x: True, settings=SEARCH)
    assert smallest.shape == (1,) and smallest.dtype == np.float64 and smallest.flags.c_contiguous and smallest[0] == 0
    assert find(operators(), lambda A: True, settings=SEARCH) == oa.Identity((1,))


def test_every_class_is_among_the_leaves():
    shown = {type(part) for leaf in operator_catalogue() for part in walk(leaf)}
    assert {oa.Convolve, oa.Wavelet, oa.FFT, oa.Gradient} <= shown
    assert len({type(f) for f in functional_catalogue()}) >= 6


def test_every_combination_is_drawn():
    drawn = set()

    @given(operators())
    @settings(MODEST, max_examples=100)
    def collect(A):
        drawn.update(type(p).__name__ for p in walk(A))

    collect()
    assert {"Stacked", "Added", "Composed", "Conjugated", "Adjoint", "Scaled"} <= drawn


@given(operators((2, 3), max_depth=2))
@settings(MODEST, max_examples=40)
def test_a_shape_that_is_asked_for_is_kept(A):
    assert A.in_shape == (2, 3)


# What holds for everything that is drawn.


@given(operators(max_depth=3))
@settings(MODEST, max_examples=25)
def test_every_expression_passes_the_kit(A):
    if prod(A.in_shape) * prod(A.out_shape) <= LARGEST:
        check_operator(A).raise_if_failed()


@given(operators(max_depth=3))
@settings(MODEST, max_examples=40)
def test_rewriting_keeps_every_expression(A):
    if prod(A.in_shape) * prod(A.out_shape) > LARGEST:
        return
    simple = A.simplify()
    assert simple.simplify() is simple
    for kind in argument_kinds(A):
        before, after = real_matrix(A, kind), real_matrix(simple, kind)
        assert before.shape == after.shape
        assert np.max(np.abs(before - after), initial=0.0) <= 1e-11 * max(1.0, np.abs(before).max(initial=0.0))


@given(st.data())
@settings(MODEST, max_examples=40)
def test_layouts_and_batches_do_not_matter_to_any_expression(data):
    A = data.draw(operators(max_depth=2))
    kind = data.draw(st.sampled_from(argument_kinds(A)))
    batch = data.draw(st.sampled_from([(), (2,), (1, 2)]))
    x = data.draw(arrays((*batch, *A.in_shape), "complex128" if kind == "complex" else "float64"))
    before = x.copy()
    found = A @ x
    assert np.array_equal(x, before)
    assert not np.shares_memory(found, x)
    each = [A @ np.ascontiguousarray(row) for row in before.reshape((-1, *A.in_shape))]
    wanted = np.reshape(each, (*batch, *A.out_shape))
    assert np.allclose(found, wanted, atol=1e-11 * max(1.0, np.abs(wanted).max(initial=0.0)), rtol=0)


# What shrinks.


def leaves_of(A):
    return [
        p
        for p in walk(A)
        if isinstance(p, LinearOperator) and not any(isinstance(c, LinearOperator) for c in p.children)
    ]


WRONG = oa.FunctionOperator(np.cumsum, np.cumsum, in_shape=(3,), in_dtype="real", name="wrong")


@pytest.mark.parametrize("skip", [0, 1])
def test_a_faulty_operator_in_an_expression_shrinks_to_itself(skip):
    """Even where what fails was first met deep in an expression: at the top, or below one adjoint."""

    def fails(A):
        return len(leaves_of(A)) > skip and WRONG in walk(A) and not check_operator(A, skip=["norm", "facts", "dtype"])

    found = find(operators(leaves=[*operator_catalogue()[:20], WRONG]), fails, settings=SEARCH)
    others = [p for p in leaves_of(found) if p is not WRONG]
    assert len(others) == skip, repr(found)
    assert sum(1 for p in walk(found) if isinstance(p, LinearOperator)) <= 1 + 3 * skip, repr(found)


def test_a_fault_that_needs_two_operators_keeps_both():
    def is_sum_with_a_difference(A):
        return isinstance(A, oa.operators.Added) and any(type(p) is oa.FiniteDifference for p in walk(A))

    found = find(operators(leaves=operator_catalogue()[:5]), is_sum_with_a_difference, settings=SEARCH)
    assert len(found.operators) == 2
    assert prod(found.in_shape) == 1
    assert sum(1 for p in walk(found) if isinstance(p, LinearOperator)) <= 4


def test_operators_of_the_house_have_no_such_fault():
    with pytest.raises(NoSuchExample):
        find(
            operators(max_depth=1),
            lambda A: not isinstance(A, LinearOperator),
            settings=settings(MODEST, max_examples=50),
        )
