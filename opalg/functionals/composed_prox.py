"""The prox of a functional behind an operator: the question whether one is known, and its formula.

The compiler asks the same questions of a term ``w f(A x + b)`` as the functional `Composition` does of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.functionals.around import is_literal, step_times, takes
from opalg.functionals.calculus import Functional
from opalg.functionals.exactness import Exactness
from opalg.functionals.norms import Norm2
from opalg.functionals.quadratic import Quadratic
from opalg.functionals.scaled import Weighted
from opalg.functionals.weights import is_fixed
from opalg.operators.algebra import Identity, LinearOperator, compose, scale
from opalg.operators.diagonal import diagonal_of
from opalg.operators.spectra import has_constant_zero
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Literal
from opalg.program.linear import Reshaped

Prox: TypeAlias = Callable[[Functional, Expression, Expression], Expression]
Formula: TypeAlias = Callable[[Expression, Expression, Prox], Expression]


@dataclass(frozen=True)
class Way:
    """How a prox behind an operator is found.

    Attributes
    ----------
    exactness : Exactness
        How exactly.
    formula : callable
        ``formula(v, t, prox) -> Expression``, with ``prox(f, v, t)`` the prox of the bare functional.
    """

    exactness: Exactness
    formula: Formula


def can_compose(
    functional: Functional, operator: LinearOperator, offset: Expression | None = None, kind: str | None = None
) -> Exactness | None:
    """How exactly the prox of ``x -> f(A x + b)`` is known; None where it is not.

    Parameters
    ----------
    functional : Functional
        ``f``.
    operator : LinearOperator
        ``A``.
    offset : Expression, optional
        ``b``, where there is one.
    kind : str, optional
        ``"real"`` or ``"complex"``, the kind of x; without, the answer holds for every kind that ``A`` and ``f`` take
        and that ``A`` keeps.
    """
    ways = [
        way_behind(functional, operator, offset, k) for k in (_kinds(functional, operator) if kind is None else [kind])
    ]
    if not ways or None in ways:
        return None
    found = [way.exactness for way in ways if way is not None]
    return found[0].after(found[-1])


def composed_prox(
    functional: Functional,
    operator: LinearOperator,
    offset: Expression | None,
    v: Expression,
    t: Expression,
    prox: Prox = lambda f, v, t: f.define_prox(v, t),
) -> Expression | None:
    """The prox of ``t f(A x + b)`` in x at v; None where none is known.

    Parameters
    ----------
    functional, operator, offset
        As in `can_compose`.
    v : Expression
        Where to take it; its trailing axes are those that the operator takes.
    t : Expression
        The step: a scalar, or as many axes as v with a step per sample.
    prox : callable, optional
        ``prox(f, v, t)``, what stands for the prox of the bare functional.
    """
    way = way_behind(functional, operator, offset, v.kind)
    return None if way is None else way.formula(v, t, prox)


def _kinds(functional: Functional, operator: LinearOperator) -> list[str]:
    taken = ["real", "complex"] if operator.in_dtype is None else [operator.in_dtype]
    return [k for k in taken if operator.out_kind(k) == k and takes(functional, k)]


def way_behind(functional: Functional, operator: LinearOperator, offset: Expression | None, kind: str) -> Way | None:
    """The cheapest way to the prox that is known; None where none is."""
    if operator.in_dtype not in (None, kind):
        return None
    ways = (_past_identity, _past_diagonal, _past_rows, _past_columns, _past_quadratic)
    for way in ways:
        found = way(functional, operator, offset, kind)
        if found is not None:
            return found
    return None


def _past_identity(f: Functional, operator: LinearOperator, offset: Expression | None, kind: str) -> Way | None:
    """``prox_{t f}(v + b) - b``"""
    if not isinstance(operator, Identity) or f.exactness is None:
        return None

    def formula(v: Expression, t: Expression, prox: Prox) -> Expression:
        return prox(f, v, t) if offset is None else prox(f, v + offset, t) - offset

    return Way(f.exactness, formula)


def _past_diagonal(f: Functional, operator: LinearOperator, offset: Expression | None, kind: str) -> Way | None:
    """``(prox_{t |d|^2 f}(d v + b) - b) / d``, entry by entry    (Beck 2017, Theorems 6.6 and 6.11)

    Where an entry of d may be zero, v stays there: ``v + conj(d) (prox - (d v + b)) / |d|^2``.
    """
    d = diagonal_of(operator)
    if d is None or f.exactness is None or operator.out_kind(kind) != kind:
        return None
    if is_literal(d, 0.0) or (d.shape != () and f.facts.separable is not YES):
        return None
    squared, direct = ex.square_abs(d), is_fixed(d) and not has_constant_zero(d)

    def formula(v: Expression, t: Expression, prox: Prox) -> Expression:
        start = operator.trace(v) if offset is None else operator.trace(v) + offset
        found = prox(f, start, step_times(t, squared, v))
        if direct:
            return (found if offset is None else found - offset) / d
        return v + ex.safe_divide(ex.pointwise("conj", d) * (found - start), squared)

    return Way(f.exactness, formula)


def _past_rows(f: Functional, operator: LinearOperator, offset: Expression | None, kind: str) -> Way | None:
    """``v + A.H (prox_{c t f}(A v + b) - (A v + b)) / c`` where ``A A.H = c I``    (Beck 2017, Theorem 6.15)"""
    c = operator.facts.cogram_scale
    if c is None or is_literal(c, 0.0) or f.exactness is None or operator.out_kind(kind) != kind:
        return None

    def formula(v: Expression, t: Expression, prox: Prox) -> Expression:
        start = operator.trace(v) if offset is None else operator.trace(v) + offset
        found = prox(f, start, step_times(_step_behind(t, v, operator), c, start))
        back = operator.trace_adjoint(found - start)
        return v + (back / c if isinstance(c, Literal) else ex.safe_divide(back, c))  # a parameter may make A zero

    return Way(Exactness.CHANGE_OF_BASIS.after(f.exactness), formula)


def _past_columns(f: Functional, operator: LinearOperator, offset: Expression | None, kind: str) -> Way | None:
    """``prox_{sqrt(c) t f}(v)`` where ``A.H A = c I`` and f is a norm of the norm: ``|A v| = sqrt(c) |v|``"""
    c = operator.facts.gram_scale
    if c is None or is_literal(c, 0.0) or offset is not None or not _is_multiple_of_norm2(f):
        return None
    assert f.exactness is not None

    def formula(v: Expression, t: Expression, prox: Prox) -> Expression:
        return prox(f, v, step_times(t, ex.sqrt(c), v))

    return Way(Exactness.CHANGE_OF_BASIS.after(f.exactness), formula)


def _is_multiple_of_norm2(f: Functional) -> bool:
    if isinstance(f, Weighted):
        return f.held is None and f.weight.shape == () and _is_multiple_of_norm2(f.functional)
    return isinstance(f, Norm2)


def _past_quadratic(f: Functional, operator: LinearOperator, offset: Expression | None, kind: str) -> Way | None:
    """``(I + t A.H H A)^-1 (v - t A.H grad f(b))`` for a constant Hessian H, where that inverse is cheap"""
    form = curvature_form(f, operator, kind)
    if form is None or not form.offers("prox") or not takes(form, kind):
        return None
    assert form.exactness is not None

    def formula(v: Expression, t: Expression, prox: Prox) -> Expression:
        slope = _slope_at_zero(f, operator, offset, v)
        return form.define_prox(v if slope is None else v - t * slope, t)

    return Way(Exactness.CHANGE_OF_BASIS.after(form.exactness), formula)


def curvature_form(f: Functional, operator: LinearOperator, kind: str) -> Quadratic | None:
    """``v -> Re <A v, H A v> / 2`` for a convex f with the constant Hessian H; None for others."""
    if f.facts.quadratic is not YES or f.facts.convex is not YES:
        return None
    try:
        f.check_shape(operator.out_shape)
        hessian = f.define_hessian_operator(operator.out_shape, operator.out_kind(kind))
        return None if hessian is None else Quadratic(scale(0.5, compose(operator.H, compose(hessian, operator))))
    except (ShapeError, UnsupportedError):  # data with batch axes, or a product that is not known to be self-adjoint
        return None


def _slope_at_zero(
    f: Functional, operator: LinearOperator, offset: Expression | None, v: Expression
) -> Expression | None:
    """``A.H grad f(b)``, in the kind of v; None where it is zero."""
    if offset is None and f.facts.homogeneity == 2.0:
        return None
    batch = ex.batch_shape(v.shape, operator.in_shape, operator)
    kind = operator.out_kind(v.kind)
    point: Expression = Literal(0.0) if offset is None else offset
    point = point + Literal(0j) if kind == "complex" and point.kind == "real" else point
    back = operator.trace_adjoint(f.define_gradient(ex.broadcast_to(point, batch + operator.out_shape)))
    return ex.pointwise("real", back) if v.kind == "real" and back.kind == "complex" else back


def _step_behind(t: Expression, v: Expression, operator: LinearOperator) -> Expression:
    """The step for arrays that the operator gives: with their number of axes, where it has axes."""
    ours, theirs = len(operator.in_shape), len(operator.out_shape)
    if t.shape == () or all(n == 1 for n in t.shape):
        return ex.total(t) if t.shape != () and ours != theirs else t
    if any(n != 1 for n in t.shape[len(t.shape) - ours :]):
        raise ShapeError(
            f"the prox behind {operator!r} has one step for each sample, but was given steps of shape {t.shape} for an "
            f"argument of shape {v.shape}; leave one entry on the axes that the operator takes"
        )
    return t if ours == theirs else Apply(Reshaped((1,) * ours, (1,) * theirs), t)


__all__ = ["Way", "can_compose", "composed_prox", "curvature_form", "way_behind"]
