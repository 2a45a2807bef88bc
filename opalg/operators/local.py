"""Sums of products of stencils: the cheap form that an operator may have besides the one in a transform's basis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opalg.nodes import Node, node
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Literal

if TYPE_CHECKING:
    from opalg.operators.algebra import LinearOperator

_MOST_STENCILS = 10  # a sum of more stencils is no longer cheaper than a pair of transforms


@node
class LocalTerm(Node):
    """A number times a product of operators, ``x -> c A_1 ... A_m x``; the identity where there are none.

    The factors stand side by side, not composed, so that no rule takes their product for what it came from.
    """

    factor: Expression
    chain: tuple[LinearOperator, ...] = ()

    def trace(self, x: Expression) -> Expression:
        """The term applied to an expression."""
        for operator in reversed(self.chain):
            x = operator.trace(x)
        return self.factor * x

    @property
    def H(self) -> LocalTerm:
        """The adjoint."""
        return LocalTerm(ex.pointwise("conj", self.factor), tuple(operator.H for operator in reversed(self.chain)))


Local = tuple[LocalTerm, ...]  # their sum; empty where no such form is known


def local_trace(local: Local, x: Expression) -> Expression:
    """The sum applied to an expression."""
    return sum_of([term.trace(x) for term in local])


def local_adjoint(local: Local) -> Local:
    """The adjoint of the sum, term by term."""
    return tuple(term.H for term in local)


def local_multiple(factor: Expression, local: Local) -> Local:
    """A number times the sum."""
    return tuple(LocalTerm(factor * term.factor, term.chain) for term in local)


def local_scalar(factor: Expression) -> Local:
    """A multiple of the identity."""
    return (LocalTerm(factor),)


def local_sum(a: Local, b: Local) -> Local:
    """The sum of two, with equal products gathered; empty where one is, or where it grows too long."""
    if not a or not b:
        return ()
    gathered: dict[tuple[LinearOperator, ...], Expression] = {}
    for term in (*a, *b):
        known = gathered.get(term.chain)
        gathered[term.chain] = term.factor if known is None else known + term.factor
    return _kept_short(tuple(LocalTerm(factor, chain) for chain, factor in gathered.items()))


def local_product(a: Local, b: Local) -> Local:
    """The product of two; empty where one is, or where it grows too long."""
    out: Local = ()
    for left in a:
        for right in b:
            term = LocalTerm(left.factor * right.factor, left.chain + right.chain)
            out = local_sum(out, (term,)) if out else _kept_short((term,))
            if not out:
                return ()
    return out


def one(*chain: LinearOperator) -> Local:
    """The product of some operators."""
    return (LocalTerm(Literal(1.0), chain),)


def _kept_short(local: Local) -> Local:
    length = sum(len(term.chain) if term.chain else 1 for term in local)
    return local if length <= _MOST_STENCILS else ()
