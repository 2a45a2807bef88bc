"""A training run: what there is to move, how a step is made, and where the run stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import isfinite, nan
from typing import Any

import numpy as np

from opalg.errors import (
    AdjointNotConvergedError,
    BreakdownError,
    DivergedError,
    InexactSolutionError,
    NonFiniteError,
    OpalgError,
    ParameterError,
    SingularAdjointError,
)
from opalg.learning.batches import Batch, batches_of, check_names, lone_input
from opalg.learning.checkpoints import FOREIGN, check_entries, check_setup, foreign, load_state, save_state
from opalg.learning.evaluation import Metrics, evaluated
from opalg.learning.guard import RESTORED, SKIPPED, Guard
from opalg.learning.held_norms import directions_in, refresh_norms
from opalg.learning.losses import checked_loss, loss_of
from opalg.learning.optimisers import Optimisers
from opalg.learning.penalties import check_reach, checked_value
from opalg.learning.randomness import random_state, set_random_state
from opalg.learning.setups import setup_of, values_left_alone
from opalg.learning.solver_figures import Watched, solvers_in
from opalg.learning.spectral_norms import refresh_spectra
from opalg.learning.training_log import TrainingLog
from opalg.learning.weights import parameter_names, weights_of
from opalg.solving.status import Status

Figures = dict[str, Any]
# What may go wrong in one step and be right in the next; names, shapes and types that are wrong stay wrong.
PASSING = (
    AdjointNotConvergedError,
    BreakdownError,
    DivergedError,
    InexactSolutionError,
    NonFiniteError,
    SingularAdjointError,
)
ENTRIES = (
    *("setup", "module", "optimisers", "penalties", "place", "recent", "good", "solves", "starts", "random"),
    *("seconds", "log", "ended"),
)


class Trainer:
    """A training run; see `fit` for what the arguments mean.

    Parameters
    ----------
    module : torch.nn.Module
    data : iterable or callable
    loss : callable or str
    wrt : sequence, optional
    how : tuple
        Optimizer, learning rate and scheduler.
    penalties : sequence
    guard : Guard
    seed : int

    Attributes
    ----------
    log : TrainingLog
    epoch, step, done : int
        Epochs and steps made, and steps of the epoch that has begun.
    """

    def __init__(
        self,
        module: Any,
        data: Any,
        loss: Callable[[Any, Any], Any] | str,
        wrt: Any,
        how: tuple[Any, float, Any],
        penalties: Sequence[Any],
        guard: Guard,
        seed: int,
    ) -> None:
        self.module, self.data, self.loss = module, data, loss_of(loss)
        self.penalties, self.guard, self.seed = list(penalties), guard, seed
        self.alone = lone_input(module)
        first = next(batches_of(data, 0, self._generator(0), self.alone)).inputs
        if not solvers_in(module):  # a solver says by itself which names it knows
            check_names(module, first)
        self.names = frozenset(first)
        self.weights = weights_of(module, self.names, wrt)
        self.optimisers = Optimisers(self.weights, *how, names=parameter_names(module))
        self.log = TrainingLog()
        self.epoch = self.step = self.done = self.failures = self.evaluated = 0
        self.ended = False  # by a callback
        self.is_whole = True  # False while a step is made, whose state nobody could go on from
        self.good: dict[str, Any] | None = None
        self._recent: list[float] = []
        self._begin, self._before = time.perf_counter(), 0.0
        self._epoch_random: Any = None
        self._error: OpalgError | None = None
        self._looked_at: set[str] = set()  # penalties whose values were seen to depend on what is trained

    def _generator(self, epoch: int) -> Any:
        import torch

        words = np.random.SeedSequence(self.seed, spawn_key=(epoch,)).generate_state(2)
        return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)

    @contextmanager
    def only_weights(self) -> Iterator[None]:
        """Gradients in the tensors that are trained alone; afterwards all ask for gradients as they did before."""
        before = [(p, p.requires_grad) for p in self.module.parameters()]
        trained = {id(w) for w in self.weights.values()}
        try:
            for parameter, _ in before:
                parameter.requires_grad_(id(parameter) in trained)
            yield
        finally:
            for parameter, asked in before:
                parameter.requires_grad_(asked)

    # Steps.

    def train_epoch(self, stop: Callable[[Figures], bool]) -> bool:
        """Go through the rest of an epoch until ``stop(row)`` is true; whether it was."""
        go_on_from = random_state() if self.done else None
        if go_on_from is None:
            self._epoch_random = random_state()
        else:  # batches before the checkpoint are drawn again, so that those after it are what they would have been
            set_random_state(self._epoch_random)
        batches = batches_of(self.data, self.epoch, self._generator(self.epoch), self.alone, self.names)
        for _ in range(self.done):
            next(batches, None)
        if go_on_from is not None:
            set_random_state(go_on_from)
        for number, batch in enumerate(batches, self.done + 1):
            self.is_whole = False
            row = self.train_step(batch)
            self.done, self.is_whole = number, True
            if stop(row):
                return True
        self.epoch, self.done = self.epoch + 1, 0
        return False

    def train_step(self, batch: Batch) -> Figures:
        """One step, and its row."""
        self.step += 1
        turn = self.optimisers.turn(self.step)
        optimiser = self.optimisers.all[turn]
        figures: Figures = {"epoch": self.epoch + 1, "step": self.step}
        if len(self.optimisers.all) > 1:
            figures["group"] = turn
        rate = self.optimisers.rate(optimiser)
        watched, self._error = Watched(self.module), None
        try:
            figures |= self._move(batch, optimiser)
        except PASSING as error:
            self._error = error
            figures |= {"loss": nan, "outcome": SKIPPED, "reason": f"{type(error).__name__}: {error}"}
        figures |= watched.figures()
        seconds = self._before + time.perf_counter() - self._begin
        row = self.log.add(**figures, rate=rate, seconds=seconds)
        self._judge(row)
        return row

    def _judge(self, row: Figures) -> None:
        """Count failures in a row, and raise where there are more than the guard allows."""
        if row["outcome"] not in (SKIPPED, RESTORED):
            self.failures = 0
            self._recent = [*self._recent, row["loss"]][-self.guard.window :]
            return
        self.failures += 1
        if self.failures > self.guard.patience:
            raise self.failure()

    def failure(self) -> OpalgError:
        """What to raise after steps that all failed: of the class of the last error, where there was one."""
        row = self.log.steps[-1]
        steps = "1 step" if self.failures == 1 else f"{self.failures} steps in a row"
        message = (
            f"{steps} failed, the last one since {row['reason']}; lower the learning rate (it is lr={row['rate']:g}), "
            f"or look for what is wrong with the data or the start"
        )
        if self._error is None:
            return DivergedError(message)
        found = type(self._error)(message)
        vars(found).update(vars(self._error))  # the solution that a solve ended with
        found.__cause__ = self._error
        return found

    def _move(self, batch: Batch, optimiser: Any) -> Figures:
        figures, total = self._forward(batch)
        if self.guard.exploded(figures["loss"], self._recent):
            reason = "exploded" if isfinite(figures["loss"]) else "is not finite"
            if self.good is None:
                return {**figures, "outcome": SKIPPED, "reason": f"the loss {reason}"}
            self._restore(self.good)
            return {**figures, "outcome": RESTORED, "reason": f"the loss {reason}"}
        if self.guard.undoes:
            self.good = self._snapshot()
        total.backward()
        figures["gradient_norm"], figures["outcome"] = self.guard.clipped(self.optimisers.moved(optimiser))
        if figures["outcome"] == SKIPPED:
            return {**figures, "reason": "the gradient is not finite"}
        self._advance(optimiser, batch, total)
        self.optimisers.schedule(figures["loss"])
        refresh_spectra(self.module)
        return figures | refresh_norms(self.module)

    def _forward(self, batch: Batch) -> tuple[Figures, Any]:
        """The figures of a batch, and loss and penalties together with their graph."""
        for weight in self.weights.values():
            weight.grad = None
        output = self.module(**batch.inputs)
        for solver in solvers_in(self.module):
            if solver.solution is not None and solver.solution.status is Status.INTERRUPTED:
                raise KeyboardInterrupt  # the loop of a solve has taken it for its own
        losses = checked_loss(self.loss(output, batch.target))
        figures: Figures = {"loss": float(losses.detach().sum())}
        if losses.ndim:
            figures["losses"] = losses
        total = losses.sum()
        for penalty in self.penalties:
            value = checked_value(penalty, penalty.value(batch, output))
            if penalty.name not in self._looked_at:
                check_reach(penalty, value, self.weights)
                self._looked_at.add(penalty.name)
            figures[penalty.name] = float(value.detach())
            total = total + value
        if not total.requires_grad:
            raise ParameterError(
                f"the loss does not depend on what is trained, {', '.join(self.weights)}: the model does not use it, "
                f"or the loss or the model detaches it"
            )
        return figures, total

    def _advance(self, optimiser: Any, batch: Batch, total: Any) -> None:
        if not self.optimisers.wants_closure(optimiser):
            optimiser.step()
            return
        before, found = self._snapshot(), [total.detach()]

        def closure() -> Any:
            if found:  # the first evaluation is the one that was made already
                return found.pop()
            _, again = self._forward(batch)
            again.backward()
            self.guard.clipped(self.optimisers.moved(optimiser))
            return again.detach()

        try:
            optimiser.step(closure)
        except PASSING:
            self._restore(before)
            raise

    def _snapshot(self) -> dict[str, Any]:
        weights = {n: w.detach().clone() for n, w in self.weights.items()}
        held = [b.clone() for b in directions_in(self.module)]
        return {"weights": weights, "held": held, "optimisers": self.optimisers.state_dict(copy=True)}

    def _restore(self, good: Mapping[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(good["weights"][name])
            for direction, before in zip(directions_in(self.module), good["held"], strict=True):
                direction.copy_(before)
        self.optimisers.load_state_dict(good["optimisers"])
        for solver in solvers_in(self.module):
            solver.forget()

    def validate(self, data: Any, metrics: Metrics) -> None:
        """Write down loss and metrics on other data; a solve that fails there is a reason in the log."""
        found: Figures = {"loss": nan}
        try:
            found = evaluated(self.module, data, self.loss, metrics, self.seed, self.names)
        except PASSING as error:
            found["reason"] = f"{type(error).__name__}: {error}"
        self.log.add(kind="validation", epoch=self.epoch, step=self.step, **found)
        self.evaluated = self.epoch

    # Checkpoints.

    @cached_property
    def setup(self) -> dict[str, Any]:
        """What has to be the same where a run goes on, as it is before the first step."""
        alone = values_left_alone(self.module, self.names, self.weights)
        return {
            **setup_of(self.module),
            "values that are not trained": alone,
            "what is trained": sorted(self.weights),
            "optimisers and schedulers": self.optimisers.kinds,
            "penalties": [p.name for p in self.penalties],
            "seed": self.seed,
        }

    def save(self, path: Any) -> None:
        """Write down everything that the next step depends on."""
        state = {
            "setup": self.setup,
            "module": dict(self.module.state_dict()),
            "optimisers": self.optimisers.state_dict(),
            "penalties": [p.state_dict() if hasattr(p, "state_dict") else {} for p in self.penalties],
            "place": [self.epoch, self.step, self.done, self.failures, self.evaluated],
            "ended": self.ended,
            "recent": self._recent,
            "good": self.good,
            "solves": [p.solves for p in self._random_plans()],
            "starts": [s.start_state() for s in solvers_in(self.module)],
            "random": {"now": random_state(), "epoch": self._epoch_random},
            "seconds": self._before + time.perf_counter() - self._begin,
            "log": self.log.rows,
        }
        save_state(path, state)

    def begin_at(self, path: Any) -> None:
        """Go back to where a checkpoint was written, if there is one; note what this run is compared with later.

        Raises
        ------
        ParameterError
            Where it belongs to another model, to a run that was set up otherwise, or is no whole checkpoint.
        """
        setup = self.setup
        if not path.exists():
            return
        state = load_state(path)
        check_entries(path, state, ENTRIES)
        check_setup(path, state["setup"], setup)
        try:
            self._go_on_from(state)
        except OpalgError:
            raise
        except FOREIGN as error:
            raise foreign(path, error) from error

    def _go_on_from(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.step, self.done, self.failures, self.evaluated = state["place"]
        self._recent, self.good, self.ended = state["recent"], state["good"], state["ended"]
        self.optimisers.load_state_dict(state["optimisers"])  # refuses other rates, before the caller's module changes
        self.module.load_state_dict(state["module"])
        for penalty, own in zip(self.penalties, state["penalties"], strict=True):
            if own:
                penalty.load_state_dict(own)
        for plan, solves in zip(self._random_plans(), state["solves"], strict=True):
            plan.restart(solves)
        for solver, start in zip(solvers_in(self.module), state["starts"], strict=True):
            solver.set_start_state(start)
        self._epoch_random, self._before = state["random"]["epoch"], state["seconds"]
        set_random_state(state["random"]["now"])
        self.log = TrainingLog(state["log"])

    def _random_plans(self) -> list[Any]:
        """The plans of the model that draw blocks at random."""
        return [s.plan for s in solvers_in(self.module) if hasattr(s.plan, "restart")]


__all__ = ["PASSING", "Trainer"]
