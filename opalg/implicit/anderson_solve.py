"""Linear systems by Anderson's acceleration of ``u <- B u + b``, all samples at once and each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.implicit.linear_solve import Accuracy, Flat, Solved
from opalg.implicit.rows import BatchRows
from opalg.iterations import BatchedAnderson
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Limits, Measurement, quiet, run
from opalg.solving.status import Status

MEMORY = 10  # differences that are kept; for a linear system more would come ever closer to GMRES


def solve_by_anderson(
    mapped: Flat, rhs: Any, lib: Backend, accuracy: Accuracy, rows: BatchRows, *, start: Any = None
) -> Solved:
    """The ``u`` with ``u = B u + b``, as the adjoint of a map that contracts; sample by sample.

    A sample whose iteration does not stay finite, or ends farther from its solution than zero is, gets zero: it adds
    nothing to any gradient, and its outcome says so.

    Parameters
    ----------
    mapped : callable
        ``B`` on flat arrays, which keeps samples apart.
    rhs : flat array
    lib : Backend
    accuracy : Accuracy
    rows : BatchRows
        How flat arrays become one row for each sample.
    start : flat array, optional
        By default the right-hand side.

    References
    ----------
    Bai, Kolter and Koltun (2019), Equation 8, for the adjoint of an equilibrium model as a fixed point.
    """
    own = lib.copy(rows.rows(rhs))
    sizes = _norms(own, lib)

    last: list[Any] = []  # the point of the last product, and its image

    def step(u: Any) -> Any:
        image = lib.add(rows.rows(mapped(rows.flat(u))), own)
        last[:] = u, image
        return image

    iteration = BatchedAnderson(step, lib, accuracy.tol, MEMORY, scales=sizes)
    iteration.start(own if start is None else rows.rows(start))

    def measure(_: Any) -> Measurement:
        return Measurement(Certificate("residual", iteration.residual, 1.0))

    # The iteration ends by itself, sample by sample, so that nothing need be measured on the way.
    count = accuracy.max_iter
    limits = Limits(0.0, count, spacing=count, adapt_until=0, look_at_start=False, watch_growth=False)
    if run(iteration, measure, limits, keep=lambda state: state).status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    # The residual of the fixed-point map at u is that of the linear system at u. Where all samples have converged, the
    # last product has measured it; else another one is spent on the state, which is no worse than the last point.
    converged, products = all(o == "converged" for o in iteration.outcomes) and bool(last), iteration.products
    if converged:
        state, image = last
        left = _norms(lib.subtract(image, state), lib)
    else:
        state, products = iteration.state, products + 1
        with quiet():  # of a sample whose iteration was given up
            left = _norms(lib.subtract(step(state), state), lib)
    lost = ~(left <= np.where(sizes > 0, sizes, 1.0))
    if lost.any():
        state = lib.xp.where(lib.asarray(lost)[:, None], lib.zeros((1, 1)), state)
        left = np.where(lost, sizes, left)
    whole = float(np.linalg.norm(sizes))
    outcomes = tuple(_outcome(o, bool(bad)) for o, bad in zip(iteration.outcomes, lost, strict=True))
    return Solved(
        rows.flat(lib.copy(state)),
        float(np.linalg.norm(left)) / whole if whole > 0 else 0.0,
        products,
        "anderson",
        None,
        iteration.message,
        accuracy.tol,
        sample_outcomes=outcomes,
    )


def _outcome(found: str | None, lost: bool) -> str | None:
    if lost:
        return "diverged"
    return None if found == "converged" else found


def _norms(rows: Any, lib: Backend) -> np.ndarray:
    squares = lib.to_numpy(lib.xp.sum(rows * rows, axis=1))
    return np.sqrt(np.asarray(squares, dtype=np.float64))


__all__ = ["solve_by_anderson"]
