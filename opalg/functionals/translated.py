"""Translated functionals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import UNKNOWN
from opalg.functionals.around import Around, differentiable, grouped, is_literal, safe_prox, safe_value
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.combining import translated
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.points import Point
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import Data, check_broadcasts, data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import data_latex, data_text, is_sum


@node
class Translated(Around):
    """``f(v) = g(v - b)``.

    Parameters
    ----------
    functional : Functional
        The functional ``g``.
    offset : number, array, Parameter or Expression
        Where its origin goes, ``b``; it broadcasts to the argument.

    Raises
    ------
    DtypeError
        For a complex offset of real arrays, and for what is no data.
    ShapeError
        Where the offset does not broadcast to the argument.

    Notes
    -----
    ``prox_{t f}(v) = b + prox_{t g}(v - b)`` and ``f*(q) = g*(q) + Re <b, q>`` (Beck 2017, Theorems 6.11 and 4.15;
    Combettes, Pesquet 2011, Table 10.1).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1().translated(np.array([1.0, 2.0]))
    >>> f
    Translated(Norm1(), data)
    >>> f.prox(np.array([5.0, 2.5]), 1.0).tolist()
    [4.0, 2.0]
    """

    functional: Functional
    offset: Data

    def __post_init__(self) -> None:
        if not isinstance(self.functional, Functional):
            raise DtypeError(f"Translated needs a functional such as Norm1(), not {type(self.functional).__name__}")
        object.__setattr__(self, "offset", data(self.offset, "the offset of a functional"))

    def define_value(self, v: Expression) -> Expression:
        return safe_value(self.functional, v - self.offset)

    def define_violation(self, v: Expression) -> Expression:
        return self.functional.define_violation(v - self.offset)

    def define_gradient(self, v: Expression) -> Expression:
        return self.functional.define_gradient(v - self.offset)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return self.functional.define_hessian_product(v - self.offset, d)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        return self.functional.define_hessian_operator(shape, kind)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return safe_prox(self.functional, v - self.offset, t) + self.offset

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.functional.define_conjugate_value(q) + ex.inner(ex.broadcast_to(self.offset, q.shape), q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(q)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.functional.define_dual_projection(q)

    def offers(self, ability: str) -> bool:
        return self.functional.offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        return replace(self.functional.facts, homogeneity=None, phase_invariant=UNKNOWN)

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """As its functional."""
        return differentiable(self.functional)

    def behind(self, batch: int) -> Functional:
        return Translated(self.functional.behind(batch), self.offset)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.offset, shape, self, "an offset")
        self.functional.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        if kind == "real" and self.offset.kind == "complex":
            raise DtypeError(f"{self!r} has a complex offset, but was given a real array; give it a complex one")
        self.functional.check_kind(kind)

    def text(self, inner: str) -> str:
        offset = data_text(self.offset)
        if offset.startswith("-") and not is_sum(self.offset):
            return self.functional.text(f"{inner} + {offset[1:]}")
        return self.functional.text(f"{inner} - {grouped(offset) if is_sum(self.offset) else offset}")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        offset = data_latex(self.offset, names)
        if offset.startswith("-") and not is_sum(self.offset):
            return self.functional.latex(f"{inner} + {offset[1:]}", names)
        offset = rf"\left({offset}\right)" if is_sum(self.offset) else offset
        return self.functional.latex(f"{inner} - {offset}", names)

    def __repr__(self) -> str:
        return f"Translated({self.functional!r}, {data_text(self.offset)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Translated(Norm1(), rng.standard_normal((3, 4))),
            Translated(Norm2(), Parameter(rng.standard_normal((4,)), name="b")),
            Translated(Huber(0.8), -0.5),
            Translated(Norm21(), rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))),
            Translated(SumSquares(), Parameter(0.4, name="b")),
            Translated(Indicator(Box(0.0, 1.0)), rng.standard_normal((3, 1))),
        ]


@translated.register(Functional)
def moved(functional: Functional, offset: Any) -> Any:
    """``v -> f(v - offset)`` in its simplest form: offsets add up, boxes and points move.

    Raises
    ------
    DtypeError
        Where the offset is no data.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.functionals.Norm1().translated(1.0).translated(2.0)
    Translated(Norm1(), 3)
    """
    offset = data(offset, "the offset of a functional")
    if is_literal(offset, 0.0):
        return functional
    if isinstance(functional, Translated):
        return moved(functional.functional, functional.offset + offset)
    if isinstance(functional, Indicator) and isinstance(functional.set, Box) and offset.kind == "real":
        ends = (functional.set.lower, functional.set.upper)
        return Indicator(Box(*(None if e is None else e + offset for e in ends)))
    if isinstance(functional, Indicator) and isinstance(functional.set, Point):
        return Indicator(Point(functional.set.value + offset))
    return Translated(functional, offset)


__all__ = ["Translated", "moved"]
