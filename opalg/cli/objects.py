"""Objects of a user's own Python modules, named on the command line as MODULE:OBJECT."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from opalg.cli.command import UsageError
from opalg.errors import OpalgError


class LoadError(OpalgError, ImportError):
    """A user's module or object could not be loaded."""


def load(name: str) -> Any:
    """The object that ``MODULE:OBJECT`` names.

    Parameters
    ----------
    name : str
        ``package.module:object`` or ``path/to/file.py:object``; the object may have dots and indices, as in
        ``mymodule:operators['blur']`` or ``mymodule:stages[0].A``. Modules are looked for in the current folder first.

    Raises
    ------
    UsageError
        Where the name has not this form.
    LoadError
        Where the module does not exist or fails, or holds no such object.
    """
    module_name, colon, path = name.rpartition(":")
    if not (colon and module_name and path):
        raise UsageError(f"opalg: {name!r} is not of the form MODULE:OBJECT, such as mymodule:E or folder/file.py:E")
    found: Any = _module(module_name)
    for part in _parts(path, name):
        try:
            found = found[part[0]] if isinstance(part, tuple) else getattr(found, part)
        except (AttributeError, LookupError, TypeError):
            shown = part[0] if isinstance(part, tuple) else part
            raise LoadError(f"{module_name} has no {path!r}{_close(found, shown)}") from None
    return found


def _parts(path: str, name: str) -> list[Any]:
    """The attributes of a path as text, and its indices as tuples of one."""
    pieces = re.findall(r"\.?(\w+)|\[(-?\d+|'[^']*'|\"[^\"]*\")\]|(.)", f".{path}")
    if any(wrong for _, _, wrong in pieces):
        raise UsageError(f"opalg: {name!r} names no object; write MODULE:name, with .name, [0] or ['key'] behind it")
    return [word or (ast.literal_eval(key),) for word, key, _ in pieces]


def load_module(name: str) -> ModuleType:
    """The module of that name, ``package.module`` or ``path/to/file.py``, looked for in the current folder first.

    Raises
    ------
    LoadError
        Where it does not exist or fails.
    """
    return _module(name)


def called(function: Any, name: str) -> Any:
    """What a user's function returns.

    Raises
    ------
    LoadError
        Where it fails.
    """
    try:
        return function()
    except OpalgError:
        raise
    except Exception as problem:
        raise LoadError(f"{name} fails when it is called: {type(problem).__name__}: {problem}") from problem


def _module(name: str) -> ModuleType:
    try:
        if name.endswith(".py"):
            return _from_file(Path(name))
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(name)
    except OpalgError:
        raise
    except ModuleNotFoundError as problem:
        if problem.name and (name == problem.name or name.startswith(problem.name + ".")):
            raise LoadError(f"there is no module {name!r} in this folder or among the installed packages") from None
        raise LoadError(f"{name} needs the module {problem.name!r}, which is not installed") from problem
    except Exception as problem:
        raise LoadError(f"{name} fails when it is imported: {type(problem).__name__}: {problem}") from problem


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def _close(owner: Any, wanted: Any) -> str:
    from difflib import get_close_matches

    known = [str(key) for key in owner] if isinstance(owner, Mapping) else [n for n in dir(owner) if n[0] != "_"]
    names = get_close_matches(str(wanted), known, n=3)
    return f"; did you mean {' or '.join(names)}?" if names else ""
