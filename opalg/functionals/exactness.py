"""How exactly a prox is known."""

from __future__ import annotations

from enum import Enum


class Exactness(Enum):
    """How exactly a prox is known, ``f.exactness``.

    The text of each says it in the words of ``plan.explain()``.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.functionals.Norm1().exactness
    closed form
    >>> oa.functionals.Logistic([1.0, -1.0]).exactness is oa.functionals.Exactness.ITERATIVE
    True
    """

    CLOSED_FORM = "closed form"
    """A formula, or a finite procedure such as a sort."""

    CHANGE_OF_BASIS = "exact by change of basis"
    """The prox of another functional behind an operator that keeps distances, up to a factor."""

    SUM_RULE = "exact by a sum rule"
    """The proxes of two functionals after each other, where that is known to be the prox of their sum."""

    ITERATIVE = "iterative with a certified gap"
    """An iteration that ends when a bracket or a duality gap has shrunk to the rounding of the working precision."""

    DECLARED = "what the user declared"
    """A map that stands in the place of a prox, such as a denoiser."""

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__

    def after(self, other: Exactness) -> Exactness:
        """The exactness of a prox that is built from one of this and one of the other sort: the weaker word."""
        order = list(Exactness)
        return max(self, other, key=order.index)


__all__ = ["Exactness"]
