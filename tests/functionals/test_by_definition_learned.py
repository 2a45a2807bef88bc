"""Terms made of denoisers and networks by definition, with the facts that were declared; and the kit on all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg import functionals as fs

RNG = np.random.default_rng(3)
HALF = RNG.normal(size=(5, 5))
SYMMETRIC = HALF @ HALF.T
SYMMETRIC = 0.9 * SYMMETRIC / np.linalg.norm(SYMMETRIC, 2)
X = oa.Variable((5,), name="x")
V = RNG.normal(size=5)
D = RNG.normal(size=5)


def smooth(v: Any) -> Any:
    return SYMMETRIC @ v


def back(v: Any, u: Any) -> Any:
    return SYMMETRIC.T @ u


def test_red_is_the_gradient_of_its_energy_where_declared() -> None:
    term = oa.red(smooth, X, vjp=back, symmetric=True, homogeneous=True, nonexpansive=True)
    np.testing.assert_allclose(term.gradient(V), V - SYMMETRIC @ V)
    np.testing.assert_allclose(term.value(V), V @ (V - SYMMETRIC @ V) / 2)
    facts = term.functional.facts
    assert facts.has_value is oa.YES and facts.convex is oa.YES and facts.bounded_below is oa.YES
    assert float(facts.smoothness) == 2.0


def test_red_without_declarations_has_a_field_only() -> None:
    term = oa.red(smooth, X)
    np.testing.assert_allclose(term.gradient(V), V - SYMMETRIC @ V)
    facts = term.functional.facts
    assert facts.has_value is not oa.YES and facts.convex is oa.UNKNOWN and facts.smoothness is None
    with pytest.raises(oa.UnsupportedError):
        term.value(V)
    assert term.functional.exactness is None and not term.functional.offers("prox")


def test_red_solves_the_equation_of_its_field() -> None:
    y = RNG.normal(size=5)
    energy = 0.5 * oa.sum_squares(X - y) + 0.7 * oa.red(smooth, X, nonexpansive=True)
    found = oa.compile(energy, nonconvex=True).solve(tol=1e-10).x
    expected = np.linalg.solve(np.eye(5) + 0.7 * (np.eye(5) - SYMMETRIC), y)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_plug_and_play_is_a_prox_without_a_value() -> None:
    term = oa.plug_and_play(smooth, X, nonexpansive=True)
    f = term.functional
    np.testing.assert_allclose(f.prox(V, 1.0), SYMMETRIC @ V)
    assert f.exactness.value == "what the user declared"
    assert f.facts.has_value is not oa.YES
    with pytest.raises(oa.UnsupportedError):
        f.value(V)
    with pytest.raises(oa.UnsupportedError):
        f.gradient(V)


def test_plug_and_play_with_a_strength_hears_of_the_step() -> None:
    f = fs.PlugAndPlay(lambda v, s: v / (1 + s**2), strength=True)
    np.testing.assert_allclose(f.prox(V, 3.0), V / 4)


def test_plug_and_play_reaches_the_fixed_point() -> None:
    """With a linear denoiser D, ``x = D(x - (x - y) / w)``."""
    y = RNG.normal(size=5)
    energy = 0.5 * oa.sum_squares(X - y) + 2.0 * oa.plug_and_play(smooth, X, nonexpansive=True)
    found = oa.compile(energy, nonconvex=True).solve(tol=1e-10).x
    expected = np.linalg.solve(np.eye(5) - SYMMETRIC / 2, SYMMETRIC @ y / 2)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_gradient_step_terms_are_half_squared_residuals() -> None:
    term = oa.gradient_step(smooth, X, vjp=back, lipschitz=1.5)
    residual = V - SYMMETRIC @ V
    np.testing.assert_allclose(term.value(V), residual @ residual / 2)
    np.testing.assert_allclose(term.gradient(V), residual - SYMMETRIC.T @ residual)
    facts = term.functional.facts
    assert facts.convex is oa.UNKNOWN and facts.has_value is oa.YES
    assert float(facts.smoothness) == 1.5 and facts.smoothness.certainty == "asserted"
    assert oa.gradient_step(smooth, X, vjp=back, convex=True).functional.facts.convex is oa.YES


def test_scalar_networks_and_input_convex_ones() -> None:
    def network(v: Any) -> Any:
        return np.sum(v**4)

    def slope(v: Any, u: Any) -> Any:
        return 4 * u * v**3

    plain = oa.scalar_network(network, X, vjp=slope)
    np.testing.assert_allclose(plain.value(V), np.sum(V**4))
    np.testing.assert_allclose(plain.gradient(V), 4 * V**3)
    assert plain.functional.facts.convex is oa.UNKNOWN
    convex = oa.input_convex(network, X, vjp=slope, lipschitz=10.0)
    assert convex.functional.facts.convex is oa.YES
    assert float(convex.functional.facts.smoothness) == 10.0
    nothing = oa.scalar_network(network, X)
    with pytest.raises(oa.UnsupportedError, match="vjp"):
        nothing.gradient(V)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fs.Red(3.0),
        lambda: fs.Red(smooth, averaged=1.5),
        lambda: fs.Red(smooth, averaged=0.0),
        lambda: fs.PlugAndPlay("blur"),
        lambda: fs.PlugAndPlay(smooth, averaged=-0.1),
        lambda: fs.GradientStep(None),
        lambda: fs.GradientStep(smooth, lipschitz=-1.0),
        lambda: fs.ScalarNetwork(0),
    ],
)
def test_what_cannot_be_called_or_declared_is_refused(make: Any) -> None:
    with pytest.raises(oa.ParameterError):
        make()


def test_torch_modules_bring_their_derivatives() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Softplus(), torch.nn.Linear(7, 1)).double().eval()
    x = oa.Variable((5,), name="x")
    v = torch.tensor(V)
    term = oa.scalar_network(network, x)
    leaf = v.clone().requires_grad_()
    expected = torch.autograd.grad(network(leaf).sum(), leaf)[0]
    assert term.value(v) == pytest.approx(float(network(v).detach()))
    np.testing.assert_allclose(term.gradient(v).numpy(), expected.numpy(), rtol=1e-10)
    denoiser = torch.nn.Linear(5, 5).double().eval()
    step = oa.gradient_step(denoiser, x)
    leaf = v.clone().requires_grad_()
    value = ((leaf - denoiser(leaf)) ** 2).sum() / 2
    expected = torch.autograd.grad(value, leaf)[0]
    np.testing.assert_allclose(step.gradient(v).numpy(), expected.numpy(), rtol=1e-10)
    assert step.value(v) == pytest.approx(float(value.detach()))


CHECKED = {
    "red": (fs.Red(lambda v: 0.5 * v, symmetric=True, homogeneous=True, nonexpansive=True), (5,)),
    "scalar_network": (
        oa.input_convex(
            lambda v: np.sum(v**4), X, vjp=lambda v, u: 4 * u * v**3, hvp=lambda v, u, d: 12 * u * v**2 * d
        ).functional,
        (5,),
    ),
    "sum_squares": (fs.SumSquares(), None),
    "charbonnier": (fs.Charbonnier(0.5), None),
    "kl": (fs.KLDivergence(2.0, background=0.3), None),
    "norm21": (fs.Norm21(), None),
    "nuclear": (fs.NuclearNorm(), None),
    "ordered": (fs.OrderedNorm1(np.arange(12.0)[::-1]), None),
    "simplex": (oa.simplex(), None),
    "cone": (oa.second_order_cone, None),
    "psd": (oa.psd_cone, (3, 3)),
    "rank": (oa.rank_ball(2), None),
    "sum": (fs.Norm1() + fs.Indicator(oa.nonneg), None),
    "behind": (fs.Norm1() @ oa.DCT((3, 4)), None),
}


KINDS = {"scalar_network": ("real",), "red": ("real",)}


@pytest.mark.parametrize("name", CHECKED)
def test_the_kit_finds_nothing_wrong(name: str) -> None:
    functional, shape = CHECKED[name]
    report = oa.testing.check_functional(functional, shape, np.random.default_rng(0), kinds=KINDS.get(name))
    assert report, report


class Plain:
    """Half the sum of squares plus magnitudes; derived classes are wrong in one place each."""

    def value(self, v: Any) -> float:
        return float(np.sum(np.abs(v)) + np.sum(np.abs(v) ** 2) / 2)

    def prox(self, v: Any, t: Any) -> Any:
        t = np.reshape(np.asarray(t), np.shape(t) + (1,) * (np.ndim(v) - np.ndim(t))) if np.ndim(t) else t
        size = np.abs(v)
        shrunk = np.maximum(size - t, 0) / (1 + t)
        return (v / np.where(size > 0, size, 1) * shrunk).astype(v.dtype)


class NoQuadratic(Plain):
    def prox(self, v: Any, t: Any) -> Any:
        return np.sign(v) * np.maximum(np.abs(v) - t, 0)


class NoStep(Plain):
    def prox(self, v: Any, t: Any) -> Any:
        return super().prox(v, 1.0)


class Flipped(Plain):
    def prox(self, v: Any, t: Any) -> Any:
        return -super().prox(v, t)


class InPlace(Plain):
    def prox(self, v: Any, t: Any) -> Any:
        v[...] = super().prox(v, t)
        return v


class Wide(Plain):
    def prox(self, v: Any, t: Any) -> Any:
        return super().prox(v, t).astype(float)


class SquareSlope:
    """A square whose gradient forgets the factor of two."""

    def value(self, v: Any) -> float:
        return float(np.sum(np.abs(v) ** 2))

    def gradient(self, v: Any) -> Any:
        return v.copy()


class SlopeOfAbsolute:
    """The gradient has the wrong sign in one entry."""

    def value(self, v: Any) -> float:
        return float(np.sum(np.sqrt(1 + np.abs(v) ** 2)))

    def gradient(self, v: Any) -> Any:
        g = v / np.sqrt(1 + np.abs(v) ** 2)
        g.flat[0] = -g.flat[0]
        return g


def test_the_kit_passes_the_right_one() -> None:
    report = oa.testing.check_functional(Plain(), kinds=("real",))
    assert report, report


@pytest.mark.parametrize("wrong", [NoQuadratic, NoStep, Flipped, InPlace, Wide, SquareSlope, SlopeOfAbsolute])
def test_the_kit_catches_mistakes_and_says_what_they_may_be(wrong: Any) -> None:
    report = oa.testing.check_functional(wrong(), kinds=("real",))
    assert not report
    assert report.findings and report.findings[0].hint
    with pytest.raises(AssertionError):
        report.raise_if_failed()


def test_a_false_word_on_convexity_is_falsified() -> None:
    """``-|v|^2`` declared convex."""
    bent = oa.input_convex(lambda v: -np.sum(v**2), X, vjp=lambda v, u: -2 * u * v, hvp=lambda v, u, d: -2 * u * d)
    report = oa.testing.check_functional(bent.functional, (5,), kinds=("real",))
    assert not report
    assert any("convex" in str(finding) for finding in report.findings)
