"""Reference pages that follow the code: a directive that documents every public name of a package.

``.. family:: opalg.operators`` lists what the modules of the package define, so a new operator appears in the
documentation without an entry anywhere. ``:members:`` documents the methods of the classes as well: of all, or of those
that are named behind it. ``:bases:`` shows what a class derives from.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList

OPTIONAL = {"array_api_strict", "cupy", "cupyx", "hypothesis", "pylops", "pywt", "torch"}


class Family(Directive):
    """Every public class and function that a package or module defines, module by module."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "members": directives.unchanged,
        "bases": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Parse the autodoc directives of the family where this directive stands."""
        try:
            modules = list(modules_of(self.arguments[0]))
        except ImportError as error:
            raise self.error(f"{self.arguments[0]} cannot be imported: {error}") from error
        return parsed(self, [line for module in modules for line in entries(module, self.options)])


class Rules(Directive):
    """The rewrite rules of the house by purpose, each with its formula."""

    def run(self) -> list[nodes.Node]:
        """Parse one definition list per group of rules where this directive stands."""
        try:
            for room in ("operators", "functionals", "energies", "rewriting"):
                list(modules_of(f"opalg.{room}"))
        except ImportError as error:
            raise self.error(f"the rules cannot be imported: {error}") from error
        rules = importlib.import_module("opalg.rules").RULES
        lines: list[str] = []
        for group in dict.fromkeys(rule.group for rule in rules):
            lines += [f".. rubric:: {group}", ""]
            for rule in sorted((r for r in rules if r.group == group), key=lambda r: r.name):
                lines += [f"``{rule.name}``", f"    ``{rule.formula.replace('`', '')}``", ""]
        return parsed(self, lines)


def parsed(directive: Directive, lines: list[str]) -> list[nodes.Node]:
    """What reStructuredText lines become where a directive stands."""
    container = nodes.container()
    directive.state.nested_parse(StringList(lines, source=directive.name), directive.content_offset, container)
    return container.children


def modules_of(name: str) -> Iterator[ModuleType]:
    """A module and, where it is a package, all public modules below it, in order; not those of missing libraries."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OPTIONAL:
            return
        raise
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not found.name.startswith("_"):
            yield from modules_of(f"{name}.{found.name}")


def entries(module: ModuleType, options: dict[str, Any]) -> list[str]:
    """The lines that document a module: its first sentence as a heading, then its public names."""
    names = public_names(module)
    if not names:
        return []
    lines = [f".. rubric:: {first_sentence(module)}", ""]
    package = importlib.import_module("opalg")
    for name in names:
        value = getattr(module, name)
        home = "opalg" if getattr(package, name, None) is value else module.__name__
        if inspect.isclass(value):
            lines.append(f".. autoclass:: {home}.{name}")
            if "bases" in options:
                lines.append("   :show-inheritance:")
            if "members" in options and name in (options["members"].split() or [name]):
                lines.append("   :members:")
        else:
            lines.append(f".. autofunction:: {home}.{name}")
        lines.append("")
    return lines


def first_sentence(module: ModuleType) -> str:
    """The first sentence of a module's docstring on one line, without its full stop."""
    paragraph = (inspect.getdoc(module) or module.__name__).partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].rstrip(".")


def public_names(module: ModuleType) -> list[str]:
    """The documented classes and functions that a module itself defines, in the order of the source."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and inspect.getdoc(value)
    }
    stated = getattr(module, "__all__", None)
    return [name for name in own if stated is None or name in stated]


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx about the directives."""
    app.add_directive("family", Family)
    app.add_directive("rewrite-rules", Rules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
