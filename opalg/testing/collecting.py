"""What there is to check in a user's module: operators, functionals, energies, and functions that make them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from opalg.compiler import MapPlan, Plan
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError
from opalg.functionals.calculus import Functional
from opalg.functionals.sets import Set
from opalg.operators.algebra import LinearOperator
from opalg.testing.adapters.choose import is_foreign_functional, is_foreign_operator
from opalg.testing.energies import check_energy
from opalg.testing.functionals import check_functional
from opalg.testing.gradients import check_gradient
from opalg.testing.operators import check_operator
from opalg.testing.report import Report

F = TypeVar("F", bound=Callable[[], Any])
_MARK = "__opalg_checked__"


@dataclass(frozen=True)
class Checkable:
    """An object to check, and how it is found in its module.

    Attributes
    ----------
    name : str
        Such as ``"blur"``, ``"stages[2]"`` or ``"Blur.examples[0]"``.
    value : object
        An operator, a functional, a set, an energy or a plan.
    """

    name: str
    value: Any


def checked(function: F) -> F:
    """Mark a function without arguments: what it returns is checked with its module.

    Parameters
    ----------
    function : callable
        Returns an operator, a functional, an energy, or a list or mapping of them.

    Examples
    --------
    >>> import opalg as oa
    >>> @oa.testing.checked
    ... def blur():
    ...     return oa.Convolve(oa.gaussian_kernel(1.0, 2), (8, 8))
    """
    setattr(function, _MARK, True)
    return function


def check(
    value: Any,
    rng: np.random.Generator | None = None,
    *,
    shape: Any = None,
    library: str = "numpy",
) -> Report:
    """Check an object by what it is: an operator, a functional, an energy or a plan.

    Parameters
    ----------
    value : object
    rng : numpy.random.Generator, optional
        Where random arrays come from; the same ones each time by default.
    shape : tuple of int, optional
        The arrays to try a functional on; by default what it names as its ``example_shape``, else (3, 4).
    library : str
        The array library for operators and functionals; an operator of another library brings its own.

    Raises
    ------
    ParameterError
        Where it is none of them.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(value, (Plan, MapPlan)):
        return check_gradient(value, rng=rng)
    if isinstance(value, EnergyExpression):
        return check_energy(value, rng, library=library)
    if isinstance(value, (Functional, Set)) or is_foreign_functional(value):
        return check_functional(value, shape, rng, library=library)
    if is_operator(value) or hasattr(value, "in_shape") or hasattr(value, "shape"):
        return check_operator(value, rng, library=None if library == "numpy" else library)
    if callable(getattr(value, "value", None)):
        return check_functional(value, shape, rng, library=library)
    raise ParameterError(
        f"{type(value).__name__} is not checked; check takes an operator, a functional, an energy or a plan, or a "
        f"function that returns one"
    )


def is_operator(value: Any) -> bool:
    """Whether an object is a linear operator of any library that is known, or follows the protocol."""
    if isinstance(value, LinearOperator) or is_foreign_operator(value):
        return True
    shapes = hasattr(value, "in_shape") and hasattr(value, "out_shape")
    return shapes and hasattr(value, "apply") and (hasattr(value, "H") or hasattr(value, "adjoint"))


def is_checkable(value: Any) -> bool:
    """Whether an object is one that `collected` looks for."""
    if isinstance(value, (type, ModuleType)):
        return False
    if isinstance(value, (EnergyExpression, Plan, MapPlan, Functional, Set)):
        return True
    if is_foreign_functional(value) or is_operator(value):
        return True
    return callable(getattr(value, "value", None)) and any(
        callable(getattr(value, name, None)) for name in ("prox", "gradient")
    )


def collected(module: ModuleType) -> list[Checkable]:
    """Everything in a module, or in a package and all modules below it, that the kit can check.

    Parameters
    ----------
    module : module
        Looked at are its public names: objects, lists, tuples and mappings of them, functions that are marked with
        `checked`, and ``examples`` of the operator and functional classes that it defines.

    Returns
    -------
    list of Checkable
        Each object once, in the order of the source.

    Raises
    ------
    ParameterError
        Where a function marked with `checked` returns something else.
    """
    seen: dict[int, Checkable] = {}
    for prefix, part in _modules(module):
        for name, value in vars(part).items():
            if not name.startswith("_"):
                for found in _within(prefix + name, value, part):
                    seen.setdefault(id(found.value), found)
    return list(seen.values())


def _modules(module: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    yield "", module
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), module.__name__ + "."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield found.name.removeprefix(module.__name__ + ".") + ".", importlib.import_module(found.name)


def _within(name: str, value: Any, module: ModuleType) -> Iterator[Checkable]:
    if is_checkable(value):
        yield Checkable(name, value)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from (Checkable(f"{name}[{index}]", v) for v in (item,) if is_checkable(v))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (Checkable(f"{name}[{key!r}]", v) for v in (item,) if is_checkable(v))
    elif getattr(value, _MARK, False) is True:
        made = list(_within(f"{name}()", value(), module))
        if not made:
            raise ParameterError(f"{name}() is marked with oa.testing.checked, but returns nothing that can be checked")
        yield from made
    elif _has_examples(value) and value.__module__ == module.__name__:
        for index, item in enumerate(value.examples(np.random.default_rng(7))):
            yield Checkable(f"{name}.examples[{index}]", item)


def _has_examples(value: Any) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, (LinearOperator, Functional, Set))
        and callable(getattr(value, "examples", None))
    )
