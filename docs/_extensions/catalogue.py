"""The catalogue of operators: a page for each file of operators, written before the documentation is read.

A page shows, for every public operator of the file, its docstring (formula, shapes, what it raises, a runnable example)
and a table of members with the shapes and facts that the library itself finds. A new operator appears by itself.
"""

from __future__ import annotations

import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from reference import first_sentence, public_names

FOLDER = "catalogue"
_LONGEST = 70  # characters of an operator's text in a table
# The base class has a page of its own; what arithmetic and rewriting put together is typed by no one.
_INNER = {"LinearOperator", "Adjoint", "Conjugated", "Scaled", "Composed", "Added", "Batched", "AsComplex"}


def write_pages(app: Any) -> None:
    """Write the pages; those that have not changed are left alone, so that they are not built again."""
    import opalg.operators

    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    wanted = {}
    for found in pkgutil.iter_modules(opalg.operators.__path__):
        module = __import__(f"opalg.operators.{found.name}", fromlist=["_"])
        names = [n for n in public_names(module) if is_operator(module, n)]
        if names:
            wanted[folder / f"{found.name}.rst"] = page(module, names)
    for old in set(folder.glob("*.rst")) - set(wanted):
        old.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def is_operator(module: ModuleType, name: str) -> bool:
    """Whether a public name is one that users type to get an operator."""
    import opalg

    value = getattr(module, name)
    if getattr(opalg, name, None) is not value and getattr(opalg.operators, name, None) is not value:
        return False
    if inspect.isclass(value):
        return issubclass(value, opalg.LinearOperator) and name not in _INNER
    return "LinearOperator" in str(inspect.signature(value).return_annotation)


def page(module: ModuleType, names: list[str]) -> str:
    """The text of the page of one file."""
    title = first_sentence(module)
    lines = [title, "=" * len(title), ""]
    for name in names:
        value = getattr(module, name)
        home = "opalg" if getattr(__import__("opalg"), name, None) is value else "opalg.operators"
        lines += [name, "-" * len(name), ""]
        if inspect.isclass(value):
            lines += [f".. autoclass:: {home}.{name}", *own_methods(value), ""]
            lines += table(value) if "examples" in vars(value) else []
        else:
            lines += [f".. autofunction:: {home}.{name}", ""]
    return "\n".join(lines)


def own_methods(cls: type) -> list[str]:
    """The option that documents the methods that a class adds to those of every operator."""
    import opalg

    common = set(dir(opalg.LinearOperator)) | {"examples"}
    own = [n for n, v in vars(cls).items() if inspect.isfunction(v) and n[0] != "_" and n not in common]
    return [f"   :members: {', '.join(own)}"] if own else []


def table(cls: Any) -> list[str]:
    """Members of a class with their shapes, and the facts that follow from what they are."""
    rows = []
    for member in cls.examples(np.random.default_rng(0)):
        text = repr(member)
        text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
        rows.append((f"``{text}``", f"``{member.in_shape} -> {member.out_shape}``", str(member.facts)))
    lines = [".. list-table:: Members, and what is known of them", "   :header-rows: 1", "   :widths: 45 25 30", ""]
    for row in [("operator", "shapes", "facts"), *dict.fromkeys(rows)]:
        lines += [
            f"   {'*' if i == 0 else ' '} - {cell.replace('*', chr(0xD7)) if i == 2 else cell}"
            for i, cell in enumerate(row)
        ]
    return [*lines, ""]


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx when to write the pages."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
