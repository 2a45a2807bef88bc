"""Penalties on learned maps: on their Lipschitz constant, and on the norm of their Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opalg.errors import ParameterError
from opalg.learning.batches import Batch
from opalg.learning.evaluation_mode import evaluation_mode
from opalg.learning.inner_maximum import InnerMaximum, checked_count, checked_number, checked_samples


class Lipschitz:
    """``weight * sum_i max(0, max_d |F(x_i) - F(x_i + d)| / |d| - bound)``.

    Parameters
    ----------
    mapping : callable
        ``F``, on tensors with samples along the first axis: a network, or `gradient_of` a scalar one.
    bound : float
        The constant that is allowed; not negative.
    weight : float
        Not negative.
    radius, steps, rate, seed
        Of the inner maximisation over d; see `InnerMaximum`.
    at : {"target", "output"}
        Around which samples.
    name : str
        Of the column in the log.

    Raises
    ------
    ParameterError
        For a mapping that cannot be called, and numbers that are negative, infinite or NaN.

    Notes
    -----
    The penalty of deep regularisation by bilevel optimisation (Nair and Schniter 2022). It looks near training samples
    only and from below, so the true constant is a little larger; `measure` tells how much under a longer ascent.
    Networks are evaluated in evaluation mode, as in solves.
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
        self.mapping, self.at, self.name = _checked_mapping("Lipschitz", mapping), _checked_place("Lipschitz", at), name
        self.bound = checked_number("bound of Lipschitz", bound)
        self.weight = checked_number("weight of Lipschitz", weight)
        self.inner = InnerMaximum(self._quotient, radius, steps, rate, seed)

    def value(self, batch: Batch, output: Any) -> Any:
        """The penalty for a batch, with a graph."""
        x = _samples(self, batch, output, 2)
        with evaluation_mode(self.mapping):
            d = self._ascend(x, batch.indices)
            return self.weight * (self._quotient(x, d) - self.bound).clamp_min(0).sum()

    def measure(self, x: Any, steps: int = 20) -> float:
        """The largest quotient found around some samples by a longer ascent; the state stays as it is.

        Parameters
        ----------
        x : tensor, shape ``(samples, ...)``
        steps : int
            Of the ascent.
        """
        x = checked_samples("measure of Lipschitz", x).detach()
        with self.inner.apart(), evaluation_mode(self.mapping):
            d = self._ascend(x, None, steps)
            return float(self._quotient(x, d).detach().max())

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
        Not negative.
    at : {"output", "target"}
        Where it is taken: at the fixed points found, or at the clean samples.
    name : str
    seed : int

    Raises
    ------
    ParameterError
        For a mapping that cannot be called, and a weight that is negative, infinite or NaN.

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

        self.mapping, self.at, self.name = _checked_mapping("Jacobian", mapping), _checked_place("Jacobian", at), name
        self.weight = checked_number("weight of Jacobian", weight)
        self._generator = torch.Generator().manual_seed(checked_count("the seed of Jacobian is", seed))

    def value(self, batch: Batch, output: Any) -> Any:
        """The penalty for a batch, with a graph."""
        import torch

        x = _samples(self, batch, output, 0).requires_grad_(True)
        with torch.enable_grad(), evaluation_mode(self.mapping):
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

    Raises
    ------
    ParameterError
        For what cannot be called.
    """
    import torch

    _checked_mapping("gradient_of", scalar)

    def gradient(x: Any) -> Any:
        with torch.enable_grad():
            at = x if x.requires_grad else x.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(scalar(at).sum(), at, create_graph=True)
        return found

    gradient.__wrapped__ = scalar  # type: ignore[attr-defined]
    return gradient


def checked_value(penalty: Any, value: Any) -> Any:
    """What a penalty has returned.

    Raises
    ------
    ParameterError
        Where that is no single real number in a tensor.
    """
    if not hasattr(value, "detach") or not value.is_floating_point() or value.numel() != 1:
        is_tensor = hasattr(value, "detach")
        found = f"a tensor of shape {tuple(value.shape)} and {value.dtype}" if is_tensor else type(value).__name__
        raise ParameterError(
            f"the penalty {penalty.name!r} must return one real number in a tensor, which Torch can differentiate, not "
            f"{found}; compute it by Torch's functions and add up its entries"
        )
    return value


def check_reach(penalty: Any, value: Any, weights: Mapping[str, Any]) -> None:
    """Raise ParameterError where a penalty depends on nothing that is trained, so that it would change nothing.

    Parameters
    ----------
    penalty : object
        One of a user's own may be zero without a graph, as before it sets in.
    value : tensor
        What it has returned.
    weights : mapping from name to tensor
        What is trained.
    """
    waits = not isinstance(penalty, (Lipschitz, Jacobian)) and value.grad_fn is None and not value.detach().any()
    if not waits and not depends_on(value, weights.values()):
        raise ParameterError(
            f"the penalty {penalty.name!r} depends on nothing that is trained ({', '.join(weights)}), so it changes "
            f"nothing: give it the network that the model trains, train the weights of its network (wrt=, "
            f"requires_grad_(True)), or leave it out of penalties="
        )


def depends_on(value: Any, tensors: Iterable[Any]) -> bool:
    """Whether the graph of a value comes to one of some leaves, or to a function that may hide one."""
    from torch.autograd.function import BackwardCFunction

    wanted = {id(t) for t in tensors}
    if value.grad_fn is None:
        return id(value) in wanted
    seen, left = set(), [value.grad_fn]
    while left:
        node = left.pop()
        if isinstance(node, BackwardCFunction) or id(getattr(node, "variable", None)) in wanted:
            return True
        if node not in seen:
            seen.add(node)
            left += [before for before, _ in node.next_functions if before is not None]
    return False


def _checked_mapping(owner: str, mapping: Any) -> Callable[[Any], Any]:
    if not callable(mapping):
        raise ParameterError(
            f"{owner} takes a function of tensors, such as a torch.nn.Module, not {mapping!r}; write, as an example, "
            f"{owner}(network)"
        )
    found: Callable[[Any], Any] = mapping
    return found


def _checked_place(owner: str, at: Any) -> str:
    if at not in ("target", "output"):
        raise ParameterError(f"at must be 'target' or 'output' in {owner}, not {at!r}")
    return str(at)


def _samples(penalty: Any, batch: Batch, output: Any, axes: int) -> Any:
    """The samples that a penalty is taken at, without a graph."""
    who = f"the penalty {penalty.name!r}, taken at the {penalty.at},"
    return checked_samples(who, batch.target if penalty.at == "target" else output, axes).detach()


def _ratio(change: Any, d: Any) -> Any:
    """``|change| / |d|`` of each sample."""
    return change.flatten(1).square().sum(dim=1).clamp_min(1e-30).sqrt() / d.flatten(1).square().sum(dim=1).sqrt()


__all__ = ["Jacobian", "Lipschitz", "gradient_of"]
