"""Operators of a user's own, from functions on arrays."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import DeviceError, DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.knowledge import Facts
from opalg.program.expression import Expression, Shape, as_expression
from opalg.program.linear import Kernel

ArrayFunction = Callable[[Any], Any]


def FunctionOperator(
    forward: ArrayFunction,
    adjoint: ArrayFunction | None = None,
    *,
    in_shape: Any,
    out_shape: Any = None,
    in_dtype: Any = None,
    out_dtype: Any = None,
    name: str | None = None,
    norm: Any = None,
    batched: bool = False,
    adjoint_exact: bool = True,
) -> LinearOperator:
    """A linear operator ``x -> forward(x)`` from a function of arrays, and one for its adjoint, ``y -> adjoint(y)``.

    Parameters
    ----------
    forward : callable
        ``forward(x) -> array``: takes an array of shape ``in_shape`` and returns one of shape ``out_shape``, of the
        same library. It must be linear.
    adjoint : callable, optional
        ``adjoint(y) -> array``, from ``out_shape`` to ``in_shape``. Without it Torch's autograd transposes ``forward``,
        for arrays of any library: a function of NumPy arrays is handed a tensor for that, so it must be written with
        operators, indexing and functions that tensors have too (as those of the array-API standard are).
    in_shape, out_shape : tuple of int
        Shapes without batch axes; ``out_shape`` defaults to ``in_shape``.
    in_dtype, out_dtype : {None, "real", "complex"} or dtype
        Whether arguments and results are always real or always complex. None means that real arrays go to real ones
        and complex ones to complex ones; ``out_dtype`` defaults to ``in_dtype``.
    name : str, optional
        What prints; by default the name of the function.
    norm : float or scalar Parameter, optional
        An upper bound on the spectral norm, taken on the user's word (certainty ``"asserted"``).
    batched : bool
        Whether the functions take leading batch axes themselves. Otherwise they are called once per sample.
    adjoint_exact : bool
        False says that ``adjoint`` is known to be an approximation only.

    Returns
    -------
    OpaqueOperator

    Raises
    ------
    ShapeError, DtypeError, ParameterError
        Where a shape, a dtype or the norm makes no sense; and, when applied, where a function returns an array of
        another shape or kind than was declared.
    UnsupportedError
        When the adjoint is needed and there is none, because Torch is not installed or cannot follow ``forward``; and
        where a function returns an array of another library.

    Notes
    -----
    Functions receive a copy of their argument and their result is copied, so they may work in place or reuse buffers.
    Results are cast to the working precision. `opalg.testing.check_operator` tries whether the adjoint fits.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.FunctionOperator(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1], in_shape=(3,))
    >>> A @ np.array([1.0, 2.0, 3.0])
    array([1., 3., 6.])
    >>> A.H @ np.array([1.0, 2.0, 3.0])
    array([6., 5., 3.])

    Where Torch is installed, a function that tensors understand needs no adjoint:

    >>> D = oa.FunctionOperator(lambda x: x[1:] - x[:-1], in_shape=(3,), out_shape=(2,))
    >>> D.H @ np.array([1.0, 10.0])
    array([-1., -9., 10.])
    """
    label = str(name or getattr(forward, "__name__", type(forward).__name__))
    for role, function in (("forward", forward), ("adjoint", adjoint)):
        if not callable(function) and not (role == "adjoint" and function is None):
            raise ParameterError(f"{role} of FunctionOperator must be a function of arrays, not {function!r}")
    source, target = _declared_kind(in_dtype, "in_dtype"), _declared_kind(out_dtype, "out_dtype")
    if source is None and target == "real":
        raise DtypeError(
            f"{label} always gives real arrays, so say what it takes: in_dtype='real' or in_dtype='complex'"
        )
    into = as_shape(in_shape)
    return OpaqueOperator(
        forward,
        adjoint,
        into,
        into if out_shape is None else as_shape(out_shape),
        _asserted_norm(norm),
        "function" if label == "<lambda>" else label,
        source or "any",
        target or source,
        batched,
        adjoint_exact,
    )


@node
class OpaqueOperator(LinearOperator):
    """A linear operator that the language cannot look into; made by `FunctionOperator`.

    Two of them are equal only if they are the same object.

    Attributes
    ----------
    forward, backward : callable
        The functions of the map and its adjoint; ``backward`` is None where Torch is to find it.
    adjoint_exact : bool
        Whether ``backward`` claims to be the adjoint up to rounding.
    """

    interned = False
    forward: ArrayFunction
    backward: ArrayFunction | None
    in_shape: Shape
    out_shape: Shape
    asserted: Expression | None = None
    label: str = "function"
    in_kind: str = "any"
    result_kind: str | None = None
    batched: bool = False
    adjoint_exact: bool = True

    def out_kind(self, kind: str) -> str:
        return self.result_kind or kind

    def adjoint_kind(self, kind: str) -> str:
        return self.out_kind(kind) if self.in_kind == "any" else self.in_kind

    def kernel(self) -> Kernel:
        return Kernel(apply_function, (self,), in_place=False, passes=4.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(apply_adjoint_function, (self,), in_place=False, passes=4.0)

    @property
    def facts(self) -> Facts:
        own = self.backward is self.forward and self.adjoint_exact and self.in_shape == self.out_shape
        same_kind = self.in_kind == (self.result_kind or "any")
        norm = None if self.asserted is None else Bound(self.asserted, "asserted")
        return Facts(self_adjoint=YES if own and same_kind else UNKNOWN, norm=norm)

    def __repr__(self) -> str:
        return f"FunctionOperator({self.label})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        size = float(rng.uniform(1.0, 2.0))
        turn = complex(*rng.standard_normal(2))
        return [
            FunctionOperator(lambda x: -size * x, lambda y: -size * y, in_shape=(3, 2), norm=size, name="negate"),
            FunctionOperator(_difference, _difference_adjoint, in_shape=3, out_shape=2, batched=True),
            FunctionOperator(lambda x: turn * x, lambda y: turn.conjugate() * y, in_shape=(2,), in_dtype=complex),
            FunctionOperator(_imaginary, _imaginary_adjoint, in_shape=(2, 2), in_dtype="real", out_dtype="complex"),
        ]


def apply_function(lib: Any, x: Any, operator: Any, out: Any = None) -> Any:
    """A user's function of arrays, sample by sample unless it takes batches."""
    kind = operator.out_kind(lib.kind_of(x))
    return _each(lib, x, operator.forward, operator, operator.in_shape, operator.out_shape, kind)


def apply_adjoint_function(lib: Any, y: Any, operator: Any, out: Any = None) -> Any:
    """The adjoint that a user gave for a function, or the one that Torch's autograd finds."""
    kind = operator.adjoint_kind(lib.kind_of(y))
    function = operator.backward or _transposed_by_autograd(lib, operator, kind)
    return _each(lib, y, function, operator, operator.out_shape, operator.in_shape, kind)


def _each(lib: Any, x: Any, function: Any, operator: Any, source: Shape, target: Shape, kind: str) -> Any:
    batch = tuple(x.shape[: x.ndim - len(source)])
    if operator.batched or not batch:
        return _checked(lib, function(lib.copy(x)), operator, batch + target, kind)
    if 0 in batch:
        return lib.zeros(batch + target, kind)
    rows = lib.xp.reshape(x, (prod(batch), *source))
    found = [_checked(lib, function(lib.copy(rows[i, ...])), operator, target, kind) for i in range(prod(batch))]
    return lib.xp.reshape(lib.xp.stack(found), batch + target)


def _checked(lib: Any, value: Any, operator: Any, shape: Shape, kind: str) -> Any:
    """A copy of what a user's function returned, as an array of the working precision."""
    if not lib.owns(value):
        raise UnsupportedError(
            f"{operator!r} was given a {lib.name} array but returned {type(value).__name__}; return a {lib.name} array"
        )
    if tuple(value.shape) != shape:
        hint = "; with batched=True the functions keep leading axes" if operator.batched else ""
        raise ShapeError(f"{operator!r} returned shape {tuple(value.shape)}, where {shape} was declared{hint}")
    if lib.kind_of(value) == "complex" and kind == "real":
        raise DtypeError(
            f"{operator!r} returned a complex array where a real one was declared; return the real part, or say "
            f"out_dtype='complex' (for the adjoint: in_dtype='complex')"
        )
    return lib.copy(lib.asarray(value, kind))


def _transposed_by_autograd(lib: Any, operator: Any, kind: str) -> ArrayFunction:
    """The adjoint as autograd finds it: in Torch itself, or by handing the function tensors in place of arrays."""
    try:
        tensors = lib if lib.name == "torch" else backend("torch", lib.precision)
    except DeviceError:
        raise UnsupportedError(
            f"the adjoint of {operator!r} is needed but was not given; write FunctionOperator(forward, adjoint, ...), "
            f"or install Torch, whose autograd transposes functions: pip install 'opalg[torch]'"
        ) from None

    def transposed(y: Any) -> Any:
        import torch

        cotangent = tensors.asarray(y)
        batch = tuple(y.shape[: y.ndim - len(operator.out_shape)])
        at = tensors.zeros(batch + operator.in_shape, kind).requires_grad_(True)
        with torch.enable_grad():
            image = _followed(tensors, operator, at.clone(), lib.name)
        if tuple(image.shape) != tuple(y.shape):
            raise ShapeError(f"{operator!r} returned shape {tuple(image.shape)}, where {tuple(y.shape)} was declared")
        (found,) = torch.autograd.grad(image, at, cotangent.to(image.dtype))
        return found if tensors is lib else lib.asarray(found)

    return transposed


def _followed(tensors: Any, operator: Any, x: Any, library: str) -> Any:
    """A user's function of a tensor, with autograd's record of it."""
    advice = "give adjoint=function" if library == "torch" else "give adjoint=function, or compute with Torch arrays"
    try:
        image = operator.forward(x)
    except Exception as problem:
        if library == "torch":
            raise
        raise UnsupportedError(
            f"the adjoint of {operator!r} is needed but was not given, and Torch cannot find it, since the function "
            f"does not take tensors ({type(problem).__name__}: {problem}); {advice}"
        ) from problem
    if not (tensors.owns(image) and image.requires_grad):
        raise UnsupportedError(
            f"autograd cannot follow {operator!r}: it leaves Torch or detaches its argument; {advice}"
        )
    return image


def _declared_kind(dtype: Any, role: str) -> str | None:
    if dtype is None or (isinstance(dtype, str) and dtype in ("real", "complex")):
        return dtype
    text = dtype.__name__ if isinstance(dtype, type) else str(dtype)
    for kind, word in (("complex", "complex"), ("real", "float")):
        if word in text:
            return kind
    raise DtypeError(f"{role} must be 'real', 'complex', None or a floating dtype, not {dtype!r}")


def _asserted_norm(norm: Any) -> Expression | None:
    if norm is None:
        return None
    found = as_expression(norm)
    if isinstance(norm, (int, float)) and not (isfinite(norm) and norm >= 0):
        raise ParameterError(f"the norm of an operator is a finite nonnegative number, not {norm!r}")
    if found.shape != () or found.kind != "real":
        raise ParameterError(f"the norm of an operator is a real scalar, not {found!r} of shape {found.shape}")
    return found


def _difference(x: Any) -> Any:
    return x[..., :-1] - x[..., 1:]


def _difference_adjoint(y: Any) -> Any:
    import array_api_compat

    xp, edge = array_api_compat.array_namespace(y), 0 * y[..., :1]
    return xp.concat((y, edge), axis=-1) - xp.concat((edge, y), axis=-1)


def _imaginary(x: Any) -> Any:
    return x * _unit(x)


def _imaginary_adjoint(y: Any) -> Any:
    import array_api_compat

    return array_api_compat.array_namespace(y).imag(y)


def _unit(x: Any) -> Any:
    import array_api_compat

    xp = array_api_compat.array_namespace(x)
    wide = xp.complex128 if str(x.dtype).endswith("64") else xp.complex64
    return xp.asarray(1j, dtype=wide)
