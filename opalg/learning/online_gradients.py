"""Gradients through online solves: the adjoint is sought with fresh blocks, independent of the forward ones."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from opalg.errors import NonFiniteError, UnsupportedError
from opalg.implicit.arguments import Options, Request, cotangent_of, forward_flags, options_of, request_of
from opalg.implicit.gradients import Adjoint, Gradients
from opalg.implicit.programs import is_zero, size
from opalg.learning.sampled_map import SampledMap
from opalg.learning.samplers import drawn_by
from opalg.program.recordings import recorded_once
from opalg.solving.loop import quiet
from opalg.solving.solution import Solution

TAIL = 0.1  # the last part of the iterations, over which their changes tell how far they have come


class OnlineDifferentiator:
    """Gradients of one online solve.

    Parameters
    ----------
    plan : OnlinePlan
    sampled : SampledMap
        The pieces, bound to the parameters of the solve.
    binding
        Of the full map.
    rng : numpy.random.Generator
        Of the backward pass.
    iterations : int
        How many the forward pass made; the backward pass makes as many where it is not told.
    """

    def __init__(self, plan: Any, sampled: SampledMap, binding: Any, rng: np.random.Generator, iterations: int) -> None:
        self.plan, self.sampled, self.binding = plan, sampled, binding
        self.lib, self.rng, self.iterations = binding.lib, rng, iterations

    def vjp(self, solution: Solution, cotangent: Any, wrt: Any, side: str | None = None, **options: Any) -> Gradients:
        """The gradient of ``Re <cotangent, x(theta)>``, with an adjoint after ``max_iter`` sampled iterations."""
        if side is not None:
            raise UnsupportedError("derivatives to one side are not offered for online solves; leave side= out")
        asked = options_of(options, self.lib)
        if asked.per_sample or asked.estimate == "bound" or asked.mode not in ("exact", "jacobian_free"):
            raise UnsupportedError(
                "gradients of online solves are estimates from samples: there are neither bounds nor gradients by "
                "sample, and the modes are 'exact', with max_iter iterations, and 'jacobian_free'"
            )
        lowering = self.plan.full.lowering
        request = request_of(wrt, lowering, self.lib, self.plan._cache)
        cotangents = cotangent_of(solution, cotangent, self.lib, self.lib)
        flags = forward_flags(solution, asked.on_inexact) + request.flags + cotangents.flags
        (c,) = cotangents(list(solution.points))
        if not request.leaves or is_zero([c], self.lib):
            zeros = [self.lib.zeros(p.shape, p.kind) for p in request.leaves]
            return self._result(request, zeros, c, 0.0, 0, asked, flags)
        (x,) = solution.state
        with (
            recorded_once()
        ):  # a network is evaluated once at x; every iteration then is one product with its derivative
            u, residual, count = self._adjoint(x, c, asked)
        return self._result(request, self.sampled.pulled(x, self._draw(), u, request), u, residual, count, asked, flags)

    def _adjoint(self, x: Any, c: Any, asked: Options) -> tuple[Any, float, int]:
        """``u <- T_k'(x)^T u + c`` with fresh blocks in every iteration; the relative change of the last ones."""
        lib, scale = self.lib, size([c], self.lib)
        if asked.mode == "jacobian_free":
            return c, 1.0, 0
        wanted = self.iterations if asked.max_iter is None else asked.max_iter
        start = asked.start_for("online")
        u, changes = (c if start is None else start), []
        for _ in range(wanted):
            with quiet():  # a map that does not contract overflows here, which is said below
                moved = lib.add(self.sampled.transposed(x, self._draw(), u), c)
                changes.append(size([lib.subtract(moved, u)], lib) / scale)
            u = moved
            if not np.isfinite(changes[-1]):
                raise NonFiniteError(
                    f"the adjoint of the online solve grew beyond all numbers after {len(changes)} iterations: the map "
                    f"does not contract at the point found. Shorten its step, normalise the spectra of its network, or "
                    f"take mode='jacobian_free'"
                )
            if asked.tol is not None and changes[-1] <= asked.tol and self._change(x, u, c) <= asked.tol * scale:
                break
        if not changes:
            return u, self._change(x, u, c) / scale, 0
        tail = changes[-max(1, int(TAIL * len(changes))) :]
        return u, float(np.mean(tail)), len(changes)

    def _change(self, x: Any, u: Any, c: Any) -> float:
        """How far an iteration with all blocks moves an adjoint: one with some of them may leave any as it is."""
        moved = self.lib.add(self.sampled.transposed(x, np.arange(self.plan.count), u), c)
        return size([self.lib.subtract(moved, u)], self.lib)

    def _draw(self) -> np.ndarray:
        count = self.plan.count
        return np.arange(count) if self.plan.backward == "full" else drawn_by(self.plan.sampler, self.rng, count)

    def _result(
        self,
        request: Request,
        values: list[Any],
        u: Any,
        residual: float,
        count: int,
        asked: Options,
        flags: tuple[str, ...],
    ) -> Gradients:
        named = request.named([self.lib.copy(v) for v in values])
        return Gradients(
            {**named, **request.zeros},
            residual,
            "online",
            "sampled" if asked.mode == "exact" else asked.mode,
            flags,
            {"adjoint": count},
            None,
            "none",
            adjoint=Adjoint("online", u),
        )

    def jvp(self, solution: Solution, *_: Any, **options: Any) -> NoReturn:
        """Not offered."""
        raise UnsupportedError("changes along directions are not offered for online solves; take plan.full.solve()")

    def polish(self, solution: Solution, **options: Any) -> NoReturn:
        """Not offered."""
        raise UnsupportedError("an online solve has no equation to polish; take plan.full.solve(x0=sol)")

    validity_radius = second_order = value_gradient = jvp


__all__ = ["OnlineDifferentiator"]
