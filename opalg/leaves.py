"""Leaves of every formula: constants and parameters, the arrays an energy is made of.

A leaf is an expression of the step language, so arithmetic on leaves builds formulas (``lam ** 2``, a kernel from its
width) that are evaluated when a plan is bound, and through which gradients flow.
"""

from __future__ import annotations

from cmath import isfinite
from typing import Any

import numpy as np

from opalg.errors import DtypeError, NonFiniteError, ParameterError
from opalg.nodes import Node, node
from opalg.program.expression import Expression


def _kind_of(value: Any, name: str) -> str:
    dtype = str(value.dtype).rpartition(".")[2]
    if dtype.startswith(("float", "bfloat")):
        return "real"
    if dtype.startswith("complex"):
        return "complex"
    if dtype == "bool":
        return "bool"
    if not getattr(value.dtype, "isnative", True) and value.dtype.kind in "fc":
        raise DtypeError(
            f"{name} has dtype {dtype}, whose bytes are not in the order of this machine. "
            f"Convert it with array.astype(array.dtype.newbyteorder('='))."
        )
    raise DtypeError(
        f"{name} has dtype {dtype}; opalg computes with real or complex floating point data. "
        f"Convert it, for example with array.astype(numpy.float64)."
    )


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse")


def _own(value: Any, copy: bool, name: str) -> Any:
    """The value as an array of its own library that nobody else will write to."""
    if isinstance(value, np.ma.MaskedArray):
        raise DtypeError(
            f"{name} is a numpy masked array, whose mask would be ignored. Fill it with array.filled(0), and leave "
            f"the masked entries out with Mask(~array.mask)."
        )
    if isinstance(value, (list, tuple, int, float, complex, bool, np.generic)):
        value = np.asarray(value)
        if value.dtype.kind in "iu" and value.ndim == 0:
            value = value.astype(float)
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        raise DtypeError(f"{name} must be an array or a number, but is {type(value).__name__}")
    if _is_sparse(value):
        return value.copy() if copy else value
    if hasattr(value, "detach"):
        value = value.detach()
        return value.clone() if copy else value
    if copy:
        value = value.copy() if hasattr(value, "copy") else value + 0
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    return value


def check_finite(value: Any, name: str) -> None:
    """Raise NonFiniteError where an array holds NaN or infinity, saying where the first one is."""
    array = value.data if _is_sparse(value) else value
    if str(array.dtype).endswith("bool"):
        return
    with np.errstate(all="ignore"):
        if hasattr(array, "sum") and isfinite(complex(array.sum())):  # which NaN and infinity would survive
            return
    total = (array.abs() if hasattr(array, "abs") else abs(array)) if array.shape else abs(array)
    host = np.asarray(total.cpu() if hasattr(total, "cpu") else total.get() if hasattr(total, "get") else total)
    if not np.all(np.isfinite(host)):
        bad = np.argwhere(~np.isfinite(host))
        raise NonFiniteError(
            f"{name} holds NaN or infinity in {len(bad)} of {host.size} entries, the first at index "
            f"{tuple(int(i) for i in bad[0])}. Leave missing entries out with Restrict(~numpy.isnan(data)) in front "
            f"of the operator and on the data, or replace them by 0 and keep the shape with a Mask."
        )


def _check_name(name: Any) -> None:
    if name is not None and not isinstance(name, str):
        raise ParameterError(f"the name of a leaf must be a string, not {name!r}; write name={str(name)!r}")


class Leaf(Expression):
    """An array with a name; compared by identity."""

    interned = False
    value: Any
    name: str | None

    @property
    def label(self) -> str:
        """The name for messages and formulas."""
        return self.name or ("constant" if isinstance(self, Constant) else "parameter")


@node
class Constant(Leaf):
    """An array that does not change: data, a matrix, a mask.

    Parameters
    ----------
    value : array or number
        Real, complex or boolean; NumPy, CuPy or Torch; or a scipy.sparse matrix.
    name : str, optional
        A label for people.
    copy : bool
        Copy the array (the default), or share it and freeze it as far as its library can.

    Raises
    ------
    DtypeError
        For integer, object and masked arrays, and for foreign byte orders.
    NonFiniteError
        For NaN or infinite entries.
    ParameterError
        For a name that is no string, and for a Torch tensor that requires a gradient, which would be cut off here.
    """

    interned = False
    value: Any
    name: str | None = None
    copy: bool = True

    def __post_init__(self) -> None:
        _check_name(self.name)
        label = self.name or "the constant"
        if getattr(self.value, "requires_grad", False):
            raise ParameterError(
                f"{label} is a tensor that requires a gradient, which a constant would cut off. Write tensor.detach() "
                f"where that is meant, or make it a Parameter and hand the tensor to plan.as_module()(name=tensor)."
            )
        object.__setattr__(self, "value", _own(self.value, self.copy, label))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.value.shape))
        object.__setattr__(self, "kind", _kind_of(self.value, label))
        check_finite(self.value, label)


@node
class Parameter(Leaf):
    """Anything that may change after compiling, or that gradients are wanted for.

    Parameters
    ----------
    value : array or number
        The initial value; real or complex.
    name : str, optional
        A label for people, unique within an energy; it never reaches generated code.
    nonneg, positive : bool
        The domain of a real parameter, checked whenever it gets a value.
    copy : bool
        Copy the array (the default) or share it.

    Raises
    ------
    DtypeError, NonFiniteError
        As for `Constant`.
    ParameterError
        Where the value lies outside the declared domain, a sign is declared for a complex one, or the name is no
        string.

    Examples
    --------
    >>> import opalg as oa
    >>> lam = oa.Parameter(0.1, name="lambda", nonneg=True)
    >>> lam.shape
    ()
    """

    interned = False
    value: Any
    name: str | None = None
    nonneg: bool = False
    positive: bool = False
    copy: bool = True

    def __post_init__(self) -> None:
        _check_name(self.name)
        label = f"parameter {self.name!r}" if self.name else "a parameter"
        object.__setattr__(self, "value", _own(self.value, self.copy, label))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.value.shape))
        object.__setattr__(self, "kind", _kind_of(self.value, label))
        if self.kind == "complex" and (self.nonneg or self.positive):
            raise ParameterError(
                f"{label} is complex and has no sign; leave nonneg= and positive= out, or give its real values"
            )
        self.check(self.value)

    def check(self, value: Any) -> None:
        """Raise where a value has NaN or infinity, or lies outside the declared domain."""
        check_finite(value, f"parameter {self.label!r}")
        if not (self.nonneg or self.positive) or self.kind == "complex" or 0 in value.shape:
            return
        lowest = float(value.min() if hasattr(value, "min") else value.__array_namespace__().min(value))
        if lowest < 0 or (self.positive and lowest == 0):
            domain = "positive" if self.positive else "nonnegative"
            raise ParameterError(
                f"parameter {self.label!r} was declared {domain}, but its smallest entry is {lowest:g}"
            )


@node
class Held(Parameter):
    """A parameter that is not learned: data that something beside the gradient refreshes, such as a power iteration.

    Modules of plans hold it as a buffer, and it decides nothing about library and precision.
    """

    interned = False


@node
class Indices(Node):
    """Integer positions that a kernel is handed: data of an index, never a number to compute with.

    Parameters
    ----------
    value : array of integers, any shape
        The positions; two with the same entries are one object.

    Raises
    ------
    DtypeError
        Where they are no integers.
    """

    value: Any

    def __post_init__(self) -> None:
        given = self.value
        host = np.asarray(given.cpu() if hasattr(given, "cpu") else given.get() if hasattr(given, "get") else given)
        if host.dtype.kind not in "iu" and host.size:
            raise DtypeError(f"positions must be integers, but have dtype {host.dtype}; use .astype(int), or a mask")
        own = np.array(host, dtype=np.int64)
        own.flags.writeable = False
        object.__setattr__(self, "value", own)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of positions."""
        return self.value.shape

    @property
    def distinct(self) -> bool:
        """Whether no position comes twice."""
        if "_distinct" not in self.__dict__:
            object.__setattr__(self, "_distinct", len(np.unique(self.value)) == self.value.size)
        return self._distinct  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        return f"{self.value.size} indices"
