"""Matrices, blocks and the algebra of operators against dense matrices."""

from __future__ import annotations

import numpy as np
import scipy.sparse

import opalg as oa
from tests.operators.catalogue_contract import Contract, Random, Table, sample

CASES = Table()
case = CASES.add
RANDOM = Random(21)
normal, complex_normal = RANDOM.normal, RANDOM.complex_normal


def add_matrices() -> None:
    """Matrix (dense, sparse), LowRank, stacks, blocks, Kronecker products."""
    m, n, c = normal(3, 4), normal(4, 4) + 3 * np.eye(4), complex_normal(2, 3)
    case("matrix", lambda: oa.Matrix(m), lambda x: m @ x)
    case("matrix_square", lambda: oa.Matrix(n), lambda x: n @ x)
    case("matrix_complex", lambda: oa.Matrix(c), lambda x: c @ x)
    case("matrix_row", lambda: oa.Matrix(m[:1]), lambda x: m[:1] @ x)
    sparse = np.where(RANDOM.rng.random((4, 5)) < 0.4, normal(4, 5), 0)
    sparse[2] = 0
    for layout in ("csr_array", "coo_matrix", "csc_matrix"):
        built = getattr(scipy.sparse, layout)(sparse)
        case(f"matrix_{layout}", lambda b=built: oa.Matrix(b), lambda x: sparse @ x)
    turned = sparse * np.exp(1j * normal(4, 5))
    case("matrix_sparse_complex", lambda: oa.Matrix(scipy.sparse.csr_array(turned)), lambda x: turned @ x)
    u, v, w = complex_normal(4, 2), complex_normal(3, 2), normal(5, 1)
    case("low_rank", lambda: oa.LowRank(u, v), lambda x: u @ (v.conj().T @ x))
    case("low_rank_positive", lambda: oa.LowRank(u), lambda x: u @ (u.conj().T @ x))
    z = normal(2, 1)
    case("low_rank_one", lambda: oa.LowRank(w, z), lambda x: w @ (z.T @ x), True)
    case(
        "low_rank_plus",
        lambda: 2.0 * oa.Identity((4,)) + oa.LowRank(u),
        lambda x: 2 * x + u @ (u.conj().T @ x),
    )
    p, q = normal(2, 3), normal(4, 3)
    case("vstack", lambda: oa.vstack([oa.Matrix(p), oa.Matrix(q)]), lambda x: np.concatenate([p @ x, q @ x]))
    case(
        "vstack_images",
        lambda: oa.vstack([oa.Flip((2, 3)), oa.Slice((2, 3), slice(1))]),
        lambda x: np.concatenate([np.flip(x), x[:1]]),
    )
    r = normal(2, 4)
    case("hstack", lambda: oa.hstack([oa.Matrix(p), oa.Matrix(r)]), lambda x: p @ x[:3] + r @ x[3:])
    case(
        "block_diag",
        lambda: oa.block_diag([oa.Matrix(p), 2.0 * oa.Identity((1,)), oa.Matrix(q)]),
        lambda x: np.concatenate([p @ x[:3], 2 * x[3:4], q @ x[4:]]),
    )
    case(
        "block_diag_images",
        lambda: oa.block_diag([oa.Flip((2, 3)), oa.Sum((4, 3), 0, keepdims=True)]),
        lambda x: np.concatenate([np.flip(x[:2]), x[2:].sum(0, keepdims=True)]),
        True,
    )
    blocks = np.block([[p, np.zeros((2, 4))], [normal(3, 3), normal(3, 4)]])
    case(
        "block",
        lambda: oa.block([[oa.Matrix(p), None], [oa.Matrix(blocks[2:, :3]), oa.Matrix(blocks[2:, 3:])]]),
        lambda x: blocks @ x,
    )
    case("block_zero", lambda: oa.block([[0, oa.Matrix(p)], [oa.Matrix(q), 0]]), lambda x: np.r_[p @ x[3:], q @ x[:3]])
    a, b = normal(2, 3), complex_normal(3, 2)
    case("kron_identity", lambda: oa.kron(oa.Identity((2, 2)), oa.Matrix(a)), lambda x: x @ a.T)
    case("kron", lambda: oa.kron(oa.Matrix(a), oa.Matrix(b)), lambda x: a @ x @ b.T)
    case(
        "kron_three",
        lambda: oa.kron(oa.Matrix(a), oa.Roll((2,), 1), oa.Matrix(r)),
        lambda x: np.einsum("ai,ijk,bk->ajb", a, np.roll(x, 1, 1), r),
    )


def add_algebra() -> None:
    """Sums, differences, products and powers."""
    m, n, c = normal(3, 3), normal(3, 3), complex_normal(3, 3)
    case("product", lambda: oa.Matrix(m) @ oa.Matrix(c), lambda x: m @ c @ x)
    case("sum_of", lambda: oa.Matrix(m) + oa.Matrix(c), lambda x: (m + c) @ x)
    case("difference_of", lambda: oa.Matrix(m) - 2 * oa.Matrix(n), lambda x: (m - 2 * n) @ x)
    case("quotient", lambda: oa.Matrix(m) / 4, lambda x: m @ x / 4)
    case("negative", lambda: -oa.Matrix(c), lambda x: -c @ x)
    case("complex_multiple", lambda: (2 - 1j) * oa.Matrix(c), lambda x: (2 - 1j) * (c @ x))
    case("power", lambda: oa.Matrix(m) ** 3, lambda x: m @ m @ m @ x)
    case("power_fft", lambda: oa.FFT((4,)) ** 2, lambda x: np.roll(x[::-1], 1) + 0j, True)
    case("power_conjugate", lambda: (1j * oa.Conj((3,))) ** 3, lambda x: 1j * x.conj(), True)
    case("power_zero", lambda: oa.Matrix(m) ** 0, lambda x: x, True)
    case(
        "mixed",
        lambda: (oa.Matrix(c).H @ oa.Matrix(m) + oa.Identity((3,))).T,
        lambda x: (c.conj().T @ m + np.eye(3)).T @ x,
    )


def add_real_linear() -> None:
    """What mixes real and complex arrays: linear over the reals only."""
    c, d, m = complex_normal(4), complex_normal(4, 2), complex_normal(3, 4)
    case(
        "part_of_spectrum",
        lambda: oa.Real((4,)) @ oa.Diagonal(c) @ oa.FFT((4,)),
        lambda x: (c * np.fft.fft(x, norm="ortho")).real,
    )
    case("twice_real", lambda: oa.Conj((3,)) + oa.Identity((3,)), lambda x: 2.0 * x.real + 0 * x)
    case("turned_conjugate", lambda: 1j * oa.Conj((3,)), lambda x: 1j * x.conj())
    case("conjugate_turned", lambda: oa.Conj((3,)) @ (1j * oa.Identity((3,))), lambda x: (1j * x).conj())
    case("imaginary_conjugate", lambda: oa.Imag((3,)) @ oa.Conj((3,)), lambda x: -np.imag(x))
    case("matrix_of_conjugate", lambda: oa.Matrix(m) @ oa.Conj((4,)), lambda x: m @ x.conj())
    case("complex_spectrum", lambda: (1 - 2j) * oa.RFFT((4, 3)), lambda x: (1 - 2j) * np.fft.rfftn(x, norm="ortho"))
    basis = np.fft.fft(np.eye(6), norm="ortho")[:4]
    case(
        "filtered",
        lambda: oa.RFFT((6,)).H @ oa.Diagonal(c) @ oa.RFFT((6,)),
        lambda x: (basis.conj().T @ (c * (basis @ x))).real,
    )
    case(
        "parts",
        lambda: oa.vstack([oa.Real((2,)), oa.Imag((2,)) @ oa.Diagonal(d[0])]),
        lambda x: np.concatenate([x.real, (d[0] * x).imag]),
    )
    case(
        "rows_of_parts",
        lambda: oa.block([[oa.Conj((4,)), oa.Diagonal(c)], [None, oa.Identity((4,))]]),
        lambda x: np.concatenate([x[:4].conj() + c * x[4:], x[4:] + 0 * c]),
    )


add_matrices()
add_algebra()
add_real_linear()


class TestMatrices(Contract):
    """What holds for every case of this file."""

    cases = CASES


def test_scipy_and_back() -> None:
    """Vectors of the flattened arrays."""
    gradient = oa.Gradient((3, 4))
    theirs = gradient.to_scipy()
    x, y = sample((12,), "real"), sample((24,), "real")
    np.testing.assert_allclose(theirs @ x, gradient.to_dense() @ x)
    np.testing.assert_allclose(theirs.rmatvec(y), gradient.to_dense().T @ y, atol=1e-12)
    back = oa.interop.from_scipy(theirs, (3, 4), (2, 3, 4))
    np.testing.assert_allclose(back.to_dense(), gradient.to_dense())


def test_norm_estimate() -> None:
    """From below, and with a number from above."""
    dense = sample((20, 30), "real")
    estimate = oa.Matrix(dense).norm_estimate(1e-3)
    norm = np.linalg.norm(dense, 2)
    assert estimate.certainty == "estimate" and estimate.value <= norm * (1 + 1e-12)
    assert norm * (1 - 2e-3) <= estimate.value and norm <= estimate.above
