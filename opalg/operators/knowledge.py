"""What is known about an operator, and how that follows for products and multiples."""

from __future__ import annotations

from dataclasses import dataclass

from opalg.facts import NO, UNKNOWN, YES, Bound, Fact
from opalg.operators.spectra import is_nonnegative
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


@dataclass(frozen=True)
class Facts:
    """What is known about an operator; silence is unknown.

    Attributes
    ----------
    diagonal : Fact
        It multiplies entry by entry.
    self_adjoint : Fact
        ``A.H = A``.
    positive : Fact
        ``Re <x, A x> >= 0`` and self-adjoint.
    gram_scale : Expression or None
        The ``c`` with ``A.H A = c I`` where there is one.
    cogram_scale : Expression or None
        The ``c`` with ``A A.H = c I`` where there is one.
    norm : Bound or None
        A bound on the spectral norm.
    lowest : Expression or None
        A lower bound of the spectrum of a self-adjoint operator, so that ``A - lowest I`` is positive.
    """

    diagonal: Fact = UNKNOWN
    self_adjoint: Fact = UNKNOWN
    positive: Fact = UNKNOWN
    gram_scale: Expression | None = None
    cogram_scale: Expression | None = None
    norm: Bound | None = None
    lowest: Expression | None = None

    @property
    def unitary(self) -> Fact:
        """``A.H A = A A.H = I``."""
        if self.gram_scale is None or self.cogram_scale is None:
            return UNKNOWN
        both = [s.value if isinstance(s, Literal) else None for s in (self.gram_scale, self.cogram_scale)]
        return UNKNOWN if None in both else (YES if both == [1.0, 1.0] else NO)

    def __str__(self) -> str:
        words = [n.replace("_", "-") for n in ("diagonal", "self_adjoint", "positive") if getattr(self, n) is YES]
        if self.unitary is YES:
            words.append("unitary")
        else:
            for name, scale in (("A.H A", self.gram_scale), ("A A.H", self.cogram_scale)):
                words += [] if scale is None else [f"{name} = {_short(scale)} I"]
        if self.norm is not None:
            relation = "=" if self.norm.certainty == "exact" else "<="
            words.append(f"norm {relation} {self.norm.value:.6g} ({self.norm.certainty})")
        return ", ".join(words) or "nothing known"


def _short(scale: Expression) -> str:
    text = f"{scale.value:.6g}" if isinstance(scale, Literal) else repr(scale)
    return f"({text})" if " " in text else text


def is_nonnegative_number(factor: Expression) -> bool:
    """Whether a factor is real and sure not to be negative, as its form tells."""
    return is_nonnegative(factor)


def product(a: Expression | None, b: Expression | None) -> Expression | None:
    """The product of two scales where both are known."""
    return None if a is None or b is None else a * b


def isometric(facts: Facts, adjoint: bool = False) -> bool:
    """Whether multiplying by it (from the left, or from the right with ``adjoint``) scales the norm exactly."""
    return (facts.cogram_scale if adjoint else facts.gram_scale) is not None


def lowest_known(facts: Facts) -> Expression | None:
    """A lower bound of the spectrum of a self-adjoint operator: its own, or minus the certified norm."""
    if facts.lowest is not None or facts.self_adjoint is not YES:
        return facts.lowest
    return None if facts.norm is None or not facts.norm.certified else -facts.norm.expression


def lowest_scaled(factor: Expression, facts: Facts) -> Expression | None:
    """A lower bound of the spectrum of a multiple of a self-adjoint operator."""
    if factor.kind != "real" or facts.self_adjoint is not YES:
        return None
    above = factor * facts.norm.expression if facts.norm is not None and facts.norm.certified else None
    below = None if facts.lowest is None else factor * facts.lowest
    if is_nonnegative(factor):
        return below
    if isinstance(factor, Literal):
        return above
    return None if above is None or below is None else below if above is below else ex.minimum(below, above)


def keeps_facts(before: Facts, after: Facts) -> bool:
    """Whether nothing that was known before is unknown after, the scales of grams left out."""
    kept = all(getattr(after, n) is YES for n in ("diagonal", "self_adjoint", "positive") if getattr(before, n) is YES)
    low = before.lowest is None or after.lowest is not None
    return kept and low and (before.norm is None or after.norm is not None)
