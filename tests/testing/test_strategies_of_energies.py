"""The strategies for energies: what they draw adds up, has slopes and compiles; functionals fit what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import opalg as oa
from opalg.arrays import backend
from opalg.errors import OpalgError
from opalg.program.interpreter import evaluate
from opalg.testing.strategies import arrays, energies, functionals

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
MODEST = settings(derandomize=True, deadline=None, database=None, suppress_health_check=QUIET)


def test_the_simplest_energy_has_one_term_of_one_entry():
    E = find(energies(max_terms=2), lambda E: len(E.terms) == 1, settings=settings(MODEST, max_examples=30))
    assert len(E.terms) == 1 and E.variables[0].shape == (1,)


@given(functionals((2, 3), "complex"))
@settings(MODEST, max_examples=20)
def test_functionals_take_what_was_asked_for(f):
    f.check_shape((2, 3))
    f.check_kind("complex")
    assert np.isfinite(f.value(np.zeros((2, 3), complex))) or f.facts.indicator or repr(f).endswith("conjugate")


@given(st.data())
@settings(MODEST, max_examples=20)
def test_values_of_energies_are_sums_over_their_terms(data):
    E = data.draw(energies(max_depth=1))
    (x,) = E.variables
    v = data.draw(arrays(x.shape, "complex128" if x.kind == "complex" else "float64"))
    total = 0.0
    for term in E.terms:
        inside = sum(part.operator @ v for part in term.expression.parts)
        if term.expression.offset is not None:
            (offset,) = evaluate([term.expression.offset], {}, backend("numpy", "float64"))
            inside = inside + offset
        value = term.functional.value(np.asarray(inside))
        total += value if term.functional.facts.indicator else float(term.weight.value) * value
    found = E.value(v)
    assert found == pytest.approx(total, rel=1e-10, abs=1e-10) or (np.isinf(found) and np.isinf(total))
    assert repr(E) and E.latex()


@given(st.data())
@settings(MODEST, max_examples=20)
def test_gradients_of_smooth_energies_are_slopes(data):
    E = data.draw(energies(max_depth=1, smooth=True))
    (x,) = E.variables
    rng = np.random.default_rng(0)
    v, d = (
        rng.standard_normal(x.shape) + (1j * rng.standard_normal(x.shape) if x.kind == "complex" else 0) for _ in "vd"
    )
    step = 1e-6
    slope = (E.value(v + step * d) - E.value(v - step * d)) / (2 * step)
    if np.isfinite(slope):
        gradient = E.gradient(v)
        noise = 1e-15 * abs(E.value(v)) / step
        scale = np.linalg.norm(gradient) * np.linalg.norm(d)
        assert abs(np.sum(np.conj(gradient) * d).real - slope) <= 1e-5 * scale + 100 * noise + 1e-9


@given(energies(max_depth=1, max_terms=2))
@settings(MODEST, max_examples=15)
def test_energies_compile_or_say_why_not(E):
    try:
        plan = oa.compile(E)
    except OpalgError:
        return
    assert plan.explain()
