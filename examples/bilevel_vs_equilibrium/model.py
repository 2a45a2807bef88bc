"""Fields of experts as a bilevel and as an equilibrium model (Riccio, Ehrhardt, Benning), many settings at once."""

from __future__ import annotations

from typing import Any

import numpy as np

import opalg as oa

TASKS = ("denoising", "inpainting", "deblurring")


def measurement(task: str, shape: tuple[int, int]) -> oa.LinearOperator:
    """The forward operator of a task: nothing, the upper third of the rows missing, or a circular diagonal blur."""
    if task == "denoising":
        return oa.Identity(shape)
    if task == "inpainting":
        seen = np.ones(shape, dtype=bool)
        seen[: -(-shape[0] // 3)] = False
        return oa.Mask(seen)
    size = 5 if shape[0] >= 16 else 3
    return oa.Convolve(np.eye(size) / size, shape=shape)


def declare(task: str, activation: str, taus: Any, gammas: Any, shape: tuple[int, int], samples: int, seed: int) -> Any:
    """The bilevel model and the equilibrium model of every pair of a step and a weight, as two plans."""
    rng, count, n = np.random.default_rng(seed), len(taus), shape[0] * shape[1]
    start = lambda *size: rng.uniform(-1, 1, size).astype(np.float32) / np.sqrt(n)  # noqa: E731
    tau, gamma = (np.asarray(v, np.float32).reshape(count, 1) for v in (taus, gammas))
    threshold = tau if activation == "softshrink" else None

    u = oa.Variable((samples, count, *shape), name="u", dtype=np.float32)
    f = oa.Parameter(np.zeros(u.shape, np.float32), name="f")
    A, b = oa.Parameter(start(count, n, n), name="A"), oa.Parameter(start(count, n), name="b")
    K = measurement(task, shape)
    flat = oa.Reshape((count, *shape), (count, n))
    responses = oa.MatrixStack(A) @ (flat @ u)
    experts = oa.pointwise(oa.activation(activation, threshold), responses + oa.broadcast_to(b, responses.shape))
    data = 0.5 * oa.sum_squares(K @ u - f)
    t, g = (v.reshape(count, 1, 1) for v in (tau, gamma))
    bilevel = oa.fixed_point(u, u - t * (oa.grad(data) + g * oa.grad(experts)), sample_axes=2, backend="torch")
    return bilevel, oa.untie(bilevel, A, name="C", value=start(count, n, n))
