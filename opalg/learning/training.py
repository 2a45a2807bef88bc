"""``fit``: train the parameters of plans and networks with any optimiser of Torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import OpalgError, ParameterError
from opalg.learning.batches import Batch, batches_of
from opalg.learning.checkpoints import load_state, save_state
from opalg.learning.evaluation import evaluate
from opalg.learning.guard import RESTORED, SKIPPED, Guard
from opalg.learning.losses import loss_of
from opalg.learning.optimisers import Optimisers
from opalg.learning.spectral_norms import refresh_spectra
from opalg.learning.training_log import TrainingLog


@dataclass(frozen=True, repr=False)
class Training:
    """What `fit` returns.

    Attributes
    ----------
    module : torch.nn.Module
        The trained model, on its last weights.
    log : TrainingLog
        A row for every step and evaluation.
    epochs, steps : int
        How many were made, those before a checkpoint included.
    finished : bool
        Whether all epochs were made; False where it was interrupted.
    """

    module: Any
    log: TrainingLog
    epochs: int
    steps: int
    finished: bool

    @property
    def loss(self) -> float:
        """The mean loss over the last epoch's steps that were taken; NaN where there are none."""
        last = [r["loss"] for r in self.log.steps if r["epoch"] == self.epochs and r["outcome"] != SKIPPED]
        return float(np.mean(last)) if last else float("nan")

    def __repr__(self) -> str:
        state = "" if self.finished else ", interrupted"
        return f"Training: {self.epochs} epochs, {self.steps} steps, loss {self.loss:.4g}{state}"


def fit(
    model: Any,
    data: Any,
    loss: Callable[[Any, Any], Any] | str = "mse",
    *,
    epochs: int = 1,
    wrt: Sequence[Any] | None = None,
    optimizer: Any = "adam",
    lr: float = 1e-3,
    scheduler: Callable[[Any], Any] | None = None,
    penalties: Sequence[Any] = (),
    guard: Guard | None = None,
    validate: Any = None,
    metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
    seed: int = 0,
    checkpoint: Any = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    progress: bool = False,
    **module_options: Any,
) -> Training:
    """Train a model on data.

    Parameters
    ----------
    model : Plan, MapPlan, OnlinePlan or torch.nn.Module
        Plans become modules by ``plan.as_module(**module_options)``: every step then is one solve and one implicit
        backward pass, whose options are ``gradient_options={...}``. A module is called with a batch's inputs by name.
    data : iterable, or callable ``(epoch, generator) -> iterable``
        Batches ``(inputs, target)`` or ``(inputs, target, indices)``: inputs are a mapping from name to tensor, indices
        say which samples these are, for penalties that remember them. The generator is a ``torch.Generator`` that every
        epoch seeds anew, for noise and order.
    loss : callable or {"mse", "half_sse", "l1"}
        ``loss(output, target)``, a tensor; where it has several entries, one for each configuration that trains at
        once, they are added up.
    epochs : int
    wrt : sequence of str or tensor, optional
        The parameters to train, by name or by themselves; by default all but the inputs of the data.
    optimizer : str, callable, torch.optim.Optimizer, or sequence of (names, callable)
        A name such as ``"adam"``, or what makes an optimiser of a list of tensors, ``lambda w: SGD(w, lr=0.1)``. A
        sequence makes training alternate: every step moves the parameters of the next group only.
    lr : float
        The rate of an optimiser that is given by name.
    scheduler : callable, optional
        Makes a learning-rate scheduler of the optimiser; it is stepped with every batch.
    penalties : sequence
        Of objects with ``name``, ``value(batch, output) -> tensor`` and, where they have a state, ``state_dict`` and
        ``load_state_dict``; see `opalg.penalties`.
    guard : Guard, optional
        What to do about steps that go wrong.
    validate : iterable or callable, optional
        Batches that loss and metrics are taken of after each epoch.
    metrics : mapping from name to callable, optional
        ``metric(image, reference)``, averaged over the samples of ``validate``.
    seed : int
        Of the generators of epochs.
    checkpoint : path, optional
        Written after every epoch and on Ctrl-C; where it is there already, training goes on from it to the same bits.
    callback : callable, optional
        Called with the row of each step; True stops.
    progress : bool
        Whether to show a bar; needs tqdm.

    Returns
    -------
    Training

    Raises
    ------
    ParameterError
        For parameters that the model does not have, or nothing to train.
    OpalgError
        Where more steps in a row failed than the guard allows.

    Notes
    -----
    Networks inside plans compute in evaluation mode; spectrally normalised weights make one power iteration after each
    step of the optimiser, and stand still during a solve and its backward pass.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> x, y = oa.Variable((4, 8), name="x"), oa.Parameter(torch.zeros(4, 8), name="y")
    >>> lam = oa.Parameter(torch.tensor(1.0), name="lam", positive=True)
    >>> plan = oa.compile(0.5 * oa.sum_squares(x - y) + 0.5 * lam * oa.sum_squares(x))
    >>> batch = ({"y": 2 * torch.ones(4, 8)}, torch.ones(4, 8) * 1.6)
    >>> done = oa.fit(plan, [batch], epochs=150, lr=0.05, positive="exp")
    >>> round(float(done.module.lam.detach()), 2)
    0.25
    """
    trainer = _Trainer(model, data, loss, wrt, (optimizer, lr, scheduler), penalties, guard or Guard(), seed)
    trainer.build(module_options)
    if checkpoint is not None and Path(checkpoint).exists():
        trainer.load(checkpoint)
    bar = _bar(epochs, progress)
    finished = False
    try:
        while trainer.epoch < epochs:
            if trainer.train_epoch(callback, bar):
                break
            if validate is not None:
                trainer.validate(validate, metrics or {})
            if checkpoint is not None:
                trainer.save(checkpoint)
        finished = trainer.epoch >= epochs
    except KeyboardInterrupt:
        if checkpoint is not None:
            trainer.save(checkpoint)
    finally:
        bar.close()
    return Training(trainer.module, trainer.log, trainer.epoch, trainer.step, finished)


class _Trainer:
    """A training run: what there is to move, and where it stands."""

    def __init__(
        self,
        model: Any,
        data: Any,
        loss: Any,
        wrt: Sequence[Any] | None,
        how: tuple[Any, float, Any],
        penalties: Sequence[Any],
        guard: Guard,
        seed: int,
    ) -> None:
        self.model, self.data, self.loss, self.wrt = model, data, loss_of(loss), wrt
        self.how, self.penalties, self.guard, self.seed = how, list(penalties), guard, int(seed)
        self.log = TrainingLog()
        self.epoch = self.step = self.done = self.failures = 0
        self.begin = time.perf_counter()

    def build(self, module_options: Mapping[str, Any]) -> None:
        """Make the module, find the weights and make the optimisers."""
        import torch

        if isinstance(self.model, torch.nn.Module):
            if module_options:
                raise ParameterError(
                    f"{', '.join(module_options)} are options of plans, and {type(self.model).__name__} is none"
                )
            self.module = self.model
        elif hasattr(self.model, "as_module"):
            self.module = self.model.as_module(**module_options)
        else:
            raise ParameterError(f"fit takes a plan or a torch.nn.Module, not {type(self.model).__name__}")
        self.weights = self._weights(self._first_inputs())
        self.optimisers = Optimisers(self.weights, *self.how)
        self.good: dict[str, Any] | None = None

    def _first_inputs(self) -> set[str]:
        """The names of what the data give."""
        for batch in batches_of(self.data, 0, self._generator(0)):
            return set(batch.inputs)
        raise ParameterError("there is no batch in the data")

    def _weights(self, given: set[str]) -> dict[str, Any]:
        named = {n: p for n, p in self.module.named_parameters() if n not in given}
        if self.wrt is not None:
            for wanted in self.wrt:
                if not any(_means(wanted, n, p) for n, p in named.items()):
                    raise ParameterError(f"{wanted!r} is nothing to train here; there are {', '.join(named) or 'none'}")
            named = {n: p for n, p in named.items() if any(_means(w, n, p) for w in self.wrt)}
        if not named:
            raise ParameterError("there is nothing to train: the model has no parameters beside the inputs of the data")
        for parameter in self.module.parameters():
            parameter.requires_grad_(any(parameter is p for p in named.values()))
        return named

    def _generator(self, epoch: int) -> Any:
        import torch

        words = np.random.SeedSequence(self.seed, spawn_key=(epoch,)).generate_state(2)
        return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)

    # Steps.

    def train_epoch(self, callback: Any, bar: Any) -> bool:
        """Go through the rest of an epoch; whether the callback stopped it."""
        for number, batch in enumerate(batches_of(self.data, self.epoch, self._generator(self.epoch))):
            if number < self.done:
                continue  # before a checkpoint; the generator has to make them again to go on as it would have
            row = self.train_step(batch)
            self.done = number + 1
            bar.update(self.epoch, row)
            if callback is not None and callback(row) is True:
                return True
        self.epoch, self.done = self.epoch + 1, 0
        return False

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """One step, and its row."""
        self.step += 1
        figures: dict[str, Any] = {"epoch": self.epoch + 1, "step": self.step}
        try:
            figures |= self._move(batch)
            self.failures = 0 if figures["outcome"] != SKIPPED else self.failures + 1
            reason = "the gradient is not finite" if figures["outcome"] == SKIPPED else ""
        except OpalgError as error:
            self.failures += 1
            if self.failures > self.guard.patience:
                raise
            reason = f"{type(error).__name__}: {error}"
            figures |= {"loss": float("nan"), "outcome": SKIPPED}
        if reason:
            figures["reason"] = reason
            if self.failures > self.guard.patience:
                raise ParameterError(f"{self.failures} steps in a row failed, the last one since {reason}")
        return self.log.add(**figures, rate=self.optimisers.rate, seconds=time.perf_counter() - self.begin)

    def _move(self, batch: Batch) -> dict[str, Any]:
        optimiser = self.optimisers.next(self.step)
        for weight in self.weights.values():
            weight.grad = None
        output = self.module(**batch.inputs)
        losses = self.loss(output, batch.target)
        figures: dict[str, Any] = {"loss": float(losses.detach().sum())}
        if losses.ndim:
            figures["losses"] = losses
        if self.guard.exploded(figures["loss"], [r["loss"] for r in self.log.steps]) and self.good is not None:
            self._restore()
            return {**figures, **self._solved(), "outcome": RESTORED}
        self.good = self._snapshot()
        total = losses.sum()
        for penalty in self.penalties:
            value = penalty.value(batch, output)
            figures[penalty.name] = float(value.detach())
            total = total + value
        total.backward()
        moved = self.optimisers.moved(optimiser)
        figures["gradient_norm"], figures["outcome"] = self.guard.clipped(moved)
        figures |= self._solved()
        if figures["outcome"] != SKIPPED:
            optimiser.step()
            self.optimisers.schedule()
            refresh_spectra(self.module)
        return figures

    def _solved(self) -> dict[str, Any]:
        """Figures of the solves of a step, where the model is a plan."""
        solution, gradients = (getattr(self.module, n, None) for n in ("solution", "gradients"))
        found: dict[str, Any] = {}
        if solution is not None and hasattr(solution, "iterations"):
            found |= {"iterations": solution.iterations, "residual": solution.certificate.relative}
        if gradients is not None and hasattr(gradients, "products"):
            found |= {"products": gradients.products, "adjoint_residual": gradients.relative_residual}
            if gradients.flags:
                found["flags"] = ", ".join(gradients.flags)
        return found

    def _snapshot(self) -> dict[str, Any] | None:
        if self.guard.explode == float("inf"):
            return None
        weights = {n: w.detach().clone() for n, w in self.weights.items()}
        return {"weights": weights, "optimisers": self.optimisers.state_dict(copy=True)}

    def _restore(self) -> None:
        import torch

        assert self.good is not None
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.good["weights"][name])
        self.optimisers.load_state_dict(self.good["optimisers"])

    def validate(self, data: Any, metrics: Mapping[str, Any]) -> None:
        """Write down loss and metrics on other data."""
        found = evaluate(self.module, data, self.loss, metrics=metrics, seed=self.seed)
        self.log.add(kind="validation", epoch=self.epoch, step=self.step, **found)

    # Checkpoints.

    def save(self, path: Any) -> None:
        """Write down everything that the next step depends on."""
        import torch

        state = {
            "module": dict(self.module.state_dict()),
            "optimisers": self.optimisers.state_dict(),
            "penalties": [p.state_dict() if hasattr(p, "state_dict") else {} for p in self.penalties],
            "place": [self.epoch, self.step, self.done, self.failures],
            "solves": [p._solves[0] for p in self._random_plans()],
            "random": torch.get_rng_state(),
            "log": self.log.rows,
        }
        save_state(path, state)

    def load(self, path: Any) -> None:
        """Go back to where a checkpoint was written."""
        import torch

        state = load_state(path)
        self.module.load_state_dict(state["module"])
        self.optimisers.load_state_dict(state["optimisers"])
        for penalty, own in zip(self.penalties, state["penalties"], strict=True):
            if own:
                penalty.load_state_dict(own)
        self.epoch, self.step, self.done, self.failures = state["place"]
        for plan, solves in zip(self._random_plans(), state["solves"], strict=True):
            plan.restart(solves)
        torch.set_rng_state(state["random"])
        self.log = TrainingLog(state["log"])

    def _random_plans(self) -> list[Any]:
        """The plans of the model that draw blocks at random."""
        plans = [getattr(m, "plan", None) for m in self.module.modules()]
        return [p for p in plans if hasattr(p, "restart")]


def _means(wanted: Any, name: str, weight: Any) -> bool:
    return wanted is weight or (isinstance(wanted, str) and wanted == name)


class _NoBar:
    def update(self, epoch: int, row: Mapping[str, Any]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is open."""


class _Bar:
    """A bar over the epochs."""

    def __init__(self, epochs: int, label: str) -> None:
        from opalg.solving.progress import bar

        self._bar = bar(epochs, label)

    def update(self, epoch: int, row: Mapping[str, Any]) -> None:
        self._bar.n = epoch
        self._bar.set_postfix_str(f"step {row['step']}, loss {row['loss']:.4g}")

    def close(self) -> None:
        self._bar.close()


def _bar(epochs: int, wanted: bool) -> Any:
    return _Bar(epochs, "fit") if wanted else _NoBar()


__all__ = ["Training", "fit"]
