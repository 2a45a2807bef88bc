"""Running a grid of configurations: batched, in parallel, and from where it was interrupted."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
)
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

from opalg.errors import ParameterError
from opalg.learning.grids import Call, Configuration, calls_of, configurations, distinct_keys
from opalg.learning.interrupts import Witness
from opalg.learning.sweep_record import Outcome, SweepRecord
from opalg.learning.sweep_results import Sweep, names_of
from opalg.learning.training_log import plain
from opalg.solving.progress import bar

Keep = Callable[[Call, list[Outcome]], None]


def sweep(
    run: Callable[..., Any],
    grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]],
    *,
    together: str | Sequence[str] = (),
    executor: Executor | None = None,
    cache: Any = None,
    on_error: str = "record",
    retry_failed: bool = True,
    progress: bool = False,
) -> Sweep:
    """Run a function for every configuration of a grid, and collect its figures.

    Parameters
    ----------
    run : callable
        Called as ``run(**configuration)``; returns a mapping from the name of a figure to a number, text, truth value
        or None, or a list, array or tensor of these (a loss for every epoch, say).
    grid : mapping from name to values, or sequence of mappings
        All combinations of the values, the last name varying fastest, or the configurations themselves. Arrays and
        tensors without axes become numbers; larger ones are handed on as they are, and are the same where their values
        are.
    together : str or sequence of str
        Names whose combinations run in one call, as one batched program. ``run`` gets equally long lists for them,
        with an entry for each configuration, and single values for the other names; it returns a sequence with a
        mapping for each configuration, in the order of the lists.
    executor : concurrent.futures.Executor, optional
        Where the calls run, such as a ``ThreadPoolExecutor`` or a ``ProcessPoolExecutor`` (which needs a ``run`` that
        can be pickled: a function of a module). It stays open. By default calls run here, one after the other.
    cache : str or Path, optional
        A file that keeps the outcome of every finished configuration, a line of JSON for each. A sweep that finds
        configurations in it does not run them again, so a sweep that was interrupted goes on, and one whose grid has
        grown runs what is new. Configurations are the same where their values are.
    on_error : {"record", "raise"}
        What an exception in ``run`` does: its text becomes the figure ``"error"`` of the configurations of the call
        and the others run on, with a warning at the end; or it stops the sweep.
    retry_failed : bool
        Run configurations again whose outcome in the cache is an error.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Sweep
        In the order of the grid, whatever the order in which runs ended.

    Raises
    ------
    ParameterError
        For an empty grid, a configuration that occurs twice, a cache that is another file or cannot be written, values
        that a cache cannot hold, a ``run`` that other processes cannot be given, an executor that is none or was shut
        down, and figures that are none.
    concurrent.futures.BrokenExecutor
        Where a worker died, with what ran then.

    Notes
    -----
    The cache knows configurations, not what ``run`` does with them: after a change of ``run`` give it another path, or
    put a version into the grid. Every run should make its own generators from a seed in its configuration, so that
    figures do not depend on the order of runs. Where the sweep is interrupted, calls that have ended by then are kept,
    and those that have not started are cancelled; a call that Ctrl-C has ended early, in a solve or in training, is not
    kept. A worker process that dies takes its executor with it, whose ``BrokenExecutor`` ends the sweep in the same
    way.

    Examples
    --------
    >>> import opalg as oa
    >>> def run(tau, method):
    ...     return {"loss": (tau - 1.0) ** 2 if method == "BL" else (tau - 0.5) ** 2}
    >>> found = oa.sweep(run, {"tau": [0.5, 1.0], "method": ["BL", "DEQ"]})
    >>> found.where(method="DEQ").column("loss").tolist()
    [0.0, 0.25]

    Both step sizes in one program:

    >>> def run(tau, method):
    ...     losses = (np.array(tau) - {"BL": 1.0, "DEQ": 0.5}[method]) ** 2
    ...     return [{"loss": loss} for loss in losses]
    >>> import numpy as np
    >>> again = oa.sweep(run, {"tau": [0.5, 1.0], "method": ["BL", "DEQ"]}, together="tau")
    >>> again.rows == found.rows
    True
    """
    _check(run, executor)
    if on_error not in ("record", "raise"):
        raise ParameterError(f"on_error is 'record' or 'raise', but {on_error!r} was given")
    listed = configurations(grid)
    keys = distinct_keys(listed, stable=cache is not None)
    names = tuple(dict.fromkeys(name for configuration in listed for name in configuration))
    outcomes: list[Outcome | None] = [None] * len(listed)
    with ExitStack() as stack:
        record = None if cache is None else stack.enter_context(SweepRecord(cache))
        if record is not None:
            outcomes = [_kept(record.outcomes.get(key), retry_failed) for key in keys]
        count = stack.enter_context(_counted(len(listed), outcomes, progress))

        def keep(call: Call, found: list[Outcome]) -> None:
            for place, outcome in zip(call.places, found, strict=True):
                outcomes[place] = outcome
                if record is not None:
                    record.add(listed[place], outcome)
            count()

        missing = [i for i, outcome in enumerate(outcomes) if outcome is None]
        _run_all(run, calls_of(listed, missing, names_of(together)), executor, on_error == "record", keep, cache)
    rows = [c | o for c, o in zip(listed, outcomes, strict=True) if o is not None]
    found = Sweep(rows, names)
    _warn(found.failed)
    return found


def _check(run: Any, executor: Any) -> None:
    if not callable(run):
        raise ParameterError(f"run is a function of a configuration, not {type(run).__name__}")
    if isinstance(executor, type):
        raise ParameterError(
            f"executor is one at work, such as {executor.__name__}(4), but the class {executor.__name__} was given"
        )
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise ParameterError(
            f"executor is one of concurrent.futures, such as ProcessPoolExecutor(2), not {executor!r}; None runs here"
        )
    if isinstance(executor, ProcessPoolExecutor):
        try:
            pickle.dumps(run)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ParameterError(
                f"run cannot be handed to other processes ({error}); make it a function at the top of a module, or "
                f"take a ThreadPoolExecutor"
            ) from error


def _kept(outcome: Outcome | None, retry_failed: bool) -> Outcome | None:
    return None if outcome is None or (retry_failed and "error" in outcome) else outcome


def _warn(failed: Sweep) -> None:
    if failed.rows:
        configuration = {name: value for name, value in failed.rows[0].items() if name != "error"}
        warnings.warn(
            f"{len(failed)} runs of the sweep failed, see its .failed; the first, {configuration}, with "
            f"{failed.rows[0]['error']}",
            RuntimeWarning,
            stacklevel=3,
        )


@contextmanager
def _counted(total: int, outcomes: list[Outcome | None], progress: bool) -> Iterator[Callable[[], None]]:
    """A function that shows how many outcomes there are, on a bar where one is wanted."""
    if not progress:
        yield lambda: None
        return
    shown = bar(total, "sweep")

    def count() -> None:
        done = [o for o in outcomes if o is not None]
        failed = sum("error" in o for o in done)
        shown.n = len(done)
        shown.set_postfix_str(f"{len(done)} of {total}" + (f", {failed} failed" if failed else ""))

    try:
        count()
        yield count
    finally:
        shown.close()


def _run_all(run: Any, calls: list[Call], executor: Executor | None, catch: bool, keep: Keep, cache: Any) -> None:
    """Run calls and keep their outcomes as they end; what has ended when this is interrupted is kept too."""
    if executor is None:
        for call in calls:
            keep(call, attempt(run, call, catch))
        return
    waiting: dict[Future[list[Outcome]], Call] = {}
    ended: SimpleQueue[Future[list[Outcome]]] = SimpleQueue()  # as_completed does not see all that are cancelled
    try:
        for call in calls:
            future = _submitted(executor, run, call, catch)
            waiting[future] = call
            future.add_done_callback(ended.put)
        for _ in calls:
            future = ended.get()
            found = future.result()
            keep(waiting.pop(future), found)
    except BaseException as error:
        lost = []
        for future in () if isinstance(error, BrokenExecutor) else waiting:  # a broken executor ends them itself
            future.cancel()
        for future, call in waiting.items():
            if not future.done() or future.cancelled() or isinstance(future.exception(), BrokenExecutor):
                lost.append(call)
            elif future.exception() is None:
                keep(call, future.result())
        if isinstance(error, CancelledError):
            raise _closed(executor, "its waiting calls were cancelled") from error
        if isinstance(error, BrokenExecutor):
            raise BrokenExecutor(_died(error, lost, executor, cache)) from error
        raise


def _submitted(executor: Executor, run: Any, call: Call, catch: bool) -> Future[list[Outcome]]:
    try:
        return executor.submit(attempt, run, call, catch)
    except BrokenExecutor:
        raise
    except RuntimeError as error:
        raise _closed(executor, str(error)) from error


def _closed(executor: Executor, why: str) -> ParameterError:
    return ParameterError(
        f"the executor takes no calls, {why}; run the sweep while it is open, as in "
        f"'with {type(executor).__name__}(4) as executor: oa.sweep(run, grid, executor=executor)'"
    )


def _died(error: BrokenExecutor, lost: list[Call], executor: Executor, cache: Any) -> str:
    """What was running when an executor broke; calls begin in order, so these are the first that have not ended."""
    running = lost[: getattr(executor, "_max_workers", len(lost))]
    if running:
        calls = "; ".join(repr(call.arguments) for call in running)
        said = f"a worker of the executor died ({error}) while these ran or were about to: {calls}"
    else:
        said = f"the executor is broken ({error}), and took no call"
    again = (
        f"{cache} keeps what has ended, so run the sweep again with a new executor"
        if cache is not None
        else "run the sweep again with a new executor, and cache='runs.jsonl' to keep what ends"
    )
    return f"{said}. {again}; a worker dies where memory runs out, or compiled code crashes"


def attempt(run: Any, call: Call, catch: bool) -> list[Outcome]:
    """The outcomes of a call, one for each configuration; where it raises and that is caught, the error's text.

    Raises
    ------
    ParameterError
        Where what it returned are no figures.
    """
    with Witness() as ctrl_c:
        try:
            returned = run(**call.arguments)
        except Exception as error:
            if ctrl_c.asked:
                raise KeyboardInterrupt from error
            if not catch:
                raise
            return [{"error": f"{type(error).__name__}: {error}"} for _ in call.places]
    if ctrl_c.asked:  # a solve or a training run has taken it for its own, and returned what it had
        raise KeyboardInterrupt
    if not call.batched:
        return [_figures(returned, call.arguments)]
    if isinstance(returned, (Mapping, str)) or not isinstance(returned, Sequence):
        raise ParameterError(
            f"with together=, run returns a list with a mapping for each of the {len(call.places)} configurations, but "
            f"it returned {type(returned).__name__}"
        )
    if len(returned) != len(call.places):
        raise ParameterError(
            f"run was called with {len(call.places)} configurations together, but returned {len(returned)} mappings"
        )
    return [_figures(entry, call.arguments) for entry in returned]


def _figures(returned: Any, configuration: Configuration) -> Outcome:
    if not isinstance(returned, Mapping):
        raise ParameterError(
            f"run returns a mapping from figure to value, such as {{'loss': 0.1}}, but it returned "
            f"{type(returned).__name__}"
        )
    for name in returned:
        if not isinstance(name, str) or name in configuration or name == "error":
            raise ParameterError(
                f"run returned the figure {name!r}, but a figure is named by a text that is neither 'error' nor a name "
                f"of the grid ({', '.join(map(repr, configuration))})"
            )
    return {name: _figure(value, name) for name, value in returned.items()}


def _figure(value: Any, name: str) -> Any:
    value = plain(value)
    if isinstance(value, (list, tuple)):
        return [_figure(v, name) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ParameterError(
        f"run returned {type(value).__name__} for {name!r}; figures are numbers, texts, truth values, None, and lists, "
        f"arrays and tensors of them"
    )


__all__ = ["Sweep", "sweep"]
