"""The positive root against the quadratic equation in exact numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.functionals import LogBarrier, MoreauEnvelope
from opalg.functionals.positive_root import positive_root
from opalg.program.differentiate import gradient
from opalg.program.expression import Expression, Input, Literal, total
from opalg.program.interpreter import evaluate

MIDDLES = np.array([-1e20, -3e4, -2.5, -1e-3, -1e-20, 0.0, 1e-20, 1e-3, 2.5, 3e4, 1e20])
w = Input("w", MIDDLES.shape)


def exact(middle: float, product: float) -> float:
    """Newton's method from above in fractions, cut to 200 bits."""
    m, p = Fraction(float(middle)), Fraction(float(product))
    s = max(m, Fraction(0)) + Fraction(float(np.sqrt(product)) * 1.1)
    for _ in range(200):
        after = (s * s + p) / (2 * s - m)
        digits = 2 ** (200 - (after.numerator.bit_length() - after.denominator.bit_length()))
        after = Fraction(round(after * digits), digits)
        if abs(after - s) * 10**25 <= after:
            break
        s = after
    return float(after)


@pytest.mark.parametrize("product", [1e-12, 0.7, 3e3, 1e12])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_no_cancellation_and_no_overflow(product: float, precision: str) -> None:
    lib = backend("numpy", precision)
    middle, p = lib.asarray(MIDDLES), lib.asarray(np.full(MIDDLES.shape, product))
    wanted = np.array([exact(m, q) for m, q in zip(middle, p, strict=True)])
    products: list[tuple[Any, dict[Any, Any]]] = [(Literal(float(p[0])), {}), (Input("p", w.shape), {})]
    for place, given in products:
        data = given if isinstance(place, Literal) else {place: p}
        (found,) = evaluate([positive_root(w, place)], {w: middle, **data}, lib)
        assert found.dtype == precision
        np.testing.assert_allclose(found, wanted, rtol=8 * lib.epsilon)


def test_where_everything_vanishes() -> None:
    place = Input("p", w.shape)
    root = positive_root(w, place)
    zeros = np.zeros(w.shape)
    derivatives: list[Expression | None] = list(gradient(total(root), [w, place]))
    lib = backend("numpy", "float32")
    outputs = [root, *(d for d in derivatives if d is not None)]
    found = evaluate(outputs, {w: lib.asarray(zeros), place: lib.asarray(zeros)}, lib)
    assert np.all(found[0] == 0) and all(np.all(np.isfinite(d)) for d in found)
    np.testing.assert_array_equal(evaluate([root], {w: MIDDLES, place: zeros}, backend())[0], np.maximum(MIDDLES, 0.0))


def test_the_hessian_of_an_envelope_is_right_where_the_middle_is_zero() -> None:
    f, v, d, h = MoreauEnvelope(LogBarrier(), 0.7), np.array([0.5, 0.0, -1.2]), np.array([1.0, -2.0, 0.5]), 1e-6
    change = (f.gradient(v + h * d) - f.gradient(v - h * d)) / (2 * h)
    assert np.allclose(f.hessian_vector(v, d), change, rtol=1e-7)
