"""The solve of a linear system of implicit differentiation: which Krylov method, when to stop, what it noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.implicit.rows import BatchRows
from opalg.iterations import GMRES, MINRES, BatchedConjugateGradients, ConjugateGradients, LinearIteration
from opalg.iterations.vectors import norm
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Limits, Measurement, run
from opalg.solving.status import Status

RESTART = 60  # GMRES keeps as many states
ROUNDING = 10.0  # multiples of the rounding of one product that a residual may keep
CLOSE = 1e-6  # a relative residual that conjugate gradients reached, after which MINRES has little to add
SHARP = 10.0  # a true residual that is larger than the tolerance by this factor was not converged

Flat = Callable[[Any], Any]


@dataclass(frozen=True)
class Accuracy:
    """What a linear solve has to reach.

    Attributes
    ----------
    tol : float
        On the residual relative to the right-hand side.
    max_iter : int
        Products at most.
    fallback : bool
        Whether MINRES go on where conjugate gradients do not converge.
    """

    tol: float
    max_iter: int
    fallback: bool = True


@dataclass(frozen=True)
class Solved:
    """The result of a linear solve.

    Attributes
    ----------
    state : flat real array
    relative : float
        The true residual, relative to the right-hand side.
    products : int
    solver : str
    outcome : str or None
        What the iteration ended with where it did not converge.
    message : str
    iteration : LinearIteration or None
        What ran, for its Ritz values; None where nothing had to.
    negative : bool
        Whether a direction of negative curvature was met.
    floor : float
        What rounding leaves of the residual, relative to the right-hand side, where that is more than was asked for.
    sample_outcomes : tuple
        For each sample what its iteration ended with, where the solve went sample by sample.
    """

    state: Any
    relative: float
    products: int
    solver: str
    outcome: str | None
    message: str
    tol: float
    iteration: LinearIteration | None = None
    negative: bool = False
    floor: float = 0.0
    sample_outcomes: tuple[str | None, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the true residual is about what was asked for."""
        return self.relative <= max(SHARP * self.tol, self.floor)


def solve_symmetric(
    apply: Flat,
    rhs: Any,
    lib: Backend,
    accuracy: Accuracy,
    *,
    start: Any = None,
    precondition: Flat | None = None,
    definite: bool = True,
    batch: BatchRows | None = None,
) -> Solved:
    """Conjugate gradients; MINRES where the system is not definite, or, as a fallback, where they stop short.

    With a batch every sample has its own conjugate gradients and its own end.
    """
    if batch is not None:
        return _by_sample(apply, rhs, lib, accuracy, start, precondition, batch)
    first: Solved | None = None
    if definite:
        first = _run(ConjugateGradients(apply, rhs, lib, precondition), accuracy, start, "conjugate_gradients")
        negative = first.outcome == "negative_curvature"
        if first.converged or first.outcome == "nonfinite" or not accuracy.fallback or first.relative <= CLOSE:
            return replace(first, negative=negative)
    second = _run(MINRES(apply, rhs, lib), accuracy, start, "minres")
    if first is None:
        return second
    better = second if second.relative < first.relative or not np.isfinite(first.relative) else first
    return replace(better, products=first.products + second.products, negative=first.outcome == "negative_curvature")


def _by_sample(
    apply: Flat, rhs: Any, lib: Backend, accuracy: Accuracy, start: Any, precondition: Flat | None, batch: BatchRows
) -> Solved:
    """Conjugate gradients for every sample; one that fails does not touch the others."""
    before = None if precondition is None else lambda r: batch.rows(precondition(batch.flat(r)))
    iteration = BatchedConjugateGradients(
        lambda r: batch.rows(apply(batch.flat(r))), batch.rows(rhs), lib, accuracy.tol, before
    )
    iteration.start(None if start is None else batch.rows(start))

    def measure(_state: Any) -> Measurement:
        return Measurement(Certificate("residual", iteration.residual, 1.0))

    limits = Limits(0.0, accuracy.max_iter, spacing=1, growth=1.0, adapt_until=0)
    if run(iteration, measure, limits, keep=lambda state: state).status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    scale = float(np.linalg.norm(iteration.rhs_norms))
    relative = float(np.linalg.norm(iteration.true_residuals())) / scale if scale > 0 else 0.0
    outcomes = tuple(None if o == "converged" else o for o in iteration.outcomes)
    return Solved(
        batch.flat(lib.copy(iteration.state)),
        relative,
        iteration.products,
        "conjugate_gradients",
        None,
        iteration.message,
        accuracy.tol,
        sample_outcomes=outcomes,
    )


def solve_general(
    apply: Flat, rhs: Any, lib: Backend, accuracy: Accuracy, *, start: Any = None, precondition: Flat | None = None
) -> Solved:
    """GMRES, with a cycle twice and four times as long where it stagnates."""
    restart, spent = RESTART, 0
    while True:
        left = Accuracy(accuracy.tol, max(accuracy.max_iter - spent, 1))
        found = _run(GMRES(apply, rhs, lib, restart, precondition), left, start, "gmres")
        spent += found.products
        if found.converged or found.outcome != "stagnated" or restart >= 4 * RESTART or spent >= accuracy.max_iter:
            return replace(found, products=spent)
        restart, start = 2 * restart, found.state


def _run(iteration: LinearIteration, accuracy: Accuracy, start: Any, solver: str) -> Solved:
    lib, scale = iteration.lib, iteration.rhs_norm
    if scale == 0.0:
        return Solved(lib.zeros(tuple(iteration.rhs.shape)), 0.0, 0, "none", None, "", accuracy.tol)
    iteration.start(start)
    if start is not None and not iteration.residual < scale:
        iteration.start(None)  # an old solution that is worse than nothing

    def measure(_state: Any) -> Measurement:
        return Measurement(Certificate("residual", iteration.residual, iteration.residual / scale))

    limits = Limits(accuracy.tol, accuracy.max_iter, spacing=1, growth=1.0, adapt_until=0)
    outcome = run(iteration, measure, limits, keep=lambda state: state)
    if outcome.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    relative = iteration.true_residual() / scale
    lags = relative > SHARP * accuracy.tol and iteration.residual <= SHARP * accuracy.tol * scale
    return Solved(
        lib.copy(outcome.state),
        relative,
        iteration.products,
        solver,
        iteration.outcome,
        iteration.message,
        accuracy.tol,
        iteration,
        floor=_rounding(iteration) / scale if lags else 0.0,
    )


def _rounding(iteration: LinearIteration) -> float:
    """What rounding leaves of the residual ``b - A x``: about ``eps |A| |x|``.

    A residual that is rounding lies where A is largest, so that ``|A r| / |r|`` is about its norm.
    """
    lib, x = iteration.lib, iteration.state
    residual = lib.subtract(iteration.rhs, iteration.apply(x))
    length = norm(residual, lib)
    if length == 0.0:
        return 0.0
    return ROUNDING * lib.epsilon * norm(iteration.apply(residual), lib) / length * norm(x, lib)
