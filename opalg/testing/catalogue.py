"""Small members of every class of operators and functionals, simplest first."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

import opalg.functionals
import opalg.operators
from opalg.functionals.calculus import Functional
from opalg.nodes import Node, walk
from opalg.operators.algebra import LinearOperator

SEED = 7


@lru_cache(maxsize=1)
def operator_catalogue() -> tuple[LinearOperator, ...]:
    """The ``examples`` of every operator class of opalg, simplest first; the same ones each time."""
    _import_all(opalg.operators)
    rng = np.random.default_rng(SEED)
    found = [member for cls in _classes(LinearOperator) for member in cls.examples(rng)]
    return tuple(sorted(dict.fromkeys(found), key=_complexity))


@lru_cache(maxsize=1)
def functional_catalogue() -> tuple[Functional, ...]:
    """The ``examples`` of every functional class of opalg, simplest first; the same ones each time."""
    _import_all(opalg.functionals)
    rng = np.random.default_rng(SEED)
    found = [member for cls in _classes(Functional) for member in cls.examples(rng)]
    return tuple(sorted(dict.fromkeys(found), key=lambda f: (_nodes(f), repr(f))))


def shape_for(functional: Any, default: tuple[int, ...] = (3, 4)) -> tuple[int, ...]:
    """The shape of arrays to try a functional or set on: its ``example_shape``, or that of a part of it, else (3, 4).

    Examples
    --------
    >>> import opalg as oa
    >>> from opalg.testing.catalogue import shape_for
    >>> shape_for(oa.functionals.Norm1())
    (3, 4)
    """
    parts = walk(functional) if isinstance(functional, Node) else (functional,)
    own = getattr(functional, "example_shape", None)
    said = [own] if own is not None else [getattr(part, "example_shape", None) for part in parts]
    return next((tuple(shape) for shape in said if shape is not None), default)


def _import_all(package: Any) -> None:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)


def _classes(base: type) -> list[Any]:
    """Every class of the house below a base that has examples of its own, by name."""
    found = {c for c in _below(base) if c.__module__.startswith("opalg.") and "examples" in vars(c)}
    return sorted(found, key=lambda c: c.__qualname__)


def _below(base: type) -> Iterator[type]:
    children: list[type] = base.__subclasses__()
    for child in children:
        yield child
        yield from _below(child)


def _nodes(root: Any) -> int:
    return sum(1 for _ in walk(root))


def _complexity(operator: LinearOperator) -> tuple[int, int, str]:
    return _nodes(operator), prod(operator.in_shape) + prod(operator.out_shape), repr(operator)
