"""What a dialect says: how the generated code of one array library writes each kind of statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from opalg.arrays.backend import Backend
from opalg.errors import UnsupportedError


class Operand(NamedTuple):
    """An argument of a statement.

    Attributes
    ----------
    text : str
        How the generated code names it.
    kind : str
        ``"real"``, ``"complex"`` or ``"bool"``.
    value : float, complex, bool or None
        The number, where it is a literal.
    """

    text: str
    kind: str
    value: Any = None


class Dialect:
    """Statements of one array library; a new library brings a subclass in ``opalg/emit/<library>_dialect.py``.

    Attributes
    ----------
    blocked : bool
        Whether sweeps run in blocks that fit the cache.
    in_place : bool
        Whether results are written into planned buffers.
    makes_results : bool
        Whether calls that were given ``out=None`` make the array of the result, which costs less than making it first.
    numbers : bool
        Whether scalars are Python numbers; else they are arrays without axes.
    prelude : str
        Imports and helpers of a stand-alone program, with a small ``lib``.
    """

    blocked = False
    in_place = True
    makes_results = False
    numbers = False
    prelude = ""

    def namespace(self, lib: Backend) -> dict[str, Any]:
        """The global names of the generated code, when it runs inside opalg."""
        raise NotImplementedError

    def fused(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step whose pointwise work runs as one kernel for each sweep, where the library has a compiler for that."""
        raise UnsupportedError("this library has no compiler that fuses a step; leave fuse=True out, or use Torch")

    def takes_number(self, function: str, position: int, operands: list[Operand]) -> bool:
        """Whether a function takes a literal at that position as a Python number; else it becomes an array."""
        raise NotImplementedError

    def pointwise(self, function: str, operands: list[Operand], kind: str, out: str) -> list[str]:
        """Statements that compute an elementary function into ``out`` (``"copy"`` is the identity)."""
        raise NotImplementedError

    def repeat(self, operand: Operand, shape: tuple[int, ...], kind: str, out: str) -> list[str]:
        """Statements that fill an array of that shape with a smaller one, repeated."""
        return self.pointwise("copy", [operand], kind, out)

    def scalar(self, function: str, operands: list[Operand], kind: str, target: str) -> str:
        """A statement that computes an elementary function of scalars."""
        raise NotImplementedError

    def part(self, function: str, text: str) -> str:
        """The real or imaginary part of a complex array, as a view where there are views."""
        return f"{text}.{function}"

    def reduce(self, function: str, a: str, axes: tuple[int, ...], keepdims: bool, out: str, shape: Any) -> list[str]:
        """Statements that reduce an array of that shape over some axes."""
        raise NotImplementedError

    def reduce_all(self, function: str, a: str, kind: str) -> str:
        """The text of a reduction over all axes."""
        raise NotImplementedError

    def gather_start(self, function: str, kind: str) -> str:
        """The text of the number from which a reduction over blocks starts."""
        raise NotImplementedError

    def gather_scalar(self, function: str, target: str, a: str, kind: str) -> str:
        """A statement that adds one block to a reduction over all axes."""
        raise NotImplementedError

    def gather_array(self, function: str, target: str, block: str) -> str:
        """A statement that adds one block's array to a reduction over some axes."""
        raise NotImplementedError

    def join(self, arrays: list[str], axis: int, out: str) -> str:
        """A statement that lays arrays end to end."""
        raise NotImplementedError

    def entered_scalar(self, name: str, kind: str) -> str | None:
        """A statement that makes a scalar input what ``numbers`` says, or None."""
        return None

    def left_scalar(self, text: str, kind: str) -> str:
        """The text that makes a scalar of the library what ``numbers`` says."""
        return text

    def copied(self, text: str, scalar: bool) -> str:
        """The text of a copy of a value."""
        return text if scalar and self.numbers else f"lib.copy({text})"
