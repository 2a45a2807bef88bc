"""Penalties on learned maps: on their Lipschitz constant, and on the norm of their Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.errors import ParameterError
from opalg.learning.batches import Batch
from opalg.learning.inner_maximum import InnerMaximum


class Lipschitz:
    """``weight * sum_i max(0, max_d |F(x_i) - F(x_i + d)| / |d| - bound)``.

    Parameters
    ----------
    mapping : callable
        ``F``, on tensors with samples along the first axis: a network, or `gradient_of` a scalar one.
    bound : float
        The constant that is allowed.
    weight : float
    radius, steps, rate, seed
        Of the inner maximisation over d; see `InnerMaximum`.
    at : {"target", "output"}
        Around which samples.
    name : str
        Of the column in the log.

    Notes
    -----
    The penalty of deep regularisation by bilevel optimisation (Nair and Schniter 2022). It looks near training samples
    only and from below, so the true constant is a little larger; `measure` tells how much under a longer ascent.
    """

    def __init__(
        self,
        mapping: Callable[[Any], Any],
        bound: float = 1.0,
        weight: float = 1.0,
        *,
        radius: float = 0.3,
        steps: int = 3,
        rate: float = 0.5,
        at: str = "target",
        name: str = "lipschitz",
        seed: int = 0,
    ) -> None:
        if at not in ("target", "output"):
            raise ParameterError(f"at must be 'target' or 'output', not {at!r}")
        self.mapping, self.bound, self.weight, self.at, self.name = mapping, float(bound), float(weight), at, name
        self.inner = InnerMaximum(self._quotient, radius, steps, rate, seed)

    def value(self, batch: Batch, output: Any) -> Any:
        """The penalty for a batch, with a graph."""
        x = (batch.target if self.at == "target" else output).detach()
        d = self._ascend(x, batch.indices)
        return self.weight * (self._quotient(x, d) - self.bound).clamp_min(0).sum()

    def measure(self, x: Any, steps: int = 20) -> float:
        """The largest quotient found around some samples by a longer ascent."""
        d = self._ascend(x.detach(), None, steps)
        return float(self._quotient(x.detach(), d).detach().max())

    def _ascend(self, x: Any, indices: Any, steps: int | None = None) -> Any:
        """The displacements, with ``F(x)``, which they do not change, computed once."""
        image = self.mapping(x).detach()
        return self.inner.maximise(x, indices, steps, lambda x, d: _ratio(self.mapping(x + d) - image, d))

    def _quotient(self, x: Any, d: Any) -> Any:
        return _ratio(self.mapping(x + d) - self.mapping(x), d)

    def state_dict(self) -> dict[str, Any]:
        """The displacements."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.inner.load_state_dict(state)


class Jacobian:
    """``weight * |F'(x)^T e|^2 / n`` with random e: the mean square of the entries of the Jacobian, times n.

    Parameters
    ----------
    mapping : callable
        ``F``, on tensors with samples along the first axis.
    weight : float
    at : {"output", "target"}
        Where it is taken: at the fixed points found, or at the clean samples.
    name : str
    seed : int

    References
    ----------
    Bai, Koltun and Kolter (2021), Stabilizing equilibrium models by Jacobian regularization, Equation 9, with one
    sample of Hutchinson's estimator.
    """

    def __init__(
        self,
        mapping: Callable[[Any], Any],
        weight: float = 1.0,
        *,
        at: str = "output",
        name: str = "jacobian",
        seed: int = 0,
    ) -> None:
        import torch

        if at not in ("target", "output"):
            raise ParameterError(f"at must be 'target' or 'output', not {at!r}")
        self.mapping, self.weight, self.at, self.name = mapping, float(weight), at, name
        self._generator = torch.Generator().manual_seed(seed)

    def value(self, batch: Batch, output: Any) -> Any:
        """The penalty for a batch, with a graph."""
        import torch

        x = (batch.target if self.at == "target" else output).detach().requires_grad_(True)
        with torch.enable_grad():
            image = self.mapping(x)
            noise = torch.randn(image.shape, generator=self._generator, dtype=torch.float64).to(
                image.device, image.dtype
            )
            (pulled,) = torch.autograd.grad((image * noise).sum(), x, create_graph=True)
        return self.weight * pulled.square().sum() / image.numel()

    def state_dict(self) -> dict[str, Any]:
        """The state of the random numbers."""
        return {"random": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._generator.set_state(state["random"])


def gradient_of(scalar: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The gradient of a scalar network as a map that can be differentiated in its weights.

    Parameters
    ----------
    scalar : callable
        ``s(x)``, whose entries are added up: one number for each sample, or one in all.
    """
    import torch

    def gradient(x: Any) -> Any:
        with torch.enable_grad():
            at = x if x.requires_grad else x.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(scalar(at).sum(), at, create_graph=True)
        return found

    return gradient


def _ratio(change: Any, d: Any) -> Any:
    """``|change| / |d|`` of each sample."""
    return change.flatten(1).square().sum(dim=1).clamp_min(1e-30).sqrt() / d.flatten(1).square().sum(dim=1).sqrt()


__all__ = ["Jacobian", "Lipschitz", "gradient_of"]
