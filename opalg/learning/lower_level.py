"""The lower level of bilevel problems: solves and their gradients with warm starts, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from opalg.compiler import Plan
from opalg.implicit import Gradients
from opalg.implicit.flags import FORWARD_NOT_CONVERGED
from opalg.leaves import Parameter
from opalg.solving.solution import Solution
from opalg.solving.status import Status

Loss = Callable[[Any], tuple[float, Any]]
SAFETY = 1.25  # factor on estimates that stand in the place of bounds


@dataclass(frozen=True)
class Accuracy:
    """How accurately the lower level is solved.

    Attributes
    ----------
    tol : float or None
        Relative certificate of the solves, see ``Plan.solve``; None for its default.
    gradient_tol : float
        Relative residual of the gradients' linear systems.
    refine : bool
        Whether the point is polished by Newton steps before it is differentiated.
    estimate : bool
        Whether the error of the gradient is estimated.
    """

    tol: float | None = None
    gradient_tol: float = 1e-2
    refine: bool = True
    estimate: bool = False


@dataclass
class Tally:
    """What one evaluation took, and what is known about its error.

    Attributes
    ----------
    iterations, products : int
        Iterations of the solves, products with the matrices of the linear systems.
    certificate : float
        The largest relative certificate among the solves.
    relative_residual : float
        The largest among the linear systems.
    errors : dict from Parameter to float
        Estimated Euclidean error of the gradient in each parameter.
    loss_error : float
        Estimated error of the value.
    flags : set of str
        All that the gradients were marked with.
    """

    iterations: int = 0
    products: int = 0
    certificate: float = 0.0
    relative_residual: float = 0.0
    errors: dict[Parameter, float] = field(default_factory=dict)
    loss_error: float = 0.0
    flags: set[str] = field(default_factory=set)


class LowerLevel:
    """Solves of one plan for many parameters, each started from the last one at its place.

    Parameters
    ----------
    plan : Plan
    wrt : sequence of Parameter
        What gradients are taken in.
    max_iter : int or None
        Of the solves.
    max_products : int
        Of the gradients' linear systems; where they run out the gradient is used as it is.

    Attributes
    ----------
    accuracy : Accuracy
        Of what comes next.
    tally : Tally
        Since it was last reset.
    """

    def __init__(self, plan: Plan, wrt: Sequence[Parameter], max_iter: int | None, max_products: int) -> None:
        self.plan, self.wrt = plan, list(wrt)
        self.max_iter, self.max_products = max_iter, max_products
        self.accuracy, self.tally = Accuracy(), Tally()
        self._solutions: dict[Hashable, Solution] = {}
        self._gradients: dict[Hashable, Gradients] = {}

    def solve(self, params: Mapping[Any, Any], place: Hashable, near: Hashable = None) -> Solution:
        """The minimiser at parameter values, from the last solution at this place, or else at another.

        Raises
        ------
        KeyboardInterrupt
            Where the solve was interrupted.
        """
        solution = self.plan.solve(
            self._solutions.get(place, self._solutions.get(near)),
            params=params,
            tol=self.accuracy.tol,
            max_iter=self.max_iter,
            on_failure="return",
        )
        if solution.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        self._solutions[place] = solution
        self.tally.iterations += solution.iterations
        if solution.status is Status.MAX_ITER:  # a gradient may be exact all the same, but the loss is not
            self.tally.flags.add(FORWARD_NOT_CONVERGED)
        self.tally.certificate = max(self.tally.certificate, solution.certificate.relative)
        return solution

    def pull_back(self, solution: Solution, loss: Loss, place: Hashable) -> tuple[float, dict[Parameter, np.ndarray]]:
        """The loss of a solution and its gradient through the solution, from the last adjoint at this place."""
        value, cotangent = loss(solution.x)
        seen: list[float] = []

        def slope(x: Any) -> Any:
            found, moved = loss(x)
            seen.append(found)
            return moved

        accuracy = self.accuracy
        gradients = solution.vjp(
            slope,
            self.wrt,
            tol=accuracy.gradient_tol,
            max_iter=self.max_products,
            on_inexact="return",
            refine=accuracy.refine,
            estimate=accuracy.estimate,
            start=self._gradients.get(place),
        )
        self._gradients[place] = gradients
        self._count(gradients)
        if accuracy.estimate:
            self.tally.loss_error += self._loss_error(solution, value, cotangent, seen)
        host = self.plan.backend.to_numpy
        return value, {p: np.asarray(host(gradients[p]), dtype=float) for p in self.wrt}

    def _count(self, gradients: Gradients) -> None:
        tally = self.tally
        tally.products += gradients.products
        tally.relative_residual = max(tally.relative_residual, gradients.relative_residual)
        tally.flags |= set(gradients.flags)
        for p, error in (gradients.error_estimates or {}).items():
            tally.errors[p] = tally.errors.get(p, 0.0) + float(error)

    def _loss_error(self, solution: Solution, value: float, cotangent: Any, seen: Sequence[float]) -> float:
        """How far the value may be from that at the minimiser.

        The differentiator looks at points that are closer to the minimiser, to first order; where it has not, the
        error of the point is bounded by its certificate, or taken to be what its residual says.
        """
        moved = max((abs(found - value) for found in seen), default=0.0)
        if moved > 0:
            return SAFETY * moved
        slopes = cotangent.values() if isinstance(cotangent, Mapping) else [cotangent]
        size = float(np.sqrt(sum(_square(self.plan, c) for c in slopes)))
        bound = solution.error_bound
        if bound is None:
            length = float(np.sqrt(sum(_square(self.plan, x) for x in solution.points)))
            bound = solution.certificate.relative * length
        return size * bound if isfinite(bound) else float("inf")


def _square(plan: Plan, array: Any) -> float:
    return float(np.sum(np.abs(np.asarray(plan.backend.to_numpy(array))) ** 2))
