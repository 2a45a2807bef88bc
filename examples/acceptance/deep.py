"""Bars of deep regularisation by bilevel optimisation, measured at small scale: about ten minutes on one core."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg

import opalg as oa
from examples.acceptance.bar import Bar
from examples.deep_regularisation.data import samples
from examples.deep_regularisation.model import Denoiser, Potential, declare, measurement
from examples.deep_regularisation.report import PUBLISHED
from examples.deep_regularisation.settings import SMALL
from examples.deep_regularisation.study import Method, Study, study
from examples.deep_regularisation.training import loss, measured_by

CURVED = ("negative_curvature", "not_a_minimum")


def bars() -> Iterator[Bar]:
    """Measure them."""
    yield from of_the_measurement()
    yield from of_the_prox()
    yield of_hypergradients()
    found = study(SMALL, *samples(SMALL), say=lambda line: None)
    yield from of_descent(found)
    yield from of_training(found)


def of_the_measurement() -> Iterator[Bar]:
    """S2.1: rows are orthonormal, a product costs a fast transform, and half of the energy is lost."""
    rng, A = np.random.default_rng(0), measurement(48)
    y = rng.normal(size=A.out_shape)
    yield Bar("S2.1", "A A' = I, worst entry", float(np.abs(A @ (A.H @ y) - y).max()), most=1e-5)
    yield Bar("S2.1", "time of a product, 4 times the pixels", _time(512) / _time(256), most=8.0, note="16 if dense")
    x = samples(replace(SMALL, side=120))[1].numpy()
    B = measurement(120)
    lost = float(np.mean((B.H @ (B @ x) - x) ** 2) / np.mean(x**2))
    yield Bar("S2.1", "|A'A x - x|^2 over (1 - m / d) |x|^2", lost / 0.5, least=0.95, most=1.05)


def _time(side: int) -> float:
    """The shortest of some times of a product, in seconds."""
    A, x = measurement(side), np.ones((side, side))
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        A @ x
        times.append(time.perf_counter() - begin)
    return min(times)


def of_the_prox() -> Iterator[Bar]:
    """S2.2: the closed form beside conjugate gradients, and its limit without noise."""
    rng, A, shape, t = np.random.default_rng(1), measurement(24), (24, 24), 0.7
    y, z = rng.normal(size=A.out_shape), rng.normal(size=shape)
    x = oa.Variable(shape, name="x")
    data = 0.5 * oa.sum_squares(A @ x - y)
    (closed,) = oa.fixed_point(x, oa.prox(data, x, t)).step((z,))
    system = LinearOperator((z.size, z.size), lambda v: v + t * (A.H @ (A @ v.reshape(shape))).ravel(), dtype=float)
    found, _ = cg(system, (z + t * (A.H @ y)).ravel(), rtol=1e-12)
    yield Bar("S2.2", "closed-form prox beside conjugate gradients", _apart(closed.ravel(), found), most=1e-6)
    (limit,) = oa.fixed_point(x, oa.prox(data, x, 1e12)).step((z,))
    yield Bar("S2.2", "its limit without noise: |A x - y| / |y|", _apart(A @ limit, y), most=1e-6)
    yield Bar("S2.2", "that limit is the projection", _apart(limit, z + A.H @ (y - A @ z)), most=1e-6)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def of_hypergradients(side: int = 24, count: int = 2) -> Bar:
    """S2.3: gradients in weights and in lambda against central differences, in double precision."""
    torch.manual_seed(0)
    A, s = measurement(side), Potential(Denoiser()).double()
    module = declare(s, A, count, dtype="float64").as_module(positive="exp", tol=1e-11, max_iter=5000)
    clean = samples(replace(SMALL, side=side, train=1, test=count))[1].double()
    y = measured_by(A)(clean)["y"]
    loss(module(y=y), clean).backward()
    generator, worst = torch.Generator().manual_seed(1), 0.0
    for weight in [w for name, w in module.named_parameters() if name != "y"]:
        along = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        step = 1e-5 * max(1.0, float(weight.detach().norm())) / float(along.norm())
        values = []
        with torch.no_grad():
            for move in (step, -2 * step, step):
                weight += move * along
                values.append(float(loss(module(y=y), clean)))
        slope = (values[0] - values[1]) / (2 * step)
        worst = max(worst, abs(float((weight.grad * along).sum()) - slope) / abs(slope))
    return Bar("S2.3", "hypergradients of weights and lambda beside differences", worst, most=1e-3)


def of_descent(found: Study) -> Iterator[Bar]:
    """S2.4: proximal gradient in single precision, with every regulariser that was learned bilevel."""
    A, clean = measurement(found.settings.side), found.test
    for beta, _ in found.settings.rates:
        method = found[f"bilevel {beta:g}"]
        states, steps = descend(method, clean, A, 200)
        values = torch.stack([energies(method, x, clean, A) for x in states])
        rise = float(((values[1:] - values[:-1]) / values[:-1].abs()).max())
        which = f"beta = {beta:g}"
        yield Bar("S2.4", f"largest relative rise of the energy, {which}", rise, most=1e-6)
        left = residual(method, states[-1], clean, A)
        yield Bar("S2.4", f"residual after 200 iterations, {which}", left, most=1e-5)
        last = float(steps[-1].min() * _bend(method))
        yield Bar("S2.4", f"shortest last step over 1 / L, {which}", last, least=1e-2)
    convex = found[f"bilevel {found.settings.rates[0][0]:g}"]
    steps = descend(convex, clean, A, 60, first=1e-3 / _bend(convex))[1]
    yield Bar("S2.4", "growth of a step that begins at 1e-3 / L", float((steps[-1] / steps[0]).min()), least=100.0)


def _bend(method: Method) -> float:
    """``L`` of the regulariser with its weight, by the Lipschitz constant that was measured."""
    assert method.lipschitz is not None
    return method.lam * (1.0 + method.lipschitz)


def descend(method: Method, clean: torch.Tensor, A: Any, count: int, first: float | None = None) -> tuple[Any, Any]:
    """The iterates of proximal gradient in single precision, and the steps of each sample."""
    assert method.potential is not None
    plan = declare(method.potential, A, len(clean), dtype="float32")
    y = measured_by(A)(clean)["y"]
    binding = plan.bind({"y": y, "lam": method.lam})
    iteration = binding.iteration(0.0)
    if first is not None:
        iteration.first_step, iteration.guesses = first, False
    iteration.start((A.H @ y,))
    states, steps = [iteration.state[0].clone()], [iteration.steps.copy()]
    for _ in range(count):
        iteration.advance()
        states.append(iteration.state[0].clone())
        steps.append(iteration.steps.copy())
    return states, steps


def energies(method: Method, x: torch.Tensor, clean: torch.Tensor, A: Any) -> torch.Tensor:
    """The energy of each sample, in double precision."""
    assert method.potential is not None
    s, x, clean = _double(method.potential), x.double(), clean.double()
    misfit = (A @ x - A @ clean).square().sum(dim=1)
    with torch.no_grad():
        return 0.5 * misfit + method.lam * (0.5 * x.square().flatten(1).sum(dim=1) - s(x))


def residual(method: Method, x: torch.Tensor, clean: torch.Tensor, A: Any, tau: float = 0.3) -> float:
    """``|x - prox(x - tau grad r)| / (tau |x|)`` of the worst sample, in double precision."""
    assert method.potential is not None
    x, y = x.double(), A @ clean.double()
    slope = x - oa.penalties.gradient_of(_double(method.potential))(x).detach()
    moved, weight = x - tau * slope, tau / method.lam
    following = moved - weight / (1 + weight) * (A.H @ (A @ moved - y))
    return float(((following - x).flatten(1).norm(dim=1) / (tau * x).flatten(1).norm(dim=1)).max())


def _double(s: Potential) -> Potential:
    twin = Potential(Denoiser()).double()
    twin.load_state_dict(s.state_dict())
    return twin


def of_training(found: Study) -> Iterator[Bar]:
    """S2.5 to S2.8: what was trained."""
    psnr = {name: m.restored.psnr for name, m in found.methods.items()}
    for beta in (1.0, 3.0):
        measured = found[f"bilevel {beta:g}"].lipschitz
        yield Bar("S2.5", f"Lipschitz constant under attack, beta = {beta:g}", measured, most=1.1 * beta)
    margins = (
        ("gradient step", "RED", 0.2),
        ("bilevel 1", "gradient step", 0.0),
        ("bilevel 3", "bilevel 1", 0.2),
        ("bilevel 10", "bilevel 1", 1.5),
    )
    for better, worse, least in margins:
        note = f"{psnr[better]:.2f} and {psnr[worse]:.2f} dB"
        yield Bar("S2.6", f"{better} above {worse}, in dB", psnr[better] - psnr[worse], least=least, note=note)
    slow, fast = (found[f"bilevel {beta}"].restored.arrival() for beta in (10, 1))
    yield Bar("S2.7", "iterations to 0.1 dB, beta 10 over beta 1", slow / fast, least=2.0, note=f"{slow}, {fast}")
    convex = found["bilevel 1"]
    yield Bar("S2.8", "products of an adjoint solve, beta = 1", max(convex.products), most=20)
    events = sum(any(name in flags for name in CURVED) for flags in convex.flags)
    yield Bar("S2.8", "steps with negative curvature, beta = 1", events, most=0)


def of_full_scale(found: Study) -> Iterator[Bar]:
    """S2.9, which takes a graphics card and hours: every method beside the poster, after 50 iterations."""
    psnr = {name: m.restored.early_psnr for name, m in found.methods.items()}
    for name, method in found.methods.items():
        published, structure = PUBLISHED[name]
        yield Bar("S2.9", f"{name}: PSNR off the poster", abs(psnr[name] - published), most=1.0)
        yield Bar("S2.9", f"{name}: SSIM off the poster", abs(method.restored.early_ssim - structure), most=0.03)
    names = list(found.methods)
    for worse, better in pairwise(names):
        gap = PUBLISHED[better][0] - PUBLISHED[worse][0]
        off = abs(psnr[better] - psnr[worse] - gap)
        yield Bar("S2.9", f"{better} above {worse}: off the poster", off, most=0.5)
    red = found["RED"].restored.curve
    yield Bar("S2.9", "best iterate of RED above its last, in dB", max(red[1:-1]) - red[-1], least=0.5)
