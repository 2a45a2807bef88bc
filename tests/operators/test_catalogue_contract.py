"""The catalogue against oracles in NumPy, SciPy, PyWavelets and scikit-image, from the documented contract alone."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pywt
import scipy.fft
import scipy.linalg
import scipy.ndimage
import scipy.signal
import scipy.sparse

import opalg as oa

MODES = {"periodic": "wrap", "zero": "constant", "reflect": "reflect", "symmetric": "symmetric", "edge": "edge"}
DIFFERENCE_MODES = {"periodic": "wrap", "neumann": "edge", "dirichlet": "constant"}
INTERPOLATION_MODES = {
    "zero": "grid-constant",
    "edge": "nearest",
    "periodic": "grid-wrap",
    "reflect": "mirror",
    "symmetric": "reflect",
}
DATA = np.random.default_rng(20)


@dataclass(frozen=True)
class Case:
    """An operator, made when needed, and what it should do to one array; ``exact`` where its norm is promised exact."""

    make: Callable[[], Any]
    oracle: Callable[[np.ndarray], Any]
    exact: bool = False
    accuracy: float = 1e-10


CASES: dict[str, Case] = {}


def case(name: str, make: Callable[[], Any], oracle: Callable[[np.ndarray], Any], exact: bool = False, **more: Any):
    """Add a case to the table."""
    assert name not in CASES, name
    CASES[name] = Case(make, oracle, exact, **more)


def normal(*shape: int) -> np.ndarray:
    """Random real data."""
    return DATA.standard_normal(shape)


def complex_normal(*shape: int) -> np.ndarray:
    """Random complex data."""
    return DATA.standard_normal(shape) + 1j * DATA.standard_normal(shape)


# --- Pointwise, selection and rearrangement ---


def add_pointwise() -> None:
    """Identity, zero, scalings, diagonals, masks, parts."""
    case("identity", lambda: oa.Identity((3, 1, 2)), lambda x: x, True)
    case("zero", lambda: oa.Zero((3,), (2, 2)), lambda x: np.zeros((2, 2), x.dtype), True)
    case("zero_square", lambda: oa.Zero((3,)), np.zeros_like, True)
    case("scaled", lambda: -2.5 * oa.Identity((3,)), lambda x: -2.5 * x, True)
    case("scaled_complex", lambda: (1 + 2j) * oa.Identity((3,)), lambda x: (1 + 2j) * x, True)
    d, c = normal(2, 3), complex_normal(4)
    case("diagonal", lambda: oa.Diagonal(d), lambda x: d * x, True)
    case("diagonal_complex", lambda: oa.Diagonal(c), lambda x: c * x, True)
    case("diagonal_broadcast", lambda: oa.Diagonal(c, (3, 4)), lambda x: c * x, True)
    holes = np.array([1.0, 0.0, -3.0])
    case("diagonal_singular", lambda: oa.Diagonal(holes), lambda x: holes * x, True)
    mask = DATA.random((3, 4)) < 0.5
    case("mask", lambda: oa.Mask(mask), lambda x: np.where(mask, x, 0), True)
    case("mask_none", lambda: oa.Mask(np.zeros(3, bool)), np.zeros_like)
    case("real", lambda: oa.Real((2, 3)), np.real, True)
    case("imag", lambda: oa.Imag((2, 3)), np.imag, True)
    case("conj", lambda: oa.Conj((2, 3)), np.conj, True)


def add_selection() -> None:
    """Restrict, Gather, Crop, Slice, Permutation."""
    mask = np.array([[True, False, True], [False, True, True]])
    case("restrict_mask", lambda: oa.Restrict(mask), lambda x: x[mask], True)
    case("restrict_flat", lambda: oa.Restrict([5, 0, 3], (2, 3)), lambda x: x.ravel()[[5, 0, 3]], True)
    case("restrict_even", lambda: oa.Restrict(np.arange(1, 7, 2), 7), lambda x: x[1:7:2], True)
    case("restrict_all", lambda: oa.Restrict(np.ones((2, 2), bool)), lambda x: x.ravel(), True)
    case("gather_repeated", lambda: oa.Gather((4,), [2, 0, 2, -1, 2]), lambda x: x[[2, 0, 2, -1, 2]], True)
    case("gather_axis", lambda: oa.Gather((3, 4), [3, 3, 1], axis=1), lambda x: x[:, [3, 3, 1]], True)
    case("gather_negative_axis", lambda: oa.Gather((3, 4), [3, 0], axis=-1), lambda x: x[:, [3, 0]], True)
    case("gather_default_axis", lambda: oa.Gather((3, 4), [2, 2]), lambda x: x[[2, 2]], True)
    index = np.array([[0, 1, 1], [2, 1, 0]])
    case("gather_matrix", lambda: oa.Gather((3, 2), index), lambda x: x[index], True)
    case("gather_matrix_axis", lambda: oa.Gather((2, 3), index, axis=1), lambda x: x[:, index], True)
    case("crop", lambda: oa.Crop((5, 4), (1, 0), (4, 3)), lambda x: x[1:4, 0:3], True)
    case("crop_negative", lambda: oa.Crop((5, 4), (-3, None), -1), lambda x: x[-3:-1, :-1], True)
    case("crop_scalar", lambda: oa.Crop((4, 3), 1), lambda x: x[1:, 1:], True)
    case("crop_one", lambda: oa.Crop((1, 3), None, (None, 1)), lambda x: x[:, :1], True)
    slices: list[Any] = [
        slice(None, None, -1),
        (slice(4, 0, -2), slice(None)),
        (1, slice(None, None, -3)),
        (Ellipsis, -1),
        (None, slice(1, 3), None, 2),
        (slice(-2, None), Ellipsis, slice(3, None, -1)),
        (2, 3),
        (0, None, 0),
        Ellipsis,
    ]
    for number, index_ in enumerate(slices):
        case(f"slice_{number}", lambda i=index_: oa.Slice((5, 4), i), lambda x, i=index_: x[i], True)
    order = np.array([2, 0, 3, 1, 4])
    case("permutation", lambda: oa.Permutation(order), lambda x: x[order], True)


def add_rearrangement() -> None:
    """Flip, Roll, Transpose, Reshape, Pad."""
    case("flip", lambda: oa.Flip((3, 2)), np.flip, True)
    case("flip_axis", lambda: oa.Flip((3, 2, 1), -2), lambda x: x[:, ::-1], True)
    case("flip_axes", lambda: oa.Flip((3, 2, 2), (0, 2)), lambda x: x[::-1, :, ::-1], True)
    case("roll_all", lambda: oa.Roll((4, 3), (5, -1)), lambda x: np.roll(x, (5, -1), (0, 1)), True)
    case("roll_axis", lambda: oa.Roll((4, 3), -2, 1), lambda x: np.roll(x, -2, 1), True)
    case("roll_axes", lambda: oa.Roll((4, 3, 2), (1, 9), (2, 0)), lambda x: np.roll(x, (1, 9), (2, 0)), True)
    case("roll_half", lambda: oa.Roll((4,), 2), lambda x: np.roll(x, 2), True)
    case("transpose", lambda: oa.Transpose((2, 3, 4)), lambda x: x.transpose(), True)
    case("transpose_cycle", lambda: oa.Transpose((2, 3, 4), (1, 2, 0)), lambda x: x.transpose(1, 2, 0), True)
    case("transpose_negative", lambda: oa.Transpose((2, 1, 3), (-1, 0, 1)), lambda x: x.transpose(-1, 0, 1), True)
    case("reshape", lambda: oa.Reshape((2, 6), (3, 4)), lambda x: x.reshape(3, 4), True)
    case("reshape_infer", lambda: oa.Reshape((2, 6), (3, -1, 1)), lambda x: x.reshape(3, -1, 1), True)
    widths: dict[str, tuple[tuple[int, ...], Any, Any]] = {
        "pair": ((4, 3), (1, 2), ((1, 2), (1, 2))),
        "axes": ((4, 3), ((2, 0), (0, 1)), ((2, 0), (0, 1))),
        "beyond": ((3,), (7, 8), (7, 8)),
        "single": ((1, 2), ((2, 1), (0, 3)), ((2, 1), (0, 3))),
    }
    for (label, (shape, width, numpy_width)), (boundary, mode) in itertools.product(widths.items(), MODES.items()):
        case(
            f"pad_{boundary}_{label}",
            lambda s=shape, w=width, b=boundary: oa.Pad(s, w, b),
            lambda x, w=numpy_width, m=mode: np.pad(x, w, mode=m),
            True,
        )
    case("pad_none", lambda: oa.Pad((3,), 0, "reflect"), lambda x: x, True)
    case("pad_default", lambda: oa.Pad((2, 3), 2), lambda x: np.pad(x, 2), True)


def add_reductions() -> None:
    """Sum, Mean, CumulativeSum."""
    for name, kind, function in (("sum", oa.Sum, np.sum), ("mean", oa.Mean, np.mean)):
        for label, axes, keep in (
            ("all", None, False),
            ("first", 0, True),
            ("two", (0, -1), False),
            ("keep", None, True),
        ):
            case(
                f"{name}_{label}",
                lambda k=kind, a=axes, d=keep: k((3, 1, 4), axes=a, keepdims=d),
                lambda x, f=function, a=axes, d=keep: f(x, axis=a, keepdims=d),
                True,
            )
    case("cumulative", lambda: oa.CumulativeSum((3, 4)), lambda x: np.cumsum(x, -1), True)
    case("cumulative_first", lambda: oa.CumulativeSum((5, 2), 0), lambda x: np.cumsum(x, 0), True)
    case("cumulative_one", lambda: oa.CumulativeSum((1, 2), axis=0), lambda x: x, True)


# --- Matrices and blocks ---


def add_matrices() -> None:
    """Matrix (dense, sparse), LowRank, stacks, blocks, Kronecker products."""
    m, n, c = normal(3, 4), normal(4, 4) + 3 * np.eye(4), complex_normal(2, 3)
    case("matrix", lambda: oa.Matrix(m), lambda x: m @ x)
    case("matrix_square", lambda: oa.Matrix(n), lambda x: n @ x)
    case("matrix_complex", lambda: oa.Matrix(c), lambda x: c @ x)
    case("matrix_row", lambda: oa.Matrix(m[:1]), lambda x: m[:1] @ x)
    sparse = np.where(DATA.random((4, 5)) < 0.4, normal(4, 5), 0)
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
    case("kron", lambda: oa.kron(oa.Matrix(a), oa.Matrix(b)), lambda x: a @ x @ b.T)
    case(
        "kron_three",
        lambda: oa.kron(oa.Matrix(a), oa.Roll((2,), 1), oa.Matrix(r)),
        lambda x: np.einsum("ai,ijk,bk->ajb", a, np.roll(x, 1, 1), r),
    )
    case("kron_identity", lambda: oa.kron(oa.Identity((2, 2)), oa.Matrix(a)), lambda x: x @ a.T)


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
    case(
        "power_difference",
        lambda: oa.FiniteDifference((5,), 0, "central", "dirichlet") ** 2,
        lambda x: difference(difference(x, 0, "central", "dirichlet"), 0, "central", "dirichlet"),
    )
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


# --- Differences ---


def difference(x: np.ndarray, axis: int, scheme: str, boundary: str) -> np.ndarray:
    """Differences by padding one entry on each side."""
    width = [(1, 1) if a == axis % x.ndim else (0, 0) for a in range(x.ndim)]
    padded = np.moveaxis(np.pad(x, width, mode=DIFFERENCE_MODES[boundary]), axis, 0)
    before, here, after = padded[:-2], padded[1:-1], padded[2:]
    result = {"forward": after - here, "backward": here - before, "central": (after - before) / 2}
    result["second"] = after - 2 * here + before
    return np.moveaxis(result[scheme], 0, axis)


def hessian(x: np.ndarray, boundary: str, axes: Any = None) -> np.ndarray:
    """The upper triangle by rows, mixed entries times the root of two."""
    axes = tuple(range(x.ndim)) if axes is None else axes
    parts = []
    for j, k in itertools.combinations_with_replacement(axes, 2):
        mixed = difference(difference(x, k, "forward", boundary), j, "forward", boundary)
        parts.append(difference(x, j, "second", boundary) if j == k else np.sqrt(2) * mixed)
    return np.stack(parts)


def symmetrized(w: np.ndarray, boundary: str, axes: Any = None) -> np.ndarray:
    """The symmetric part of the Jacobian from backward differences."""
    axes = tuple(range(w.ndim - 1)) if axes is None else axes
    parts = []
    for j, k in itertools.combinations_with_replacement(range(len(axes)), 2):
        jk = difference(w[k], axes[j], "backward", boundary)
        kj = difference(w[j], axes[k], "backward", boundary)
        parts.append(jk if j == k else (jk + kj) / np.sqrt(2))
    return np.stack(parts)


def add_differences() -> None:
    """Differences of the first and second order."""
    for scheme, boundary, shape in itertools.product(
        ("forward", "backward", "central"), DIFFERENCE_MODES, ((4, 3), (1, 2))
    ):
        for axis in range(2):
            case(
                f"difference_{scheme}_{boundary}_{'x'.join(map(str, shape))}_{axis}",
                lambda s=shape, a=axis, c=scheme, b=boundary: oa.FiniteDifference(s, a, c, b),
                lambda x, a=axis, c=scheme, b=boundary: difference(x, a, c, b),
                True,
            )
    case(
        "difference_default",
        lambda: oa.FiniteDifference((4, 2), -2),
        lambda x: difference(x, 0, "forward", "neumann"),
        True,
    )
    for boundary, shape in itertools.product(DIFFERENCE_MODES, ((4, 3), (5,), (1, 3), (2, 3, 2))):
        label = f"{boundary}_{'x'.join(map(str, shape))}"
        axes = range(len(shape))
        case(
            f"gradient_{label}",
            lambda s=shape, b=boundary: oa.Gradient(s, b),
            lambda x, a=axes, b=boundary: np.stack([difference(x, j, "forward", b) for j in a]),
            True,
        )
        case(
            f"laplacian_{label}",
            lambda s=shape, b=boundary: oa.Laplacian(s, b),
            lambda x, a=axes, b=boundary: sum(difference(x, j, "second", b) for j in a),
            True,
        )
        case(
            f"hessian_{label}",
            lambda s=shape, b=boundary: oa.Hessian(s, b),
            lambda x, b=boundary: hessian(x, b),
            boundary != "dirichlet",
        )
        case(
            f"symmetrized_{label}",
            lambda s=shape, b=boundary: oa.SymmetrizedGradient(s, b),
            lambda w, b=boundary: symmetrized(w, b),
            boundary == "periodic" or len(shape) == 1,
        )
    case(
        "gradient_axes",
        lambda: oa.Gradient((3, 2, 3), "periodic", axes=(2, 0)),
        lambda x: np.stack([difference(x, j, "forward", "periodic") for j in (2, 0)]),
        True,
    )
    case("laplacian_axes", lambda: oa.Laplacian((3, 4), axes=-1), lambda x: difference(x, 1, "second", "neumann"), True)
    case("hessian_axes", lambda: oa.Hessian((3, 2, 3), axes=(0, 2)), lambda x: hessian(x, "neumann", (0, 2)), True)
    case(
        "symmetrized_axes",
        lambda: oa.SymmetrizedGradient((3, 2, 3), axes=(0, 2)),
        lambda w: symmetrized(w, "neumann", (0, 2)),
    )


# --- Convolutions and sampling ---


def convolved(x: np.ndarray, kernel: np.ndarray, boundary: str, origin: Any = "center", stride: Any = 1) -> np.ndarray:
    """True convolution, by padding as NumPy does and direct summation."""
    steps = np.broadcast_to(stride, x.ndim)
    if boundary in ("valid", "full"):
        result = scipy.signal.convolve(x, kernel, boundary, "direct")
    else:
        where = [k // 2 for k in kernel.shape] if isinstance(origin, str) else origin
        width = [(k - 1 - o, o) for k, o in zip(kernel.shape, where, strict=True)]
        result = scipy.signal.convolve(np.pad(x, width, mode=MODES[boundary]), kernel, "valid", "direct")
    return result[tuple(slice(None, None, s) for s in steps)]


def banked(x: np.ndarray, filters: np.ndarray, boundary: str, groups: int = 1, **more: Any) -> np.ndarray:
    """Every result is the sum over the channels of its group."""
    inside, outside = filters.shape[1], filters.shape[0] // groups
    return np.stack(
        [
            sum(convolved(x[(a // outside) * inside + c], filters[a, c], boundary, **more) for c in range(inside))
            for a in range(filters.shape[0])
        ]
    )


def add_convolutions() -> None:
    """Convolve and MultiConvolve."""
    kernels: dict[str, tuple[tuple[int, ...], np.ndarray, Any]] = {
        "odd": ((5, 4), normal(3, 3), "center"),
        "even": ((4, 5), normal(2, 4), "center"),
        "corner": ((4, 4), normal(3, 2), (0, 1)),
        "last": ((6,), normal(4), (3,)),
        "complex": ((5,), complex_normal(3), "center"),
        "full_size": ((3, 1), normal(3, 1), "center"),
    }
    for (label, (shape, kernel, origin)), boundary in itertools.product(kernels.items(), (*MODES, "valid", "full")):
        case(
            f"convolve_{boundary}_{label}",
            lambda k=kernel, s=shape, b=boundary, o=origin: oa.Convolve(k, s, b, o),
            lambda x, k=kernel, b=boundary, o=origin: convolved(x, k, b, o),
            boundary == "periodic",
        )
    large = normal(6, 5)
    for boundary in ("periodic", "zero", "full"):
        case(
            f"convolve_{boundary}_large",
            lambda b=boundary: oa.Convolve(large, (3, 4), b, "center"),
            lambda x, b=boundary: convolved(x, large, b),
            boundary == "periodic",
        )
    k = normal(3, 2)
    for boundary, stride in itertools.product((*MODES, "valid", "full"), (2, (1, 3))):
        case(
            f"convolve_{boundary}_stride{stride}".replace(" ", ""),
            lambda b=boundary, s=stride: oa.Convolve(k, (6, 6), b, stride=s),
            lambda x, b=boundary, s=stride: convolved(x, k, b, stride=s),
            boundary == "periodic",
        )
    case(
        "convolve_odd_stride", lambda: oa.Convolve(k, (5, 4), stride=3), lambda x: convolved(x, k, "periodic", stride=3)
    )
    filters, wide, plain = normal(3, 2, 2, 3), complex_normal(4, 1, 3), normal(2, 3, 2)
    for boundary in (*MODES, "valid", "full"):
        case(
            f"multi_{boundary}",
            lambda b=boundary: oa.MultiConvolve(filters, (4, 3), b),
            lambda x, b=boundary: banked(x, filters, b),
        )
        case(
            f"multi_{boundary}_plain",
            lambda b=boundary: oa.MultiConvolve(plain, (4, 3), b),
            lambda x, b=boundary: np.stack([convolved(x, f, b) for f in plain]),
            boundary == "periodic",
        )
    case("multi_groups", lambda: oa.MultiConvolve(wide, (5,), groups=2), lambda x: banked(x, wide, "periodic", 2), True)
    case(
        "multi_stride",
        lambda: oa.MultiConvolve(filters, (4, 6), "symmetric", (1, 0), 2),
        lambda x: banked(x, filters, "symmetric", origin=(1, 0), stride=2),
    )


def spread(x: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """Zeros behind every sample."""
    result = np.zeros([n * f for n, f in zip(x.shape, factor, strict=True)], x.dtype)
    result[tuple(slice(None, None, f) for f in factor)] = x
    return result


def upsampled(x: np.ndarray, factor: tuple[int, ...], kernel: np.ndarray, boundary: str, origin: Any) -> np.ndarray:
    """The image extended, zeros put in, convolved, and cut."""
    more = 4
    long = spread(np.pad(x, more, mode=MODES[boundary]), factor)
    result = convolved(long, kernel, "zero", origin)
    return result[tuple(slice(more * f, (more + n) * f) for n, f in zip(x.shape, factor, strict=True))]


def add_sampling() -> None:
    """Downsample and Upsample."""
    case("downsample", lambda: oa.Downsample((5, 6), 2), lambda x: x[::2, ::2], True)
    case("downsample_factors", lambda: oa.Downsample((5, 6), (1, 4)), lambda x: x[:, ::4], True)
    case(
        "downsample_box",
        lambda: oa.Downsample((4, 6), (2, 3), "box"),
        lambda x: x.reshape(2, 2, 2, 3).mean((1, 3)),
        True,
    )
    case("upsample", lambda: oa.Upsample((3, 2), (2, 3)), lambda x: spread(x, (2, 3)), True)
    case("upsample_box", lambda: oa.Upsample((3, 2), (2, 3), "box"), lambda x: x.repeat(2, 0).repeat(3, 1), True)
    grid = np.linspace(0, 4, 12, endpoint=False)
    case(
        "upsample_triangle",
        lambda: oa.Upsample((4,), 3, "triangle"),
        lambda x: np.interp(grid, np.arange(5), np.append(x, x[0])),
        True,
    )
    h = normal(3, 4)
    for boundary in MODES:
        case(
            f"downsample_kernel_{boundary}",
            lambda b=boundary: oa.Downsample((5, 6), (2, 3), h, b, (2, 1)),
            lambda x, b=boundary: convolved(x, h, b, (2, 1), (2, 3)),
        )
        case(
            f"upsample_kernel_{boundary}",
            lambda b=boundary: oa.Upsample((3, 2), (2, 3), h, b, (2, 1)),
            lambda x, b=boundary: upsampled(x, (2, 3), h, b, (2, 1)),
            boundary == "periodic",
        )
    case(
        "upsample_center",
        lambda: oa.Upsample((3, 3), 2, h),
        lambda x: upsampled(x, (2, 2), h, "periodic", (1, 2)),
        True,
    )


# --- Transforms ---


def add_transforms() -> None:
    """FFT, RFFT, DCT, DST, wavelets, Hadamard."""
    for norm in ("ortho", "backward", "forward"):
        for shape, axes in (((4, 3), None), ((3, 1, 4), (2, 0)), ((2, 5), (-1,)), ((1,), None))[
            : 4 if norm == "ortho" else 2
        ]:
            label = f"{norm}_{'x'.join(map(str, shape))}"
            case(
                f"fft_{label}",
                lambda s=shape, a=axes, n=norm: oa.FFT(s, a, n),
                lambda x, a=axes, n=norm: np.fft.fftn(x, axes=a, norm=n),
                True,
            )
            case(
                f"rfft_{label}",
                lambda s=shape, a=axes, n=norm: oa.RFFT(s, a, n),
                lambda x, a=axes, n=norm: np.fft.rfftn(x, axes=a, norm=n),
            )
        for type_, (name, kind, function) in itertools.product(
            (1, 2, 3, 4), (("dct", oa.DCT, scipy.fft.dctn), ("dst", oa.DST, scipy.fft.dstn))
        ):
            for shape, axes in (((4, 3), None), ((2, 5, 1), (1,)))[: 2 if norm == "ortho" else 1]:
                case(
                    f"{name}_{type_}_{norm}_{'x'.join(map(str, shape))}",
                    lambda s=shape, a=axes, n=norm, t=type_, k=kind: k(s, a, t, n),
                    lambda x, a=axes, n=norm, t=type_, f=function: f(x, t, axes=a, norm=n),
                    norm == "ortho",
                )
    for n, order in itertools.product((1, 8), ("natural", "sequency", "dyadic")):
        rows = hadamard(n, order)
        case(f"hadamard_{order}_{n}", lambda n=n, o=order: oa.Hadamard(n, order=o), lambda x, h=rows: h @ x, True)
    h4, h2 = hadamard(4, "natural"), hadamard(2, "natural")
    case("hadamard_two", lambda: oa.Hadamard((4, 2)), lambda x: h4 @ x @ h2.T, True)
    case("hadamard_axis", lambda: oa.Hadamard((3, 4), 1), lambda x: x @ h4.T, True)


def hadamard(n: int, order: str) -> np.ndarray:
    """SciPy's matrix, its rows in the order asked for."""
    rows = scipy.linalg.hadamard(n).astype(float)
    if order == "sequency":
        rows = rows[np.argsort([np.sum(np.diff(row) != 0) for row in rows])]
    if order == "dyadic" and n > 1:
        digits = int(np.log2(n))
        rows = rows[[int(format(k, f"0{digits}b")[::-1], 2) for k in range(n)]]
    return rows / np.sqrt(n)


def decimated(x: np.ndarray, wavelet: str, levels: int, axes: Any = None) -> np.ndarray:
    """PyWavelets' periodised coefficients as one array."""
    axes = tuple(range(x.ndim)) if axes is None else axes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyWavelets, about levels that only wrap around
        return pywt.coeffs_to_array(pywt.wavedecn(x, wavelet, "periodization", levels, axes), axes=axes)[0]


def undecimated(x: np.ndarray, wavelet: str, levels: int, axes: Any = None) -> np.ndarray:
    """PyWavelets' stationary transform, coarse image first, details in the order of binary numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyWavelets, that biorthogonal wavelets do not keep the energy
        bands = pywt.swtn(x, wavelet, levels, axes=axes, trim_approx=True, norm=True)
    return np.stack([bands[0], *(level[key] for level in bands[1:] for key in sorted(level))])


def holes(x: np.ndarray, wavelet: str, levels: int) -> np.ndarray:
    """The filters with holes on one axis of any size, as the formula says."""
    bank, details = pywt.Wavelet(wavelet), []
    for level in range(levels):
        low, high = (
            sum(h * np.roll(x, -(2**level) * (len(filters) // 2 - j)) / np.sqrt(2) for j, h in enumerate(filters))
            for filters in (bank.dec_lo, bank.dec_hi)
        )
        x, details = low, [high, *details]
    return np.stack([x, *details])


def add_wavelets() -> None:
    """The decimated and the undecimated transform."""
    for wavelet, shape, levels in (
        ("haar", (8,), 3), ("db4", (8, 8), 1), ("db2", (4, 12), 2), ("sym8", (16,), 1), ("bior2.2", (8,), 2),
        ("bior4.4", (4, 8), 1), ("rbio2.2", (12,), 1), ("db3", (2, 4), 1), ("haar", (6,), 0),
    ):  # fmt: skip
        label = f"{wavelet}_{'x'.join(map(str, shape))}_{levels}"
        case(
            f"wavelet_{label}",
            lambda s=shape, w=wavelet, n=levels: oa.Wavelet(s, w, n),
            lambda x, w=wavelet, n=levels: decimated(x, w, n),
            not ("bio" in wavelet and levels > 1),
        )
    case("wavelet_axis", lambda: oa.Wavelet((3, 8), "db2", 2, (1,)), lambda x: decimated(x, "db2", 2, (1,)), True)
    for wavelet, shape, levels in (("db2", (8,), 2), ("haar", (4, 4), 2), ("db2", (2, 4), 1), ("bior2.2", (8,), 1)):
        case(
            f"undecimated_{wavelet}_{'x'.join(map(str, shape))}_{levels}",
            lambda s=shape, w=wavelet, n=levels: oa.UndecimatedWavelet(s, w, n),
            lambda x, w=wavelet, n=levels: undecimated(x, w, n),
            True,
        )
    case("undecimated_odd", lambda: oa.UndecimatedWavelet((7,), "db2", 2), lambda x: holes(x, "db2", 2), True)
    case("undecimated_one", lambda: oa.UndecimatedWavelet((1,), "haar", 1), lambda x: holes(x, "haar", 1), True)
    case("undecimated_default", lambda: oa.UndecimatedWavelet((4,)), lambda x: undecimated(x, "db2", 2), True)
    case(
        "undecimated_axis",
        lambda: oa.UndecimatedWavelet((3, 4), "haar", 1, (1,)),
        lambda x: undecimated(x, "haar", 1, (1,)),
        True,
    )


# --- Imaging ---


def patches(x: np.ndarray, size: tuple[int, ...], stride: tuple[int, ...], boundary: str = "valid") -> np.ndarray:
    """Windows of NumPy."""
    if boundary == "periodic":
        x = np.pad(x, [(0, s - 1) for s in size], mode="wrap")
    return np.lib.stride_tricks.sliding_window_view(x, size)[tuple(slice(None, None, s) for s in stride)]


def interpolated(x: np.ndarray, points: np.ndarray, boundary: str) -> np.ndarray:
    """Splines of degree one in SciPy."""
    coordinates = np.moveaxis(points, -1, 0)
    return scipy.ndimage.map_coordinates(x, coordinates, order=1, mode=INTERPOLATION_MODES[boundary], prefilter=False)


def warped(x: np.ndarray, u: np.ndarray, boundary: str) -> np.ndarray:
    """The image at its own grid plus the displacement."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in x.shape), indexing="ij"))
    return interpolated(x, np.moveaxis(grid + u, 0, -1), boundary)


def projected(x: np.ndarray, angles: Any, detectors: int, weights: str, spacing: float = 1.0, offset: float = 0.0):
    """Sums over all pixels with the weight of each pixel in each ray, from the profile of a turned square."""
    rows, columns = np.indices(x.shape)
    across, up = columns - (x.shape[1] - 1) / 2, (x.shape[0] - 1) / 2 - rows
    places = (np.arange(detectors) - (detectors - 1) / 2) * spacing + offset
    result = np.zeros((len(angles), detectors), x.dtype)
    for a, angle in enumerate(angles):
        c, s = abs(np.cos(angle)), abs(np.sin(angle))
        t = places[:, None, None] - (across * np.cos(angle) + up * np.sin(angle))
        corners = ((c + s) / 2, 1), ((c - s) / 2, -1), ((s - c) / 2, -1), (-(c + s) / 2, 1)

        def power(t: Any, n: int, corners: Any = corners, area: float = c * s) -> Any:
            return sum(sign * np.maximum(t + p, 0) ** n for p, sign in corners) / (n * area)

        weight = {
            "ray": lambda t: power(t, 1),
            "strip": lambda t: (power(t + spacing / 2, 2) - power(t - spacing / 2, 2)) / spacing,
            "joseph": lambda t, c=c, s=s: np.maximum(0, 1 - abs(t) / max(c, s)) / max(c, s),
        }[weights](t)
        result[a] = np.sum(weight * x, axis=(1, 2))
    return result


def add_imaging() -> None:
    """Patches, interpolation, warps, X-rays."""
    case("patches", lambda: oa.Patches((5, 4), (2, 3)), lambda x: patches(x, (2, 3), (1, 1)), True)
    case("patches_stride", lambda: oa.Patches((6, 5), (3, 2), (2, 3)), lambda x: patches(x, (3, 2), (2, 3)), True)
    case("patches_tiles", lambda: oa.Patches((4, 6), 2, 2), lambda x: patches(x, (2, 2), (2, 2)), True)
    case("patches_one", lambda: oa.Patches((1, 3), (1, 2)), lambda x: patches(x, (1, 2), (1, 1)), True)
    for stride in (1, 2, 3):
        case(
            f"patches_periodic_{stride}",
            lambda s=stride: oa.Patches((5, 4), 3, s, "periodic"),
            lambda x, s=stride: patches(x, (3, 3), (s, s), "periodic"),
            True,
        )
    points = DATA.uniform(-4, 8, (3, 4, 2))
    points[0, 0] = 1.0, 2.0
    points[0, 1] = 3.0, 3.0
    line = DATA.uniform(-0.9, 4.9, (5, 1))
    displacement = 1.7 * normal(2, 4, 3)
    for boundary in INTERPOLATION_MODES:
        case(
            f"interpolate_{boundary}",
            lambda b=boundary: oa.Interpolate((4, 4), points, b),
            lambda x, b=boundary: interpolated(x, points, b),
        )
        case(
            f"interpolate_{boundary}_parameter",
            lambda b=boundary: oa.Interpolate((5,), oa.Parameter(line, name="p"), b),
            lambda x, b=boundary: interpolated(x, line, b),
        )
        case(
            f"warp_{boundary}",
            lambda b=boundary: oa.Warp((4, 3), displacement, b),
            lambda x, b=boundary: warped(x, displacement, b),
        )
        case(
            f"warp_{boundary}_parameter",
            lambda b=boundary: oa.Warp((4, 3), oa.Parameter(displacement), b),
            lambda x, b=boundary: warped(x, displacement, b),
        )
    shift = np.array([[[0.25]], [[-1.5]]])
    case("warp_shift", lambda: oa.Warp((3, 4), shift, "periodic"), lambda x: warped(x, shift, "periodic"))
    angles = [0.3, 1.2, 2.9, 4.0]
    for weights, free in itertools.product(("strip", "ray", "joseph"), (False, True)):
        case(
            f"radon_{weights}_{'free' if free else 'stored'}",
            lambda w=weights, f=free: oa.Radon((4, 3), angles, 6, 0.8, 0.3, w, f),
            lambda x, w=weights: projected(x, angles, 6, w, 0.8, 0.3),
        )
    case("radon_default", lambda: oa.Radon((2, 5), angles), lambda x: projected(x, angles, 7, "strip"))
    case("radon_row", lambda: oa.Radon((1, 4), angles), lambda x: projected(x, angles, 6, "strip"))
    case("radon_columns", lambda: oa.Radon((3, 3), [0.0], 3), lambda x: x.sum(0, keepdims=True))


def centered_fft(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The orthonormal transform with both origins in the middle."""
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


def fourier_sum(x: np.ndarray, points: np.ndarray, factor: float) -> np.ndarray:
    """The sum itself, positions counted from the centre."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in x.shape), indexing="ij"), -1)
    phases = np.tensordot(points, grid, axes=(-1, -1))
    return factor * np.tensordot(np.exp(-1j * phases), x, axes=x.ndim)


LIGHTS = np.array([[0.11, -0.2], [-0.05, 0.23], [0.2, 0.1]])
OPTICS = {"wavelength": 0.5, "aperture": 0.4, "pixel": 0.55, "index": 1.33}


def diffracted(e: np.ndarray, depths: np.ndarray, thickness: float) -> np.ndarray:
    """Transfer functions of phase and absorption as the catalogue's formulas say."""
    k = OPTICS["index"] / OPTICS["wavelength"]
    shape = e.shape[-2:]
    v = np.stack(np.meshgrid(*(np.fft.fftfreq(n, OPTICS["pixel"]) for n in shape), indexing="ij"))
    keep = np.ones(shape)
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            keep[(slice(None),) * axis + (n // 2,)] = 0

    def eta(v: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(k**2 - np.sum(v**2, 0), 1e-9))

    def amplitude(v: np.ndarray) -> np.ndarray:
        pupil = np.sqrt(np.sum(v**2, 0)) <= OPTICS["aperture"] / OPTICS["wavelength"]
        return pupil * np.pi * thickness / (OPTICS["wavelength"] ** 2 * eta(v))

    spectra, images = np.fft.fft2(e), []
    for light in LIGHTS / OPTICS["wavelength"]:
        u, total = light[:, None, None], 0
        for z, (phase, absorption) in zip(depths, spectra, strict=True):
            f = np.exp(-2j * np.pi * z * (eta(v + u) - eta(u)))
            g = np.exp(2j * np.pi * z * (eta(v - u) - eta(u)))
            total = total + 1j * (amplitude(v + u) * f - amplitude(v - u) * g) * phase
            total = total - (amplitude(v + u) * f + amplitude(v - u) * g) * absorption
        images.append(np.fft.ifft2(keep * total).real)
    return np.stack(images)


def add_physics() -> None:
    """Coils, parallel MRI, non-uniform FFT, intensity diffraction, functions of the user."""
    maps, real_maps = complex_normal(3, 4, 3), normal(2, 5)
    unit = maps / np.sqrt(np.sum(abs(maps) ** 2, 0))
    case("coils", lambda: oa.CoilSensitivities(maps), lambda x: maps * x, True)
    case("coils_real", lambda: oa.CoilSensitivities(real_maps), lambda x: real_maps * x, True)
    case("coils_normalised", lambda: oa.CoilSensitivities(maps, normalise=True), lambda x: unit * x, True)
    lines, mask = np.array([True, False, True]), DATA.random((4, 3)) < 0.6
    case("mri", lambda: oa.ParallelMRI(maps, mask), lambda x: mask * centered_fft(maps * x, (1, 2)))
    case("mri_lines", lambda: oa.ParallelMRI(maps, lines[None]), lambda x: lines * centered_fft(maps * x, (1, 2)))
    case("mri_full", lambda: oa.ParallelMRI(unit), lambda x: centered_fft(unit * x, (1, 2)), True)
    case("mri_single", lambda: oa.ParallelMRI(None, mask), lambda x: mask * centered_fft(x, (0, 1)))
    case(
        "mri_corner",
        lambda: oa.ParallelMRI(maps, mask, centered=False, normalise=True),
        lambda x: mask * np.fft.fft2(unit * x, norm="ortho"),
    )
    points, many = DATA.uniform(-9, 9, (6, 2)), DATA.uniform(-4, 4, (2, 3, 1))
    for norm, factor in (("ortho", 12**-0.5), ("backward", 1.0), ("forward", 1 / 12)):
        case(
            f"nonuniform_{norm}",
            lambda n=norm: oa.NonuniformFFT((4, 3), points, 1e-12, n),
            lambda x, c=factor: fourier_sum(x, points, c),
            accuracy=1e-9,
        )
    case(
        "nonuniform_line", lambda: oa.NonuniformFFT((5,), many), lambda x: fourier_sum(x, many, 5**-0.5), accuracy=1e-7
    )
    flat = many.ravel()
    case(
        "nonuniform_plain",
        lambda: oa.NonuniformFFT((4,), flat, norm="backward"),
        lambda x: fourier_sum(x, flat[:, None], 1.0),
        accuracy=1e-7,
    )
    depths = np.array([-1.5, 0.5, 2.0])
    for label, part in (("both", slice(None)), ("phase", 0), ("absorption", 1)):

        def oracle(e: np.ndarray, part: Any = part) -> np.ndarray:
            full = np.zeros((3, 2, *e.shape[-2:]))
            full[:, part] = e
            return diffracted(full, depths, 0.7)

        case(
            f"diffraction_{label}",
            lambda c=label: oa.IntensityDiffraction((4, 5), depths, LIGHTS, thickness=0.7, component=c, **OPTICS),
            oracle,
        )
    case(
        "function",
        lambda: oa.FunctionOperator(
            lambda x: x[:-1] - 2 * x[1:], lambda y: np.append(y, 0) - 2 * np.append(0, y), in_shape=(4,), out_shape=(3,)
        ),
        lambda x: x[:-1] - 2 * x[1:],
    )
    twist = complex_normal(2, 3)
    case(
        "function_complex",
        lambda: oa.FunctionOperator(
            lambda x: twist @ x,
            lambda y: twist.conj().T @ y,
            in_shape=(3,),
            out_shape=(2,),
            in_dtype="complex",
            norm=99.0,
        ),
        lambda x: twist @ x,
    )


for add in (
    add_pointwise, add_selection, add_rearrangement, add_reductions, add_matrices, add_algebra, add_real_linear,
    add_differences, add_convolutions, add_sampling, add_transforms, add_wavelets, add_imaging, add_physics,
):  # fmt: skip
    add()


# --- The tests ---

ONE_OF_EACH = list({name.split("_")[0]: name for name in CASES if name != "kron_identity"}.values())
FAMILIES = list({tuple(name.split("_")[:2]): name for name in CASES}.values())


@functools.cache
def member(name: str) -> Any:
    """The operator of a case, made once."""
    return CASES[name].make()


def kinds(operator: Any) -> tuple[str, ...]:
    """The kinds of arrays that an operator is meant for."""
    return ("real", "complex") if operator.in_dtype is None else (operator.in_dtype,)


def sample(shape: Any, kind: str, seed: int = 3) -> np.ndarray:
    """A random array of a kind."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


def units(shape: Any, kind: str) -> np.ndarray:
    """The unit arrays of a shape, and for complex ones those times i."""
    size = int(np.prod(shape))
    eye = np.eye(size).reshape(size, *shape)
    return np.concatenate([eye + 0j, 1j * eye]) if kind == "complex" else eye


def embedded(results: Any) -> np.ndarray:
    """The real matrix whose columns are results, complex ones as real above imaginary parts."""
    flat = np.asarray(results).reshape(len(results), -1)
    return np.concatenate([flat.real, flat.imag], 1).T if np.iscomplexobj(flat) else flat.T


@functools.cache
def expected(name: str, kind: str) -> tuple[np.ndarray, str]:
    """The embedded matrix of the oracle, and the kind of its results."""
    columns = np.stack([np.asarray(CASES[name].oracle(x)) for x in units(member(name).in_shape, kind)])
    return embedded(columns), "complex" if np.iscomplexobj(columns) else "real"


def matrix(operator: Any, kind: str) -> np.ndarray:
    """The embedded matrix of an operator."""
    return embedded(operator @ units(operator.in_shape, kind))


def close(found: np.ndarray, wanted: np.ndarray, accuracy: float) -> None:
    """Equal relative to the largest entry."""
    scale = max(1e-300, float(np.abs(wanted).max(initial=0.0)), 1e-2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=accuracy * scale)


@pytest.mark.parametrize("name", CASES)
def test_values_and_norm(name: str) -> None:
    """Shapes, values on batches, dtypes; no bound is too small, exact ones are the norm, promised ones say so."""
    this, operator = CASES[name], member(name)
    for kind in kinds(operator):
        batch = sample((2, 3, *operator.in_shape), kind)
        wanted = np.stack([np.stack([np.asarray(this.oracle(x)) for x in row]) for row in batch])
        found = operator @ batch
        assert isinstance(found, np.ndarray)
        assert found.shape == wanted.shape == (2, 3, *operator.out_shape)
        assert found.dtype == (np.complex128 if np.iscomplexobj(wanted) else np.float64)
        close(found, wanted, this.accuracy)
    if name == "function":  # nothing is known of its norm
        with pytest.raises(oa.UnsupportedError):
            operator.norm_bound()
        return
    bound = operator.norm_bound()
    norm = np.linalg.norm(expected(name, kinds(operator)[-1])[0], 2)
    assert float(bound) == bound.value >= norm * (1 - 1e-9) - 1e-12
    if bound.certainty == "exact":
        assert bound.value == pytest.approx(norm, rel=1e-7, abs=1e-12)
    if this.exact:
        assert bound.certainty == "exact"


@pytest.mark.parametrize("name", CASES)
def test_adjoint_and_facts(name: str) -> None:
    """The adjoint is the transposed dense matrix, complex numbers counting as pairs; facts are true."""
    this, operator = CASES[name], member(name)
    kind = kinds(operator)[-1]
    dense, out = expected(name, kind)
    adjoint = operator.H
    assert adjoint.in_shape == operator.out_shape and adjoint.out_shape == operator.in_shape
    close(matrix(adjoint, out), dense.T, this.accuracy)
    facts = operator.facts
    if facts.gram_scale is not None:
        close(dense.T @ dense, np.sum(dense[:, 0] ** 2) * np.eye(dense.shape[1]), this.accuracy)
    if facts.cogram_scale is not None:
        close(dense @ dense.T, np.sum(dense[0] ** 2) * np.eye(dense.shape[0]), this.accuracy)
    if facts.self_adjoint is oa.YES:
        close(dense, dense.T, this.accuracy)
    if facts.positive is oa.YES:
        assert np.linalg.eigvalsh(dense).min() >= -this.accuracy


@pytest.mark.parametrize("name", FAMILIES)
def test_precision_and_memory(name: str) -> None:
    """Single precision stays; any layout will do; arguments stay as they are, and results are no views of them."""
    this, operator = CASES[name], member(name)
    kind = kinds(operator)[-1]
    batch = sample((3, *operator.in_shape), kind)
    wanted = np.stack([np.asarray(this.oracle(x)) for x in batch])
    turned = np.asfortranarray(batch[::-1])
    turned.setflags(write=False)
    found = operator @ turned[::-1]
    close(found, wanted, this.accuracy)
    assert not np.shares_memory(found, turned)
    close(operator @ batch[1], wanted[1], this.accuracy)
    single = operator @ batch.astype(np.complex64 if kind == "complex" else np.float32)
    assert single.dtype == (np.complex64 if np.iscomplexobj(wanted) else np.float32)
    close(single, wanted, 2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_derived_operators(name: str) -> None:
    """Transpose, conjugate, gram, cogram and dense matrix."""
    this, operator = CASES[name], member(name)
    kind = kinds(operator)[-1]
    dense, out = expected(name, kind)
    x, y = sample(operator.in_shape, kind), sample(operator.out_shape, out)
    real_x, real_y = embedded(x[None]), embedded(y[None])
    close(embedded(np.conj(operator.T @ y)[None]), dense.T @ embedded(np.conj(y)[None]), this.accuracy)
    close(operator.conj() @ x, np.conj(np.asarray(this.oracle(np.conj(x)))), this.accuracy)
    gram = operator.gram if name in ONE_OF_EACH else operator.gram.simplify()
    close(embedded((gram @ x)[None]), dense.T @ (dense @ real_x), this.accuracy)
    close(embedded((operator.cogram.simplify() @ y)[None]), dense @ (dense.T @ real_y), this.accuracy)
    arrays = units(operator.in_shape, "real").astype(complex if operator.in_dtype == "complex" else float)
    found = operator.to_dense()
    assert found.dtype in (np.float64, np.complex128)
    close(found, np.stack([np.asarray(this.oracle(e)).ravel() for e in arrays], 1), this.accuracy)
    dense, out = expected(name, kinds(operator)[0])
    if kinds(operator) == ("real", "complex") and out == "real":  # else only the complex adjoint counts
        close(matrix(operator.H, "real"), dense.T, this.accuracy)


@pytest.mark.parametrize("name", FAMILIES)
def test_inverses(name: str) -> None:
    """An inverse that is offered undoes the operator; a pseudo-inverse is that of Moore and Penrose."""
    operator, accuracy = member(name), 1e3 * CASES[name].accuracy
    for offered in ("inverse", "pinv"):
        try:
            undo = getattr(operator, offered)()
        except oa.UnsupportedError:
            continue
        kind = kinds(operator)[-1]
        dense, out = expected(name, kind)
        if offered == "inverse":
            close(matrix(undo, out) @ dense, np.eye(dense.shape[1]), accuracy)
        else:
            close(matrix(undo, out), np.linalg.pinv(dense), accuracy)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_empty_batches(name: str) -> None:
    """No arrays in, none out."""
    operator = member(name)
    x = sample((0, *operator.in_shape), kinds(operator)[-1])
    y = operator @ x
    assert y.shape == (0, *operator.out_shape)
    assert (operator.H @ y).shape == x.shape


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_wrong_arrays_are_refused(name: str) -> None:
    """Another shape is a ShapeError that says both shapes; complex where real belongs and integers a DtypeError."""
    operator = member(name)
    for refused, shape in ((operator, operator.in_shape), (operator.H, operator.out_shape)):
        for wrong in {(*shape[:-1], shape[-1] + 1), (shape[0] + 1, *shape[1:]), shape[1:]} if shape else ():
            with pytest.raises(oa.ShapeError) as caught:
                refused @ np.ones(wrong)
            assert str(wrong) in str(caught.value) and str(shape) in str(caught.value)
        with pytest.raises(oa.DtypeError, match="int64"):
            refused @ np.ones(shape, np.int64)
    if operator.in_dtype == "real":
        with pytest.raises(oa.DtypeError, match="complex"):
            operator @ np.ones(operator.in_shape, complex)


def test_divergence_is_minus_the_adjoint_of_the_gradient() -> None:
    """It takes the shape of the image."""
    for boundary, axes in itertools.product(DIFFERENCE_MODES, (None, (1,))):
        gradient, divergence = oa.Gradient((4, 3), boundary, axes), oa.Divergence((4, 3), boundary, axes)
        assert (divergence.in_shape, divergence.out_shape) == (gradient.out_shape, (4, 3))
        close(divergence.to_dense(), -gradient.to_dense().T, 1e-14)


@pytest.mark.parametrize(
    "operator",
    [
        oa.Identity((3,)), oa.Diagonal(np.array([2.0, -1j])), oa.Flip((4,)), oa.Roll((5,), 2), oa.Transpose((2, 3)),
        oa.Reshape((4,), (2, 2)), oa.Permutation([1, 2, 0]), oa.Conj((3,)), oa.CumulativeSum((5,)), oa.FFT((4, 3)),
        oa.FFT((5,), norm="backward"), oa.RFFT((4, 3)), oa.RFFT((5,), norm="forward"), oa.DCT((4, 3)), oa.DST((5,)),
        oa.Wavelet((8,), "db2"), oa.Wavelet((8,), "bior2.2"), oa.UndecimatedWavelet((5, 4)), oa.Hadamard(8),
        oa.UndecimatedWavelet((8,), "bior2.2", 2), oa.Laplacian((4, 3), "dirichlet"), oa.Patches((5, 4), 2),
        2.0 * oa.Identity((4,)) + oa.LowRank(np.array([[1.0], [2.0], [0.5], [-1.0]])),
        (oa.Identity((4, 3)) + oa.Gradient((4, 3)).gram).simplify(),
        (oa.Identity((4, 3)) - oa.Laplacian((4, 3), "dirichlet")).simplify(),
        oa.Convolve(np.array([[0.1, 1.0, 0.3]]), (3, 4)), oa.block_diag([oa.Flip((2,)), oa.Hadamard(2)]),
        oa.kron(oa.DCT((3,)), oa.Roll((2,), 1)),
        (oa.Identity((5,)) + oa.Convolve(np.array([0.25, 0.5, 0.25]), (5,), "symmetric")).simplify(),
    ],
    ids=str,
)  # fmt: skip
def test_cheap_inverses_are_offered(operator: Any) -> None:
    """What is unitary, diagonal somewhere, or promised in the catalogue has a left inverse."""
    kind = kinds(operator)[-1]
    x = sample(operator.in_shape, kind)
    close(operator.inverse() @ (operator @ x), x, 1e-10)


@pytest.mark.parametrize(
    "operator",
    [
        oa.Mask(np.array([True, False])), oa.Restrict([2, 0], 3), oa.Pad((3,), 2),
        oa.Crop((4,), 1), oa.Slice((4,), slice(None, None, -2)), oa.Sum((2, 3), 0), oa.Mean((2, 3), 1),
        oa.Diagonal(np.array([0.0, 2.0])), oa.Downsample((4,), 2), oa.Upsample((4,), 2), oa.Patches((5,), 2, 2),
        oa.Laplacian((4,), "periodic"), oa.Laplacian((4, 3)), oa.Zero((2,), (3,)), oa.Real((2,)),
        oa.Convolve(np.array([1.0, -1.0]), (4,)), oa.StructuredRandom((6,), 3), oa.FFT((3,)),
    ],
    ids=str,
)  # fmt: skip
def test_cheap_pseudo_inverses_are_offered(operator: Any) -> None:
    """What has a diagonal gram or cogram somewhere has the pseudo-inverse of Moore and Penrose."""
    kind = kinds(operator)[-1]
    out = "complex" if np.iscomplexobj(operator @ sample(operator.in_shape, kind)) else "real"
    close(matrix(operator.pinv(), out), np.linalg.pinv(matrix(operator, kind)), 1e-9)


# --- What has no oracle entry by entry ---


TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dct": lambda x: scipy.fft.dctn(x, norm="ortho"),
    "fft": lambda x: np.fft.fftn(x, norm="ortho"),
    "hadamard": lambda x: hadamard(x.shape[0], "natural") @ x @ hadamard(x.shape[1], "natural"),
}


@pytest.mark.parametrize(("transform", "shape"), [("dct", (3, 5)), ("fft", (3, 4)), ("hadamard", (4, 2))])
@pytest.mark.parametrize("flip", ["signs", "permutation"])
def test_structured_random(transform: str, shape: tuple[int, ...], flip: str) -> None:
    """All rows are the transform of the signed or permuted image; fewer are orthonormal; seeds; scaling."""
    size, rows = int(np.prod(shape)), 5
    basis = np.stack([TRANSFORMS[transform](e).ravel() for e in units(shape, "real")], 1)
    mixing = basis.conj().T @ oa.StructuredRandom(shape, size, transform, flip, seed=4).to_dense()
    np.testing.assert_allclose(abs(mixing), np.round(abs(mixing)), atol=1e-12)
    if flip == "signs":
        close(abs(mixing), np.eye(size), 1e-12)
        assert {-1, 1} == set(np.round(np.diag(mixing).real))
    else:
        close(np.sort(mixing.real, 1), np.sort(np.eye(size), 1), 1e-12)
        close(mixing @ mixing.conj().T, np.eye(size), 1e-12)
        assert not np.allclose(mixing, np.eye(size))
    operator = oa.StructuredRandom(shape, rows, transform, flip, seed=4)
    dense = operator.to_dense()
    assert operator.out_shape == (rows,) and dense.shape == (rows, size)
    close(dense @ dense.conj().T, np.eye(rows), 1e-12)
    if transform == "dct" and flip == "signs":
        kept = [int(np.argmin(np.sum((abs(basis) - abs(row)) ** 2, 1))) for row in dense]
        close(abs(dense), abs(basis[kept]), 1e-12)
        assert kept == sorted(kept)
    x = sample(shape, kinds(operator)[-1])
    np.testing.assert_array_equal(oa.StructuredRandom(shape, rows, transform, flip, seed=4) @ x, operator @ x)
    assert not np.allclose(oa.StructuredRandom(shape, rows, transform, flip, seed=5) @ x, operator @ x)
    energy = oa.StructuredRandom(shape, rows, transform, flip, seed=4, scaling="energy")
    close(energy @ x, np.sqrt(size / rows) * (operator @ x), 1e-12)
    y = sample((rows,), "complex" if transform == "fft" else "real")
    close(operator @ (operator.H @ y), y, 1e-12)
    for one, norm in ((operator, 1.0), (energy, np.sqrt(size / rows))):
        assert one.norm_bound().value == pytest.approx(norm) and one.norm_bound().certainty == "exact"


@pytest.mark.parametrize("weights", ["strip", "ray", "joseph"])
def test_radon_of_a_disc(weights: str) -> None:
    """A disc off the centre has chords of known length at known places; FBP and back projection bring it back."""
    n, radius, middle = 64, 14.0, (9.0, -6.0)
    row, column = np.indices((n, n))
    fine = (np.arange(8) - 3.5) / 8
    disc = np.mean(
        [
            np.hypot(column + a - (n - 1) / 2 - middle[0], (n - 1) / 2 - row + b - middle[1]) < radius
            for a in fine
            for b in fine
        ],
        0,
    )
    angles = np.linspace(0, np.pi, 60, endpoint=False)
    operator = oa.Radon((n, n), angles, weights=weights)
    assert operator.out_shape == (60, 92)
    s = np.arange(92) - 45.5
    t = s[None] - (middle[0] * np.cos(angles) + middle[1] * np.sin(angles))[:, None]
    chords = 2 * np.sqrt(np.maximum(radius**2 - t**2, 0))
    y = operator @ disc
    assert np.linalg.norm(y - chords) < 0.03 * np.linalg.norm(chords)
    image = operator.fbp(y)
    assert np.linalg.norm(image - disc) < 0.25 * np.linalg.norm(disc)
    assert abs(image[disc == 1].mean() - 1) < 0.03
    np.testing.assert_allclose(operator.backproject(y), operator.H @ y)
    np.testing.assert_allclose(operator.subset([7, 3]) @ disc, y[[7, 3]], atol=1e-9)


def test_radon_agrees_with_scikit_image() -> None:
    """The same geometry, for an image of odd size whose middle both have at the same pixel."""
    transform = pytest.importorskip("skimage.transform")
    image = np.zeros((33, 33))
    image[9:15, 12:23] = 1.0
    image[18:24, 15:17] = 2.0
    degrees = np.array([0.0, 30.0, 75.0, 90.0, 140.0])
    theirs = transform.radon(image, theta=degrees, circle=True).T
    ours = oa.Radon((33, 33), np.deg2rad(degrees), 33) @ image
    assert np.linalg.norm(ours - theirs) < 0.06 * np.linalg.norm(theirs)


@pytest.mark.parametrize("name", ["box", "triangle", "gaussian", "lanczos"])
def test_named_filters_keep_constants(name: str) -> None:
    """Down and up, and the adjoint relation of the two."""
    down, up = oa.Downsample((8, 6), 2, name), oa.Upsample((4, 3), 2, name)
    close(down @ np.ones((8, 6)), np.ones((4, 3)), 1e-12)
    close(up @ np.ones((4, 3)), np.ones((8, 6)), 1e-12)
    for boundary in ("periodic", "zero"):
        down, up = oa.Downsample((8, 6), 2, name, boundary), oa.Upsample((4, 3), 2, name, boundary)
        close(up.to_dense(), 4 * down.to_dense().T, 1e-12)
    for boundary in ("symmetric", "reflect", "edge"):
        close(oa.Upsample((4, 3), 2, name, boundary) @ np.ones((4, 3)), np.ones((8, 6)), 1e-12)


def test_wavelet_levels_by_default() -> None:
    """As many as sizes divide and the filter fits what the coarsest level filters."""
    for shape, wavelet, levels in (((32,), "haar", 5), ((32,), "db4", 3), ((24, 16), "db2", 3)):
        x = sample(shape, "real")
        close(oa.Wavelet(shape, wavelet) @ x, decimated(x, wavelet, levels), 1e-10)


def test_functions_of_the_user() -> None:
    """Buffers, in-place work, missing adjoints, asserted norms and results of a wrong shape."""
    buffer = np.zeros(3)

    def forward(x: np.ndarray) -> np.ndarray:
        x *= 2.0
        buffer[:] = x
        return buffer

    operator = oa.FunctionOperator(forward, forward, in_shape=(3,), in_dtype="real", norm=2.5, name="twice")
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(operator @ x, [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]])
    np.testing.assert_array_equal(x[0], [1.0, 2.0, 3.0])
    bound = operator.norm_bound()
    assert (bound.value, bound.certainty) == (2.5, "asserted") and "twice" in repr(operator)
    assert oa.testing.check_operator(operator).ok
    wrong = oa.FunctionOperator(lambda x: x[1:], in_shape=(3,), name="short")
    with pytest.raises(oa.ShapeError, match="short"):
        wrong @ np.ones(3)
    pytest.importorskip("torch")
    automatic = oa.FunctionOperator(lambda x: 3.0 * x[1:] * x.shape[0], in_shape=(3,), out_shape=(2,))
    np.testing.assert_allclose(automatic.H @ np.array([1.0, 2.0]), [0.0, 9.0, 18.0])


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


# --- Errors ---

NAN = np.array([1.0, np.nan])
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str | None]] = {
    "zero size": (lambda: oa.Laplacian((0, 3)), oa.ShapeError, None),
    "diagonal shape": (lambda: oa.Diagonal(np.ones(3), (4,)), oa.ShapeError, r"\(3,\).*\(4,\)|\(4,\).*\(3,\)"),
    "diagonal boolean": (lambda: oa.Diagonal(np.ones(3, bool)), oa.DtypeError, "Mask"),
    "diagonal integer": (lambda: oa.Diagonal(np.ones(3, int)), oa.DtypeError, "int"),
    "diagonal nan": (lambda: oa.Diagonal(NAN), oa.NonFiniteError, None),
    "matrix integer": (lambda: oa.Matrix(np.ones((2, 2), int)), oa.DtypeError, "int"),
    "matrix boolean sparse": (lambda: oa.Matrix(scipy.sparse.eye_array(3, dtype=bool)), oa.DtypeError, "bool"),
    "matrix axes": (lambda: oa.Matrix(np.ones(3)), oa.ShapeError, "3"),
    "matrix nan": (lambda: oa.Matrix(NAN[None]), oa.NonFiniteError, None),
    "matrix sparse nan": (lambda: oa.Matrix(scipy.sparse.csr_array(NAN[None])), oa.NonFiniteError, None),
    "mask weights": (lambda: oa.Mask(np.ones(3)), oa.DtypeError, "Diagonal"),
    "restrict twice": (lambda: oa.Restrict([1, 1], 3), oa.ShapeError, "Gather"),
    "restrict outside": (lambda: oa.Restrict([3], 3), oa.ShapeError, "3"),
    "restrict nothing": (lambda: oa.Restrict(np.zeros(3, bool)), oa.ShapeError, None),
    "restrict float": (lambda: oa.Restrict(np.array([0.0]), 3), oa.DtypeError, "float64"),
    "restrict shape": (lambda: oa.Restrict(np.ones(3, bool), (4,)), oa.ShapeError, "4"),
    "gather outside": (lambda: oa.Gather((3,), [-4]), oa.ShapeError, "-4"),
    "gather float": (lambda: oa.Gather((3,), np.array([0.5])), oa.DtypeError, "float64"),
    "gather axis": (lambda: oa.Gather((3,), [0], axis=1), oa.ShapeError, "1"),
    "gather nothing": (lambda: oa.Gather((3,), np.zeros(0, int)), oa.ShapeError, None),
    "crop empty": (lambda: oa.Crop((5,), 3, 3), oa.ShapeError, "3"),
    "crop outside": (lambda: oa.Crop((5,), 0, 6), oa.ShapeError, "6"),
    "pad boundary": (lambda: oa.Pad((3,), 1, "wrap"), oa.UnsupportedError, "periodic.*wrap"),
    "pad negative": (lambda: oa.Pad((3,), -1), oa.ShapeError, "-1"),
    "pad axes": (lambda: oa.Pad((3, 3), ((1, 1), (1, 1), (1, 1))), oa.ShapeError, None),
    "slice axes": (lambda: oa.Slice((3,), (0, 0)), oa.ShapeError, None),
    "slice outside": (lambda: oa.Slice((3,), 3), oa.ShapeError, "3"),
    "slice empty": (lambda: oa.Slice((3,), slice(2, 2)), oa.ShapeError, None),
    "flip twice": (lambda: oa.Flip((3, 3), (0, -2)), oa.ShapeError, None),
    "flip axis": (lambda: oa.Flip((3,), 1), oa.ShapeError, "1"),
    "roll shifts": (lambda: oa.Roll((3, 3), 1), oa.ShapeError, None),
    "transpose axes": (lambda: oa.Transpose((3, 3), (0, 0)), oa.ShapeError, "0"),
    "reshape": (lambda: oa.Reshape((3,), (2, 2)), oa.ShapeError, r"\(2, 2\).*\(3,\)"),
    "sum axis": (lambda: oa.Sum((3,), 1), oa.ShapeError, "1"),
    "cumulative axis": (lambda: oa.CumulativeSum((3,), 1), oa.ShapeError, "1"),
    "low rank": (lambda: oa.LowRank(np.ones((3, 2)), np.ones((3, 1))), oa.ShapeError, "2.*1"),
    "permutation": (lambda: oa.Permutation([0, 0, 1]), oa.ShapeError, None),
    "permutation float": (lambda: oa.Permutation(np.array([0.0, 1.0])), oa.DtypeError, "float64"),
    "vstack": (lambda: oa.vstack([oa.Identity((2,)), oa.Identity((3,))]), oa.ShapeError, r"\(2,\).*\(3,\)"),
    "hstack": (lambda: oa.hstack([oa.Identity((2,)), oa.Identity((3,))]), oa.ShapeError, r"\(2,\).*\(3,\)"),
    "block": (lambda: oa.block([[oa.Identity((2,)), None], [None]]), oa.ShapeError, None),
    "block size": (lambda: oa.block([[oa.Identity((2,)), None]]), oa.ShapeError, None),
    "block_diag": (lambda: oa.block_diag([oa.Identity((2, 3)), oa.Identity((2, 2))]), oa.ShapeError, None),
    "kron": (lambda: oa.kron(), oa.ShapeError, None),
    "sum": (lambda: oa.Identity((2,)) + oa.Identity((3,)), oa.ShapeError, r"\(2,\).*\(3,\)"),
    "product": (lambda: oa.Identity((2,)) @ oa.Identity((3,)), oa.ShapeError, r"\(2,\).*\(3,\)"),
    "power": (lambda: oa.Gradient((3,)) ** 2, oa.ShapeError, None),
    "difference axis": (lambda: oa.FiniteDifference((3,), 1), oa.ShapeError, "1"),
    "difference scheme": (lambda: oa.FiniteDifference((3,), 0, "upwind"), oa.UnsupportedError, "upwind"),
    "difference boundary": (lambda: oa.Gradient((3,), "zero"), oa.UnsupportedError, "zero"),
    "laplacian boundary": (lambda: oa.Laplacian((3,), "reflect"), oa.UnsupportedError, "reflect"),
    "hessian axes": (lambda: oa.Hessian((3,), axes=(1,)), oa.ShapeError, "1"),
    "symmetrized boundary": (lambda: oa.SymmetrizedGradient((3,), "edge"), oa.UnsupportedError, "edge"),
    "kernel axes": (lambda: oa.Convolve(np.ones(3), (4, 4)), oa.ShapeError, r"\(3,\)"),
    "kernel large": (lambda: oa.Convolve(np.ones(5), (4,), "symmetric"), oa.ShapeError, r"\(4,\).*\(5,\)"),
    "kernel large valid": (lambda: oa.Convolve(np.ones(5), (4,), "valid"), oa.ShapeError, r"\(4,\).*\(5,\)"),
    "kernel origin": (lambda: oa.Convolve(np.ones(3), (4,), origin=(3,)), oa.ShapeError, "3"),
    "kernel boundary": (lambda: oa.Convolve(np.ones(3), (4,), "wrap"), oa.UnsupportedError, "wrap"),
    "kernel stride": (lambda: oa.Convolve(np.ones(3), (4,), stride=0), oa.ShapeError, "0"),
    "kernel integer": (lambda: oa.Convolve(np.ones(3, int), (4,)), oa.DtypeError, "int"),
    "filters axes": (lambda: oa.MultiConvolve(np.ones(3), (4,)), oa.ShapeError, None),
    "filters groups": (lambda: oa.MultiConvolve(np.ones((3, 1, 2)), (4,), groups=2), oa.ShapeError, "2"),
    "downsample factor": (lambda: oa.Downsample((4,), 0), oa.ShapeError, "0"),
    "downsample filter": (lambda: oa.Downsample((4,), 2, "bell"), oa.ParameterError, "bell"),
    "upsample boundary": (lambda: oa.Upsample((4,), 2, "box", "wrap"), oa.UnsupportedError, "wrap"),
    "fft norm": (lambda: oa.FFT((4,), norm="unitary"), oa.ParameterError, "unitary"),
    "fft axes": (lambda: oa.FFT((4,), (1,)), oa.ShapeError, "1"),
    "rfft norm": (lambda: oa.RFFT((4,), norm=None), oa.ParameterError, "None"),
    "dct type": (lambda: oa.DCT((4,), type=5), oa.UnsupportedError, "5"),
    "dct one": (lambda: oa.DCT((1,), type=1), oa.ShapeError, "1"),
    "dst norm": (lambda: oa.DST((4,), norm="unit"), oa.ParameterError, "unit"),
    "wavelet size": (lambda: oa.Wavelet((6,), "haar", 2), oa.ShapeError, "6"),
    "wavelet name": (lambda: oa.Wavelet((8,), "morl"), oa.UnsupportedError, "morl"),
    "undecimated levels": (lambda: oa.UndecimatedWavelet((8,), "haar", -1), oa.ParameterError, "-1"),
    "hadamard size": (lambda: oa.Hadamard(6), oa.ShapeError, "6"),
    "hadamard order": (lambda: oa.Hadamard(4, order="walsh"), oa.ParameterError, "walsh"),
    "random rows": (lambda: oa.StructuredRandom((4,), 5), oa.ShapeError, "5"),
    "random transform": (lambda: oa.StructuredRandom((4,), 2, "dst"), oa.ParameterError, "dst"),
    "random flip": (lambda: oa.StructuredRandom((4,), 2, flip="up"), oa.ParameterError, "up"),
    "random seed": (lambda: oa.StructuredRandom((4,), 2, seed=-1), oa.ParameterError, "-1"),
    "random hadamard": (lambda: oa.StructuredRandom((6,), 2, "hadamard"), oa.ShapeError, "6"),
    "patches size": (lambda: oa.Patches((4,), 5), oa.ShapeError, "5"),
    "patches boundary": (lambda: oa.Patches((4,), 2, 1, "edge"), oa.UnsupportedError, "edge"),
    "points shape": (lambda: oa.Interpolate((4, 4), np.ones((3, 1))), oa.ShapeError, "2"),
    "points complex": (lambda: oa.Interpolate((4,), np.ones((3, 1)) + 0j), oa.DtypeError, "complex|real"),
    "points boundary": (lambda: oa.Interpolate((4,), np.ones((3, 1)), "wrap"), oa.UnsupportedError, "wrap"),
    "points nan": (lambda: oa.Interpolate((4,), NAN[:, None]), oa.NonFiniteError, None),
    "warp shape": (lambda: oa.Warp((4, 4), np.ones((3, 4, 4))), oa.ShapeError, "3"),
    "warp complex": (lambda: oa.Warp((4,), np.ones((1, 4)) + 0j), oa.DtypeError, "complex|real"),
    "radon axes": (lambda: oa.Radon((4,), [0.0]), oa.ShapeError, "4"),
    "radon weights": (lambda: oa.Radon((4, 4), [0.0], weights="area"), oa.UnsupportedError, "area"),
    "radon detectors": (lambda: oa.Radon((4, 4), [0.0], 0), oa.ParameterError, "0"),
    "radon spacing": (lambda: oa.Radon((4, 4), [0.0], spacing=-1.0), oa.ParameterError, "-1"),
    "radon angles": (lambda: oa.Radon((4, 4), []), oa.ParameterError, None),
    "radon window": (lambda: oa.Radon((4, 4), [0.0]).fbp(np.ones((1, 6)), window="box"), oa.ParameterError, "box"),
    "coils axes": (lambda: oa.CoilSensitivities(np.ones(3)), oa.ShapeError, "3"),
    "mri nothing": (lambda: oa.ParallelMRI(None), oa.ParameterError, None),
    "mri mask": (lambda: oa.ParallelMRI(np.ones((2, 4, 4)), np.ones((4, 4))), oa.DtypeError, "bool"),
    "mri mask shape": (lambda: oa.ParallelMRI(np.ones((2, 4, 4)), np.ones((3, 4), bool)), oa.ShapeError, "3"),
    "nonuniform axes": (lambda: oa.NonuniformFFT((2, 2, 2, 2), np.ones((3, 4))), oa.ShapeError, "three"),
    "nonuniform points": (lambda: oa.NonuniformFFT((4, 4), np.ones((3, 3))), oa.ShapeError, "3"),
    "nonuniform complex": (lambda: oa.NonuniformFFT((4,), np.ones(3) + 0j), oa.DtypeError, "complex|real"),
    "nonuniform tolerance": (lambda: oa.NonuniformFFT((4,), np.ones(3), 2.0), oa.ParameterError, "2"),
    "nonuniform norm": (lambda: oa.NonuniformFFT((4,), np.ones(3), norm="unit"), oa.ParameterError, "unit"),
    "nonuniform parameter": (lambda: oa.NonuniformFFT((4,), oa.Parameter(np.ones(3))), oa.UnsupportedError, None),
    "diffraction aperture": (
        lambda: oa.IntensityDiffraction((4, 4), np.ones(1), np.array([[0.9, 0.0]]), thickness=1.0, **OPTICS),
        oa.ParameterError, None,
    ),
    "diffraction thickness": (
        lambda: oa.IntensityDiffraction((4, 4), np.ones(1), LIGHTS, **OPTICS), oa.ParameterError, "thickness",
    ),
    "diffraction component": (
        lambda: oa.IntensityDiffraction((4, 4), np.ones(1), LIGHTS, thickness=1.0, component="index", **OPTICS),
        oa.ParameterError, "index",
    ),
    "function shape": (lambda: oa.FunctionOperator(np.cumsum, in_shape=(-1,)), oa.ShapeError, "-1"),
    "function dtype": (lambda: oa.FunctionOperator(np.cumsum, in_shape=3, in_dtype="text"), oa.DtypeError, "text"),
    "inverse unknown": (lambda: oa.Matrix(np.ones((2, 3))).inverse(), oa.UnsupportedError, None),
    "inverse singular": (lambda: oa.Laplacian((4,)).inverse(), oa.UnsupportedError, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_data_are_refused(name: str) -> None:
    """With the right class of error, which says what was found or what to use."""
    make, error, pattern = REFUSED[name]
    with pytest.raises(error, match=pattern) as caught:
        make()
    assert len(str(caught.value)) > 15


# --- Parameters ---


def learnable(wrap: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """Operators whose data are wrapped: as a Parameter, or as something known."""
    v = np.random.default_rng(8).standard_normal
    points = np.array([[0.3, 1.4], [1.7, 0.2], [0.6, 2.3]])
    displacement = 0.3 * v((2, 3, 3)) + 0.013
    values = {
        "filters": v((2, 2, 2)), "matrix": v((3, 4)), "u": v((4, 2)), "w": v((5, 2)), "maps": v((2, 3, 2)),
        "complex": v((2, 3, 2)) + 1j * v((2, 3, 2)), "kernel": v((3, 2)), "bank": v((3, 2, 2)),
    }  # fmt: skip
    one = {name: (lambda value=value: wrap(value)) for name, value in values.items()}
    free = {"points": points, "displacement": displacement, "entries": v(4), "diagonal": v(4) + 1j * v(4)}
    one |= {name: (lambda value=value: wrap(value)) for name, value in free.items()}
    operators: dict[str, Callable[[], Any]] = {
        f"convolve_{b}": lambda b=b: oa.Convolve(one["kernel"](), (4, 3), b)
        for b in ("periodic", "zero", "symmetric", "full")
    }
    operators |= {
        f"multi_{b}": lambda b=b: oa.MultiConvolve(one["filters"](), (4,), b, stride=2) for b in ("periodic", "reflect")
    }
    operators |= {
        f"interpolate_{b}": lambda b=b: oa.Interpolate((3, 3), one["points"](), b) for b in ("zero", "edge", "periodic")
    }
    operators |= {f"warp_{b}": lambda b=b: oa.Warp((3, 3), one["displacement"](), b) for b in ("zero", "periodic")}
    operators |= {
        "convolve_stride": lambda: oa.Convolve(one["kernel"](), (5, 4), stride=(2, 3)),
        "convolve_formula": lambda: oa.Convolve(oa.exp(-1.0 * one["kernel"]() ** 2), (4, 3)),
        "multi_plain": lambda: oa.MultiConvolve(one["bank"](), (3, 4)),
        "downsample": lambda: oa.Downsample((4, 6), 2, one["kernel"]()),
        "upsample": lambda: oa.Upsample((2, 3), 2, one["kernel"](), "edge"),
        "diagonal": lambda: oa.Diagonal(wrap(values["matrix"])),
        "diagonal_complex": lambda: oa.Diagonal(one["diagonal"]()),
        "matrix": lambda: oa.Matrix(one["matrix"]()),
        "matrix_formula": lambda: oa.Matrix(one["matrix"]() ** 2),
        "coordinates": lambda: oa.SparseMatrix.from_coordinates(one["entries"](), [0, 2, 2, 0], [1, 0, 3, 1], (3, 4)),
        "low_rank_left": lambda: oa.LowRank(one["u"](), values["w"]),
        "low_rank_right": lambda: oa.LowRank(values["u"], one["w"]()),
        "low_rank_positive": lambda: oa.LowRank(one["u"]()),
        "coils": lambda: oa.CoilSensitivities(one["maps"]()),
        "coils_complex": lambda: oa.CoilSensitivities(one["complex"](), normalise=True),
        "mri": lambda: oa.ParallelMRI(one["complex"](), np.array([[True, False], [True, True], [False, True]])),
        "scaled": lambda: wrap(0.7) * oa.Gradient((3, 2)),
        "stack": lambda: oa.vstack([oa.Matrix(one["matrix"]()), oa.Identity((4,))]),
        "block": lambda: oa.block([[oa.Matrix(one["matrix"]()), oa.Identity((3,))], [oa.Identity((4,)), None]]),
        "kron": lambda: oa.kron(oa.Matrix(one["matrix"]()), oa.Matrix(np.array([[1.0, 2.0]]))),
        "product": lambda: oa.Gradient((4, 3)) @ oa.Convolve(one["kernel"](), (4, 3)),
        "adjoint": lambda: oa.Matrix(one["matrix"]()).H,
        "depths": lambda: oa.IntensityDiffraction(
            (4, 5), wrap(np.array([-1.0, 0.7])), LIGHTS, thickness=0.7, component="phase", **OPTICS
        ),
    }
    return operators


def theta(value: Any) -> oa.Parameter:
    """The data as a Parameter."""
    return oa.Parameter(value, name="theta")


@pytest.mark.parametrize("name", learnable(theta))
def test_gradients_in_the_data_of_an_operator(name: str) -> None:
    """The solution of a ridge energy changes with the operator's data as central differences say."""
    operator = learnable(theta)[name]()
    kind = operator.out_dtype or ("complex" if "complex" in name else "real")
    x, y = (
        oa.Variable(operator.in_shape, dtype=float if kind == "real" else complex),
        sample(operator.out_shape, kind, 6),
    )
    energy = oa.sum_squares(operator @ x - y) + 0.4 * oa.sum_squares(x - sample(operator.in_shape, kind, 5))
    report = oa.testing.check_gradient(energy, directions=1)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "name",
    [
        "convolve_zero", "convolve_formula", "multi_periodic", "interpolate_edge", "warp_periodic", "diagonal_complex",
        "matrix", "coordinates", "low_rank_positive", "coils_complex", "mri", "scaled", "kron", "depths", "upsample",
    ],
)  # fmt: skip
def test_data_of_an_operator_follow_the_parameter(name: str) -> None:
    """A solve with another value of the parameter is that of the operator with these data."""
    operator = learnable(theta)[name]()
    moved = learnable(lambda value: oa.Constant(np.asarray(1.3 * value + 0.05)))[name]()
    kind = operator.out_dtype or ("complex" if "complex" in name else "real")
    x, y = (
        oa.Variable(operator.in_shape, dtype=float if kind == "real" else complex),
        sample(operator.out_shape, kind, 6),
    )
    energy = oa.sum_squares(operator @ x - y) + 0.4 * oa.sum_squares(x)
    (parameter,) = energy.parameters
    solution = oa.compile(energy).solve(params={parameter: 1.3 * parameter.value + 0.05}, tol=1e-12)
    dense = moved.to_dense()
    wanted = np.linalg.solve(dense.conj().T @ dense + 0.4 * np.eye(dense.shape[1]), dense.conj().T @ y.ravel())
    close(np.asarray(solution.x).ravel(), wanted, 1e-5)
