"""Real and imaginary parts and conjugates, as maps over the reals."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError
from opalg.facts import YES
from opalg.operators import FFT, AsComplex, Diagonal, Identity, Mask, Zero
from opalg.operators.algebra import Adjoint
from opalg.operators.parts import Conj, Imag, Real
from tests.operators.dense import real_matrix
from tests.operators.rewritten import rewritten

SHAPE = (2, 2)
ONE, NOTHING = np.eye(4), np.zeros((4, 4))


def rule_members(rng):
    """Operators on which the rules of this family fire."""
    whole = AsComplex(SHAPE)
    return [Real(SHAPE), Real(SHAPE) @ Conj(SHAPE), Imag(SHAPE) @ Conj(SHAPE), Conj(SHAPE) @ whole, Imag(SHAPE) @ whole]


def test_matrices_over_the_reals():
    assert np.array_equal(real_matrix(Real(SHAPE), "complex"), np.hstack([ONE, NOTHING]))
    assert np.array_equal(real_matrix(Imag(SHAPE), "complex"), np.hstack([NOTHING, ONE]))
    assert np.array_equal(real_matrix(Conj(SHAPE), "complex"), np.diag([1] * 4 + [-1] * 4))
    assert np.array_equal(real_matrix(Conj(SHAPE), "real"), ONE)
    assert np.array_equal(real_matrix(Real(SHAPE).H, "real"), np.vstack([ONE, NOTHING]))
    assert np.array_equal(real_matrix(Imag(SHAPE).H, "real"), np.vstack([NOTHING, ONE]))


def test_real_arrays_count_as_complex_ones(rng):
    x = rng.standard_normal(SHAPE)
    assert np.array_equal(Real(SHAPE) @ x, x)
    assert not np.any(Imag(SHAPE) @ x)
    with pytest.raises(DtypeError, match="real"):
        Real(SHAPE).H @ (1j * x)


def test_adjoints_have_names():
    assert Real(SHAPE).H is AsComplex(SHAPE)
    assert Conj(SHAPE).H is Conj(SHAPE)
    assert rewritten(Real(SHAPE), "real_part_is_adjoint") is AsComplex(SHAPE).H
    assert rewritten(Adjoint(Real(SHAPE))) is AsComplex(SHAPE)
    assert Conj(SHAPE).inverse() is Conj(SHAPE)


def test_conjugated_operators(rng):
    z = rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)
    for made in (Real(SHAPE), Imag(SHAPE), Conj(SHAPE)):
        assert np.array_equal(made.conj() @ z, np.conj(made @ np.conj(z)))
    assert Conj(SHAPE).facts.self_adjoint is YES


def test_parts_of_conjugates_and_of_real_arrays():
    assert rewritten(Real(SHAPE) @ Conj(SHAPE), "merge_parts") is AsComplex(SHAPE).H
    assert rewritten(Imag(SHAPE) @ Conj(SHAPE), "merge_parts") is -Imag(SHAPE)
    assert rewritten(Conj(SHAPE) @ AsComplex(SHAPE), "merge_parts") is AsComplex(SHAPE)
    assert rewritten(Imag(SHAPE) @ AsComplex(SHAPE), "merge_parts") is Zero(SHAPE)
    assert rewritten(Real(SHAPE) @ AsComplex(SHAPE)) is Identity(SHAPE)
    assert rewritten(Conj(SHAPE) @ Conj(SHAPE)) is Identity(SHAPE)
    assert rewritten(Imag(SHAPE) @ Imag(SHAPE).H) is Identity(SHAPE)
    rest = FFT(SHAPE)
    assert rewritten(Real(SHAPE) @ Conj(SHAPE) @ rest) is AsComplex(SHAPE).H @ rest


def test_real_parts_of_fourier_products_get_real_transforms(rng):
    mask = Mask(rng.random((4, 3)) < 0.5)
    forward = mask @ FFT((4, 3)) @ AsComplex((4, 3))
    made = Real((4, 3)) @ FFT((4, 3)).H @ mask @ forward
    assert rewritten(made) is rewritten(forward.gram)


def test_parts_of_complex_products(rng):
    z = Diagonal(rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    x = rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)
    made = Real(SHAPE) @ z @ Conj(SHAPE)
    assert np.allclose(made @ x, (z.diagonal.value * np.conj(x)).real)
    assert np.allclose(real_matrix(made.H, "real"), real_matrix(made, "complex").T)
    rewritten(made.gram)
    rewritten((2j * Conj(SHAPE)) @ z + (1 - 1j) * Conj(SHAPE))
