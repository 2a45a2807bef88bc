"""Plug-and-play: a denoiser for a prox, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.facts import UNKNOWN
from opalg.functionals import Norm1
from opalg.functionals.exactness import Exactness
from opalg.functionals.gradient_step import GradientStep
from opalg.functionals.plug_and_play import PlugAndPlay, plug_and_play


def test_the_prox_is_the_denoiser_whatever_the_step(rng: np.random.Generator) -> None:
    f, v = PlugAndPlay(np.tanh), rng.standard_normal((2, 3))
    for t in (0.0, 0.3, 5.0, np.array([0.2, 3.0])):
        assert np.array_equal(f.prox(v, t), np.tanh(v))


def test_a_denoiser_may_be_told_its_strength(rng: np.random.Generator) -> None:
    known, v = Norm1(), rng.standard_normal((2, 3))
    f = PlugAndPlay(lambda a, s: np.sign(a) * np.maximum(abs(a) - s**2, 0.0), strength=True)
    for t in (0.0, 0.3, 2.0):
        assert np.allclose(f.prox(v, t), known.prox(v, t), atol=1e-15)
    each = np.array([0.2, 1.0])
    assert np.allclose(f.prox(v, each), known.prox(v, each), atol=1e-15)
    seen = []
    PlugAndPlay(lambda a, s: seen.append(s) or a, strength=True).prox(v, 4.0)
    assert seen == [2.0] and isinstance(seen[0], float)


def test_there_is_no_value_and_no_gradient(rng: np.random.Generator) -> None:
    f, x, v = PlugAndPlay(np.tanh), oa.Variable(3, name="x"), rng.standard_normal(3)
    assert f.offers("prox") and not f.offers("gradient") and not f.offers("conjugate_value")
    assert f.facts.has_value is f.facts.smooth is f.facts.convex is UNKNOWN
    for ask in (f.value, f.gradient, plug_and_play(np.tanh, x).value):
        with pytest.raises(oa.UnsupportedError, match="has no"):
            ask(v)
    with pytest.raises(oa.UnsupportedError, match="is not known to be differentiable"):
        plug_and_play(np.tanh, x).gradient(v)


def test_exactness_is_asserted_only() -> None:
    assert PlugAndPlay(np.tanh).exactness is Exactness.DECLARED
    assert PlugAndPlay(np.tanh, exact=True).exactness is Exactness.DECLARED


def test_a_gradient_step_stands_for_its_denoiser(rng: np.random.Generator) -> None:
    g = GradientStep(GradientStep.examples(rng)[0].network)
    f, v, d = PlugAndPlay(g), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    assert np.allclose(f.prox(v, 1.0), v - g.gradient(v), rtol=1e-14)
    assert f.network.symmetric and f.network.transposed is not None
    assert np.allclose(f.network.transposed(v, d), d - g.hessian_vector(v, d), rtol=1e-14)
