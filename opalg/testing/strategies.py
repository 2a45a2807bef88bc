"""Hypothesis strategies: shapes, dtypes, arrays, and random expressions of operators, functionals and energies.

What they draw shrinks to the smallest expression that still fails: fewer operators first, then simpler ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from opalg.energies.affine import Variable
from opalg.errors import DtypeError, OpalgError, ShapeError
from opalg.facts import YES
from opalg.functionals.calculus import Functional
from opalg.functionals.envelope import moreau_envelope
from opalg.functionals.sum_squares import SumSquares
from opalg.leaves import Parameter
from opalg.operators.algebra import Identity, LinearOperator
from opalg.operators.diagonal import Diagonal, Mask
from opalg.operators.difference import FiniteDifference
from opalg.operators.fourier import FFT, RFFT
from opalg.operators.parts import Conj, Real
from opalg.operators.stack import hstack, vstack
from opalg.testing.catalogue import functional_catalogue, operator_catalogue
from opalg.testing.subject import KINDS

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "opalg.testing.strategies needs Hypothesis: pip install 'opalg[testing]'", name=missing.name
    ) from None

Shape = tuple[int, ...]
LAYOUTS = ("C", "F", "strided", "reversed", "broadcast", "read-only", "unaligned")
_DTYPES = ("float64", "complex128", "float32", "complex64")
_FACTORS: tuple[Any, ...] = (2.0, -1.0, 0.5, 1j, 0.6 - 0.8j)


def shapes(min_dims: int = 1, max_dims: int = 3, min_side: int = 1, max_side: int = 5) -> Any:
    """Shapes of small arrays, axes of length 1 included; they shrink to few short axes.

    Examples
    --------
    >>> from opalg.testing.strategies import shapes
    >>> shape = shapes(max_dims=2)
    """
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def dtypes(*kinds: str) -> Any:
    """Floating dtypes of the kinds ``"real"`` and ``"complex"``, or of one of them; double precision comes first."""
    wanted = {"real": "float", "complex": "complex"}
    words = tuple(wanted[kind] for kind in (kinds or KINDS))
    return st.sampled_from([np.dtype(name) for name in _DTYPES if name.startswith(words)])


@st.composite
def arrays(draw: Any, shape: Any = None, dtype: Any = None, layouts: Sequence[str] = LAYOUTS) -> np.ndarray:
    """Arrays of moderate entries in many layouts of memory.

    Parameters
    ----------
    shape : tuple of int or strategy, optional
        By default `shapes`.
    dtype : dtype or strategy, optional
        By default `dtypes`.
    layouts : sequence of str
        Some of `LAYOUTS`: C and Fortran order, every second entry of a longer array, negative strides, strides of zero,
        read-only memory, and memory that is not aligned. The simplest first.

    Examples
    --------
    >>> from opalg.testing.strategies import arrays
    >>> single = arrays((3, 4), "float32", layouts=["C", "F"])
    """
    size = _value(draw, shapes() if shape is None else shape)
    kind = np.dtype(_value(draw, dtypes() if dtype is None else dtype))
    number = st.integers(-8, 8)
    entries = draw(st.lists(number, min_size=prod(size), max_size=prod(size)))
    x = np.reshape(np.array(entries, dtype=float) / 4, size).astype(kind)
    if kind.kind == "c":
        x = (x + 1j * (draw(number) / 4) * np.roll(x, 1)).astype(kind)
    return laid_out(x, draw(st.sampled_from(list(layouts))))


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """An array of the same shape in another layout of memory, with the same entries except for ``"broadcast"``."""
    if layout not in LAYOUTS:
        raise ValueError(f"{layout!r} is none of the layouts {', '.join(LAYOUTS)}")
    if layout == "read-only":
        x = x.copy()
        x.flags.writeable = False
    elif layout == "unaligned":
        memory = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        memory[...] = x
        x = memory
    elif layout == "F":
        x = np.asfortranarray(x)
    elif x.ndim and layout == "strided":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    elif x.ndim and layout == "reversed":
        x = x[..., ::-1].copy()[..., ::-1]
    elif x.ndim and layout == "broadcast":
        x = np.broadcast_to(x[:1], x.shape)
    return x


def _value(draw: Any, given: Any) -> Any:
    return draw(given) if isinstance(given, st.SearchStrategy) else given


# Operators.

Maker = Callable[[Shape], LinearOperator]


def _ramp(shape: Shape) -> np.ndarray:
    return np.reshape(np.arange(1.0, prod(shape) + 1) / 2 - 1, shape)


_MAKERS: tuple[Maker, ...] = (
    Identity,
    lambda s: Diagonal(_ramp(s)),
    lambda s: Mask(_ramp(s) % 1 == 0),
    lambda s: FiniteDifference(s, 0),
    lambda s: Diagonal(_ramp(s) * (1 - 2j)),
    lambda s: Diagonal(Parameter(_ramp(s))),
    FFT,
    RFFT,
    Real,
    Conj,
)


class _Pool(tuple[LinearOperator | Maker, ...]):
    """The leaves of expressions, simplest first; Hypothesis prints it, so it has a short name."""

    def __repr__(self) -> str:
        return f"<{len(self)} leaves>"


@lru_cache(maxsize=8)
def _pool(leaves: tuple[LinearOperator, ...] | None) -> _Pool:
    """What can be made for any shape, then members of the catalogue, then adjoints."""
    members = operator_catalogue() if leaves is None else leaves
    return _Pool((*_MAKERS, *members, *(adjoint for m in members if (adjoint := m.H) is not m)))


def operators(in_shape: Any = None, *, leaves: Sequence[LinearOperator] | None = None, max_depth: int = 3) -> Any:
    """Expressions of linear operators: leaves under ``c * A``, ``A + B``, ``A @ B``, ``A.H``, ``A.gram``, stacks.

    Parameters
    ----------
    in_shape : tuple of int, optional
        The shape that they take; by default any.
    leaves : sequence of LinearOperator, optional
        What expressions are made of, besides what fits every shape (identities, diagonals, transforms); by default
        examples of every operator class of opalg. Put the simplest first.
    max_depth : int
        How many combinations are nested.

    Notes
    -----
    A failing expression shrinks to one of its parts, and leaves to those that come first.

    Examples
    --------
    >>> import hypothesis
    >>> from opalg.testing import check_operator
    >>> from opalg.testing.strategies import operators
    >>> @hypothesis.settings(max_examples=5, derandomize=True, deadline=None)
    ... @hypothesis.given(operators(max_depth=1))
    ... def test_adjoints(A):
    ...     check_operator(A, skip=["norm"]).raise_if_failed()
    >>> test_adjoints()
    """
    pool = _pool(None if leaves is None else tuple(leaves))
    return _operators(pool, None if in_shape is None else tuple(in_shape), max_depth)


@st.composite
def _operators(draw: Any, pool: Any, in_shape: Shape | None, depth: int) -> LinearOperator:
    form = draw(st.integers(0, len(_FORMS)))
    if form == 0 or depth == 0:
        return draw(_leaf(pool, in_shape))
    inner = draw(_operators(pool, in_shape, depth - 1))
    return _FORMS[form - 1](draw, pool, inner, in_shape, depth - 1)


@st.composite
def _leaf(draw: Any, pool: Any, in_shape: Shape | None) -> LinearOperator:
    """The leaf of a drawn index where it fits, else the next one that does: so an index keeps its meaning.

    A shape is drawn even where it is not used, so that no leaf looks simpler than another for needing none.
    """
    shape = draw(shapes(max_dims=2, max_side=4))
    index = draw(st.integers(0, len(pool) - 1))
    for offset in range(len(pool)):
        leaf = pool[(index + offset) % len(pool)]
        if not isinstance(leaf, LinearOperator):
            wanted = shape if in_shape is None else in_shape
            return leaf(wanted) if wanted else Identity(())
        if in_shape is None or leaf.in_shape == in_shape:
            return leaf
    raise AssertionError("the identity fits every shape")


def _scaled(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    return draw(st.sampled_from(_FACTORS)) * inner


def _composed(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    return _fitting(draw(_operators(pool, inner.out_shape, depth)), inner)


def _fitting(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """``outer @ inner``, or ``inner`` alone where the outer one refuses complex arrays."""
    try:
        return outer @ inner
    except DtypeError:
        return inner


def _added(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    return inner + _like(draw, pool, inner, depth)


def _stacked(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    other = _like(draw, pool, inner, depth)
    return vstack([inner, other]) if inner.out_shape else inner


def _beside(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    other = _like(draw, pool, inner, depth)
    return hstack([inner, other]) if in_shape is None and inner.in_shape else inner + other


def _like(draw: Any, pool: Any, inner: LinearOperator, depth: int) -> LinearOperator:
    """Another operator between the same shapes and kinds."""
    other = draw(_operators(pool, inner.in_shape, depth))
    if other.out_shape == inner.out_shape and other.in_kind == inner.in_kind and _kinds(other) == _kinds(inner):
        return other
    return _fitting(Diagonal(_ramp(inner.out_shape)), inner)


def _kinds(operator: LinearOperator) -> list[str]:
    return [operator.out_kind(kind) for kind in (KINDS if operator.in_kind == "any" else (operator.in_kind,))]


def _turned(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    return inner.H if in_shape is None else inner.gram


def _gram(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    return inner.gram


def _conjugated(draw: Any, pool: Any, inner: LinearOperator, in_shape: Any, depth: int) -> LinearOperator:
    return inner.conj()


_FORMS = (_scaled, _turned, _composed, _added, _gram, _stacked, _conjugated, _beside)


# Functionals and energies.


def functionals(shape: Any = (3, 4), kind: str | None = None, *, leaves: Any = None, max_depth: int = 2) -> Any:
    """Functionals that take arrays of a shape and kind: members of the catalogue, and what arithmetic makes of them.

    Parameters
    ----------
    shape : tuple of int
        The arrays that they must take.
    kind : {"real", "complex"}, optional
        By default whatever they take.
    leaves : sequence of Functional, optional
        By default examples of every functional class of opalg. Put the simplest first.
    max_depth : int
        How many of weights, shifts, scaled arguments, sums, compositions, conjugates and envelopes are nested.

    Notes
    -----
    A failing functional shrinks to one of its parts, and leaves to those that come first.

    Examples
    --------
    >>> from opalg.testing.strategies import functionals
    >>> convex_or_not = functionals((5,), "real")
    """
    return _functionals(tuple(shape), kind, None if leaves is None else tuple(leaves), max_depth)


@st.composite
def _functionals(draw: Any, shape: Shape, kind: str | None, leaves: Any, depth: int) -> Functional:
    form = draw(st.integers(0, len(_OF_FUNCTIONALS)))
    if form == 0 or depth == 0:
        return draw(st.sampled_from(_functionals_for(shape, kind, leaves)))
    inner = draw(_functionals(shape, kind, leaves, depth - 1))
    try:
        found = _OF_FUNCTIONALS[form - 1](draw, inner, shape, _functionals(shape, kind, leaves, depth - 1))
    except OpalgError:
        return inner  # what cannot be written refuses, and says why
    return found if isinstance(found, Functional) and _takes(found, shape, kind) else inner


def _weighted(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    weight = draw(st.sampled_from((2.0, 0.5, 0.0)))
    return (Parameter(weight, name="w", nonneg=True) if draw(st.booleans()) else weight) * inner


def _shifted(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    return inner.translated(_ramp(shape) / 4)


def _stretched(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    return inner.scaled(draw(st.sampled_from((2.0, -0.5))))


def _conjugate(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    return inner.conjugate if _has_conjugate(inner) else inner


def _summed(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    return inner + draw(others)


def _behind(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    return inner @ draw(st.sampled_from((-2.0 * Identity(shape), Diagonal(1.0 + abs(_ramp(shape))))))


def _envelope(draw: Any, inner: Functional, shape: Shape, others: Any) -> Any:
    return moreau_envelope(inner, draw(st.sampled_from((1.0, 0.3))))


_OF_FUNCTIONALS = (_weighted, _conjugate, _shifted, _stretched, _summed, _behind, _envelope)


def _has_conjugate(functional: Functional) -> bool:
    return functional.facts.convex is YES and functional.offers("conjugate_value") and functional.offers("prox")


@lru_cache(maxsize=256)
def _functionals_for(shape: Shape, kind: str | None, leaves: tuple[Functional, ...] | None) -> list[Functional]:
    members = functional_catalogue() if leaves is None else leaves
    return [f for f in members if _takes(f, shape, kind)] or [SumSquares(None)]


def _takes(functional: Functional, shape: Shape, kind: str | None) -> bool:
    try:
        functional.check_shape(shape)
        if kind is not None:
            functional.check_kind(kind)
    except (ShapeError, DtypeError):
        return False
    return True


@st.composite
def energies(
    draw: Any, shape: Any = None, *, max_terms: int = 3, max_depth: int = 2, leaves: Any = None, smooth: bool = False
) -> Any:
    """Energies of one variable ``x``: sums of weights times functionals of ``A @ x - b``.

    Parameters
    ----------
    shape : tuple of int, optional
        That of the variable; by default any.
    max_terms, max_depth : int
        How many terms, and how deep their operators.
    leaves : sequence of LinearOperator, optional
        As for `operators`.
    smooth : bool
        Whether every term must have a gradient.

    Notes
    -----
    Weights may be parameters. An energy shrinks to one term, an identity and no offset.

    Examples
    --------
    >>> from opalg.testing.strategies import energies
    >>> least_squares_and_more = energies((3, 4), max_terms=2)
    """
    size = tuple(_value(draw, shapes(max_dims=2, max_side=4) if shape is None else shape))
    kind = draw(st.sampled_from(KINDS))
    x = Variable(size, name="x", dtype=complex if kind == "complex" else float)
    count = draw(st.integers(1, max_terms))
    terms = [draw(_term(x, leaves, max_depth, smooth, index)) for index in range(count)]
    return sum(terms[1:], start=terms[0])


@st.composite
def _term(draw: Any, x: Variable, leaves: Any, max_depth: int, smooth: bool, index: int) -> Any:
    operator = draw(operators(x.shape, leaves=leaves, max_depth=max_depth))
    if operator.in_kind not in ("any", x.kind):
        operator = Identity(x.shape)
    out_kind = operator.out_kind(x.kind)
    functional = draw(functionals(operator.out_shape, out_kind))
    if smooth and not functional.offers("gradient"):
        functional = SumSquares(None)
    weight = draw(st.sampled_from((1.0, 0.5, 2.0)))
    if draw(st.booleans()):
        weight = Parameter(weight, name=f"w{index}", positive=True)
    inside = operator @ x
    if draw(st.booleans()):
        offset = _ramp(operator.out_shape)
        inside = inside - (offset * (1 + 1j) if out_kind == "complex" else offset)
    try:
        return weight * functional(inside)
    except OpalgError:
        return weight * SumSquares(None)(inside)
