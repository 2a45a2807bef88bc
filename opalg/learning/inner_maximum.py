"""Inner maximisations over spheres around samples, whose states persist from one training step to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from opalg.errors import ParameterError

Objective = Callable[[Any, Any], Any]
SHRINK, GROW = 0.5, 1.25  # of a sample's step after one that found no more, and after one that did


class InnerMaximum:
    """Ascent on ``objective(x, d)`` over ``|d| = radius`` for each sample by itself.

    Parameters
    ----------
    objective : callable
        ``objective(x, d) -> tensor`` of one number for each sample, along the first axis of x; differentiable in d.
    radius : float
        Of the sphere, as a root mean square over the entries of a sample.
    steps : int
        Steps of ascent for each call. Each takes a gradient of the objective, and the last one a value besides.
    rate : float
        Length of the longest steps, relative to the radius, along the normalised gradient; after each one d is put back
        onto the sphere.
    seed : int
        Of the first displacements.

    Notes
    -----
    The best displacement of each sample is what is found. A step that finds no more for a sample is taken back and
    halves the next ones of that sample; one that finds more lengthens them by a quarter, up to ``rate``. So from the
    same start more steps never find less.

    Displacements of samples that come with an index are kept, with the lengths of their steps, and the next ascent
    begins there, so that a few steps for each training step do, as with stored pairs in CLIP (Bungert, Raab, Roith,
    Schwinn and Tenbrinck 2021).
    """

    def __init__(
        self, objective: Objective, radius: float = 0.3, steps: int = 3, rate: float = 0.5, seed: int = 0
    ) -> None:
        import torch

        self.objective = objective
        self.radius = checked_number("the radius of an inner maximisation", radius, positive=True)
        self.rate = checked_number("the rate of an inner maximisation", rate, positive=True)
        self.steps = checked_count("the steps of an inner maximisation are", steps)
        self._generator = torch.Generator().manual_seed(checked_count("the seed of an inner maximisation is", seed))
        self._kept: dict[int, Any] = {}
        self._rates: dict[int, float] = {}

    def maximise(
        self, x: Any, indices: Any = None, steps: int | None = None, objective: Objective | None = None
    ) -> Any:
        """The best displacements of some samples that the steps of ascent met, without a graph.

        Parameters
        ----------
        x : tensor, shape ``(samples, ...)``
        indices : tensor or sequence of int, optional
            Which samples these are; without them nothing is kept.
        steps : int, optional
            Another number of steps, as for measuring how far a maximum goes.
        objective : callable, optional
            The same objective at these samples, where it can hold on to what does not depend on d.

        Raises
        ------
        ParameterError
            For samples that are no tensor of real numbers, indices of others, and a number of steps that is none.
        """
        import torch

        x = checked_samples("an inner maximisation", x).detach()
        own = None if indices is None else _checked_indices(indices, len(x))
        steps = self.steps if steps is None else checked_count("the steps of an inner maximisation are", steps)
        objective = self.objective if objective is None else objective
        ascent = _Ascent(self._start(x, own), self._start_rates(x, own), self.rate)
        for _ in range(steps):
            d = self._next(ascent).requires_grad_(True)
            with torch.enable_grad():
                values = objective(x, d)
                (slope,) = torch.autograd.grad(values.sum(), d)
            ascent.look(d.detach(), values.detach(), slope)
        if steps:
            d = self._next(ascent)
            with torch.no_grad():
                ascent.look(d, objective(x, d).detach())
        for i, best, rate in zip(own or (), ascent.best, ascent.rates.tolist(), strict=own is not None):
            self._kept[i], self._rates[i] = best.clone(), rate
        return ascent.best

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Maximisations without indices that leave the state, random numbers included, as it was."""
        before = self._generator.get_state()
        try:
            yield
        finally:
            self._generator.set_state(before)

    def _next(self, ascent: _Ascent) -> Any:
        """Where to look next: at the start, and then one step from the best of each sample."""
        if ascent.slope is None:
            return ascent.best.clone()
        lengths = ascent.rates.reshape(-1, *(1,) * (ascent.best.ndim - 1))
        return self._on_sphere(ascent.best + lengths * self._on_sphere(ascent.slope))

    def _start_rates(self, x: Any, own: list[int] | None) -> Any:
        import torch

        rates = [self.rate] * len(x) if own is None else [self._rates.get(i, self.rate) for i in own]
        return torch.tensor(rates, dtype=x.dtype, device=x.device)

    def _start(self, x: Any, own: list[int] | None) -> Any:
        import torch

        fresh = torch.randn(x.shape, generator=self._generator, dtype=torch.float64).to(x.device, x.dtype)
        fresh = self._on_sphere(fresh)
        if own is None:
            return fresh
        kept = [self._kept.get(i) for i in own]
        return torch.stack([new if old is None else old.to(x.device) for old, new in zip(kept, fresh, strict=True)])

    def _on_sphere(self, d: Any) -> Any:
        rows = d.flatten(1)
        sizes = rows.square().mean(dim=1).sqrt().clamp_min(1e-30)
        return (self.radius * rows / sizes[:, None]).reshape(d.shape)

    def state_dict(self) -> dict[str, Any]:
        """The displacements, the lengths of their steps, and the state of the random numbers."""
        return {"kept": dict(self._kept), "rates": dict(self._rates), "random": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._kept = {int(i): d for i, d in state["kept"].items()}
        self._rates = {int(i): float(rate) for i, rate in state.get("rates", {}).items()}
        self._generator.set_state(state["random"])


class _Ascent:
    """The best displacement that each sample has met, with its value, its slope and the length of the next step.

    Parameters
    ----------
    best : tensor, shape ``(samples, ...)``
    rates : tensor, shape ``(samples,)``
    longest : float
        The largest rate.
    """

    def __init__(self, best: Any, rates: Any, longest: float) -> None:
        self.best, self.rates, self.longest = best, rates, longest
        self.values: Any = None
        self.slope: Any = None

    def look(self, d: Any, values: Any, slope: Any = None) -> None:
        """Take in what was found at displacements; a value that is NaN is never the best."""
        if self.values is None:
            self.values, self.slope = values.nan_to_num(nan=-inf, posinf=inf, neginf=-inf), slope
            return
        more = values > self.values
        self.rates = (self.rates * GROW).clamp_max(self.longest).where(more, SHRINK * self.rates)
        self.values = values.where(more, self.values)
        which = more.reshape(-1, *(1,) * (d.ndim - 1))
        self.best = d.where(which, self.best)
        if slope is not None:
            self.slope = slope.where(which, self.slope)


def checked_number(what: str, value: Any, positive: bool = False) -> float:
    """A finite number that is not negative, or ParameterError; ``what`` begins its sentence."""
    found = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    is_number = isinstance(found, Real) and not isinstance(found, bool) and isfinite(found)
    if not is_number or found < 0 or (positive and found == 0):
        kind = "positive" if positive else "nonnegative"
        raise ParameterError(f"{what} must be a finite {kind} number, not {value!r}")
    return float(found)


def checked_count(what: str, value: Any) -> int:
    """A nonnegative integer, or ParameterError; ``what`` begins its sentence, verb included."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ParameterError(f"{what} a nonnegative integer, not {value!r}")
    return int(value)


def checked_samples(what: str, x: Any, axes: int = 2) -> Any:
    """Samples as a tensor of real numbers with some axes at least, or ParameterError; ``what`` is who needs them."""
    if not hasattr(x, "detach"):
        raise ParameterError(
            f"{what} takes samples as a tensor of Torch, not {type(x).__name__}; convert them by torch.as_tensor"
        )
    if x.ndim < axes or not x.is_floating_point():
        raise ParameterError(
            f"{what} takes real samples along the first axis of a tensor, not shape {tuple(x.shape)} of {x.dtype}; a "
            f"single sample is x[None], and x.float() makes real numbers"
        )
    return x


def _checked_indices(indices: Any, count: int) -> list[int]:
    """The indices of samples as integers of Python."""
    found = indices.tolist() if hasattr(indices, "tolist") else indices
    if not isinstance(found, (list, tuple)) or len(found) != count:
        given = f"{len(found)}" if isinstance(found, (list, tuple)) else repr(indices)
        raise ParameterError(
            f"an inner maximisation takes one index for each of the {count} samples, but the indices are {given}; give "
            f"as many, as in indices=torch.arange({count})"
        )
    for i in found:
        if isinstance(i, bool) or not isinstance(i, Integral):
            raise ParameterError(
                f"the indices of samples are integers, one for each sample, but there is {i!r}; give a tensor such as "
                f"torch.arange({count})"
            )
    return [int(i) for i in found]


__all__ = ["InnerMaximum", "checked_count", "checked_number", "checked_samples"]
