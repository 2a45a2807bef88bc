"""Which parameters of a module are trained, and by which names they may be called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from opalg.errors import ParameterError
from opalg.leaves import Parameter

PARTS = ("parametrizations.", ".original")  # what Torch puts around the name of a parametrised weight


def weights_of(module: Any, given: Collection[str], wrt: Any = None) -> dict[str, Any]:
    """The tensors to train, by the names that they have for a person.

    Parameters
    ----------
    module : torch.nn.Module
    given : collection of str
        Inputs of the data, which are not trained.
    wrt : str, Parameter, tensor, torch.nn.Module, or sequence of them, optional
        What to train; by default all that asks for gradients.

    Returns
    -------
    dict from str to tensor
        A parameter with ``positive=`` goes by its own name, though the tensor is the free number behind it.

    Raises
    ------
    ParameterError
        For what is not there, and where nothing is left to train.
    """
    own = parameter_names(module)
    inputs = {own.get(name, name) for name in given}
    named = {n: p for n, p in _named(module).items() if n not in inputs}
    if wrt is None:
        named = {n: p for n, p in named.items() if p.requires_grad}
    else:
        every = list(wrt) if isinstance(wrt, (list, tuple, set, frozenset)) else [wrt]
        chosen = [name for wanted in every for name in named_by(wanted, named, own, inputs)]
        named = {n: p for n, p in named.items() if n in chosen}
    if not named:
        raise ParameterError(
            f"there is nothing to train: {type(module).__name__} has no parameters that ask for gradients beside the "
            f"inputs of the data ({', '.join(sorted(given)) or 'none'})"
        )
    return named


def named_by(
    wanted: Any, named: Mapping[str, Any], own: Mapping[str, str], inputs: Collection[str] = ()
) -> Sequence[str]:
    """The names of weights that something stands for: a name, the beginning of names, a parameter, a module, a tensor.

    Raises
    ------
    ParameterError
        Where it stands for none.
    """
    if isinstance(wanted, (str, Parameter)):
        label = wanted if isinstance(wanted, str) else (wanted.name or "")
        name = own.get(label, label)
        found = [n for n in named if n == name or n.startswith(f"{name}.")]
        if name in inputs:
            raise ParameterError(f"{label!r} comes with the data, so it cannot be trained; there are {_list(named)}")
    elif hasattr(wanted, "parameters"):
        held = list(wanted.parameters())
        found = [n for n, p in named.items() if any(p is q for q in held)]
    else:
        found = [n for n, p in named.items() if p is wanted]
    if not found:
        label = repr(wanted) if isinstance(wanted, (str, Parameter)) else f"a {type(wanted).__name__}"
        raise ParameterError(f"{label} is nothing to train here; there are {_list(named)}")
    return found


def parameter_names(module: Any) -> dict[str, str]:
    """The module's names of the parameters of a plan, by the parameters' own names."""
    plan, names = getattr(module, "plan", None), getattr(module, "_names", None)
    if plan is None or names is None:
        return {}
    return {p.name: n for p, n in zip(plan.parameters, names, strict=True) if p.name}


def _named(module: Any) -> dict[str, Any]:
    """The parameters of a module, without what parametrisations put around their names."""
    found: dict[str, Any] = {}
    for name, parameter in module.named_parameters():
        plain = name.replace(PARTS[0], "")
        plain = plain.removesuffix(PARTS[1]) if plain != name else name
        found[plain if plain not in found else name] = parameter
    return found


def _list(named: Mapping[str, Any]) -> str:
    return ", ".join(named) or "none"


__all__ = ["named_by", "parameter_names", "weights_of"]
