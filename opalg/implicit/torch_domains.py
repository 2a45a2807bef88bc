"""Parameters with a sign, written as functions of free numbers that an optimiser may move anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils import parametrize

from opalg.errors import ParameterError
from opalg.leaves import Parameter

WAYS = ("exp", "softplus", "clamp")


class Exp(torch.nn.Module):
    """``exp(t)``, whose steps are relative."""

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """The parameter of a free number."""
        return torch.exp(t)

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """The free number of a parameter."""
        return torch.log(value)


class Softplus(torch.nn.Module):
    """``log(1 + exp(t))``, which is almost t where t is large."""

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """The parameter of a free number."""
        return torch.logaddexp(t, torch.zeros_like(t))

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """The free number of a parameter."""
        return value + torch.log(-torch.expm1(-value))


class Clamp(torch.nn.Module):
    """``max(t, lowest)``; the gradient vanishes below.

    Parameters
    ----------
    lowest : float
    """

    def __init__(self, lowest: float) -> None:
        super().__init__()
        self.lowest = lowest

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """The parameter of a free number."""
        return torch.clamp(t, min=self.lowest)

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """The free number of a parameter."""
        return value


def constrain(module: torch.nn.Module, parameters: Mapping[str, Parameter], asked: Any) -> None:
    """Make parameters of a module functions of free numbers that keep them in their domains.

    Parameters
    ----------
    module : torch.nn.Module
    parameters : mapping from name to Parameter
        Those of the energy, by their names in the module.
    asked : str or mapping from name to str, optional
        ``"exp"``, ``"softplus"`` or ``"clamp"``, for all that were declared positive or nonnegative, or by name.

    Raises
    ------
    ParameterError
        For another way, another name, a complex parameter, and a start outside of what the function reaches.
    """
    if asked is None:
        return
    labels = {p.label: n for n, p in parameters.items() if p.name}
    if isinstance(asked, str):
        asked = {n: asked for n, p in parameters.items() if p.positive or p.nonneg}
    if not isinstance(asked, Mapping):
        raise ParameterError(
            f"positive takes one of {WAYS}, or a mapping from a parameter's name to one; not {asked!r}"
        )
    ways: Mapping[str, str] = asked
    for key, way in ways.items():
        name = labels.get(key, key)
        if name not in parameters:
            raise ParameterError(f"positive names {key!r}; the parameters are {', '.join(parameters)}")
        _constrain(module, name, parameters[name], way)


def _constrain(module: torch.nn.Module, name: str, parameter: Parameter, way: str) -> None:
    if way not in WAYS:
        raise ParameterError(f"positive must be one of {WAYS}, not {way!r}")
    if parameter.kind == "complex":
        raise ParameterError(f"the parameter {name} is complex and has no sign; leave it out of positive=")
    value = getattr(module, name)
    lowest = float(value.detach().min()) if value.numel() else 1.0
    if way != "clamp" and lowest <= 0:
        raise ParameterError(
            f"positive={way!r} needs a start above zero, but {name} has an entry {lowest:g}; give it a positive value, "
            f"or say positive='clamp'"
        )
    least = float(torch.finfo(value.dtype).eps) if parameter.positive else 0.0
    ways: dict[str, torch.nn.Module] = {"exp": Exp(), "softplus": Softplus(), "clamp": Clamp(least)}
    parametrize.register_parametrization(module, name, ways[way])


__all__ = ["WAYS", "constrain"]
