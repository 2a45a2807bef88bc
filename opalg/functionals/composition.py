"""Functionals behind an operator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound
from opalg.functionals.around import (
    Around,
    differentiable,
    finite_everywhere,
    grouped,
    is_literal,
    lasting,
    safe_prox,
    safe_value,
)
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.combining import composed
from opalg.functionals.composed_prox import can_compose, composed_prox, curvature_form
from opalg.functionals.exactness import Exactness
from opalg.functionals.huber import Huber
from opalg.functionals.norms import Norm2
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import Data, check_broadcasts, data, is_fixed, positive
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, compose
from opalg.operators.batched import Batched
from opalg.operators.convolution import Convolve
from opalg.operators.cosine import DCT
from opalg.operators.diagonal import Diagonal, diagonal_of
from opalg.operators.spectra import has_constant_zero
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import data_latex, data_text, is_sum
from opalg.rules import rewrite


@node
class Composition(Around):
    """``f(v) = g(A v + b)``.

    Parameters
    ----------
    functional : Functional
        The functional ``g``.
    operator : LinearOperator
        The operator ``A``, which acts on the trailing axes of v.
    offset : number, array, Parameter or Expression, optional
        What is added, ``b``; it broadcasts to ``A v``.

    Raises
    ------
    DtypeError
        For what is no functional, operator or data; for real arrays of which ``A`` makes complex ones (the adjoint on
        them is another one; write the term ``g(A @ x)`` of a real variable instead).
    ShapeError
        Where the shapes do not fit.

    Notes
    -----
    The prox is offered where it is known, and else the compiler splits:

    - ``A`` the identity, diagonal with a separable ``g``, or ``A A.H = c I``, as for permutations, unitary transforms
      and semi-orthogonal rows: ``v + A.H (prox_{c t g}(A v + b) - (A v + b)) / c`` (Beck 2017, Theorem 6.15;
      Combettes, Pesquet 2011, Table 10.1);
    - ``A.H A = c I`` and ``g`` a multiple of the Euclidean norm, ``b = 0``: ``prox_{sqrt(c) t g}(v)``;
    - ``g`` quadratic with the constant Hessian ``H`` where ``I + t A.H H A`` has a cheap inverse.

    For ``A A.H = c I`` with ``c > 0`` is ``f*(q) = g*(A q / c) - Re <b, A q / c>`` on the range of ``A.H``, infinite
    elsewhere, and for an invertible diagonal the like.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1() @ oa.Diagonal(np.array([2.0, -1.0]))
    >>> f
    Composition(Norm1(), Diagonal(array of shape (2,)))
    >>> f.prox(np.array([3.0, -1.0]), 0.5).tolist()
    [2.0, -0.5]
    """

    functional: Functional
    operator: LinearOperator
    offset: Data = None

    def __post_init__(self) -> None:
        if not isinstance(self.functional, Functional):
            raise DtypeError(f"Composition needs a functional such as Norm1(), not {type(self.functional).__name__}")
        if not isinstance(self.operator, LinearOperator):
            hint = "; write oa.Matrix(M) for a matrix" if library_name(self.operator) is not None else ""
            raise DtypeError(f"Composition needs a linear operator, not {type(self.operator).__name__}{hint}")
        if self.offset is not None:
            offset = data(self.offset, "the offset behind an operator")
            check_broadcasts(offset, self.operator.out_shape, self.operator, "an offset")
            object.__setattr__(self, "offset", None if is_literal(offset, 0.0) else offset)

    # What it does.

    def _moved(self, v: Expression) -> Expression:
        found = self.operator.trace(v)
        return found if self.offset is None else found + self.offset

    def _back(self, y: Expression, v: Expression) -> Expression:
        back = self.operator.trace_adjoint(y)
        return ex.pointwise("real", back) if v.kind == "real" and back.kind == "complex" else back

    @property
    def _keeps_degree(self) -> bool:
        return self.offset is None

    def define_value(self, v: Expression) -> Expression:
        moved = self._moved(v)
        return self.functional.define_value(moved) if self._keeps_degree else safe_value(self.functional, moved)

    def define_violation(self, v: Expression) -> Expression:
        outside, norm = self.functional.define_violation(self._moved(v)), self.operator.facts.norm
        if is_literal(outside, 0.0) or norm is None:
            return outside
        return outside / ex.maximum(norm.expression, 1.0)  # in the unit of v, as is its rounding

    def define_gradient(self, v: Expression) -> Expression:
        return self._back(self.functional.define_gradient(self._moved(v)), v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        direction = self.operator.trace(ex.broadcast_to(d, v.shape))
        return self._back(self.functional.define_hessian_product(self._moved(v), direction), v)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        batch = ex.batch_shape(shape, self.operator.in_shape, self)
        operator = Batched(self.operator, batch) if batch else self.operator
        found = self.functional.define_hessian_operator(operator.out_shape, operator.out_kind(kind))
        return None if found is None else compose(operator.H, compose(found, operator))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        prox = (lambda f, u, s: f.define_prox(u, s)) if self._keeps_degree else safe_prox
        found = composed_prox(self.functional, self.operator, self.offset, v, t, prox)
        if found is None:
            raise UnsupportedError(f"{self!r} has no prox: {self.why_not('prox')}")
        return found

    @cached_property
    def _exactness(self) -> Exactness | None:
        return can_compose(self.functional, self.operator, self.offset)

    @property
    def exactness(self) -> Exactness | None:
        return self._exactness

    # Its conjugate.

    @cached_property
    def _diagonal(self) -> Expression | None:
        """The diagonal, where it is sure to have no zero and f takes its entries one by one."""
        d = diagonal_of(self.operator)
        if d is None or (d.shape != () and self.functional.facts.separable is not YES):
            return None
        nonzero = (is_fixed(d) and not has_constant_zero(d)) or positive(abs(d)) is YES
        return d if nonzero else None

    @cached_property
    def _rows(self) -> Expression | None:
        """The ``c > 0`` with ``A A.H = c I``."""
        c = self.operator.facts.cogram_scale
        kinds = {"real", "complex"} if self.operator.in_dtype is None else {self.operator.in_dtype}
        kept = any(self.operator.out_kind(k) == k for k in kinds)
        return c if c is not None and positive(c) is YES and kept else None

    @property
    def _invertible(self) -> bool:
        rows = self._rows is not None and self.operator.facts.gram_scale is not None
        return self._diagonal is not None or rows

    def _dual(self, q: Expression) -> Expression:
        """``A^-H q`` on the range of ``A.H``."""
        if self._diagonal is not None:
            return q / ex.pointwise("conj", self._diagonal)
        if self._rows is None:
            raise UnsupportedError(f"{self!r} has no known conjugate: {self.why_not('conjugate_value')}")
        return self.operator.trace(q) / self._rows

    def define_conjugate_value(self, q: Expression) -> Expression:
        p = self._dual(q)
        value = self.functional.define_conjugate_value(p)
        return value if self.offset is None else value - ex.inner(ex.broadcast_to(self.offset, p.shape), p)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(self._dual(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._back(self.functional.define_dual_projection(self._dual(q)), q)

    def offers(self, ability: str) -> bool:
        if ability == "gradient":
            return super().offers(ability)
        if ability == "prox":
            return self._exactness is not None
        known = self.functional.offers(ability) and (self._rows is not None or self._diagonal is not None)
        if ability == "conjugate_value":
            return known and (self._invertible or self.functional.offers("dual_projection"))
        return known and (self._invertible or ability == "dual_projection")

    def why_not(self, ability: str) -> str:
        if ability == "prox" and self.functional.offers("prox"):
            return (
                f"it needs an operator A with A @ A.H = c I, or a diagonal one and a sum over the entries, which "
                f"{self.operator!r} is not known to be; write the term f(A @ x), which the compiler splits"
            )
        if ability in ("conjugate_value", "dual_gauge", "dual_projection") and not self._onto:
            return f"it needs an operator with a cheap right inverse, which {self.operator!r} is not known to have"
        return self.functional.why_not(ability)

    # What is known.

    @property
    def _onto(self) -> bool:
        """Whether every array is ``A v`` for some v."""
        return self._rows is not None or self._diagonal is not None

    @property
    def facts(self) -> FunctionalFacts:
        known, onto = self.functional.facts, self._onto
        diagonal = self.operator.facts.diagonal is YES
        return FunctionalFacts(
            convex=lasting(known.convex, onto),
            smooth=lasting(known.smooth, onto),
            smoothness=self._smoothness,
            strong_convexity=self._modulus(known),
            quadratic=lasting(known.quadratic, onto),
            separable=YES if diagonal and known.separable is YES else UNKNOWN,
            indicator=known.indicator,
            bounded_below=lasting(known.bounded_below, onto),
            homogeneity=known.homogeneity if self.offset is None else None,
            phase_invariant=YES if diagonal and self.offset is None and known.phase_invariant is YES else UNKNOWN,
            has_value=known.has_value,
        )

    @cached_property
    def _smoothness(self) -> Bound | None:
        bound, scale = self.functional.facts.smoothness, self._rows
        if bound is None:
            return None
        if scale is not None:
            return bound.scaled(scale)
        kind = self.operator.in_dtype or "real"
        form = curvature_form(self.functional, self.operator, kind)
        if form is not None and form.facts.smoothness is not None and form.facts.smoothness.certified:
            return form.facts.smoothness
        norm = self.operator.facts.norm
        return None if norm is None else bound.times(norm).times(norm)

    def _modulus(self, known: FunctionalFacts) -> Expression | None:
        if known.strong_convexity is None or known.convex is not YES:
            return None
        facts = self.operator.facts
        lowest = facts.gram_scale if facts.gram_scale is not None else rewrite(self.operator.gram).facts.lowest
        return None if lowest is None else known.strong_convexity * ex.maximum(lowest, 0.0)

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """As its functional."""
        return differentiable(self.functional)

    @property
    def everywhere(self) -> bool:
        return finite_everywhere(self.functional)

    def behind(self, batch: int) -> Functional:
        return Composition(self.functional.behind(batch), self.operator, self.offset)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        batch = ex.batch_shape(shape, self.operator.in_shape, self)
        self.functional.check_shape(batch + self.operator.out_shape)

    def check_kind(self, kind: str) -> None:
        out = self.operator.out_kind(kind)
        if self.operator.in_dtype not in (None, kind) or (kind, out) == ("real", "complex"):
            raise DtypeError(
                f"{self!r} takes {'complex' if kind == 'real' else 'real'} arrays, but was given a {kind} one; convert "
                f"it, or write the term of a {kind} variable x with {self.operator!r} @ x"
            )
        if out == "real" and self.offset is not None and self.offset.kind == "complex":
            raise DtypeError(f"{self!r} adds a complex offset to real arrays; give it complex ones")
        self.functional.check_kind(out)

    def text(self, inner: str) -> str:
        moved = f"{grouped(repr(self.operator))} @ {grouped(inner)}"
        return self.functional.text(moved if self.offset is None else f"{moved} + {self._offset_text()}")

    def _offset_text(self) -> str:
        text = data_text(self.offset)
        return f"({text})" if is_sum(self.offset) or text.startswith("-") else text

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        letter = (names or {}).get(self.operator, "A")
        argument = inner if len(inner) == 1 else rf"\left({inner}\right)"
        offset = "" if self.offset is None else f" + {data_latex(self.offset, names)}"
        return self.functional.latex(rf"{letter} {argument}{offset}", names)

    def __repr__(self) -> str:
        offset = "" if self.offset is None else f", {data_text(self.offset)}"
        return f"Composition({self.functional!r}, {self.operator!r}{offset})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        signs = rng.choice([-1.0, 1.0], (3, 4))
        mean = Convolve(np.full((3, 1), 1 / 3), (3, 4), boundary="periodic")
        shift = Parameter(rng.standard_normal((3, 4)), name="b")
        return [
            Composition(Huber(0.6), DCT((3, 4)), shift),
            Composition(Huber(0.8), Diagonal(signs * rng.uniform(0.3, 2.0, (3, 4))), 0.5),
            Composition(Norm2(), -2.0 * Identity((3, 4)), rng.standard_normal((3, 4))),
            Composition(SumSquares(), mean, rng.standard_normal((4,))),
            Composition(Huber(0.8), Diagonal(Parameter(rng.standard_normal((3, 4)), name="d"))),
            Composition(Norm2(), mean),
        ]


@composed.register(Functional)
def behind_operator(functional: Functional, operator: Any) -> Any:
    """``x -> f(A x)`` in its simplest form: operators of compositions multiply, the identity is left out.

    Raises
    ------
    DtypeError, ShapeError
        As for `Composition`.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.functionals.Norm1() @ oa.DCT((4,))
    Composition(Norm1(), DCT((4,)))
    """
    if not isinstance(operator, LinearOperator):
        if library_name(operator) is not None:
            raise ShapeError(
                f"{functional!r} @ array has no meaning; write {functional!r} @ oa.Matrix(M) for a matrix, or "
                f"{functional!r}.value(array)"
            )
        return NotImplemented
    if isinstance(functional, Composition):
        return Composition(functional.functional, compose(functional.operator, operator), functional.offset)
    return functional if isinstance(operator, Identity) else Composition(functional, operator)


__all__ = ["Composition", "behind_operator", "can_compose", "composed_prox"]
