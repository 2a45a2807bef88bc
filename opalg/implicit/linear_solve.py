"""The solve of a linear system of implicit differentiation: which Krylov method, when to stop, what it noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.implicit.rows import BatchRows
from opalg.iterations import GMRES, MINRES, BatchedConjugateGradients, ConjugateGradients, LinearIteration
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Limits, Measurement, run
from opalg.solving.status import Status

RESTART = 60  # GMRES keeps as many states
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
    """

    tol: float
    max_iter: int


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
    sample_outcomes: tuple[str | None, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the true residual is about what was asked for."""
        return self.relative <= SHARP * self.tol


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
    fallback: bool = True,
) -> Solved:
    """Conjugate gradients; MINRES where the system is not definite, or, as a fallback, where they do not converge.

    With a batch every sample has its own conjugate gradients and its own end.
    """
    if batch is not None:
        return _by_sample(apply, rhs, lib, accuracy, start, precondition, batch)
    negative = False
    spent = 0
    if definite:
        found = _run(ConjugateGradients(apply, rhs, lib, precondition), accuracy, start, "conjugate_gradients")
        if found.converged or found.outcome == "nonfinite":
            return found
        negative, spent = found.outcome == "negative_curvature", found.products
        if not fallback:
            return replace(found, negative=negative)
    found = _run(MINRES(apply, rhs, lib), accuracy, start, "minres")
    return replace(found, products=found.products + spent, negative=negative)


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
    return Solved(
        lib.copy(outcome.state),
        relative,
        iteration.products,
        solver,
        iteration.outcome,
        iteration.message,
        accuracy.tol,
        iteration,
    )
