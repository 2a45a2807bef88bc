"""The catalogues of operators and functionals: a page for each file, written before the documentation is read.

A page shows, for every public name of the file, its docstring (formula, shapes, what it raises, a runnable example) and
a table of members with what the library itself finds about them. A new operator or functional appears by itself.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from reference import first_sentence, public_names

_LONGEST = 70  # characters of an object's text in a table
# The base classes have pages of their own; what arithmetic and rewriting put together is typed by no one.
_INNER = {"LinearOperator", "Adjoint", "Conjugated", "Scaled", "Composed", "Added", "Batched", "AsComplex"}
_INNER |= {"Functional", "Set"}
_FOR_SUBCLASSES = ("_", "define_", "why_")  # what a family fills in for its own base, and no one calls


@dataclass(frozen=True)
class Catalogue:
    """One catalogue.

    Attributes
    ----------
    package : str
        Whose files have the pages.
    folder : str
        Where the pages go.
    base : function
        The classes that are entries.
    header, row : tuple of str, function
        The columns of the table of members, and the cells of one.
    """

    package: str
    folder: str
    base: Callable[[], tuple[type, ...]]
    header: tuple[str, ...]
    row: Callable[[Any], tuple[str, ...]]


def _operators() -> tuple[type, ...]:
    import opalg

    return (opalg.LinearOperator,)


def _functionals() -> tuple[type, ...]:
    from opalg.functionals.calculus import Functional
    from opalg.functionals.sets import Set

    return (Functional, Set)


def _operator_row(member: Any) -> tuple[str, ...]:
    return _code(repr(member)), _code(f"{member.in_shape} -> {member.out_shape}"), str(member.facts)


def _functional_row(member: Any) -> tuple[str, ...]:
    from opalg.functionals.indicator import Indicator
    from opalg.functionals.sets import Set

    functional = Indicator(member) if isinstance(member, Set) else member
    facts = functional.facts
    known = [f"convex: {facts.convex!r}", f"smooth: {facts.smooth!r}"]
    if facts.smoothness is not None:
        known.append(f"gradient constant {facts.smoothness!r}")
    prox = "none" if functional.exactness is None else repr(functional.exactness)
    return _code(repr(member)), ", ".join(known), prox


CATALOGUES = (
    Catalogue("opalg.operators", "catalogue", _operators, ("operator", "shapes", "facts"), _operator_row),
    Catalogue(
        "opalg.functionals", "functionals_catalogue", _functionals, ("functional", "facts", "prox"), _functional_row
    ),
)


def write_pages(app: Any) -> None:
    """Write the pages; those that have not changed are left alone, so that they are not built again."""
    for catalogue in CATALOGUES:
        folder = Path(app.srcdir) / catalogue.folder
        folder.mkdir(exist_ok=True)
        wanted = {}
        package = __import__(catalogue.package, fromlist=["_"])
        for found in pkgutil.iter_modules(package.__path__):
            module = __import__(f"{catalogue.package}.{found.name}", fromlist=["_"])
            names = [n for n in public_names(module) if is_entry(module, n, catalogue)]
            if names:
                wanted[folder / f"{found.name}.rst"] = page(module, names, catalogue)
        for old in set(folder.glob("*.rst")) - set(wanted):
            old.unlink()
        for path, text in wanted.items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def home_of(name: str, value: Any, catalogue: Catalogue) -> str | None:
    """The module from which users take a name: opalg, or the package; None where neither has it."""
    for home in ("opalg", catalogue.package):
        if getattr(__import__(home, fromlist=["_"]), name, None) is value:
            return home
    return None


def is_entry(module: ModuleType, name: str, catalogue: Catalogue) -> bool:
    """Whether a public name is one that users type to get a member of the catalogue."""
    value = getattr(module, name)
    if home_of(name, value, catalogue) is None or name in _INNER:
        return False
    if inspect.isclass(value):
        return issubclass(value, catalogue.base())
    if catalogue.package == "opalg.functionals":
        return inspect.isfunction(value)
    return "LinearOperator" in str(inspect.signature(value).return_annotation)


def page(module: ModuleType, names: list[str], catalogue: Catalogue) -> str:
    """The text of the page of one file."""
    title = first_sentence(module)
    lines = [title, "=" * len(title), ""]
    for name in names:
        value = getattr(module, name)
        home = home_of(name, value, catalogue)
        lines += [name, "-" * len(name), ""]
        if inspect.isclass(value):
            lines += [f".. autoclass:: {home}.{name}", *own_methods(value, catalogue), ""]
            lines += table(value, catalogue) if "examples" in vars(value) else []
        else:
            lines += [f".. autofunction:: {home}.{name}", ""]
    return "\n".join(lines)


def own_methods(cls: type, catalogue: Catalogue) -> list[str]:
    """The option that documents the methods that a class adds to those of its base."""
    common = {name for base in catalogue.base() for name in dir(base)} | {"examples"}
    methods = [n for n, v in vars(cls).items() if inspect.isfunction(v) and v.__doc__ and n not in common]
    own = [n for n in methods if not n.startswith(_FOR_SUBCLASSES)]
    return [f"   :members: {', '.join(own)}"] if own else []


def table(cls: Any, catalogue: Catalogue) -> list[str]:
    """Members of a class, and what follows from what they are."""
    rows = [catalogue.row(member) for member in cls.examples(np.random.default_rng(0))]
    lines = [".. list-table:: Members, and what is known of them", "   :header-rows: 1", "   :widths: 45 25 30", ""]
    for row in [catalogue.header, *dict.fromkeys(rows)]:
        lines += [
            f"   {'*' if i == 0 else ' '} - {cell.replace('*', chr(0xD7)) if cell[:2] != '``' else cell}"
            for i, cell in enumerate(row)
        ]
    return [*lines, ""]


def _code(text: str) -> str:
    return f"``{text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}``"


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx when to write the pages."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
