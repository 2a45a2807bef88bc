"""Training steps of implicit models beside the same models written by hand in Torch with torchdeq.

    python benchmarks/training.py [--repeat 15] [--threads 1]

Both get the same weights, data, tolerances, iteration caps and solver (Anderson's acceleration of every sample by
itself, memory 6, forward and backward), and take turns in one process, each first in every other turn; what is printed
are medians of whole steps in seconds of the processor: solve, backward pass and step of the optimiser. The ratio is the
median of the ratios of turns; beside it that of the fastest steps. ``gradient`` is the difference of their first
gradients relative to one another, ``iterations`` are those of the forward and of the backward solve.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
import torchdeq

import opalg as oa

TOL, CAP, MEMORY = 1e-3, 50, 6


@dataclass
class Model:
    """One side of a comparison: what its step does, its weights, and counts of its last step."""

    name: str
    weights: list[torch.Tensor]
    forward: Callable[[torch.Tensor], torch.Tensor]
    counts: Callable[[], tuple[int, int]]
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.Adam(self.weights, lr=1e-4)

    def step(self, data: torch.Tensor, target: torch.Tensor) -> None:
        """A step of training, with its time."""
        begin = time.process_time()
        self.optimiser.zero_grad()
        (0.5 * (self.forward(data) - target).square().sum()).backward()
        self.optimiser.step()
        self.seconds.append(time.process_time() - begin)


def by_torchdeq(image: Callable[..., torch.Tensor], weights: list[torch.Tensor]) -> Model:
    """A map ``(x, data) -> T(x)`` under `torchdeq.get_deq`."""
    solver = {"m": MEMORY, "lam": 1e-8}
    deq = torchdeq.get_deq(
        core="sliced", ift=True, f_solver="anderson", b_solver="anderson", f_max_iter=CAP, b_max_iter=CAP,
        f_tol=TOL, b_tol=TOL, f_stop_mode="rel", b_stop_mode="rel",
    )  # fmt: skip
    counts = [0, 0]

    def write(found: dict[str, torch.Tensor]) -> None:
        counts[1] = int(found["nstep"].max())

    def forward(data: torch.Tensor) -> torch.Tensor:
        found, info = deq(lambda x: image(x, data), torch.zeros_like(data), solver_kwargs=solver, backward_writer=write)
        counts[0] = int(info["nstep"].max())
        return found[-1]

    return Model("torchdeq", weights, forward, lambda: (counts[0], counts[1]))


def by_opalg(plan: oa.MapPlan, name: str, weights: Callable[[Any], list[torch.Tensor]]) -> Model:
    """A plan as a module."""
    gradient = {
        "tol": TOL, "max_iter": CAP, "solver": "anderson", "refine": False, "estimate": False, "on_inexact": "return",
        "precision": "float32",
    }  # fmt: skip
    module = plan.as_module(tol=TOL, max_iter=CAP, on_failure="return", gradient_options=gradient)

    def counts() -> tuple[int, int]:
        return module.solution.iterations, module.gradients.products

    return Model("opalg", weights(module), lambda data: module(**{name: data}), counts)


def experts(side: int, samples: int) -> Iterator[Model | torch.Tensor]:
    """The gradient map of fields of dense experts, bilevel learning's: ``u - tau (u - f + gamma A' tanh(A u + b))``."""
    n, tau, gamma = side * side, 0.5, 0.5
    torch.manual_seed(0)
    A = (torch.rand(n, n) * 2 - 1) / n**0.5
    b = torch.zeros(n)
    hand = [torch.nn.Parameter(A.clone()), torch.nn.Parameter(b.clone())]

    def image(u: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
        flat = u.flatten(1)
        slope = torch.tanh(flat @ hand[0].T + hand[1]) @ hand[0]
        return u - tau * (u - f + gamma * slope.view_as(u))

    u = oa.Variable((samples, n), name="u", dtype=torch.float32)
    f = oa.Parameter(torch.zeros(samples, n), name="f")
    p, q = oa.Parameter(A, name="A"), oa.Parameter(b, name="b")
    energy = 0.5 * oa.sum_squares(u - f) + gamma * oa.pointwise(
        oa.activation("tanh"), oa.Matrix(p) @ u + oa.broadcast_to(q, (samples, n))
    )
    plan = oa.fixed_point(u, u - tau * oa.grad(energy), memory=MEMORY - 1, sample_axes=1, backend="torch")
    yield by_torchdeq(image, hand)
    yield by_opalg(plan, "f", lambda m: [m.A, m.b])
    target = torch.rand(samples, n)
    yield target + 0.1 * torch.randn(samples, n)
    yield target


def convolutions(side: int, samples: int, channels: int = 16) -> Iterator[Model | torch.Tensor]:
    """An equilibrium model of two convolutions: ``x - tau (x - y + N(x))``."""
    tau = 0.6
    torch.manual_seed(0)

    def network() -> torch.nn.Module:
        torch.manual_seed(1)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, channels, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(channels, 1, 3, padding=1)
        ).eval()

    hand, own = network(), network()
    x = oa.Variable((samples, 1, side, side), name="x", dtype=torch.float32)
    y = oa.Parameter(torch.zeros(x.shape), name="y")
    plan = oa.fixed_point(x, x - tau * (x - y + oa.apply(own, x)), memory=MEMORY - 1, sample_axes=1, backend="torch")

    def image(v: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        return v - tau * (v - data + hand(v))

    yield by_torchdeq(image, list(hand.parameters()))
    yield by_opalg(plan, "y", lambda m: list(own.parameters()))
    target = torch.rand(x.shape)
    yield target + 0.1 * torch.randn(x.shape)
    yield target


CASES: dict[str, Callable[[], Iterator[Any]]] = {
    "experts, 100 samples of 8 x 8": lambda: experts(8, 100),
    "experts, 100 samples of 28 x 28": lambda: experts(28, 100),
    "convolutions, 8 samples of 32 x 32": lambda: convolutions(32, 8),
    "convolutions, 16 samples of 64 x 64": lambda: convolutions(64, 16),
}


def compare(name: str, repeat: int) -> str:
    """The figures of one case as a line of a table."""
    hand, own, data, target = CASES[name]()
    for model in (hand, own):
        model.step(data, target)
    pairs = zip(hand.weights, own.weights, strict=True)
    apart = max(float((a.grad - b.grad).norm() / a.grad.norm()) for a, b in pairs)
    counts = [model.counts() for model in (hand, own)]
    for model in (hand, own):
        model.step(data, target)
        model.seconds.clear()
    for turn in range(repeat):
        for model in (hand, own) if turn % 2 else (own, hand):
            model.step(data, target)
    times = [1e3 * median(model.seconds) for model in (hand, own)]
    least = min(own.seconds) / min(hand.seconds)
    ratio = median(b / a for a, b in zip(hand.seconds, own.seconds, strict=True))
    seen = ", ".join(f"{f} + {b}" for f, b in counts)
    return f"| {name} | {times[0]:.1f} | {times[1]:.1f} | {ratio:.2f} | {least:.2f} | {seen} | {apart:.0e} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(
        "| | torchdeq, ms | opalg, ms | ratio | of the fastest | iterations, forward + backward | gradient |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name in asked.only:
        print(compare(name, asked.repeat), flush=True)


if __name__ == "__main__":
    main()
