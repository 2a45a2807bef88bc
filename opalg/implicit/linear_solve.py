"""The solve of a linear system of implicit differentiation: which Krylov method, when to stop, what it noticed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log10
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.implicit.recycling import Flat, Pairs, Recorder, Recycling, joined, krylov_pairs
from opalg.implicit.rows import BatchRows
from opalg.iterations import GMRES, MINRES, BatchedConjugateGradients, ConjugateGradients, Iteration, LinearIteration
from opalg.iterations.vectors import norm
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Limits, Measurement, run
from opalg.solving.status import Status

RESTART = 60  # GMRES keeps as many states
ROUNDING = 10.0  # multiples of the rounding of one product that a residual may keep
CLOSE = 1e-6  # a relative residual that conjugate gradients reached, after which MINRES has little to add
SHARP = 10.0  # a true residual that is larger than the tolerance by this factor was not converged
NO_RECYCLING = Recycling(None, False)


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
    recycling : Recycling
        What an earlier solve left, and whether this one leaves something to a later one.
    """

    tol: float
    max_iter: int
    fallback: bool = True
    recycling: Recycling = NO_RECYCLING


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
    first : float
        The residual of the start, relative to the right-hand side.
    pairs : Pairs or None
        What is left to a later solve.
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
    first: float = 1.0
    pairs: Pairs | None = None

    @property
    def converged(self) -> bool:
        """Whether the true residual is about what was asked for."""
        return self.relative <= max(SHARP * self.tol, self.floor)

    def release(self) -> None:
        """Let go of the vectors of the iteration, once it was looked at."""
        if self.iteration is not None:
            self.iteration.release()

    @property
    def pace(self) -> float:
        """Products for each digit that the residual lost."""
        lost = log10(max(self.first, 1e-300) / max(self.relative, 1e-300))
        return self.products / max(lost, 1.0)

    @property
    def condition(self) -> float:
        """About the condition number of the symmetric system, from below, with what earlier solves saw of it."""
        earlier = 1.0 if self.pairs is None else self.pairs.condition
        return max(_spread(self.iteration), earlier)


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
    project: Flat | None = None,
) -> Solved:
    """Conjugate gradients; MINRES where the system is not definite, or, as a fallback, where they stop short.

    With a batch every sample has its own conjugate gradients and its own end. Where the system lives in the range of
    an orthogonal projector, ``project`` brings there what an earlier solve left.
    """
    if batch is not None:
        return _by_sample(apply, rhs, lib, accuracy, start, precondition, batch)
    first: Solved | None = None
    if definite:
        first = _conjugate(apply, rhs, lib, accuracy, start, precondition, project)
        negative = first.outcome == "negative_curvature"
        if first.converged or first.outcome == "nonfinite" or not accuracy.fallback or first.relative <= CLOSE:
            return replace(first, negative=negative)
    second = _run(MINRES(apply, rhs, lib), accuracy, start, "minres")
    if first is None:
        return second
    better = second if second.relative < first.relative or not np.isfinite(first.relative) else first
    return replace(better, products=first.products + second.products, negative=first.outcome == "negative_curvature")


def _conjugate(
    apply: Flat,
    rhs: Any,
    lib: Backend,
    accuracy: Accuracy,
    start: Any,
    precondition: Flat | None,
    project: Flat | None,
) -> Solved:
    """Conjugate gradients with the pairs of an earlier solve; without them where they did not converge with them."""
    recycling, size, name = accuracy.recycling, rhs.shape[0], "conjugate_gradients"
    pairs = recycling.pairs(True, size)
    pairs = None if pairs is None else pairs.projected(project, lib)
    recorder = Recorder(size, lib) if recycling.keeps(size) else None
    before = precondition if pairs is None else pairs.around(precondition, lib)
    found = _run(ConjugateGradients(apply, rhs, lib, before, recorder), accuracy, start, name)
    if pairs is not None and not found.converged and found.outcome != "nonfinite":
        again = _conjugate(apply, rhs, lib, replace(accuracy, recycling=NO_RECYCLING), start, precondition, project)
        return replace(again, products=found.products + again.products)
    if recorder is None or not found.converged:
        return found
    condition = _spread(found.iteration)
    return replace(found, pairs=joined(pairs, recorder.pairs(), True, found.pace, condition, lib))


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
    """GMRES, with a cycle twice and four times as long where it stagnates; the first with what an earlier one left."""
    recycling, size = accuracy.recycling, rhs.shape[0]
    pairs, spent = recycling.pairs(False, size), 0
    if pairs is not None:
        before = pairs.around(precondition, lib)
        found = _run(GMRES(apply, rhs, lib, min(RESTART, accuracy.max_iter), before), accuracy, start, "gmres")
        if found.converged:
            return _with_krylov_pairs(found, pairs, accuracy)
        spent = found.products
    restart = RESTART
    while True:
        left = Accuracy(accuracy.tol, max(accuracy.max_iter - spent, 1))
        found = _run(GMRES(apply, rhs, lib, min(restart, left.max_iter), precondition), left, start, "gmres")
        spent += found.products
        if found.converged:
            return _with_krylov_pairs(replace(found, products=spent), None, accuracy)
        if found.outcome != "stagnated" or restart >= 4 * RESTART or spent >= accuracy.max_iter:
            return replace(found, products=spent)
        restart, start = 2 * restart, found.state


def _with_krylov_pairs(found: Solved, earlier: Pairs | None, accuracy: Accuracy) -> Solved:
    """A result of GMRES with what it leaves to a later solve."""
    iteration = found.iteration
    if not isinstance(iteration, GMRES) or not accuracy.recycling.keeps(found.state.shape[0]):
        return found
    lib, (basis, rectangle) = iteration.lib, iteration.arnoldi_relation()
    new = krylov_pairs(basis, rectangle, earlier, lib)
    return replace(found, pairs=joined(earlier, new, False, found.pace, 1.0, lib))


def _spread(iteration: LinearIteration | None) -> float:
    """The largest over the least Ritz value that is not zero; 1 where none is known."""
    values = np.zeros(0) if iteration is None else np.abs(np.asarray(iteration.ritz_values()))
    kept = values[values > 0]
    return float(kept.max() / kept.min()) if len(kept) else 1.0


def _run(iteration: LinearIteration, accuracy: Accuracy, start: Any, solver: str) -> Solved:
    lib, scale = iteration.lib, iteration.rhs_norm
    if scale == 0.0:
        return Solved(lib.zeros(tuple(iteration.rhs.shape)), 0.0, 0, "none", None, "", accuracy.tol)
    iteration.start(start)
    if start is not None and not iteration.residual < scale:
        iteration.start(None)  # an old solution that is worse than nothing
    first = iteration.residual / scale

    def measure(_state: Any) -> Measurement:
        return Measurement(Certificate("residual", iteration.residual, iteration.residual / scale))

    limits = Limits(accuracy.tol, accuracy.max_iter, spacing=1, growth=1.0, adapt_until=0)
    if run(_Stateless(iteration), measure, limits, keep=lambda state: state).status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    relative = iteration.true_residual() / scale
    lags = relative > SHARP * accuracy.tol and iteration.residual <= SHARP * accuracy.tol * scale
    return Solved(
        iteration.state,
        relative,
        iteration.products,
        solver,
        iteration.outcome,
        iteration.message,
        accuracy.tol,
        iteration,
        floor=_rounding(iteration) / scale if lags else 0.0,
        first=first,
    )


class _Stateless(Iteration):
    """A linear iteration for a loop that looks at the residual alone; the state of GMRES takes time and memory."""

    state = None

    def __init__(self, iteration: LinearIteration) -> None:
        self._iteration, self.lib = iteration, iteration.lib
        self.outcome, self.message = iteration.outcome, iteration.message

    def start(self, z0: Any) -> None:
        self._iteration.start(z0)

    def advance(self) -> float:
        residual = self._iteration.advance()
        self.outcome, self.message = self._iteration.outcome, self._iteration.message
        return residual


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
