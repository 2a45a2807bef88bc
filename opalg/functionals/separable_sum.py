"""Different functionals on consecutive blocks of one array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.facts import YES, Bound, Fact, exact, upper
from opalg.functionals.around import differentiable, safe_prox, safe_value
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.huber import Huber
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.sets import Set
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import Condition
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.diagonal import Diagonal, diagonal_of
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Apply, Expression, Input, Join, Literal
from opalg.program.linear import Reshaped, Window

_DUAL = ("conjugate_value", "dual_gauge", "dual_projection")


@node
class SeparableSum(Functional):
    """``f(v) = sum_k f_k(v_k)``, where the v_k are consecutive blocks of v along one axis.

    Parameters
    ----------
    functionals : sequence of Functional
        The ``f_k``, in order.
    axis : int
        The axis that is cut; it counts the unknown's own axes, from the end where negative.
    sizes : sequence of int, optional
        How many entries along the axis belong to each block; the axis stays in the blocks. Where not given, there is
        one functional for each index, and its block does not have the axis: ``v_k = v[k]`` for ``axis=0``.

    Raises
    ------
    DtypeError
        For what is no functional.
    ParameterError
        For no functionals, and for sizes that are not one positive integer for each.
    ShapeError
        Where, once the argument is known, the sizes do not add up to its axis.

    Notes
    -----
    Gradient, prox and conjugate work block by block (Beck 2017, Theorems 4.12 and 6.6); the gauge is the largest one of
    a block. Over several unknowns, a separable sum is an energy with one term for each.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.SeparableSum([oa.functionals.Norm1(), oa.functionals.SumSquares()], sizes=[1, 2])
    >>> f.value(np.array([-3.0, 1.0, 2.0]))
    8.0
    >>> f.prox(np.array([-3.0, 1.0, 2.0]), 0.5)
    array([-2.5,  0.5,  1. ])
    """

    squares = True
    functionals: Any
    axis: int = 0
    sizes: Any = None

    def __post_init__(self) -> None:
        given = self.functionals
        if isinstance(given, (Functional, Set)) or not isinstance(given, Iterable):
            raise DtypeError(f"SeparableSum needs a list of functionals, not {type(given).__name__}")
        found = tuple(given)
        if not found:
            raise ParameterError("SeparableSum needs at least one functional")
        for f in found:
            if not isinstance(f, Functional):
                hint = "; write oa.functionals.Indicator(set)" if isinstance(f, Set) else ""
                raise DtypeError(f"SeparableSum needs functionals, but was given {type(f).__name__}{hint}")
        if isinstance(self.axis, bool) or not isinstance(self.axis, (int, np.integer)):
            raise ShapeError(f"the axis of SeparableSum must be an integer, not {self.axis!r}")
        object.__setattr__(self, "functionals", found)
        object.__setattr__(self, "axis", int(self.axis))
        if self.sizes is not None:
            object.__setattr__(self, "sizes", _checked_sizes(self.sizes, len(found)))

    # Blocks.

    @property
    def _lengths(self) -> tuple[int, ...]:
        return (1,) * len(self.functionals) if self.sizes is None else self.sizes

    def _blocks(self, v: Expression) -> list[Expression]:
        """The blocks of an array, or of what has its axes but only one entry along the one that is cut."""
        axis = self.axis % v.ndim - v.ndim
        trailing = v.shape[v.ndim + axis :]
        whole, begin, found = trailing[0] != sum(self._lengths), 0, []
        for length in self._lengths:
            start, stop = (begin,) + (0,) * (len(trailing) - 1), (begin + length, *trailing[1:])
            part = v if whole else Apply(Window(trailing, start, stop), v)
            found.append(self._without_axis(part, axis) if self.sizes is None else part)
            begin += length
        return found

    def _without_axis(self, part: Expression, axis: int) -> Expression:
        trailing = part.shape[part.ndim + axis :]
        return Apply(Reshaped(trailing, trailing[1:]), part)

    def _join(self, parts: list[Expression], like: Expression) -> Expression:
        """Blocks laid end to end."""
        axis = self.axis % like.ndim - like.ndim
        if self.sizes is None:
            rest = like.shape[like.ndim + axis + 1 :]
            parts = [Apply(Reshaped(rest, (1, *rest)), part) for part in parts]
        return parts[0] if len(parts) == 1 else Join(tuple(parts), axis)

    def _steps(self, t: Expression) -> list[Expression]:
        if t.shape == ():
            return [t] * len(self.functionals)
        return self._blocks(t)

    def _total(self, parts: Iterable[Expression]) -> Expression:
        return sum_of(list(parts))

    def _largest(self, parts: Iterable[Expression]) -> Expression:
        left = [p for p in parts if not (isinstance(p, Literal) and p.value == 0)]
        return reduce(ex.maximum, left) if left else Literal(0.0)

    def _each(self, v: Expression) -> list[tuple[Functional, Expression]]:
        return list(zip(self.functionals, self._blocks(v), strict=True))

    def _mapped(self, function: Callable[[Functional, Expression], Expression], v: Expression) -> Expression:
        """A function of each block, in the place of the block."""
        return self._join([ex.broadcast_to(function(f, part), part.shape) for f, part in self._each(v)], v)

    # What it does.

    def define_value(self, v: Expression) -> Expression:
        return self._total(safe_value(f, part) for f, part in self._each(v))

    def define_violation(self, v: Expression) -> Expression:
        return self._largest(f.define_violation(part) for f, part in self._each(v))

    def define_gradient(self, v: Expression) -> Expression:
        return self._mapped(lambda f, part: f.define_gradient(part), v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        pairs = zip(self._each(v), self._blocks(ex.broadcast_to(d, v.shape)), strict=True)
        parts = [ex.broadcast_to(f.define_hessian_product(a, b), a.shape) for (f, a), b in pairs]
        return self._join(parts, v)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        pairs = zip(self._each(v), self._steps(t), strict=True)
        return self._join([ex.broadcast_to(safe_prox(f, part, s), part.shape) for (f, part), s in pairs], v)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self._total(f.define_conjugate_value(part) for f, part in self._each(q))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self._largest(f.define_dual_gauge(part) for f, part in self._each(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._mapped(lambda f, part: f.define_dual_projection(part), q)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        whole = Input("v", shape, kind)
        blocks = self._blocks(whole)
        found = [f.define_hessian_operator(b.shape, kind) for f, b in zip(self.functionals, blocks, strict=True)]
        diagonals = [None if o is None else diagonal_of(o.simplify()) for o in found]
        if any(d is None for d in diagonals):
            return None
        pairs = zip(diagonals, blocks, strict=True)
        return Diagonal(self._join([ex.broadcast_to(d, b.shape) for d, b in pairs if d is not None], whole))

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """Whether all functionals are differentiable, at least inside a domain."""
        return all(differentiable(f) for f in self.functionals)

    def offers(self, ability: str) -> bool:
        if ability == "gradient":
            return super().offers(ability)
        convex = ability not in _DUAL or self.facts.convex is YES
        return convex and all(f.offers(ability) for f in self.functionals)

    @property
    def facts(self) -> FunctionalFacts:
        each = [f.facts for f in self.functionals]

        def all_of(name: str) -> Fact:
            return reduce(lambda a, b: a & b, [getattr(k, name) for k in each])

        degrees = {k.homogeneity for k in each if not k.indicator}
        convex = all_of("convex")
        return FunctionalFacts(
            convex=convex,
            smooth=all_of("smooth"),
            smoothness=_largest_bound([k.smoothness for k in each]),
            strong_convexity=_least([k.strong_convexity for k in each]) if convex is YES else None,
            quadratic=all_of("quadratic"),
            separable=all_of("separable"),
            indicator=all(k.indicator for k in each),
            bounded_below=all_of("bounded_below"),
            homogeneity=degrees.pop() if len(degrees) == 1 and not any(k.indicator for k in each) else None,
            phase_invariant=all_of("phase_invariant"),
            has_value=all_of("has_value"),
        )

    @property
    def exactness(self) -> Exactness | None:
        if not self.offers("prox"):
            return None
        known = [f.exactness for f in self.functionals]
        return reduce(lambda a, b: a.after(b), [e for e in known if e is not None])

    def behind(self, batch: int) -> Functional:
        axis = self.axis if self.axis < 0 else self.axis + batch
        return SeparableSum(tuple(f.behind(batch) for f in self.functionals), axis, self.sizes)

    def define_conditions(self) -> list[Condition]:
        return [c for f in self.functionals for c in f.define_conditions()]

    def hint(self) -> str:
        return "; ".join(dict.fromkeys(h for f in self.functionals if (h := f.hint())))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        total = sum(self._lengths)
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] != total:
            raise ShapeError(
                f"{self!r} needs {total} entries along axis {self.axis}, but was given an argument of shape {shape}"
            )
        at = self.axis % len(shape)
        for f, length in zip(self.functionals, self._lengths, strict=True):
            own = () if self.sizes is None else (length,)
            f.check_shape((*shape[:at], *own, *shape[at + 1 :]))

    def check_kind(self, kind: str) -> None:
        for f in self.functionals:
            f.check_kind(kind)

    def why_not(self, ability: str) -> str:
        for f in self.functionals:
            if not f.offers(ability):
                reason = f.why_not(ability)
                return f"{f!r} has none" + (f", since {reason}" if reason else "")
        return ""

    def _arguments(self) -> str:
        axis = "" if self.axis == 0 else f", axis={self.axis}"
        return axis + ("" if self.sizes is None else f", sizes={list(self.sizes)}")

    def text(self, inner: str) -> str:
        listed = ", ".join(map(repr, self.functionals))
        return f"separable_sum([{listed}], {inner}{self._arguments()})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        enumerated = enumerate(self.functionals, start=1)
        return " + ".join(f.latex(rf"\left({inner}\right)_{{{k}}}", names) for k, f in enumerated)

    def __repr__(self) -> str:
        return f"SeparableSum([{', '.join(map(repr, self.functionals))}]{self._arguments()})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        weight = Parameter(0.7, name="w", positive=True)
        return [
            SeparableSum([Norm1(), Norm2(), SumSquares()]),
            SeparableSum([Norm2(), Norm21(axis=0)], axis=-1, sizes=[3, 1]),
            SeparableSum([SumSquares(weight), Huber(0.5)], axis=0, sizes=[2, 1]),
            SeparableSum([SumSquares(weight), SumSquares(rng.uniform(0.5, 1.0, (3, 2)))], axis=1, sizes=[2, 2]),
        ]


def _checked_sizes(sizes: Any, count: int) -> tuple[int, ...]:
    found = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in found)
    if not whole or len(found) != count:
        raise ParameterError(f"SeparableSum of {count} functionals needs {count} positive sizes, not {sizes!r}")
    return tuple(int(n) for n in found)


def _largest_bound(bounds: list[Bound | None]) -> Bound | None:
    """The largest of some bounds; None where one is not known."""
    known = [b for b in bounds if b is not None]
    if len(known) < len(bounds):
        return None
    certainties = {b.certainty for b in known}
    value = reduce(ex.maximum, [b.expression for b in known])
    if certainties <= {"exact"}:
        return exact(value)
    if certainties <= {"exact", "upper"}:
        return upper(value)
    return Bound(value, "estimate" if "estimate" in certainties else "asserted")


def _least(moduli: list[Expression | None]) -> Expression | None:
    """The least of some moduli of convexity; None where one is not known."""
    known = [m for m in moduli if m is not None]
    return reduce(ex.minimum, known) if len(known) == len(moduli) else None


def separable_sum(functionals: Any, e: Any, axis: int = 0, sizes: Any = None) -> Any:
    """Different functionals of consecutive blocks of an expression, ``sum_k f_k(e_k)``; see `functionals.SeparableSum`.

    Parameters
    ----------
    functionals : sequence of Functional
        One for each block.
    e : affine expression
        What is cut into blocks.
    axis : int
        The axis that is cut.
    sizes : sequence of int, optional
        The entries along the axis that belong to each block; by default one functional takes each index.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2, 3), name="x")
    >>> f = oa.functionals
    >>> oa.separable_sum([f.Norm1(), f.Norm2()], x).value(np.array([[1.0, -2.0, 0.0], [3.0, 0.0, 4.0]]))
    8.0
    """
    return SeparableSum(functionals, axis, sizes)(e)


__all__ = ["SeparableSum", "separable_sum"]
