"""Applying an operator to an array: what is checked and compiled the first time, and remembered for the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from opalg.arrays import Backend, backend_of, library_name
from opalg.emit.calling import Prepared
from opalg.errors import DtypeError
from opalg.program.expression import Input

if TYPE_CHECKING:
    from opalg.operators.linear_map import LinearMap

Map = Callable[[Any], Any]
_PRECISIONS = ("float32", "float64", "complex64", "complex128")
_MOST = 32  # shapes and dtypes for which one operator remembers how it is applied


def prepare(operator: LinearMap, x: Any) -> Map:
    """What applies an operator to arrays like x; the operator keeps it, under what tells such arrays from others.

    Raises
    ------
    ShapeError, DtypeError
        Where the array does not fit.
    """
    lib = _library_of(x, operator)
    found, kind = lib.kind_of(x), _checked_kind(lib, x, operator)
    if getattr(x, "requires_grad", False):
        return partial(_recorded, operator, found)
    argument = Input("x", tuple(x.shape), kind)
    output = operator.trace(argument)
    if 0 in output.shape:  # nothing to compute, which not every library's transforms and products can do
        prepared: Map = partial(_nothing, lib, output.shape, output.kind)
    else:
        prepared = Prepared(output, argument, lib)
    if found != kind:
        prepared = partial(_cast_before, prepared, lib, kind)
    known = operator.__dict__.setdefault("_prepared", {})
    if len(known) >= _MOST:
        known.clear()
    known[sort_of(x)] = prepared
    return prepared


def sort_of(x: Any) -> tuple[Any, ...]:
    """What tells the arrays that one prepared function applies to from others."""
    device = getattr(x, "device", None)
    return type(x), x.dtype, x.shape, getattr(device, "id", device), getattr(x, "requires_grad", False)


def _nothing(lib: Backend, shape: tuple[int, ...], kind: str, x: Any) -> Any:
    return lib.empty(shape, kind)


def _cast_before(prepared: Map, lib: Backend, kind: str, x: Any) -> Any:
    return prepared(lib.asarray(x, kind))


def _recorded(operator: LinearMap, kind: str, x: Any) -> Any:
    """The operator applied to a tensor for which autograd keeps a record."""
    from opalg.arrays.torch_linear import recorded

    def adjoint(y: Any) -> Any:
        back = operator.H.apply(y)
        return back.real if kind == "real" and back.is_complex() else back

    return recorded(operator.apply, adjoint, x)


def _library_of(x: Any, operator: LinearMap) -> Backend:
    if library_name(x) is None:
        raise DtypeError(f"{operator!r} applies to arrays of NumPy, CuPy or Torch, not to {type(x).__name__}")
    dtype = str(x.dtype)
    if not dtype.endswith(_PRECISIONS):
        accepted = "float32, float64, complex64 or complex128"
        raise DtypeError(
            f"{operator!r} was given an array of dtype {dtype}; convert it to a floating dtype: {accepted}"
        )
    return backend_of(x)


def _checked_kind(lib: Backend, x: Any, operator: LinearMap) -> str:
    kind = lib.kind_of(x)
    if operator.in_kind == "real" and kind == "complex":
        raise DtypeError(f"{operator!r} takes real arrays, but was given a complex one; take its real part first")
    return "complex" if operator.in_kind == "complex" else kind
