"""Grids of configurations, and how they are told apart and called together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.errors import ParameterError

Configuration = dict[str, Any]


def configurations(grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]) -> list[Configuration]:
    """The configurations of a grid in order, the last name varying fastest.

    Parameters
    ----------
    grid : mapping from name to values, or sequence of mappings
        All combinations of the values, or the configurations themselves.

    Returns
    -------
    list of dict

    Raises
    ------
    ParameterError
        Where there is none, a name is no text, or the values of a name are no sequence.

    Examples
    --------
    >>> from opalg.learning.grids import configurations
    >>> configurations({"tau": [0.1, 0.9], "method": ["BL"]})
    [{'tau': 0.1, 'method': 'BL'}, {'tau': 0.9, 'method': 'BL'}]
    """
    if isinstance(grid, Mapping):
        lists = {name: _choices(name, values) for name, values in grid.items()}
        found = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    else:
        if isinstance(grid, (str, bytes)) or not isinstance(grid, Iterable):
            raise ParameterError(
                f"a grid is a mapping from name to values, such as {{'tau': [0.1, 0.9]}}, or a sequence of mappings, "
                f"not {grid!r}"
            )
        found = [_configuration(entry) for entry in grid]
    if not any(found):
        raise ParameterError("the grid of a sweep is empty; give it names with values, such as {'tau': [0.1, 0.9]}")
    for configuration in found:
        for name in configuration:
            if not isinstance(name, str):
                raise ParameterError(f"the names of a grid are texts, but {name!r} was given")
    return [{n: _number(v) for n, v in c.items()} for c in found]


def _number(value: Any) -> Any:
    """A number of an array library as one of Python; anything else, larger arrays too, as it is."""
    return value.item() if library_name(value) is not None and tuple(value.shape) == () else value


def _choices(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ParameterError(f"the grid has {values!r} for {name!r}, which is no sequence; write [{values!r}]")
    listed = list(values)
    if not listed:
        raise ParameterError(f"the grid has no value for {name!r}")
    return listed


def _configuration(entry: Any) -> Configuration:
    if not isinstance(entry, Mapping):
        raise ParameterError(f"a grid is a mapping from name to values or a sequence of mappings, but holds {entry!r}")
    return dict(entry)


def key_of(configuration: Mapping[str, Any], *, stable: bool = False) -> str:
    """A text that is equal for configurations of equal values; 1, 1.0 and NumPy's 1 are equal, True is not.

    Parameters
    ----------
    configuration : mapping
    stable : bool
        Whether the text has to be the same in another process, so that only numbers, texts, truth values, None,
        arrays, tensors, and sequences and mappings of these are possible values; other objects are told apart by
        identity.

    Raises
    ------
    ParameterError
        Where another object is among the values and the text has to be stable.
    """

    def other(value: Any) -> Any:
        if library_name(value) is not None:
            return _canonical(value.tolist())
        if stable:
            raise ParameterError(
                f"a cached sweep tells configurations apart by numbers and texts, but {dict(configuration)!r} holds "
                f"{type(value).__name__}; put its name into the grid and look the object up in run"
            )
        return f"{type(value).__qualname__} at {id(value)}"

    return json.dumps(_canonical(configuration), sort_keys=True, default=other)


def _canonical(value: Any) -> Any:
    """The same value with whole floats as integers, so that equal numbers have equal texts."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def distinct_keys(listed: Sequence[Configuration], *, stable: bool) -> list[str]:
    """The keys of configurations.

    Raises
    ------
    ParameterError
        Where two are the same.
    """
    keys: dict[str, Configuration] = {}
    for configuration in listed:
        key = key_of(configuration, stable=stable)
        if key in keys:
            raise ParameterError(
                f"the grid has the configuration {configuration!r} twice; to repeat runs, give it a further name such "
                f"as 'seed' with several values"
            )
        keys[key] = configuration
    return list(keys)


@dataclass(frozen=True)
class Call:
    """One call of the function of a sweep.

    Attributes
    ----------
    places : tuple of int
        Which configurations of the grid it runs.
    arguments : dict
        Its keyword arguments.
    batched : bool
        Whether some arguments are lists with an entry for each configuration.
    """

    places: tuple[int, ...]
    arguments: dict[str, Any]
    batched: bool


def calls_of(listed: Sequence[Configuration], places: Iterable[int], together: Sequence[str]) -> list[Call]:
    """The calls that run some configurations of a grid, those that differ in the names ``together`` in one call.

    Raises
    ------
    ParameterError
        Where a configuration lacks one of these names.
    """
    if not together:
        return [Call((i,), dict(listed[i]), False) for i in places]
    groups: dict[str, list[int]] = {}
    for i in places:
        for name in together:
            if name not in listed[i]:
                raise ParameterError(f"together names {name!r}, but the grid has the configuration {listed[i]!r}")
        groups.setdefault(key_of(_without(listed[i], together)), []).append(i)
    return [
        Call(
            tuple(group),
            _without(listed[group[0]], together) | {name: [listed[i][name] for i in group] for name in together},
            True,
        )
        for group in groups.values()
    ]


def _without(configuration: Configuration, names: Sequence[str]) -> Configuration:
    return {name: value for name, value in configuration.items() if name not in names}


__all__ = ["Call", "Configuration", "calls_of", "configurations", "distinct_keys", "key_of"]
