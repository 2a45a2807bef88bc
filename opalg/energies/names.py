"""Names by which variables and parameters are called must tell them apart."""

from __future__ import annotations

from collections.abc import Sequence

from opalg.energies.affine import Variable
from opalg.errors import ParameterError
from opalg.leaves import Parameter


def check_names(variables: Sequence[Variable], parameters: Sequence[Parameter], owner: str = "energy") -> None:
    """Raise ParameterError where two variables or two parameters share a name."""
    for what, things in (("variables", variables), ("parameters", parameters)):
        seen: set[str] = set()
        for thing in things:
            if thing.name is not None and thing.name in seen:
                raise ParameterError(f"two {what} of the {owner} are called {thing.name!r}; give each its own name")
            seen.add(thing.name or "")


__all__ = ["check_names"]
