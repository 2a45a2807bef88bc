"""Random functionals: what is drawn, that it holds, and what a failing one shrinks to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import opalg as oa
from opalg.functionals import Conjugate, Exactness, Functional
from opalg.nodes import walk
from opalg.testing import check_functional
from opalg.testing.catalogue import functional_catalogue, shape_for
from opalg.testing.strategies import functionals, shapes

MODEST = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
QUICK = tuple(f for f in functional_catalogue() if f.exactness is not Exactness.ITERATIVE)


@given(st.data())
@settings(MODEST, max_examples=60)
def test_what_is_drawn_takes_the_arrays_that_were_asked_for(data):
    kind = data.draw(st.sampled_from(("real", "complex")))
    f = data.draw(functionals((3, 4), kind, leaves=QUICK))
    assert isinstance(f, Functional)
    v = np.full((3, 4), 0.3 + 0.1j if kind == "complex" else 0.3)
    assert not np.isnan(f.value(v))


def test_arithmetic_is_drawn():
    drawn = set()

    @given(functionals())
    @settings(MODEST, max_examples=300)
    def draw(f):
        drawn.update(type(part).__name__ for part in walk(f) if isinstance(part, Functional))

    draw()
    assert {"Weighted", "Translated", "ArgumentScaled", "Sum", "Composition", "MoreauEnvelope", "Conjugate"} <= drawn
    assert len(drawn) > 40


# Manners and edges are tried on the members themselves; here it is the rules by which they are combined.
@given(st.data())
@settings(MODEST, max_examples=20)
def test_every_functional_passes_the_kit(data):
    shape = data.draw(shapes(max_dims=2, max_side=4))
    f = data.draw(functionals(shape, leaves=QUICK))
    skip = ("brute_force", "extremes", "layout", "repeatable", "sizes", "fresh", "inputs", "missing", "weights")
    check_functional(f, shape, skip=skip).raise_if_failed()


def test_a_faulty_functional_shrinks_to_itself():
    wrong = oa.functionals.Huber(0.5)

    def fails(f):
        return wrong in walk(f)

    found = find(
        functionals(leaves=(oa.functionals.SumSquares(), wrong)), fails, settings=settings(MODEST, max_examples=400)
    )
    assert found is wrong


def test_leaves_and_depth_are_kept():
    leaves = (oa.functionals.Norm1(), oa.functionals.Norm2())

    @given(functionals(leaves=leaves, max_depth=0))
    @settings(MODEST, max_examples=20)
    def draw(f):
        assert f in leaves

    draw()


def test_examples_may_need_another_shape():
    assert shape_for(oa.functionals.Norm1()) == (3, 4)
    assert shape_for(Conjugate(oa.functionals.Norm1())) == (3, 4)

    class Square:
        example_shape = (3, 3)

    assert shape_for(Square()) == (3, 3)


@pytest.mark.slow
@given(functionals())
@settings(MODEST, max_examples=300)
def test_many_functionals_pass_the_whole_kit(f):
    check_functional(f).raise_if_failed()
