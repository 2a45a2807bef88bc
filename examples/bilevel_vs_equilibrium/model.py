"""Fields of experts as a bilevel and as an equilibrium model (Riccio, Ehrhardt, Benning), many settings at once."""

from __future__ import annotations

from typing import Any

import numpy as np

import opalg as oa

TASKS = ("denoising", "inpainting", "deblurring")
ACTIVATIONS = ("relu", "softshrink", "identity")
METHODS = ("bilevel", "equilibrium")


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


def declare(
    task: str,
    activation: str,
    taus: Any,
    gammas: Any,
    shape: tuple[int, int],
    samples: int,
    seed: int,
    *,
    threshold: Any = None,
    dtype: Any = np.float32,
) -> Any:
    """The bilevel model and the equilibrium model of every pair of a step and a weight, as two plans.

    The threshold of ``"softshrink"`` is the step where it is not given, as in the published experiments.
    """
    count, n = len(taus), shape[0] * shape[1]
    rngs = [np.random.default_rng((seed, i)) for i in range(count)]
    start = lambda *size: np.stack([r.uniform(-1, 1, size) for r in rngs]).astype(dtype) / n**0.5  # noqa: E731
    tau, gamma = (np.asarray(v, dtype).reshape(count, 1) for v in (taus, gammas))
    limit = (tau if threshold is None else threshold) if activation == "softshrink" else None

    u = oa.Variable((samples, count, *shape), name="u", dtype=dtype)
    f = oa.Parameter(np.zeros(u.shape, dtype), name="f")
    A, b = oa.Parameter(start(n, n), name="A"), oa.Parameter(start(n), name="b")
    K, flat = measurement(task, shape), oa.Reshape((count, *shape), (count, n))
    responses = oa.MatrixStack(A) @ (flat @ u)
    experts = oa.pointwise(oa.activation(activation, limit), responses + oa.broadcast_to(b, responses.shape))
    data = 0.5 * oa.sum_squares(K @ u - f)
    t, g = (v.reshape(count, 1, 1) for v in (tau, gamma))
    bilevel = oa.fixed_point(u, u - t * (oa.grad(data) + g * oa.grad(experts)), sample_axes=2, backend="torch")
    return bilevel, oa.untie(bilevel, A, name="C", value=start(n, n))


def plan_of(method: str, *given: Any, **options: Any) -> Any:
    """The plan of one method; the arguments are those of `declare`."""
    return declare(*given, **options)[METHODS.index(method)]
