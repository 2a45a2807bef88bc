"""The map under test seen as two functions of NumPy arrays, and the arrays to try it on."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import ParameterError
from opalg.operators.algebra import LinearOperator, as_shape

Shape = tuple[int, ...]
KINDS = ("real", "complex")
_MANY = 1 << 12


class SubjectError(Exception):
    """An exception of the object under test, on its way to the report."""


def guarded(name: str, action: Callable[[], Any]) -> Any:
    """The result of code of the object under test; its exceptions become `SubjectError`, told apart from ours."""
    try:
        return action()
    except Exception as problem:
        raise SubjectError(f"{name} raises {type(problem).__name__}: {_in_short(problem)}") from problem


def _in_short(problem: Exception, most: int = 400) -> str:
    """What an exception says, on one line."""
    text = " ".join(str(problem).split())
    return text if len(text) <= most else text[: most - 3] + "..."


@dataclass(frozen=True)
class Side:
    """One direction of a map: the operator or its adjoint.

    Attributes
    ----------
    name : str
        ``"A"`` or ``"A.H"``.
    raw : callable
        Takes and returns arrays of the library under test.
    source, target : tuple of int
        The shapes that it takes and gives.
    lib : Backend
        Library and precision of the check.
    """

    name: str
    raw: Callable[[Any], Any]
    source: Shape
    target: Shape
    lib: Backend

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The map on a copy of a NumPy array, as a NumPy array of its own, in double so that norms do not overflow."""
        found = self.lib.to_numpy(self.raw(self.lib.asarray(np.array(x))))
        return np.array(found, dtype=complex if np.iscomplexobj(found) else float)


@dataclass(frozen=True)
class Subject:
    """An operator under test.

    Attributes
    ----------
    operator : object
        As the user gave it.
    label : str
        Its name in reports.
    forward, backward : Side
        The map and its adjoint.
    kinds : tuple of str
        The kinds of array that it says it takes, or both where it does not say.
    declared : bool
        Whether it said so.
    """

    operator: Any
    label: str
    forward: Side
    backward: Side
    kinds: tuple[str, ...]
    declared: bool

    @property
    def is_ours(self) -> bool:
        """Whether it is an operator of opalg, which promises more than the protocol asks for."""
        return isinstance(self.operator, LinearOperator)


def subject_of(operator: Any, lib: Backend) -> Subject:
    """The two sides of any object with shapes, ``apply`` or ``@``, and ``H`` or ``adjoint``.

    Raises
    ------
    ParameterError
        Where one of them is missing.
    """
    source, target = _shapes(operator)
    label = repr(operator)
    label = f"<{type(operator).__name__}>" if label.startswith("<") else label
    kinds, declared = _kinds(operator)
    return Subject(
        operator,
        label,
        Side("A", applier(operator), source, target, lib),
        Side("A.H", adjoint_applier(operator), target, source, lib),
        kinds,
        declared,
    )


def _shapes(operator: Any) -> tuple[Shape, Shape]:
    if hasattr(operator, "in_shape") and hasattr(operator, "out_shape"):
        return as_shape(operator.in_shape), as_shape(operator.out_shape)
    shape = getattr(operator, "shape", None)
    if isinstance(shape, tuple) and len(shape) == 2:
        return (int(shape[1]),), (int(shape[0]),)
    raise ParameterError(
        f"{operator!r} does not say its shapes; give it the attributes in_shape and out_shape, or the shape (m, n) of "
        f"a matrix"
    )


def applier(operator: Any) -> Callable[[Any], Any]:
    """How an operator is applied: ``apply``, ``@``, or a call.

    Raises
    ------
    ParameterError
        Where it offers none of them.
    """
    if hasattr(operator, "apply"):
        return operator.apply
    if hasattr(operator, "__matmul__"):
        return lambda x: operator @ x
    if callable(operator):
        return operator
    raise ParameterError(f"{operator!r} cannot be applied; give it a method apply(x), or __matmul__ for A @ x")


def adjoint_applier(operator: Any) -> Callable[[Any], Any]:
    """How an operator's adjoint is applied: through ``H``, or ``adjoint(y)``.

    Raises
    ------
    ParameterError
        Where it offers neither.
    """
    adjoint = getattr(operator, "H", None)
    if inspect.ismethod(adjoint):
        raise ParameterError(f"{operator!r}.H is a method; make it a property that returns the adjoint operator")
    if adjoint is not None:
        return applier(adjoint)
    if callable(getattr(operator, "adjoint", None)):
        return operator.adjoint
    raise ParameterError(f"{operator!r} has no adjoint; give it a property H, or a method adjoint(y)")


def _kinds(operator: Any) -> tuple[tuple[str, ...], bool]:
    said = (getattr(operator, name, None) for name in ("in_kind", "in_dtype", "dtype"))
    declared = next((value for value in said if value is not None), None)
    if declared is None:
        return KINDS, isinstance(operator, LinearOperator)
    if declared == "any":
        return KINDS, True
    return ("complex" if "complex" in str(declared) else "real",), True


def takes_complex(subject: Subject) -> bool:
    """Whether a map that does not say its kinds maps complex arrays to complex ones, both ways."""
    for side in (subject.forward, subject.backward):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                if not np.iscomplexobj(side(np.full(side.source, 1 + 1j))):
                    return False
            except (TypeError, ValueError, ArithmeticError, RuntimeError, np.exceptions.ComplexWarning):
                return False
    return True


def random_array(rng: np.random.Generator, shape: Shape, kind: str) -> np.ndarray:
    """Independent entries of variance one: normal, or uniform in large arrays, which are drawn many times faster."""
    x = _drawn(rng, shape)
    return x + 1j * _drawn(rng, shape) if kind == "complex" else x


def _drawn(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.standard_normal(shape) if prod(shape) <= _MANY else sqrt(12.0) * (rng.random(shape) - 0.5)


def probes(rng: np.random.Generator, shape: Shape, kind: str) -> list[np.ndarray]:
    """Random arrays, a constant, a checkerboard, the border, and impulses at corners, edges and the middle.

    Complex ones have random phases, since only the real part of inner products is compared.
    """
    board = (-1.0) ** np.sum(np.indices(shape), axis=0) if shape else np.ones(())
    rim = border(shape)
    found = [np.ones(shape), board, rim, rim * rng.standard_normal(shape)]
    for place in landmarks(shape):
        impulse = np.zeros(shape)
        impulse[place] = 1.0
        found.append(impulse)
    if kind == "complex":
        found = [p * np.exp(2j * np.pi * rng.random()) for p in found]
    return [random_array(rng, shape, kind) for _ in range(3)] + found


def border(shape: Shape) -> np.ndarray:
    """One on the first and last entries of every axis, zero inside; beside long axes, short ones are channels."""
    longest = max(shape, default=0)
    rim = np.ones(shape)
    rim[tuple(slice(1, -1) if n > 8 or longest <= 8 else slice(None) for n in shape)] = 0.0
    return rim


def landmarks(shape: Shape, most: int = 16) -> list[tuple[int, ...]]:
    """Corners, then middles of edges, then the middle."""
    corners = list(itertools.islice(itertools.product(*((0, n - 1) for n in shape)), most))
    middle = tuple(n // 2 for n in shape)
    edges = [(*middle[:k], end, *middle[k + 1 :]) for k, n in enumerate(shape) for end in (0, n - 1)]
    return list(dict.fromkeys([*corners, *edges[:most], middle])) if 0 not in shape else []


def reals(x: np.ndarray, kind: str) -> np.ndarray:
    """An array of a kind as a flat array of reals: real parts, then imaginary parts where it is complex."""
    flat = np.asarray(x).ravel()
    return np.concatenate([flat.real, flat.imag]) if kind == "complex" else np.array(flat.real)


def inner(u: np.ndarray, v: np.ndarray) -> float:
    """``Re sum(conj(u) v)``, by pairwise summation."""
    return float(np.sum((np.conj(u) * v).real))


def size_of(x: np.ndarray) -> float:
    """The Euclidean norm of all entries."""
    return sqrt(inner(x, x))


def place_of(flat: int, shape: Shape) -> tuple[int, ...]:
    """The index of an entry of `reals`."""
    size = int(np.prod(shape))
    return tuple(int(i) for i in np.unravel_index(flat % size, shape)) if shape else ()
