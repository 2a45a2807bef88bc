from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.functionals.calculus import Exactness, Functional
from opalg.functionals.composed_prox import can_compose, composed_prox
from opalg.functionals.huber import Huber
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.sum_squares import SumSquares
from opalg.methods.problem import apply_direct_prox, direct_prox
from opalg.operators import LinearOperator
from opalg.operators.batched import AsComplex
from opalg.program.expression import Input, Literal
from opalg.program.interpreter import evaluate

SCALE = oa.Parameter(1.3, name="c")
SHAPE = (3, 4)
OPERATORS = [
    oa.Identity(SHAPE),
    oa.DCT(SHAPE),
    2.0 * oa.DCT(SHAPE),
    SCALE * oa.DCT(SHAPE),
    SCALE * oa.Identity(SHAPE),
    oa.Roll(SHAPE, (1, 2)),
    oa.Crop(SHAPE, (0, 1), (3, 3)),
    oa.Convolve(np.full((3, 1), 1 / 3), SHAPE, boundary="periodic"),
    oa.Gradient(SHAPE),
    oa.Zero(SHAPE),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
@pytest.mark.parametrize("functional", [Norm1(), Norm2(), Norm21(), Huber(0.5)], ids=repr)
def test_it_covers_what_the_methods_know_and_agrees(functional: Functional, operator: LinearOperator) -> None:
    rng = np.random.default_rng(0)
    x = oa.Variable(SHAPE, name="x")
    b = oa.Constant(rng.standard_normal(operator.out_shape))
    term = functional(operator @ x + b)
    known = direct_prox(term)
    found = can_compose(functional, operator, b, "real")
    if known is None:
        assert found is None
        return
    assert found is (Exactness.CLOSED_FORM if functional_stays(operator) else Exactness.CHANGE_OF_BASIS)
    v, t = Input("v", SHAPE), Input("t", ())
    ours, theirs = composed_prox(functional, operator, b, v, t), apply_direct_prox(term, v, t)
    assert ours is not None
    values = {v: rng.standard_normal(SHAPE), t: np.asarray(0.7)}
    a, c = evaluate([ours, theirs], values, backend())
    assert np.allclose(a, c, atol=1e-13)


def functional_stays(operator: LinearOperator) -> bool:
    return operator is OPERATORS[0] or operator is OPERATORS[4]


def test_a_parameter_that_is_zero_leaves_v_alone() -> None:
    rng = np.random.default_rng(1)
    v, t = Input("v", SHAPE), Input("t", ())
    for operator in (SCALE * oa.DCT(SHAPE), SCALE * oa.Identity(SHAPE)):
        out = composed_prox(Norm1(), operator, Literal(0.5), v, t)
        assert out is not None
        values = {v: rng.standard_normal(SHAPE), t: np.asarray(0.7), SCALE: np.asarray(0.0)}
        (found,) = evaluate([out], values, backend())
        assert np.allclose(found, values[v])


def test_the_answer_depends_on_the_kind_of_the_argument() -> None:
    fft = oa.FFT(SHAPE)
    assert can_compose(Norm1(), fft, None, "complex") is Exactness.CHANGE_OF_BASIS
    assert can_compose(Norm1(), fft, None, "real") is None
    assert can_compose(Norm1(), fft) is Exactness.CHANGE_OF_BASIS
    embedded = fft @ AsComplex(SHAPE)
    assert can_compose(Norm1(), embedded, None, "real") is None
    assert can_compose(SumSquares(), embedded, None, "real") is Exactness.CHANGE_OF_BASIS
    assert can_compose(SumSquares(), oa.Gradient(SHAPE, boundary="periodic"), None, "real") is not None


def test_zero_operators_have_no_prox_to_speak_of() -> None:
    assert can_compose(Norm1(), oa.Zero(SHAPE)) is None
    assert composed_prox(Norm1(), oa.Zero(SHAPE), None, Input("v", SHAPE), Literal(1.0)) is None


def test_a_real_variable_behind_a_transform_that_keeps_its_norm() -> None:
    rng = np.random.default_rng(2)
    v, b = rng.standard_normal(SHAPE), rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)
    x = Input("v", SHAPE)
    out = composed_prox(SumSquares(), oa.FFT(SHAPE) @ AsComplex(SHAPE), oa.Constant(b), x, Literal(0.6))
    assert out is not None
    (found,) = evaluate([out], {x: v}, backend())
    assert np.allclose(found, (v - 1.2 * np.fft.ifft2(b, norm="ortho").real) / 2.2)
