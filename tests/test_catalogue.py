"""The catalogues as a reader finds them: every operator and functional has its formula, what is known of it, and an
example that runs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import opalg as oa
from opalg.functionals import Functional, Set

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

FUNCTIONALS = sorted(
    name
    for name, value in vars(oa.functionals).items()
    if name in oa.functionals.__all__ and inspect.isclass(value) and issubclass(value, (Functional, Set))
    if value not in (Functional, Set)
)
# What users type in an energy: functions that make terms or sets.
TYPED = sorted(
    name
    for name in oa.__all__
    if inspect.isfunction(getattr(oa, name))
    if getattr(oa, name).__module__.startswith("opalg.functionals")
    or name in ("indicator", "split_infimal_convolution", "total_generalized_variation")
)


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


def sections(value):
    """The summary of a docstring and its sections by their names."""
    found, current = {"": ""}, ""
    lines = (inspect.getdoc(value) or "").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following and set(following) == {"-"}:
            current = line
        elif set(line) != {"-"}:
            found[current] = found.get(current, "") + line + "\n"
    return found


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_a_page_shows_formula_prox_conjugate_and_an_example(name):
    value = getattr(oa.functionals, name)
    text = sections(value)
    assert "``" in text[""].splitlines()[0], "its first line has no formula"
    assert not inspect.signature(value).parameters or "Parameters" in text
    assert len(text.get("Notes", "")) > 20, "nothing is said of its prox and conjugate, or of their source"
    assert f"{name}(" in text["Examples"] or f"functionals.{name}" in text["Examples"], "no example shows its name"


@pytest.mark.parametrize("name", TYPED)
def test_a_function_that_users_type_shows_formula_parameters_and_an_example(name):
    value = getattr(oa, name)
    text = sections(value)
    listed = {p.strip() for line in text["Parameters"].splitlines() for p in line.partition(":")[0].split(",")}
    assert "``" in text[""] or name == "indicator", "there is no formula"
    assert set(inspect.signature(value).parameters) <= listed, "a parameter is not described"
    assert f"oa.{name}(" in text["Examples"], "there is no example that types its public name"


def test_the_catalogue_of_functionals_is_complete():
    terms = """
    sum_squares norm1 norm2 norm_inf norm21 nuclear_norm elastic_net ordered_norm1 group_norm huber charbonnier log_cosh
    cauchy geman_mcclure truncated_quadratic norm0 norm_half entropy kl_divergence logistic hinge quantile log_barrier
    linear quadratic squared_distance distance support_function total_variation total_generalized_variation
    fields_of_experts red plug_and_play gradient_step scalar_network input_convex pointwise indicator separable_sum
    moreau_envelope infimal_convolution
    """
    sets = "ball1 ball2 ball_inf simplex box affine rank_ball halfspace point"
    assert set(terms.split()) | set(sets.split()) <= set(TYPED)
    assert all(isinstance(s, Set) for s in (oa.nonneg, oa.second_order_cone, oa.psd_cone))


def test_the_class_behind_a_function_has_its_name_in_camel_case():
    odd = {"norm21": "Norm21", "kl_divergence": "KLDivergence", "psd_cone": "PSDCone", "geman_mcclure": "GemanMcClure"}
    made_of_others = {
        "activation", "affine", "fields_of_experts", "indicator", "input_convex", "pointwise",
        "split_infimal_convolution", "total_generalized_variation", "total_variation",
    }  # fmt: skip
    for name in set(TYPED) - made_of_others:
        assert odd.get(name, name.title().replace("_", "")) in oa.functionals.__all__


def test_what_the_package_exports_is_there_and_sorted():
    assert oa.functionals.__all__ == sorted(oa.functionals.__all__)
    assert all(hasattr(oa.functionals, name) for name in oa.functionals.__all__)


def test_every_file_of_operators_is_loaded_so_that_its_rules_are_there():
    names = [
        f"opalg.operators.{found.name}"
        for found in pkgutil.iter_modules(importlib.import_module("opalg.operators").__path__)
    ]
    code = f"import sys, opalg; print([n for n in {names!r} if n not in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]", found.stdout
