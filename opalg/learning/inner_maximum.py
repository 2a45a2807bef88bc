"""Inner maximisations over balls around samples, whose states persist from one training step to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.errors import ParameterError

Objective = Callable[[Any, Any], Any]


class InnerMaximum:
    """Ascent on ``objective(x, d)`` over ``|d| <= radius`` for each sample by itself.

    Parameters
    ----------
    objective : callable
        ``objective(x, d) -> tensor`` of one number for each sample, along the first axis of x; differentiable in d.
    radius : float
        Of the ball, as a root mean square over the entries of a sample.
    steps : int
        Steps of ascent for each call.
    rate : float
        Length of a step, relative to the radius, along the normalised gradient; after it d is put back onto the sphere.
    seed : int
        Of the first displacements.

    Notes
    -----
    Displacements of samples that come with an index are kept, and the next ascent begins there, so that a few steps for
    each training step do, as with stored pairs in CLIP (Bungert, Raab, Roith, Schwinn and Tenbrinck 2021).
    """

    def __init__(
        self, objective: Objective, radius: float = 0.3, steps: int = 3, rate: float = 0.5, seed: int = 0
    ) -> None:
        import torch

        for name, value in (("radius", radius), ("rate", rate)):
            if not value > 0:
                raise ParameterError(f"the {name} of an inner maximisation must be positive, not {value!r}")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ParameterError(f"the steps of an inner maximisation are a nonnegative integer, not {steps!r}")
        self.objective, self.radius, self.steps, self.rate = objective, float(radius), steps, float(rate)
        self._generator = torch.Generator().manual_seed(seed)
        self._kept: dict[int, Any] = {}

    def maximise(
        self, x: Any, indices: Any = None, steps: int | None = None, objective: Objective | None = None
    ) -> Any:
        """Displacements of some samples after the steps of ascent, without a graph.

        Parameters
        ----------
        x : tensor, shape ``(samples, ...)``
        indices : tensor of int, optional
            Which samples these are; without them nothing is kept.
        steps : int, optional
            Another number of steps, as for measuring how far a maximum goes.
        objective : callable, optional
            The same objective at these samples, where it can hold on to what does not depend on d.
        """
        import torch

        x = x.detach()
        objective = self.objective if objective is None else objective
        d = self._start(x, indices)
        for _ in range(self.steps if steps is None else steps):
            d.requires_grad_(True)
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(objective(x, d).sum(), d)
            d = self._on_sphere(d.detach() + self.rate * self._on_sphere(slope))
        if indices is not None:
            for i, own in zip(indices.tolist(), d, strict=True):
                self._kept[int(i)] = own.clone()
        return d

    def _start(self, x: Any, indices: Any) -> Any:
        import torch

        fresh = torch.randn(x.shape, generator=self._generator, dtype=torch.float64).to(x.device, x.dtype)
        fresh = self._on_sphere(fresh)
        if indices is None:
            return fresh
        kept = [self._kept.get(int(i)) for i in indices.tolist()]
        return torch.stack([new if old is None else old.to(x.device) for old, new in zip(kept, fresh, strict=True)])

    def _on_sphere(self, d: Any) -> Any:
        rows = d.flatten(1)
        sizes = rows.square().mean(dim=1).sqrt().clamp_min(1e-30)
        return (self.radius * rows / sizes[:, None]).reshape(d.shape)

    def state_dict(self) -> dict[str, Any]:
        """The displacements and the state of the random numbers."""
        return {"kept": dict(self._kept), "random": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._kept = {int(i): d for i, d in state["kept"].items()}
        self._generator.set_state(state["random"])


__all__ = ["InnerMaximum"]
