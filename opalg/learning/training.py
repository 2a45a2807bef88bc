"""``fit``: train the parameters of plans and networks with any optimiser of Torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.learning.checkpoints import checked_path
from opalg.learning.evaluation import Metrics, checked_metrics
from opalg.learning.guard import CLIPPED, TAKEN, Guard
from opalg.learning.interrupts import Interrupts
from opalg.learning.trainer import Trainer
from opalg.learning.training_log import COLUMNS, TrainingLog
from opalg.solving.progress import bar


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
        Whether all epochs were made; False where it was interrupted or stopped by its callback.
    """

    module: Any
    log: TrainingLog
    epochs: int
    steps: int
    finished: bool

    @property
    def loss(self) -> float:
        """The mean loss over the steps of the last epoch that were taken; NaN where there are none."""
        rows = self.log.steps
        last = [r["loss"] for r in rows if r["epoch"] == rows[-1]["epoch"] and r["outcome"] in (TAKEN, CLIPPED)]
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
        Batches ``(inputs, target)`` or ``(inputs, target, indices)``: inputs are a mapping from name to tensor (or,
        where the model is a network, a tensor for its first argument), indices say which samples these are, for
        penalties that remember them. The generator is a ``torch.Generator`` that every epoch seeds anew, for noise and
        order.
    loss : callable or {"mse", "half_sse", "l1"}
        ``loss(output, target)``, a tensor; where it has several entries, one for each configuration that trains at
        once, they are added up.
    epochs : int
    wrt : str, Parameter, tensor, module, or sequence of them, optional
        What to train, by name or by itself; by default all that asks for gradients but the inputs of the data.
    optimizer : str, class, callable, torch.optim.Optimizer, or sequence of (names, any of these)
        A name such as ``"adam"``, or what makes an optimiser of a list of tensors, ``lambda w: SGD(w, lr=0.1)``. A
        sequence makes training alternate: every step moves the parameters of the next group only.
    lr : float
        The rate of an optimiser that is given by name or as a class.
    scheduler : callable or scheduler, optional
        Makes a learning-rate scheduler of the optimiser; it is stepped with every batch, with the loss where it asks
        for one.
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
        Written at the start, after every epoch (before it is validated and again afterwards), where the callback stops
        and on Ctrl-C; where it is there already, training goes on from it to the same bits: weights, optimisers,
        schedulers, penalties, warm starts, random numbers and log. Needs safetensors.
    callback : callable, optional
        Called with the row of each step; True stops. Where it had stopped the run that a checkpoint is of, it is called
        with the last row again before another step is made.
    progress : bool
        Whether to show a bar; needs tqdm.

    Returns
    -------
    Training

    Raises
    ------
    ParameterError
        For parameters that the model does not have, nothing to train, batches and losses that are none, penalties that
        depend on nothing that is trained, a checkpoint of another model, and one that cannot be written.
    OpalgError
        Where more steps in a row failed than the guard allows, or all did; of the class of the last error.

    Notes
    -----
    The first Ctrl-C lets the step that is being made end, writes the checkpoint and returns; a second one interrupts at
    once and leaves the last checkpoint as it is.

    Networks inside plans compute in evaluation mode; spectrally normalised weights make one power iteration after each
    step of the optimiser, and stand still during a solve and its backward pass. So do operators of held norm,
    `opalg.HeldNorm`; the log has the norms of what they hold.

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
    import torch

    epochs, seed = _checked_count("epochs", epochs), _checked_count("seed", seed)
    _check_callback(callback)
    path = None if checkpoint is None else checked_path(checkpoint)
    module = _module_of(model, module_options)
    chosen = _checked_metrics(metrics, validate)
    how = (optimizer, lr, scheduler)
    with torch.inference_mode(False), torch.enable_grad():
        trainer = Trainer(module, data, loss, wrt, how, _checked_penalties(penalties), _checked_guard(guard), seed)
        with trainer.only_weights(), _bar(epochs, progress, data) as bar, Interrupts() as interrupts:
            if path is not None:
                trainer.begin_at(path)

            def stop(row: dict[str, Any]) -> bool:
                bar.update(trainer.epoch, trainer.done, row)
                answer = None if callback is None else callback(row)
                trainer.ended = isinstance(answer, (bool, np.bool_)) and bool(answer)
                return interrupts.asked or trainer.ended

            try:
                _run(trainer, epochs, validate, chosen, path, stop)
            except KeyboardInterrupt:
                if not trainer.is_whole:  # a second Ctrl-C, in the middle of a step
                    raise
                _save(trainer, path)
            bar.finish(trainer.epoch)
    return Training(trainer.module, trainer.log, trainer.epoch, trainer.step, trainer.epoch >= epochs)


def _run(
    trainer: Trainer,
    epochs: int,
    validate: Any,
    metrics: Metrics,
    checkpoint: Any,
    stop: Callable[[dict[str, Any]], bool],
) -> None:
    """Train the epochs that are left, with evaluations and checkpoints after each."""
    stopped = trainer.ended and stop(trainer.log.steps[-1])  # a run that its callback has ended asks it again
    while True:
        if validate is not None and trainer.evaluated < trainer.epoch:
            _save(trainer, checkpoint)  # a metric that raises loses no epoch
            trainer.validate(validate, metrics)
        _save(trainer, checkpoint)
        if stopped or trainer.epoch >= epochs:
            break
        stopped = trainer.train_epoch(stop)
    if trainer.failures and trainer.failures == trainer.step:  # not a single one was taken
        raise trainer.failure()


def _save(trainer: Trainer, checkpoint: Any) -> None:
    if checkpoint is not None:
        trainer.save(checkpoint)


def _module_of(model: Any, options: Mapping[str, Any]) -> Any:
    """The model as a module of Torch."""
    import torch

    known = [n for n in inspect.signature(fit).parameters if n != "module_options"]
    for name in options:
        for meant in get_close_matches(name, known, 1, 0.8):
            raise ParameterError(f"{name!r} is no option of fit or of a module; did you mean {meant!r}?")
    if isinstance(model, torch.nn.Module):
        if options:
            raise ParameterError(
                f"{', '.join(options)} are options of plans, but {type(model).__name__} is a module already; give them "
                f"to plan.as_module()"
            )
        return model
    if not hasattr(model, "as_module"):
        hint = "; compile the energy first: oa.compile(energy, backend='torch')" if hasattr(model, "terms") else ""
        raise ParameterError(f"fit takes a plan or a torch.nn.Module, not {type(model).__name__}{hint}")
    return model.as_module(**options)


def _checked_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ParameterError(f"{name} must be a nonnegative integer, not {value!r}")
    return int(value)


def _check_callback(callback: Any) -> None:
    if callback is not None and not callable(callback):
        raise ParameterError(
            f"callback is a function of the row of a step, as in callback=lambda row: print(row['loss']), not "
            f"{callback!r}"
        )


def _checked_metrics(metrics: Any, validate: Any) -> Metrics:
    chosen = checked_metrics(metrics)
    if chosen and validate is None:
        raise ParameterError(
            f"the metrics {', '.join(map(str, chosen))} are taken of the batches of validate=, which is not given; say "
            f"validate=batches, or leave metrics= out"
        )
    return chosen


def _checked_guard(guard: Any) -> Guard:
    if guard is not None and not isinstance(guard, Guard):
        raise ParameterError(f"guard takes oa.learning.Guard(clip=..., explode=...), not {guard!r}")
    return guard or Guard()


def _checked_penalties(penalties: Any) -> list[Any]:
    every = list(penalties) if isinstance(penalties, (list, tuple)) else [penalties]
    for penalty in every:
        if not callable(getattr(penalty, "value", None)) or not isinstance(getattr(penalty, "name", None), str):
            raise ParameterError(
                f"a penalty has a name and value(batch, output), as those of oa.penalties; {type(penalty).__name__} "
                f"has not"
            )
    names = [p.name for p in every]
    for name in names:
        if names.count(name) > 1 or name in COLUMNS:
            raise ParameterError(f"{name!r} stands for something else in the log; give the penalty another name=")
    return every


class _NoBar:
    """Shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish(0)

    def update(self, epoch: int, done: int, row: Mapping[str, Any]) -> None:
        """Show a step."""

    def finish(self, epoch: int) -> None:
        """Show that an epoch is over."""


class _Bar(_NoBar):
    """A bar over the epochs, which moves with every step where it is known how many an epoch has."""

    def __init__(self, epochs: int, steps: int | None) -> None:
        self._bar, self._steps = bar(epochs, "fit"), steps

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, epoch: int, done: int, row: Mapping[str, Any]) -> None:
        """Show a step."""
        self._bar.n = epoch + (done / self._steps if self._steps else 0.0)
        self._bar.set_postfix_str(f"epoch {row['epoch']}, step {row['step']}, loss {row['loss']:.4g}")

    def finish(self, epoch: int) -> None:
        """Show that an epoch is over."""
        self._bar.n = max(self._bar.n, epoch)
        self._bar.refresh()


def _bar(epochs: int, wanted: bool, data: Any) -> _NoBar:
    return _Bar(epochs, len(data) if hasattr(data, "__len__") else None) if wanted else _NoBar()


__all__ = ["Training", "fit"]
