"""The affine expression that a penalty is composed of, and the part of its shape that belongs to one sample."""

from __future__ import annotations

from typing import Any

from opalg.functionals.calculus import Functional
from opalg.nodes import node
from opalg.program.expression import Shape


@node
class _Taker(Functional):
    """Stands for a function that users type, so that what is not affine is refused in its name."""

    name: str

    def text(self, inner: str) -> str:
        return f"{self.name}({inner})"

    def __repr__(self) -> str:
        return f"{self.name}(oa.Variable(array.shape))"


def affine_argument(e: Any, name: str) -> Any:
    """An expression of variables as an affine one, with its ``shape``.

    Parameters
    ----------
    e : object
        What a user gave to the function of that name.
    name : str
        The function, for the message.

    Raises
    ------
    NotAffineError
        Where it is not an affine expression of variables.
    """
    return _Taker(name)(e).expression


def own_shape(affine: Any) -> Shape:
    """The trailing axes of an affine expression that its operators know; the axes in front of them are a batch."""
    own = min(len(part.operator.out_shape) for part in affine.parts)
    shape: Shape = affine.shape[len(affine.shape) - own :]
    return shape


__all__ = ["affine_argument", "own_shape"]
