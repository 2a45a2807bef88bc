"""Classes of operators that are given a shape, and what follows for shapes and kinds of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.nodes import node
from opalg.operators.shaped import OnShape, SameShape
from opalg.program.expression import Literal, Shape


@node
class Doubled(SameShape):
    """``x -> 2 x``."""

    shape: Shape

    def trace(self, x: Any) -> Any:
        return Literal(2.0) * x


@node
class ComplexDoubled(Doubled):
    """``x -> 2 x`` on complex arrays."""

    in_kind = "complex"


def test_a_shape_makes_both_sides():
    operator = Doubled([2, 3])
    assert (operator.shape, operator.in_shape, operator.out_shape) == ((2, 3), (2, 3), (2, 3))
    assert Doubled(4).out_shape == (4,)
    np.testing.assert_array_equal(operator @ np.ones((2, 3)), np.full((2, 3), 2.0))


def test_a_shape_is_checked():
    with pytest.raises(oa.ShapeError, match="-1"):
        Doubled((-1,))


def test_only_the_side_of_the_argument_is_known_of_an_operator_on_a_shape():
    assert issubclass(oa.Gradient, OnShape) and not issubclass(oa.Gradient, SameShape)
    assert oa.Gradient((3, 4)).in_shape == (3, 4)
    assert oa.Gradient((3, 4)).out_shape == (2, 3, 4)


@pytest.mark.parametrize(("operator", "kinds"), [(Doubled((2,)), "real complex"), (ComplexDoubled((2,)), "complex")])
def test_results_are_of_the_kind_of_the_argument(operator, kinds):
    for kind in kinds.split():
        assert operator.out_kind(kind) == operator.adjoint_kind(kind) == kind
    assert operator.out_dtype == (None if " " in kinds else "complex")
