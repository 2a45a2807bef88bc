"""Values that derivatives do not go through: a factor that is refreshed between steps counts as a constant in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opalg.arrays import Backend
from opalg.program.expression import Call, Expression


@dataclass(frozen=True)
class Detached:
    """``x -> x``, with a derivative of zero."""

    def evaluate(self, lib: Backend, x: Any) -> Any:
        """The array itself, as a fresh one."""
        return lib.copy(lib.asarray(x))

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """Nothing moves."""
        return None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """Nothing comes back."""
        return [None]

    def __repr__(self) -> str:
        return "detached"


def detached(e: Expression) -> Expression:
    """An expression whose derivative counts as zero.

    Parameters
    ----------
    e : Expression

    Returns
    -------
    Expression
        Of the same value, shape and kind.
    """
    return Call(Detached(), (e,), e.shape, e.kind)


__all__ = ["Detached", "detached"]
