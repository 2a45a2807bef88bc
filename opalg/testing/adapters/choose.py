"""Which library an object comes from, told by the modules of its classes alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

LIBRARIES: tuple[str, ...] = (
    "numpy",
    "scipy",
    "pylops",
    "torch",
    "deepinv",
    "sigpy",
    "scico",
    "odl",
    "pyproximal",
    "pyunlocbox",
)
_ALL_OF: dict[str, tuple[str, ...]] = {
    "scipy": ("matvec", "rmatvec", "shape"),
    "pylops": ("matvec", "rmatvec", "shape"),
    "torch": ("parameters", "forward"),
    "deepinv": ("A", "A_adjoint"),
    "sigpy": ("ishape", "oshape", "H"),
    "scico": ("input_shape", "output_shape", "adj"),
    "odl": ("domain", "range", "adjoint"),
}
_SHAPES = {"torch": ("in_shape", "in_features"), "deepinv": ("in_shape", "img_size", "img_shape")}
_FUNCTIONALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pyproximal": ("pyproximal_adapter", ("prox", "proxdual")),
    "pyunlocbox": ("pyunlocbox_adapter", ("eval", "prox", "cap")),
    "scico": ("scico_functional", ("has_eval", "has_prox", "prox")),
    "odl": ("odl_functional", ("proximal", "convex_conj")),
}
_FILES = {"numpy": "scipy"}  # an array is what SciPy takes for an operator


def library_of(operator: Any) -> str | None:
    """The library that made an object or a class it derives from; of several, the one nearest to the object."""
    for cls in type(operator).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in LIBRARIES and not (root == "numpy" and cls.__name__ != "ndarray"):
            return root
    return None


def adapter_of(operator: Any) -> Callable[[Any, Any, Any], Any] | None:
    """The function that adapts an object, or None where it is of no library that is known."""
    library = library_of(operator)
    if library is None or is_foreign_functional(operator):
        return None
    module = importlib.import_module(f"opalg.testing.adapters.{_FILES.get(library, library)}_adapter")
    return module.adapt


def functional_adapter_of(value: Any) -> Callable[[Any, Any], Any] | None:
    """The function that adapts a functional of another library, or None where an object is none."""
    if not is_foreign_functional(value):
        return None
    module = importlib.import_module(f"opalg.testing.adapters.{_FUNCTIONALS[library_of(value) or ''][0]}")
    return module.adapt_functional


def is_foreign_functional(value: Any) -> bool:
    """Whether an object is a functional of another library, told by what its class defines."""
    library = library_of(value)
    if library not in _FUNCTIONALS or isinstance(value, type):
        return False
    return all(hasattr(type(value), name) for name in _FUNCTIONALS[library][1])


def is_foreign_operator(value: Any) -> bool:
    """Whether an object is a linear operator of another library that says all its shapes."""
    library = library_of(value)
    if library not in _ALL_OF or isinstance(value, type) or is_foreign_functional(value):
        return False
    shapes = _SHAPES.get(library, ())
    return all(hasattr(value, name) for name in _ALL_OF[library]) and (
        not shapes or any(getattr(value, name, None) is not None for name in shapes)
    )
