"""Wrong data are refused with errors that say what was found, or what to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import opalg as oa
from tests.operators.catalogue_contract import LIGHTS, OPTICS

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
