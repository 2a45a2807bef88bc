"""The Torch modules that a function calls without being one: seen in what its code names, as far as that goes."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from opalg.program.network_weights import is_module
from opalg.program.opaque_arrays import identity_of

DEPTH = 6  # of functions that call functions


def called_modules(function: Any) -> list[tuple[str, Any]]:
    """The modules that a function is seen to call: by name, as a method, an argument, or an attribute of an object."""
    found: dict[int, tuple[str, Any]] = {}
    met: set[Any] = set()

    def look(name: str, value: Any, depth: int) -> None:
        if identity_of(value) in met or depth > DEPTH:
            return
        met.add(identity_of(value))
        if is_module(value):
            found[id(value)] = (name, value)
            return
        for label, part in _inside(value).items():
            look(label, part, depth + 1)

    for label, part in _inside(function).items():
        look(label, part, 1)
    return list(found.values())


def _inside(value: Any) -> dict[str, Any]:
    """What a callable or a container refers to, by name; nothing for a module, whose parts are its own affair."""
    if isinstance(value, partial):
        named = {type(a).__name__: a for a in value.args}
        return {"function": value.func, **named, **value.keywords}
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"item {i}": v for i, v in enumerate(value)}
    if inspect.ismethod(value):
        names = _words(value.__func__)[1] if inspect.isfunction(value.__func__) else set[str]()
        own = {"self": value.__self__} if is_module(value.__self__) else _attributes(value.__self__, names)
        return {**own, **_inside(value.__func__)}
    if inspect.isfunction(value):
        return _named_in(value)
    call = inspect.getattr_static(type(value), "__call__", None)
    return {"call": MethodType(call, value)} if inspect.isfunction(call) and not is_module(value) else {}


def _named_in(function: FunctionType) -> dict[str, Any]:
    """What a plain function names: globals, what it closes over, defaults, and attributes of these."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a cell that is still empty
            found[name] = cell.cell_contents
    outer, attributes = _words(function)
    found |= {n: function.__globals__[n] for n in outer if n in function.__globals__}
    arguments, defaults = function.__code__.co_varnames[: function.__code__.co_argcount], function.__defaults__ or ()
    found |= dict(zip(reversed(arguments), reversed(defaults), strict=False))
    found |= function.__kwdefaults__ or {}
    parts = [(n, _attributes(v, attributes)) for n, v in found.items() if not is_module(v)]
    return {**found, **{f"{n}.{a}": v for n, own in parts for a, v in own.items()}}


def _words(function: FunctionType) -> tuple[set[str], set[str]]:
    """The names of globals and of attributes in the code of a function."""
    said = [(i.opname, str(i.argval)) for i in dis.get_instructions(function)]
    outer = {word for name, word in said if name == "LOAD_GLOBAL"}
    return outer, {word for name, word in said if name in ("LOAD_ATTR", "LOAD_METHOD")}


def _attributes(owner: Any, names: set[str]) -> dict[str, Any]:
    """Those of the named attributes that an object holds, and its methods of these names."""
    if isinstance(owner, (type, ModuleType)):
        return {}
    found = {n: v for n, v in getattr(owner, "__dict__", {}).items() if n in names}
    for name in names:
        method = inspect.getattr_static(type(owner), name, None)
        if name not in found and inspect.isfunction(method):
            found[name] = MethodType(method, owner)
    return found


__all__ = ["called_modules"]
