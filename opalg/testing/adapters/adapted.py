"""An operator of another library with the names that the kit asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from opalg.errors import ParameterError
from opalg.operators.algebra import as_shape

Shape = tuple[int, ...]

MEMORY = "may return its argument or a buffer of its own"
PRECISION = "computes in the precision it was built for"
SHAPES = "takes arrays of other shapes too"


@dataclass(frozen=True)
class Adapted:
    """An operator of another library.

    Attributes
    ----------
    label : str
        Its name in reports.
    in_shape, out_shape : tuple of int
        Shapes without batch axes.
    apply : callable
        The map, on arrays of ``library``.
    adjoint_of : callable
        Takes nothing and gives the adjoint as an `Adapted`.
    in_kind : str or None
        ``"any"``, ``"real"`` or ``"complex"``; None where the library does not say.
    library : str
        The array library it computes with.
    precision : str
        ``"float32"`` or ``"float64"``.
    unpromised : mapping from str to str
        Properties that its library does not promise, and what it does instead; they are not tried.
    """

    label: str
    in_shape: Shape
    out_shape: Shape
    apply: Callable[[Any], Any]
    adjoint_of: Callable[[], Any]
    in_kind: str | None = None
    library: str = "numpy"
    precision: str = "float64"
    unpromised: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def H(self) -> Any:
        """The adjoint."""
        return self.adjoint_of()

    def __repr__(self) -> str:
        return self.label


def label_of(operator: Any, library: str) -> str:
    """A short name of an object of a library."""
    return f"{library} {type(operator).__name__}"


def shape_from(operator: Any, given: Any, names: tuple[str, ...], what: str = "in_shape") -> Shape:
    """The shape that was given, or that the object has under one of some names.

    Raises
    ------
    ParameterError
        Where there is none.
    """
    if given is not None:
        return as_shape(given)
    for name in names:
        found = getattr(operator, name, None)
        if found is not None and not callable(found):
            return as_shape(found)
    raise ParameterError(
        f"{type(operator).__name__} does not say the shape of its argument; give it without batch axes, as "
        f"check_operator(A, {what}=(...))"
    )


def kind_of_dtype(dtype: Any) -> str | None:
    """``"real"`` or ``"complex"`` of a dtype of any library; None where there is none."""
    return None if dtype is None else "complex" if "complex" in str(dtype) else "real"


def precision_of_dtype(dtype: Any) -> str:
    """``"float32"`` or ``"float64"``."""
    return "float32" if any(name in str(dtype) for name in ("float32", "complex64")) else "float64"
