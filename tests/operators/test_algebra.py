"""What every operator has: estimates of the norm, pseudo-inverses, trees, calls that cost little and are recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opalg as oa
from opalg.errors import DtypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedError
from tests.operators.dense import real_matrix


@pytest.mark.parametrize(
    "operator",
    [
        oa.Gradient((9, 8)),
        oa.FFT((3, 4), norm="backward"),
        oa.Matrix(np.random.default_rng(0).standard_normal((30, 20))),
        oa.Matrix(np.diag([3.0, 1.0, 0.0])),
        oa.Diagonal(np.array([1.0, 2j])),
        oa.Gradient((64, 64), boundary="periodic") @ oa.Convolve(oa.gaussian_kernel(1.0, 3), (64, 64)),
    ],
    ids=repr,
)
def test_the_norm_lies_between_the_two_numbers_of_an_estimate(operator):
    found = operator.norm_estimate(1e-2)
    if np.prod(operator.in_shape) <= 100:
        norm = np.linalg.norm(real_matrix(operator, "real" if operator.in_kind == "any" else operator.in_kind), 2)
    else:
        norm = np.sqrt(operator.gram.simplify().norm_bound().value)
    assert found.value <= norm * (1 + 1e-12)
    assert norm <= found.above
    assert found.above <= found.value * 1.011
    assert found.certainty == "estimate"
    assert not found.certified


def test_an_estimate_with_few_steps_says_how_little_it_knows():
    found = oa.Gradient((64, 64)).norm_estimate(steps=3)
    assert found.steps == 3
    assert found.value < 8**0.5 < found.above


def test_the_promised_probability_is_kept():
    operator = oa.Matrix(np.diag(np.linspace(0.0, 1.0, 400)))
    kept = [
        operator.norm_estimate(probability=0.5, steps=8, rng=np.random.default_rng(seed)).above >= 1
        for seed in range(40)
    ]
    assert np.mean(kept) >= 0.5


@pytest.mark.parametrize(
    "operator",
    [
        oa.FFT((3, 2), norm="backward"),
        oa.Diagonal(np.array([2.0, 0.0, -1.0])),
        3.0 * oa.Diagonal(np.array([2.0, 0.0, 1j])).H,
        oa.Mask(np.array([True, False, True])),
        oa.Zero((3,), (2,)),
        oa.Convolve(np.array([1.0, -1.0]), (6,)).simplify(),
        oa.vstack([oa.Identity((3,)), 2.0 * oa.Identity((3,))]),
        oa.hstack([oa.Identity((3,)), 2.0 * oa.Identity((3,))]),
    ],
    ids=repr,
)
def test_pseudo_inverse(operator):
    kind = "real" if operator.in_kind == "any" else operator.in_kind
    found = real_matrix(operator.pinv(), operator.out_kind(kind))
    assert np.allclose(found, np.linalg.pinv(real_matrix(operator, kind)), atol=1e-12)


def test_pseudo_inverses_that_are_not_cheap_are_refused():
    with pytest.raises(UnsupportedError, match="least squares"):
        oa.Matrix(np.ones((3, 2))).pinv()


def test_a_tree_shows_every_part_with_its_facts():
    text = (2.0 * oa.Gradient((3, 4)) @ oa.Identity((3, 4)) @ oa.Diagonal(np.ones((3, 4)))).tree()
    assert text.splitlines()[0].startswith("Scaled by 2: (3, 4) -> (2, 3, 4); norm")
    assert "├─ Gradient((3, 4), boundary='neumann')" in text
    assert "└─ Diagonal(array of shape (3, 4)): (3, 4) -> (3, 4); diagonal, self-adjoint, positive" in text


@pytest.mark.parametrize(
    "operator",
    [
        oa.Gradient((3, 4)),
        oa.FFT((3, 4)),
        oa.RFFT((3, 4)),
        oa.Diagonal(np.arange(12.0).reshape(3, 4) * 1j),
        oa.Gradient((3, 4)).H @ oa.Gradient((3, 4)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_autograd_records_operators_and_goes_back_by_their_adjoints(operator, dtype):
    if operator.in_kind == "real" and dtype.is_complex:
        return
    x = torch.randn(2, *operator.in_shape, dtype=dtype, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: operator @ x, (x,))
    assert torch.autograd.gradgradcheck(lambda x: operator @ x, (x,))
    with torch.no_grad():
        assert not (operator @ x).requires_grad


def test_results_do_not_change_with_later_calls():
    operator = oa.Gradient((4, 3)) @ oa.Diagonal(np.arange(12.0).reshape(4, 3))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 3)) for _ in range(3)]
    first = [operator @ x for x in arrays]
    kept = [y.copy() for y in first]
    for x in arrays:
        operator @ (2.0 * x)
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_operators_are_prepared_again_after_many_others(monkeypatch):
    from opalg.emit import calling

    monkeypatch.setattr(calling, "_KEPT", 3)
    operators = [oa.Diagonal(np.full(2, float(i))) for i in range(9)]
    for _ in range(2):
        for i, operator in enumerate(operators):
            assert np.array_equal(operator @ np.ones(2), np.full(2, float(i)))
    assert sum(p._bound is not None for o in operators for p in o.__dict__["_prepared"].values()) <= 3


def test_factors_that_are_not_square_have_no_inverse_together(rng):
    patches = oa.Patches((6,), (2,), stride=(1,), boundary="periodic")
    weighted = patches.H @ oa.Diagonal(rng.random(patches.out_shape) + 0.5) @ patches
    with pytest.raises(UnsupportedError, match="factors are not square"):
        weighted.inverse()
    filtered = oa.Diagonal(rng.random(patches.out_shape) + 0.5) @ patches
    with pytest.raises(UnsupportedError, match="no cheap pseudo-inverse"):
        filtered.pinv()
    assert np.allclose(filtered.inverse().to_dense() @ filtered.to_dense(), np.eye(6))


@pytest.mark.parametrize(
    "operator",
    [
        oa.FFT((4,)) @ oa.Mask(np.array([True, False, True, True])),
        oa.Convolve(np.ones(3), (6,)),
        oa.Laplacian((5,)),
        oa.Mask(np.array([True, False])).conj(),
        oa.operators.Batched(oa.Convolve(np.ones(3), (6,)), (2,)),
        oa.operators.Conjugated(oa.Diagonal(np.array([2.0, 1j, 0.0]))),
        (1 + 2j) * oa.Diagonal(np.array([2.0, 1j, 0.0])),
    ],
    ids=repr,
)
def test_pseudo_inverses_leave_out_what_is_zero(operator):
    dense = real_matrix(operator, "complex")
    assert np.allclose(real_matrix(operator.pinv(), "complex"), np.linalg.pinv(dense, rcond=1e-10), atol=1e-10)


def test_a_complex_multiple_of_what_gives_real_arrays_is_not_inverted():
    with pytest.raises(UnsupportedError, match="real results into complex ones"):
        ((1 + 2j) * oa.Imag((3,))).pinv()


def test_long_products_are_not_costly(rng):
    factor = oa.Matrix(rng.standard_normal((3, 3)))
    product = oa.Identity((3,))
    for _ in range(60):
        product = factor @ product
    x = rng.standard_normal(3)
    assert np.allclose(product @ x, np.linalg.matrix_power(factor.to_dense(), 60) @ x)
    assert product.facts.norm.value > 0 and product.H.H is product


def test_multiples_are_finite():
    for wrong in (float("nan"), float("inf"), complex(0, float("nan"))):
        with pytest.raises(NonFiniteError, match="not finite"):
            wrong * oa.Gradient((3,))
    with pytest.raises(ParameterError, match="divided by zero"):
        oa.Gradient((3,)) / 0.0


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f8"])
def test_no_precision_is_converted_silently(dtype):
    with pytest.raises(DtypeError, match="float32, float64, complex64 or complex128"):
        oa.Gradient((3,)) @ np.ones(3, dtype)


def test_the_adjoint_of_zero_is_known_as_zero():
    zero = oa.Zero((2,), (3,))
    assert zero.H is oa.Zero((3,), (2,)) and zero.conj() is zero and oa.Zero((2,)).H is oa.Zero((2,))


@pytest.mark.parametrize(
    "operator",
    [
        oa.Convolve(np.array([1.0, -1.0]), (4,)),
        oa.Convolve(np.array([1.0, -2.0, 1.0]), (6,), boundary="symmetric"),
        oa.Convolve(np.array([1.0, -1.0]), (4,)).gram.simplify(),
        oa.kron(oa.Convolve(np.array([1.0, -1.0]), (4,)), oa.Diagonal(np.ones(2))),
    ],
    ids=lambda operator: repr(operator)[:50],
)
def test_singular_operators_have_no_inverse(operator):
    with pytest.raises(UnsupportedError):
        operator.inverse()


def test_sums_are_inverted_in_the_basis_that_simplifying_finds():
    gradient = oa.Gradient((4, 5))
    for operator in (
        oa.Identity((4, 5)) + gradient.gram,
        oa.Identity((4, 5)) - oa.Laplacian((4, 5)),
        oa.Identity((6,)) + oa.Convolve(np.array([0.2, 0.6, 0.2]), (6,), boundary="symmetric"),
    ):
        dense = real_matrix(operator, "real")
        assert np.allclose(real_matrix(operator.inverse(), "real") @ dense, np.eye(len(dense)), atol=1e-12)


@pytest.mark.parametrize(
    "operator",
    [
        oa.Gather((5,), np.array([0, 3, 3])),
        oa.Pad((4, 3), 2, "edge"),
        oa.CoilSensitivities(np.random.default_rng(0).standard_normal((3, 4)) * (1 + 1j)),
        oa.Gradient((4, 3)),
        oa.Gradient((4, 3), boundary="periodic"),
        oa.Patches((4, 3), (2, 2)),
    ],
    ids=lambda operator: repr(operator)[:50],
)
def test_pseudo_inverse_through_the_gram(operator):
    kind = "complex" if operator.in_kind == "complex" else "real"
    found = real_matrix(operator.pinv(), operator.out_kind(kind))
    assert np.allclose(found, np.linalg.pinv(real_matrix(operator, kind)), atol=1e-10)


def test_sums_of_lists_and_powers_that_are_none():
    a, b = oa.Identity((2,)), oa.Diagonal(np.array([1.0, 2.0]))
    assert np.array_equal(sum([a, b]) @ np.ones(2), np.array([2.0, 3.0]))
    for exponent in (-1, 1.5):
        with pytest.raises(ParameterError, match=r"A\.inverse\(\)"):
            b**exponent
    with pytest.raises(ShapeError, match="tuple of integers"):
        oa.Gradient((4.0, 2))


def test_tensors_that_require_a_gradient_are_no_constants():
    tensor = torch.ones(3, requires_grad=True)
    with pytest.raises(ParameterError, match=r"detach\(\)"):
        oa.Diagonal(tensor)
    assert (oa.Diagonal(tensor.detach()) @ torch.ones(3, dtype=torch.float32)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda a, m: oa.kron(a, m),
        lambda a, m: oa.vstack([a, m]),
        lambda a, m: oa.hstack([a, m]),
        lambda a, m: oa.block_diag([a, m]),
        lambda a, m: a + m,
        lambda a, m: m + a,
        lambda a, m: a - m,
        lambda a, m: m - a,
        lambda a, m: a * m,
        lambda a, m: m * a,
        lambda a, m: a / m,
        lambda a, m: m @ a,
    ],
)
def test_an_array_where_an_operator_belongs_is_told_to_be_a_matrix(make):
    with pytest.raises(ParameterError, match=r"oa\.Matrix\(M\)"):
        make(oa.Identity((2,)), np.eye(2))


@pytest.mark.parametrize("join", [oa.vstack, oa.hstack, oa.block_diag, oa.block])
def test_one_operator_is_no_sequence_of_them(join):
    with pytest.raises(ParameterError, match=r"\[A, B"):
        join(oa.Identity((2,)))
    with pytest.raises(ParameterError, match=r"oa\.FFT\(shape\)"):
        oa.DiagonalIn(3, np.eye(2))


@pytest.mark.parametrize("given", [[1.0, 2.0], (1.0, 2.0), 3.0])
def test_what_is_no_array_is_refused_by_name(given):
    with pytest.raises(DtypeError, match="applies to arrays of NumPy, CuPy or Torch, not to"):
        oa.Identity((2,)) @ given
