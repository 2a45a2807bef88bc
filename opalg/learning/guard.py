"""What training does about a step that goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

from opalg.errors import ParameterError

TAKEN, CLIPPED, SKIPPED, RESTORED = "taken", "clipped", "skipped", "restored"


@dataclass(frozen=True)
class Guard:
    """Limits on what a training step may do.

    Parameters
    ----------
    clip : float
        The largest norm of the gradient; longer ones are shortened to it.
    explode : float
        A step whose loss is larger than the median of the last ``window`` by this factor, which is above 1, is undone:
        weights go back to those of the last good step, and the state of the optimiser with them.
    window : int
        How many losses the median is taken over.
    patience : int
        How many steps in a row may fail, those undone included; the next one that fails stops training with an error.

    Notes
    -----
    A step also fails where a solve or an adjoint solve diverges, breaks down or is not exact enough, and where its loss
    or gradient is not finite; it is then left out, which the log says. Errors that no later step would mend, as names
    that are unknown and shapes that do not fit, are raised at once.

    Exploding losses right after a warm start are what learning rates that are too large do to bilevel training, and
    training seldom recovers from them by itself.
    """

    clip: float = inf
    explode: float = inf
    window: int = 20
    patience: int = 10

    def __post_init__(self) -> None:
        for name, least in (("clip", 0), ("explode", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > least:
                raise ParameterError(f"{name} of a Guard must be a number above {least}, not {value!r}")
        for name in ("window", "patience"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ParameterError(f"{name} of a Guard must be a positive integer, not {value!r}")

    @property
    def undoes(self) -> bool:
        """Whether steps may be undone, so that the weights of the last good one have to be kept."""
        return self.explode < inf

    def exploded(self, loss: float, earlier: Sequence[float]) -> bool:
        """Whether a loss is out of all proportion to earlier ones.

        Parameters
        ----------
        loss : float
        earlier : sequence of float
            Of the steps so far, of which the last ``window`` finite ones count, from three on.
        """
        if not isfinite(loss):
            return True
        recent = [v for v in earlier if isfinite(v)][-self.window :]
        return self.undoes and len(recent) >= 3 and loss > self.explode * float(np.median(recent))

    def clipped(self, weights: Sequence[Any]) -> tuple[float, str]:
        """Shorten the gradient of some weights where it is too long; its norm, and what was done."""
        import torch

        found = [w.grad for w in weights if w.grad is not None]
        norm = (
            float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in found]))) if found else 0.0
        )
        if not isfinite(norm):
            return norm, SKIPPED
        if norm <= self.clip:
            return norm, TAKEN
        for gradient in found:
            gradient.mul_(self.clip / norm)
        return norm, CLIPPED


__all__ = ["CLIPPED", "RESTORED", "SKIPPED", "TAKEN", "Guard"]
