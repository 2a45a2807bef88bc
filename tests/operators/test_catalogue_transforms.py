"""Transforms of the catalogue against SciPy and PyWavelets."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pywt
import scipy.fft
import scipy.linalg

import opalg as oa
from tests.operators.catalogue_contract import Contract, Table, close, kinds, sample, units

CASES = Table()
case = CASES.add


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


add_transforms()
add_wavelets()


class TestTransforms(Contract):
    """What holds for every case of this file."""

    cases = CASES


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


def test_wavelet_levels_by_default() -> None:
    """As many as sizes divide and the filter fits what the coarsest level filters."""
    for shape, wavelet, levels in (((32,), "haar", 5), ((32,), "db4", 3), ((24, 16), "db2", 3)):
        x = sample(shape, "real")
        close(oa.Wavelet(shape, wavelet) @ x, decimated(x, wavelet, levels), 1e-10)
