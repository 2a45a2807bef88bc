"""The catalogue as a reader finds it: every operator has its formula, shapes, facts and an example that runs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import opalg as oa

PAGES = [
    name
    for name in oa.__all__
    if not name.startswith("from_")
    if (inspect.isclass(getattr(oa, name)) and issubclass(getattr(oa, name), oa.LinearOperator))
    or (
        inspect.isfunction(getattr(oa, name))
        and "LinearOperator" in str(inspect.signature(getattr(oa, name)).return_annotation)
    )
]


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"LinearOperator"}))
def test_a_page_shows_formula_shapes_facts_and_an_example(name):
    text = inspect.getdoc(getattr(oa, name)) or ""
    head = text.partition("Parameters\n")[0] + text.partition("Notes\n")[2].partition("Examples\n")[0]
    assert "``" in head, "there is no formula in its first sentence or its notes"
    assert "Parameters\n----------" in text
    assert "Notes\n-----" in text, "nothing is said of its adjoint, norm and facts"
    assert "Examples\n--------" in text and f"oa.{name}" in text, "there is no example that types its public name"


def test_the_catalogue_is_complete():
    wanted = """
    Identity Zero Diagonal Mask Restrict Gather Crop Pad Slice Flip Roll Transpose Reshape Real Imag Conj Sum Mean
    CumulativeSum Matrix LowRank Permutation vstack hstack block_diag block kron FiniteDifference Gradient Divergence
    Laplacian Hessian SymmetrizedGradient Convolve MultiConvolve Downsample Upsample FFT RFFT DCT DST Wavelet
    UndecimatedWavelet Hadamard StructuredRandom Patches Interpolate Warp Radon CoilSensitivities ParallelMRI
    NonuniformFFT IntensityDiffraction FunctionOperator
    """
    assert set(wanted.split()) <= set(PAGES)


def test_every_file_of_operators_is_loaded_so_that_its_rules_are_there():
    names = [
        f"opalg.operators.{found.name}"
        for found in pkgutil.iter_modules(importlib.import_module("opalg.operators").__path__)
    ]
    code = f"import sys, opalg; print([n for n in {names!r} if n not in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]", found.stdout
