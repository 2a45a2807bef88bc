"""What has to be the same where a training run goes on: the model in words and numbers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.learning.solver_figures import solvers_in
from opalg.learning.weights import parameter_names
from opalg.leaves import Parameter
from opalg.nodes import walk

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def setup_of(module: Any) -> dict[str, Any]:
    """A model: shapes, precision, layers, what its plans solve, and the numbers in these.

    Parameters
    ----------
    module : torch.nn.Module

    Notes
    -----
    Functions are compared by name alone.
    """
    held = module.state_dict()
    plans = [solver.plan for solver in solvers_in(module)]
    return {
        "parameters": {n: list(getattr(p, "shape", ())) for n, p in held.items()},
        "dtypes of parameters": {n: str(p.dtype).rpartition(".")[2] for n, p in held.items() if hasattr(p, "dtype")},
        "parametrisations": _parametrisations(module),
        "layers": _layers_of(module),
        "models": [_text_of(plan) for plan in plans],
        "numbers in models": {f"{i}. {n}": v for i, p in enumerate(plans, 1) for n, v in _numbers_in(p).items()},
    }


def values_left_alone(module: Any, given: Collection[str], trained: Mapping[str, Any]) -> dict[str, str]:
    """The values of parameters that are neither trained nor given by the data.

    Parameters
    ----------
    module : torch.nn.Module
    given : collection of str
        Inputs of the data.
    trained : mapping from str to tensor
    """
    own, moved = parameter_names(module), {id(w) for w in trained.values()}
    inputs = {own.get(name, name) for name in given}
    return {n: _described(p) for n, p in module.named_parameters() if id(p) not in moved and n not in inputs}


def _text_of(plan: Any) -> str:
    """What a plan solves and how, but for where it runs: another machine may go on."""
    text = repr(plan).replace(f" on {plan.backend!r}", "")
    return _ADDRESS.sub("", text) + getattr(getattr(plan, "full", plan), "acceleration", "")


def _layers_of(module: Any) -> dict[str, str]:
    """The classes of all layers, and what each says of itself."""
    solvers = solvers_in(module)
    return {
        name or "the model": f"{type(part).__name__}({_ADDRESS.sub('', part.extra_repr())})"
        for name, part in module.named_modules()
        if not any(part is s for s in solvers)
    }


def _parametrisations(module: Any) -> dict[str, str]:
    """What parameters are functions of free numbers, and which functions: names of classes with their settings."""
    found = {}
    for label, part in module.named_modules():
        for name, ways in getattr(part, "parametrizations", {}).items():
            found[f"{label}.{name}" if label else name] = " of ".join(_way(w) for w in reversed(ways))
    return found


def _way(way: Any) -> str:
    """The name of a parametrisation, and what it was made with."""
    settings = {k: v for k, v in vars(way).items() if not k.startswith("_") and k != "training"}
    kept = [f"{k}={v}" for k, v in sorted(settings.items()) if isinstance(v, (bool, int, float, str, Enum))]
    return f"{type(way).__name__}({', '.join(kept)})" if kept else type(way).__name__


def _numbers_in(plan: Any) -> dict[str, str]:
    """The arrays and numbers that a plan was declared with; values of parameters are left out."""
    whole = getattr(plan, "full", plan)
    roots = whole.expressions if hasattr(whole, "expressions") else (whole.energy,)
    found: dict[str, str] = {}
    for current in walk(*roots):
        if not isinstance(current, Parameter):
            for name, value in _fields_of(current):
                alike = sum(n.startswith(f"{name} ") for n in found)
                found[f"{name} {alike + 1}"] = _described(value)
    return found


def _fields_of(current: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(current):
        value = getattr(current, field.name)
        several = isinstance(value, tuple) and bool(value) and all(isinstance(v, (int, float, complex)) for v in value)
        if several or isinstance(value, (float, complex)) or library_name(value) is not None or _is_sparse(value):
            yield f"{type(current).__name__}.{field.name}", value


def _described(value: Any) -> str:
    """An array or a number to six digits, which are the same on another machine: its norms, with signs and places."""
    array = _numpy(value)
    if array.size == 1:
        return f"{complex(array.item()):.6g}" if np.iscomplexobj(array) else f"{float(array.item()):.6g}"
    flat = array.reshape(-1).astype(complex if np.iscomplexobj(array) else float)
    size = float(np.linalg.norm(flat))
    wave = np.cos(np.arange(flat.size)) * size / max(flat.size, 1) ** 0.5
    return f"of shape {tuple(array.shape)} and norm {size:.6g}, with a wave {float(np.linalg.norm(flat + wave)):.6g}"


def _numpy(value: Any) -> np.ndarray:
    """An array of any library, or the entries of a sparse matrix, on the host."""
    if hasattr(value, "detach"):
        import torch

        plain = value.detach().cpu().resolve_conj().resolve_neg()
        return np.asarray(plain.to(torch.complex128 if plain.is_complex() else torch.float64).numpy())
    value = value.data if _is_sparse(value) else value
    return np.asarray(value.get() if hasattr(value, "get") else value)


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse")


__all__ = ["setup_of", "values_left_alone"]
