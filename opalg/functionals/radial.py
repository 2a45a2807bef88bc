"""What penalties of magnitudes with one scale have in common: ``f(v) = sum_i phi(|v_i|; scale_i)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from opalg.functionals.calculus import Exactness, Functional
from opalg.functionals.scalar_prox import ScalarFunction, scalar_prox
from opalg.functionals.weights import Condition, check_broadcasts, condition, real_data, require_positive, sign_hint
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text, escaped


class Radial(Functional):
    """A sum of one function of each magnitude, with one positive length that may be a number for each entry.

    A subclass has one field, names it in ``field``, and names in ``word`` the function that users type. A smooth one
    says ``define_ratio``, ``phi'(m) / m``, and ``define_curvature``, ``phi''(m)``, both finite at zero; one whose prox
    has no formula gives phi as ``scalar``, with the length as its parameter.
    """

    field: ClassVar[str]
    word: ClassVar[str]
    scalar: ClassVar[ScalarFunction]
    vanishes_at_zero_only = True  # type: ignore[assignment]

    def __post_init__(self) -> None:
        name = f"the {self.field} of {type(self).__name__}"
        object.__setattr__(self, self.field, real_data(getattr(self, self.field), name))
        require_positive(self.length, name)

    @property
    def length(self) -> Expression:
        """The field, as an expression."""
        found: Expression = getattr(self, self.field)
        return found

    def define_ratio(self, v: Expression) -> Expression:
        """``phi'(|v|) / |v|``, with its limit at zero."""
        raise NotImplementedError

    def define_curvature(self, v: Expression) -> Expression:
        """``phi''(|v|)``."""
        raise NotImplementedError

    def define_gradient(self, v: Expression) -> Expression:
        return v * self.define_ratio(v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        """``phi'' `` along the phase of v, ``phi' / m`` across it."""
        d, curvature = ex.broadcast_to(d, v.shape), self.define_curvature(v)
        if v.kind != "complex":
            return curvature * d
        ratio, phase = self.define_ratio(v), ex.safe_divide(v, abs(v))
        along = ex.pointwise("real", ex.pointwise("conj", phase) * d)
        return ratio * d + ((curvature - ratio) * along) * phase

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if v.kind != "complex":
            return scalar_prox(self.scalar, v, t, (self.length,))
        size = abs(v)
        moved = scalar_prox(self.scalar, size, t, (self.length,))
        at_zero = 1.0 / (1.0 + t * self.define_ratio(Literal(0.0)))  # the slope of the prox, for derivatives there
        return v * ex.where(ex.pointwise("greater", size, 0.0), ex.safe_divide(moved, size), at_zero)

    @property
    def exactness(self) -> Exactness | None:
        return Exactness.ITERATIVE

    def define_conditions(self) -> list[Condition]:
        return condition(self.length, True, f"the {self.field} of {self.word} must be positive")

    def hint(self) -> str:
        return sign_hint([self.length], strict=True)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.length, shape, self, self.field)

    def text(self, inner: str) -> str:
        return f"{self.word}({inner}, {data_text(self.length)})"

    def latex(self, inner: str, names: Mapping[object, str] | None = None) -> str:
        word = escaped(self.word)
        return rf"\operatorname{{{word}}}_{{{data_latex(self.length, names)}}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.length!r})"


__all__ = ["Radial"]
