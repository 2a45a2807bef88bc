"""Rules that hold for every operator: adjoints and conjugates pushed to the factors, scalars, isometries cancelled."""

from __future__ import annotations

from opalg.operators.algebra import (
    Added,
    Adjoint,
    Composed,
    Conjugated,
    Identity,
    LinearOperator,
    Scaled,
    add,
    alike_in_kind,
    compose,
    joins,
    mirror_images,
    scale,
)
from opalg.operators.batched import AsComplex, Batched
from opalg.operators.diagonal import Diagonal, adjacent
from opalg.operators.knowledge import keeps_facts
from opalg.operators.linearity import complex_linear, is_real
from opalg.operators.spectral import DiagonalIn
from opalg.operators.stack import Stacked, vstack
from opalg.program.expression import Expression, Literal, pointwise
from opalg.rules import rule


@rule(Composed, group="simplify")
def normalise_product(product: Composed) -> LinearOperator | None:
    """(c A) @ B -> c (A @ B), (A @ B) @ C -> A @ (B @ C), I @ A -> A, 0 @ A -> 0"""
    return compose(product.outer, product.inner)


@rule(Added, group="simplify")
def normalise_sum(total: Added) -> LinearOperator | None:
    """(A + B) + C -> A + B + C, 0 + A -> A"""
    return add(*total.operators)


@rule(Scaled, group="simplify")
def normalise_multiple(scaled: Scaled) -> LinearOperator | None:
    """a (b A) -> (a b) A, 1 A -> A, 0 A -> 0"""
    return scale(scaled.factor, scaled.operator)


@rule(Adjoint, group="simplify")
def adjoint_of_known(adjoint: Adjoint) -> LinearOperator | None:
    """A.H  ->  the operator that A itself names as its adjoint (A where it is self-adjoint)"""
    return adjoint.operator.H


@rule(Adjoint, group="simplify")
def adjoint_of_product(adjoint: Adjoint) -> LinearOperator | None:
    """(A @ B).H  ->  B.H @ A.H     (where B gives what A takes, and no real part is taken on the way back)"""
    match adjoint:
        case Adjoint(operator=Composed(outer=a, inner=b)) if joins(b.H, a.H):
            return compose(b.H, a.H)
    return None


@rule(Adjoint, group="simplify")
def adjoint_of_sum(adjoint: Adjoint) -> LinearOperator | None:
    """(A + B).H  ->  A.H + B.H     (where no real part is taken of one of them alone)"""
    match adjoint:
        case Adjoint(operator=Added(operators=many)):
            merged = add(*(operator.H for operator in many))  # type: ignore[attr-defined]
            return merged if alike_in_kind(merged, adjoint) else None
    return None


@rule(Adjoint, group="simplify")
def adjoint_of_multiple(adjoint: Adjoint) -> LinearOperator | None:
    """(c A).H  ->  conj(c) A.H     (a complex c commutes only with what is linear over the complex numbers)"""
    match adjoint:
        case Adjoint(operator=Scaled(factor=c, operator=a)) if c.kind == "real" or complex_linear(a):
            return scale(pointwise("conj", c), a.H)
    return None


@rule(Conjugated, group="simplify")
def conjugate_of_known(conjugated: Conjugated) -> LinearOperator | None:
    """conj(A)  ->  the operator that A itself names as its conjugate (A where it is real)"""
    a = conjugated.operator
    return a if is_real(a) or (a.in_kind == "real" and a.out_dtype == "real") else a.conj()


@rule(Conjugated, group="simplify")
def conjugate_of_product(conjugated: Conjugated) -> LinearOperator | None:
    """conj(A @ B)  ->  conj(A) @ conj(B)"""
    match conjugated:
        case Conjugated(operator=Composed(outer=a, inner=b)):
            return compose(a.conj(), b.conj())
    return None


@rule(Conjugated, group="simplify")
def conjugate_of_sum(conjugated: Conjugated) -> LinearOperator | None:
    """conj(A + B)  ->  conj(A) + conj(B)"""
    match conjugated:
        case Conjugated(operator=Added(operators=many)):
            return add(*(operator.conj() for operator in many))  # type: ignore[attr-defined]
    return None


@rule(Conjugated, group="simplify")
def conjugate_of_multiple(conjugated: Conjugated) -> LinearOperator | None:
    """conj(c A)  ->  conj(c) conj(A)"""
    match conjugated:
        case Conjugated(operator=Scaled(factor=c, operator=a)):
            return scale(pointwise("conj", c), a.conj())
    return None


@rule(Conjugated, group="simplify")
def conjugate_of_adjoint(conjugated: Conjugated) -> LinearOperator | None:
    """conj(A.H)  ->  conj(A).H"""
    match conjugated:
        case Conjugated(operator=Adjoint(operator=a)):
            return a.conj().H
    return None


@rule(Conjugated, group="simplify")
def conjugate_of_parts(conjugated: Conjugated) -> LinearOperator | None:
    """conj(vstack(A))  ->  vstack(conj(A)), conj(batched(A))  ->  batched(conj(A))"""
    match conjugated:
        case Conjugated(operator=Stacked(operators=many)):
            return vstack([operator.conj() for operator in many])  # type: ignore[attr-defined]
        case Conjugated(operator=Batched(operator=a, batch=batch)):
            return Batched(a.conj(), batch)
    return None


@rule(Composed, group="simplify")
def complex_scalar_to_the_front(product: Composed) -> LinearOperator | None:
    """A @ (c B)  ->  c (A @ B)     (c complex, A linear over the complex numbers)"""
    a, b, rest = adjacent(product)
    if not isinstance(b, Scaled):
        return None
    if b.factor.kind != "real" and not complex_linear(a):
        return None
    merged = scale(b.factor, compose(a, b.operator))
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="simplify")
def real_operators_before_complex_ones(product: Composed) -> LinearOperator | None:
    """A @ complex  ->  complex @ A     (A real, so that it works on real arrays)"""
    a, b, rest = adjacent(product)
    if not isinstance(b, AsComplex) or isinstance(a, AsComplex) or not (is_real(a) and complex_linear(a)):
        return None
    return compose(AsComplex(a.out_shape), a if rest is None else compose(a, rest))


@rule(Scaled, group="merge")
def scalar_into_data(scaled: Scaled) -> LinearOperator | None:
    """c (A @ diag(d) @ B)  ->  A @ diag(c d) @ B     (c real; spectra likewise, where no fact is lost)"""
    c, factors = scaled.factor, _factors(scaled.operator)
    if c.kind != "real" or len(factors) < 2:
        return None
    for i, factor in enumerate(factors):
        if isinstance(factor, Diagonal):
            changed: LinearOperator = Diagonal(c * factor.diagonal, factor.in_shape)
        elif isinstance(factor, DiagonalIn):
            changed = DiagonalIn(factor.transform, c * factor.spectrum)
        else:
            continue
        merged = _chain([*factors[:i], changed, *factors[i + 1 :]], factors[-1])
        if keeps_facts(scaled.facts, merged.facts):
            return merged
    return None


@rule(Added, group="merge")
def like_terms(total: Added) -> LinearOperator | None:
    """a A + b A  ->  (a + b) A"""
    found: dict[LinearOperator, list[LinearOperator]] = {}
    for term in total.operators:
        found.setdefault(term.operator if isinstance(term, Scaled) else term, []).append(term)
    if len(found) == len(total.operators):
        return None
    merged = []
    for operator, terms in found.items():
        factor = sum((t.factor if isinstance(t, Scaled) else 1.0 for t in terms[1:]), start=_factor(terms[0]))
        merged.append(terms[0] if len(terms) == 1 else scale(factor, operator))
    return add(*merged)


def _factor(term: LinearOperator) -> Expression:
    return term.factor if isinstance(term, Scaled) else Literal(1.0)


@rule(Added, group="merge")
def common_factors(total: Added) -> LinearOperator | None:
    """A @ B @ C + A @ D @ C  ->  A @ (B + D) @ C     (or a factor on one side, where no fact is lost)"""
    terms = [_term(o) for o in total.operators]
    for on_left, on_right in ((True, True), (True, False), (False, True)):
        groups: dict[tuple, list[int]] = {}
        for i, (_, factors) in enumerate(terms):
            if len(factors) >= on_left + on_right:
                ends = (factors[0] if on_left else None, factors[-1] if on_right else None)
                groups.setdefault(ends, []).append(i)
        for ends, members in groups.items():
            merged = _gathered(total, terms, ends, members) if len(members) > 1 else None
            if merged is not None:
                return merged
    return None


Term = tuple[Expression, list[LinearOperator]]


def _term(operator: LinearOperator) -> Term:
    """A term as a real scalar and its factors."""
    if isinstance(operator, Scaled) and operator.factor.kind == "real":
        return operator.factor, _factors(operator.operator)
    return Literal(1.0), _factors(operator)


def _gathered(total: Added, terms: list[Term], ends: tuple, members: list[int]) -> LinearOperator | None:
    """The sum with the terms of one group written as one product; None where facts would be lost."""
    left, right = ends
    first = terms[members[0]][1]
    shape = first[0].in_shape if left is not None else first[-1].out_shape
    middles = []
    for i in members:
        factor, factors = terms[i]
        inner = factors[left is not None : len(factors) - (right is not None)]
        middles.append(scale(factor, _chain(inner, Identity(shape))))
    if len({(m.in_shape, m.out_shape) for m in middles}) > 1:
        return None
    merged = add(*middles)
    merged = merged if left is None else compose(left, merged)
    merged = merged if right is None else compose(merged, right)
    others = [o for i, o in enumerate(total.operators) if i not in members]
    group = add(*(total.operators[i] for i in members))
    return add(merged, *others) if keeps_facts(group.facts, merged.facts) else None


def _factors(operator: LinearOperator) -> list[LinearOperator]:
    """The factors of a product from left to right."""
    factors = []
    while isinstance(operator, Composed):
        factors.append(operator.outer)
        operator = operator.inner
    return [*factors, operator]


def _chain(factors: list[LinearOperator], empty: LinearOperator) -> LinearOperator:
    """The product of factors."""
    out = factors[-1] if factors else empty
    for factor in reversed(factors[:-1]):
        out = compose(factor, out)
    return out


@rule(Composed, group="simplify")
def cancel_isometry(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  c I, A @ A.H  ->  c I     (where that is a fact of A)"""
    a, b, rest = adjacent(product)
    known = b.facts.gram_scale if mirror_images(a, b) else None
    if known is None:
        return None
    merged = scale(known, Identity(b.in_shape))
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="simplify")
def product_of_stacks(product: Composed) -> LinearOperator | None:
    """vstack(A).H @ vstack(B)  ->  sum_i A_i.H @ B_i     (blocks of the same heights, real or complex alike)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=Stacked(operators=left)), Stacked(operators=right)):
            if [o.out_shape for o in left] != [o.out_shape for o in right]:  # type: ignore[attr-defined]
                return None
            pairs = [(p.H, q) for p, q in zip(left, right, strict=True)]  # type: ignore[call-overload]
            if not all(joins(p, q) for p, q in pairs):
                return None
            merged = add(*(compose(p, q) for p, q in pairs))
            if not alike_in_kind(merged, compose(a, b)):
                return None
            return merged if rest is None else compose(merged, rest)
    return None
