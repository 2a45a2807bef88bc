"""Gradients of solutions in the data of operators: diagonals, kernels, matrices, filters, maps, displacements."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import opalg as oa
from tests.implicit.parameter_kinds import Made, Table, assert_agrees, assert_slopes, design, fit, parameter

KINDS = Table()


@KINDS.entry
def diagonal(rng: np.random.Generator) -> Made:
    d, y = parameter(rng.uniform(0.5, 1.5, 9), "d"), rng.standard_normal(9)
    x = oa.Variable(9, name="x")
    return fit(oa.Diagonal(d), x, y) + 0.2 * oa.norm1(x), [d]


@KINDS.entry
def broadcast_diagonal(rng: np.random.Generator) -> Made:
    rows, columns = parameter(rng.uniform(0.5, 1.5, (4, 1)), "rows"), parameter(rng.uniform(0.5, 1.5, (3,)), "columns")
    x = oa.Variable((4, 3), name="x")
    both = oa.Diagonal(rows, (4, 3)) @ oa.Diagonal(columns, (4, 3))
    return fit(both, x, rng.standard_normal((4, 3))), [rows, columns]


@KINDS.entry
def mask_weights(rng: np.random.Generator) -> Made:
    weights = parameter(rng.uniform(0.0, 1.0, (4, 5)) * (rng.random((4, 5)) < 0.7), "mask")
    x = oa.Variable((4, 5), name="x")
    seen = oa.Diagonal(weights) @ oa.DCT((4, 5))
    return fit(seen, x, rng.standard_normal((4, 5))) + 0.05 * oa.norm1(x), [weights]


def convolved(boundary: str, size: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> Made:
    k, x = parameter(rng.uniform(0.1, 0.5, size), "k"), oa.Variable(shape, name="x")
    K = oa.Convolve(k, shape, boundary=boundary)
    return fit(K, x, rng.standard_normal(K.out_shape)) + 0.05 * oa.norm1(x), [k]


CONVOLUTIONS = [
    ("periodic", (3,), (8,)),
    ("periodic", (4,), (7,)),
    ("periodic", (2, 3), (5, 6)),
    ("periodic", (7,), (5,)),
    ("zero", (4,), (9,)),
    ("zero", (3, 2), (5, 4)),
    ("valid", (3,), (9,)),
    ("valid", (2, 2), (4, 5)),
    ("full", (3,), (7,)),
    ("full", (2, 3), (4, 4)),
    ("reflect", (3,), (8,)),
    ("reflect", (3, 4), (5, 6)),
    ("symmetric", (4,), (8,)),
    ("edge", (3, 2), (4, 5)),
]


@KINDS.entry
def kernel_off_center(rng: np.random.Generator) -> Made:
    k, x = parameter(rng.uniform(0.1, 0.5, 3), "k"), oa.Variable(8, name="x")
    return fit(oa.Convolve(k, (8,), boundary="zero", origin=(0,)), x, rng.standard_normal(8)), [k]


@KINDS.entry
def normalised_kernel(rng: np.random.Generator) -> Made:
    k, x = parameter(rng.uniform(0.1, 0.5, (3, 3)), "k"), oa.Variable((5, 5), name="x")
    return fit(oa.Convolve(k / oa.total(k), (5, 5)), x, rng.standard_normal((5, 5))), [k]


@KINDS.entry
def filter_bank(rng: np.random.Generator) -> Made:
    bank, x = parameter(rng.standard_normal((2, 3, 3)), "bank"), oa.Variable((5, 4), name="x")
    A = oa.MultiConvolve(bank, (5, 4), boundary="zero")
    return fit(A, x, rng.standard_normal(A.out_shape)), [bank]


@KINDS.entry
def filter_bank_of_channels(rng: np.random.Generator) -> Made:
    bank, x = parameter(rng.standard_normal((3, 2, 3)), "bank"), oa.Variable((2, 7), name="x")
    A = oa.MultiConvolve(bank, (2, 7))
    return fit(A, x, rng.standard_normal(A.out_shape)) + 0.1 * oa.norm1(x), [bank]


@KINDS.entry
def blur_width(rng: np.random.Generator) -> Made:
    s, x = parameter(0.3, "s"), oa.Variable((6, 6), name="x")
    K = oa.Convolve(oa.gaussian_kernel(0.5 + s**2, 2), (6, 6))
    return fit(K, x, rng.standard_normal((6, 6))) + oa.indicator(x >= 0), [s]


@KINDS.entry
def downsampling_filter(rng: np.random.Generator) -> Made:
    k, x = parameter(rng.uniform(0.1, 0.6, 3), "k"), oa.Variable(8, name="x")
    A = oa.Downsample((8,), 2, filter=k)
    return fit(A, x, rng.standard_normal(A.out_shape)), [k]


@KINDS.entry
def dense(rng: np.random.Generator) -> Made:
    M, x = parameter(design(rng, 8, 6), "M"), oa.Variable(6, name="x")
    return fit(oa.Matrix(M), x, 2 * rng.standard_normal(8)) + 0.3 * oa.norm1(x), [M]


@KINDS.entry
def dense_formula(rng: np.random.Generator) -> Made:
    """A matrix whose entries are a formula: pattern times values, plus a number times the identity."""
    M, a = parameter(design(rng, 5, 5), "M"), parameter(0.6, "a")
    x = oa.Variable(5, name="x")
    pattern = oa.Constant((rng.random((5, 5)) < 0.6).astype(float))
    entries = pattern * M + a * oa.Constant(np.eye(5))
    return fit(oa.Matrix(entries), x, rng.standard_normal(5)), [M, a]


@KINDS.entry
def dense_transposed(rng: np.random.Generator) -> Made:
    M, x = parameter(design(rng, 6, 8), "M"), oa.Variable(6, name="x")
    return fit(oa.Matrix(M).H, x, rng.standard_normal(8)), [M]


@KINDS.entry
def sparse_values(rng: np.random.Generator) -> Made:
    rows, columns = np.array([0, 1, 2, 3, 4, 4, 0]), np.array([0, 1, 2, 0, 1, 3, 3])
    v, x = parameter(rng.uniform(0.5, 1.5, 7), "values"), oa.Variable(4, name="x")
    A = oa.SparseMatrix.from_coordinates(v, rows, columns, (5, 4))
    return fit(A, x, rng.standard_normal(5)) + 0.1 * oa.norm1(x), [v]


@KINDS.entry
def one_sparse_value(rng: np.random.Generator) -> Made:
    v, x = parameter(0.7, "value"), oa.Variable(4, name="x")
    A = oa.SparseMatrix.from_coordinates(v, [0, 1, 1, 3], [2, 2, 0, 3], (5, 4))
    return fit(A, x, rng.standard_normal(5)), [v]


@KINDS.entry
def sparse_pattern(rng: np.random.Generator) -> Made:
    pattern = scipy.sparse.random_array((6, 5), density=0.4, rng=rng, format="csr")
    v, x = parameter(pattern.data + 0.2, "values"), oa.Variable(5, name="x")
    return fit(oa.Matrix(pattern, values=v), x, rng.standard_normal(6)), [v]


@KINDS.entry
def low_rank(rng: np.random.Generator) -> Made:
    U, V = parameter(design(rng, 6, 2), "U"), parameter(design(rng, 5, 2), "V")
    x = oa.Variable(5, name="x")
    return fit(oa.LowRank(U, V), x, rng.standard_normal(6)), [U, V]


@KINDS.entry
def low_rank_square(rng: np.random.Generator) -> Made:
    U, x = parameter(design(rng, 5, 2), "U"), oa.Variable(5, name="x")
    return fit(oa.Identity((5,)) + oa.LowRank(U), x, rng.standard_normal(5)) + 0.1 * oa.norm1(x), [U]


@KINDS.entry
def factor_of_an_operator(rng: np.random.Generator) -> Made:
    a, b = parameter(0.8, "a"), parameter(-0.3, "b")
    x = oa.Variable(7, name="x")
    D = oa.FiniteDifference((7,), 0, boundary="periodic")
    return fit(a * oa.Identity((7,)) + (a * b) * D, x, rng.standard_normal(7)) + 0.1 * oa.norm1(x), [a, b]


@KINDS.entry
def chain(rng: np.random.Generator) -> Made:
    """Each factor of a product of operators, one of them in it twice."""
    d, k = parameter(rng.uniform(0.5, 1.5, 6), "d"), parameter(rng.uniform(0.1, 0.5, 3), "k")
    M, x = parameter(design(rng, 5, 6), "M"), oa.Variable(6, name="x")
    A = oa.Matrix(M) @ oa.Diagonal(d) @ oa.Convolve(k, (6,), boundary="zero") @ oa.Diagonal(d)
    return fit(A, x, rng.standard_normal(5)), [d, k, M]


@KINDS.entry
def stacked(rng: np.random.Generator) -> Made:
    d, M = parameter(rng.uniform(0.5, 1.5, 5), "d"), parameter(design(rng, 4, 5), "M")
    x = oa.Variable(5, name="x")
    A = oa.vstack([oa.Diagonal(d), oa.Matrix(M)])
    return fit(A, x, rng.standard_normal(A.out_shape)), [d, M]


@KINDS.entry
def kronecker(rng: np.random.Generator) -> Made:
    M, N = parameter(design(rng, 3, 2), "M"), parameter(design(rng, 4, 3), "N")
    A = oa.kron(oa.Matrix(M), oa.Matrix(N))
    x = oa.Variable(A.in_shape, name="x")
    return fit(A, x, rng.standard_normal(A.out_shape)), [M, N]


@KINDS.entry
def displacement(rng: np.random.Generator) -> Made:
    u, x = parameter(rng.uniform(-1.4, 1.4, (2, 4, 5)), "u"), oa.Variable((4, 5), name="x")
    return fit(oa.Warp((4, 5), u, "edge"), x, rng.standard_normal((4, 5))), [u]


@KINDS.entry
def shift(rng: np.random.Generator) -> Made:
    """One displacement for the whole image: the gradient adds up over the pixels."""
    u, x = parameter(np.array([0.3, -0.7]).reshape(2, 1, 1), "u"), oa.Variable((4, 5), name="x")
    return fit(oa.Warp((4, 5), u, "periodic"), x, rng.standard_normal((4, 5))) + 0.1 * oa.norm1(x), [u]


@KINDS.entry
def sampling_points(rng: np.random.Generator) -> Made:
    p, x = parameter(rng.uniform(0.1, 2.9, (9, 2)), "p"), oa.Variable((4, 4), name="x")
    return fit(oa.Interpolate((4, 4), p), x, rng.standard_normal(9)), [p]


@KINDS.entry
def translated_lines(rng: np.random.Generator) -> Made:
    """Points that are a formula of few parameters."""
    angle, x = parameter(0.3, "angle"), oa.Variable((5,), name="x")
    lines = np.linspace(0.4, 3.6, 8)[:, None]
    points = oa.Constant(lines) + oa.exp(angle) * oa.Constant(0.1 * np.sin(lines))
    return fit(oa.Interpolate((5,), points), x, rng.standard_normal(8)), [angle]


@KINDS.entry
def real_coils(rng: np.random.Generator) -> Made:
    s, x = parameter(rng.standard_normal((2, 3, 4)), "maps"), oa.Variable((3, 4), name="x")
    return fit(oa.CoilSensitivities(s), x, rng.standard_normal((2, 3, 4))) + 0.2 * oa.norm1(x), [s]


@KINDS.entry
def depths_of_a_sample(rng: np.random.Generator) -> Made:
    """Optics: where the slices of a sample lie, behind transfer functions of these depths."""
    depths, x = parameter(np.array([-1.3, 0.4]), "depths"), oa.Variable((2, 4, 4), name="x")
    lights = 0.3 * rng.standard_normal((3, 2))
    A = oa.IntensityDiffraction((4, 4), depths, lights, 0.6, 0.5, 1.0, component="phase")
    return fit(A, x, rng.standard_normal(A.out_shape)), [depths]


@KINDS.entry
def spectrum(rng: np.random.Generator) -> Made:
    """A real symbol in the cosine basis."""
    s, x = parameter(rng.uniform(0.4, 1.5, (4, 4)), "symbol"), oa.Variable((4, 4), name="x")
    C = oa.DCT((4, 4))
    return fit(C.H @ oa.Diagonal(s) @ C, x, rng.standard_normal((4, 4))) + oa.indicator(x >= 0), [s]


@KINDS.entry
def inverse_operator(rng: np.random.Generator) -> Made:
    d, x = parameter(rng.uniform(0.5, 1.5, 6), "d", positive=True), oa.Variable(6, name="x")
    return fit(oa.Diagonal(d).inverse(), x, rng.standard_normal(6)), [d]


@KINDS.entry
def anisotropic_smoothing(rng: np.random.Generator) -> Made:
    """Weights of squared differences, one for each edge."""
    w, x = parameter(rng.uniform(0.3, 1.5, (2, 4, 5)), "w"), oa.Variable((4, 5), name="x")
    D = oa.Gradient((4, 5))
    smooth = oa.sum_squares(oa.Diagonal(w) @ (D @ x))
    return 0.5 * oa.sum_squares(x - rng.standard_normal((4, 5))) + smooth, [w]


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_slopes(name: str, rng: np.random.Generator) -> None:
    assert_slopes(KINDS[name](rng))


@pytest.mark.parametrize(("boundary", "size", "shape"), CONVOLUTIONS)
def test_kernels(boundary: str, size: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> None:
    assert_slopes(convolved(boundary, size, shape, rng))


@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
@pytest.mark.parametrize(
    "name", ["broadcast_diagonal", "filter_bank", "sparse_values", "low_rank", "displacement", "sampling_points"]
)
def test_libraries_agree(name: str, backend: str, rng: np.random.Generator) -> None:
    pytest.importorskip(backend)
    assert_agrees(KINDS[name](rng), backend)


REFUSED = {
    "angles": (lambda p: oa.Radon((4, 4), p), np.array([0.1, 0.8]), oa.ParameterError, "finite angles"),
    "frequencies": (lambda p: oa.NonuniformFFT((4,), p), np.zeros((3, 1)), oa.UnsupportedError, "no gradient flows"),
    "mask": (oa.Mask, np.array([1.0, 0.0]), oa.DtypeError, "Diagonal for weights"),
    "rolls": (lambda p: oa.Roll((4,), p), 1.0, oa.ShapeError, "tuple of one for each axis"),
    "sparse matrix": (oa.Matrix, scipy.sparse.eye_array(3).tocsr(), oa.ParameterError, "values=Parameter"),
    "values of a dense matrix": (lambda p: oa.Matrix(np.eye(2), values=p), np.ones(2), oa.ParameterError, "stored"),
    "too few values": (
        lambda p: oa.Matrix(scipy.sparse.eye_array(3).tocsr(), values=p),
        np.ones(2),
        oa.ShapeError,
        "as many values",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_gradient_reaches_is_refused(name: str) -> None:
    """Data in which there is no derivative cannot be parameters at all: nothing is silently zero."""
    build, value, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        build(parameter(value, "p"))


def test_the_order_of_sparse_values(rng: np.random.Generator) -> None:
    """Values stand where ``tocoo`` says, in every format of scipy.sparse, stored zeros among them."""
    dense = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    v = rng.standard_normal(3)
    for format in ("csr", "csc", "coo", "lil", "dok"):
        pattern = scipy.sparse.coo_array(dense).asformat(format)
        A = oa.Matrix(pattern, values=v)
        places = pattern.tocoo()
        exact = scipy.sparse.coo_array((v, (places.row, places.col)), shape=(2, 3)).toarray()
        assert np.array_equal(A.to_dense(), exact)
    stored = scipy.sparse.csr_array((np.array([0.0, 1.0]), np.array([1, 0]), np.array([0, 1, 2])), shape=(2, 2))
    assert np.array_equal(oa.Matrix(stored, values=np.array([5.0, 7.0])).to_dense(), np.array([[0.0, 5.0], [7.0, 0.0]]))
