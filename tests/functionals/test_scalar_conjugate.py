"""Conjugates of scalar functions by Newton's method, against closed forms and searches."""

from __future__ import annotations

from math import inf, log
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import xlogy

from opalg.arrays import backend
from opalg.functionals.scalar_conjugate import ScalarConjugate, scalar_conjugate
from opalg.functionals.scalar_function import ScalarFunction
from opalg.program import expression as ex
from opalg.program.differentiate import gradient
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from tests.functionals.test_scalar_prox import (
    BARRIER,
    CHARBONNIER,
    ENTROPY,
    EXPONENTIAL,
    FERMI,
    LOG_COSH,
    QUARTIC,
    SOFT,
)

TWO_SIDED = np.concatenate([np.linspace(-1, 1, 21), [-1e-9, 1e-20, 1 - 1e-9]])
POSITIVE = np.array([1e-20, 1e-3, 0.5, 1.0, 40.0, 1e10, 1e20])


def conjugate(f: ScalarFunction, q: Any, parameters: tuple[Any, ...] = (), library: str = "numpy") -> np.ndarray:
    lib = backend(library, str(np.asarray(q).dtype))
    arrays = [lib.asarray(np.asarray(a, np.asarray(q).dtype)) for a in (q, *parameters)]
    return np.asarray(lib.to_numpy(ScalarConjugate(f).evaluate(lib, *arrays)))


CLOSED = [
    ("charbonnier", CHARBONNIER, (0.5,), TWO_SIDED, lambda q: 0.5 - 0.5 * np.sqrt(1 - q * q)),
    ("log-cosh", LOG_COSH, (0.3,), TWO_SIDED, lambda q: 0.15 * (xlogy(1 + q, 1 + q) + xlogy(1 - q, 1 - q))),
    ("exp", EXPONENTIAL, (), POSITIVE, lambda q: q * np.log(q) - q),
    ("barrier", BARRIER, (), -POSITIVE, lambda q: -1 - np.log(-q)),
    ("entropy", ENTROPY, (), np.linspace(-30, 30, 9), lambda q: np.exp(q - 1)),
    ("fermi", FERMI, (), np.linspace(-30, 30, 9), lambda q: np.logaddexp(0, q)),
    ("quartic", QUARTIC, (), np.concatenate([-POSITIVE, POSITIVE]), lambda q: 3 * (np.abs(q) / 4) ** (4 / 3)),
]
IDS = [c[0] for c in CLOSED]


@pytest.mark.parametrize(("f", "parameters", "q", "wanted"), [c[1:] for c in CLOSED], ids=IDS)
def test_closed_forms(f: ScalarFunction, parameters: Any, q: np.ndarray, wanted: Any) -> None:
    assert np.allclose(conjugate(f, q, parameters), wanted(q), rtol=1e-12, atol=1e-12)
    single = conjugate(f, q.astype(np.float32), tuple(np.float32(p) for p in parameters))
    assert single.dtype == np.float32
    assert np.allclose(single, wanted(q.astype(np.float32).astype(float)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("q", [-4.0, -1.2, -0.3, 0.0, 0.1, 0.9, 3.3])
def test_kinks(q: float) -> None:
    a, c = 0.7, 0.4
    found = minimize_scalar(
        lambda u: a * abs(u - c) + u * u / 2 - q * u, bounds=(-9, 9), method="bounded", options={"xatol": 1e-12}
    )
    assert conjugate(SOFT, np.array([q]), (a, c))[0] == pytest.approx(-found.fun, abs=1e-8)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize(("f", "parameters", "q", "wanted"), [c[1:] for c in CLOSED], ids=IDS)
def test_other_libraries_agree(library: str, f: ScalarFunction, parameters: Any, q: np.ndarray, wanted: Any) -> None:
    assert np.allclose(conjugate(f, q, parameters, library), wanted(q), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (), (3, 2)])
def test_shapes(shape: tuple[int, ...]) -> None:
    assert conjugate(QUARTIC, np.ones(shape)).shape == shape


def test_first_and_second_derivatives() -> None:
    q, s = Input("x", (5,)), Input("width", ())
    total = ex.total(scalar_conjugate(CHARBONNIER, q, (s,)))
    first = gradient(total, [q, s])
    second = gradient(ex.total(ex.square(first[0])) + first[1], [q, s])
    at = np.array([-0.9, -0.2, 0.1, 0.5, 0.8])
    bound = {q: at, s: np.asarray(0.5)}
    slope, width, of_slope, of_width = evaluate([*first, *second], bound, backend())
    root = np.sqrt(1 - at**2)
    assert np.allclose(slope, 0.5 * at / root, rtol=1e-10)
    assert width == pytest.approx(np.sum(1 - root), rel=1e-9)
    assert np.allclose(of_slope, 2 * slope * 0.5 / root**3 + at / root, rtol=1e-8)
    assert of_width == pytest.approx(np.sum(2 * slope * at / root), rel=1e-8)


def test_domains_hold_the_maximiser() -> None:
    box = ScalarFunction.of(lambda u: ex.square(u), lower=-1.0, upper=2.0)
    q = np.array([-9.0, -2.0, 1.0, 4.0, 9.0])
    assert np.allclose(conjugate(box, q), [8.0, 1.0, 0.25, 4.0, 14.0])
    line = ScalarFunction.of(lambda u: ex.square(u) + log(2.0), lower=-inf, upper=0.0)
    assert np.allclose(conjugate(line, q), [81 / 4 - log(2), 1 - log(2), *[-log(2)] * 3])
