"""Rules that hold for every operator: adjoints pushed to the factors, isometries cancelled, grams of stacks."""

from __future__ import annotations

from opalg.operators.algebra import Added, Adjoint, Composed, Identity, LinearOperator, Scaled, add, compose, scale
from opalg.operators.diagonal import adjacent
from opalg.operators.stack import Stacked
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
    """(A @ B).H  ->  B.H @ A.H"""
    match adjoint:
        case Adjoint(operator=Composed(outer=a, inner=b)):
            return compose(b.H, a.H)
    return None


@rule(Adjoint, group="simplify")
def adjoint_of_sum(adjoint: Adjoint) -> LinearOperator | None:
    """(A + B).H  ->  A.H + B.H"""
    match adjoint:
        case Adjoint(operator=Added(operators=many)):
            return add(*(operator.H for operator in many))  # type: ignore[attr-defined]
    return None


@rule(Adjoint, group="simplify")
def adjoint_of_multiple(adjoint: Adjoint) -> LinearOperator | None:
    """(c A).H  ->  c A.H     (c real; a complex c commutes only with what is linear over the complex numbers)"""
    match adjoint:
        case Adjoint(operator=Scaled(factor=c, operator=a)) if c.kind == "real":
            return scale(c, a.H)
    return None


@rule(Composed, group="simplify")
def cancel_isometry(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  c I, A @ A.H  ->  c I     (where that is a fact of A)"""
    a, b, rest = adjacent(product)
    known = b.facts.gram_scale if a.H is b or a is b.H else None
    if known is None:
        return None
    merged = scale(known, Identity(b.in_shape))
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="simplify")
def product_of_stacks(product: Composed) -> LinearOperator | None:
    """vstack(A).H @ vstack(B)  ->  sum_i A_i.H @ B_i     (blocks of the same heights)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=Stacked(operators=left)), Stacked(operators=right)):
            if [o.out_shape for o in left] != [o.out_shape for o in right]:  # type: ignore[attr-defined]
                return None
            merged = add(*(compose(p.H, q) for p, q in zip(left, right, strict=True)))  # type: ignore[call-overload]
            return merged if rest is None else compose(merged, rest)
    return None
