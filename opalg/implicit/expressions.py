"""Small pieces that the systems of implicit differentiation are written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opalg.program import expression as ex
from opalg.program.differentiate import jvp, sum_of, vjp
from opalg.program.expression import Expression, Input, Literal


def full(found: Sequence[Expression | None], like: Sequence[Any]) -> list[Expression]:
    """Derivatives with zeros written out in the shape and kind of their target."""
    zero = {"real": Literal(0.0), "complex": Literal(0j)}
    filled = [zero[n.kind] if g is None else g for g, n in zip(found, like, strict=True)]
    return [ex.broadcast_to(in_kind(g, n.kind), n.shape) for g, n in zip(filled, like, strict=True)]


def in_kind(e: Expression, kind: str) -> Expression:
    """A real expression as a complex one where that is asked for."""
    return Literal(1.0 + 0j) * e if kind == "complex" and e.kind == "real" else e


def like(nodes: Sequence[Any], prefix: str) -> list[Input]:
    """Fresh inputs of the shapes and kinds of nodes."""
    return [Input(f"{prefix}{i}", n.shape, n.kind) for i, n in enumerate(nodes)]


def pushed(outputs: Sequence[Expression], nodes: Sequence[Any], tangents: Sequence[Expression]) -> list[Expression]:
    """The directional derivative of outputs, zeros written out."""
    return full(jvp(list(outputs), dict(zip(nodes, tangents, strict=True))), outputs)


def pulled(outputs: Sequence[Expression], cotangents: Sequence[Expression], nodes: Sequence[Any]) -> list[Expression]:
    """The transposed derivative of outputs applied to cotangents, zeros written out."""
    return full(vjp(list(outputs), list(cotangents), list(nodes)), nodes)


def pairing(u: Sequence[Expression], v: Sequence[Expression]) -> Expression:
    """The real inner product of two tuples."""
    return sum_of([ex.inner(a, b) for a, b in zip(u, v, strict=True)])
