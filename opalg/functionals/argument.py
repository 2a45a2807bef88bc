"""Functionals of a multiple of their argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, UnsupportedError
from opalg.facts import YES, Bound, exact
from opalg.functionals.around import Around, differentiable, grouped, is_literal, latex_grouped, step_times
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.combining import argument_scaled
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, data, is_fixed
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, compose, scale
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.interpreter import number
from opalg.program.notation import data_text, factor_latex, is_sum


@node
class ArgumentScaled(Around):
    """``f(v) = g(c v)``, or ``g`` of ``c_i v_i`` with a factor for each entry of a separable ``g``.

    Parameters
    ----------
    functional : Functional
        The functional ``g``.
    factor : number, array, Parameter or Expression
        The factor ``c``, real or complex, without zeros.

    Raises
    ------
    ParameterError
        Where a factor is known to be zero.
    UnsupportedError
        For one factor per entry where ``g`` is not known to be separable.
    DtypeError
        For complex factors of real arrays.
    ShapeError
        Where the factors do not broadcast to the argument.

    Notes
    -----
    ``prox_{t f}(v) = prox_{t |c|^2 g}(c v) / c`` and ``f*(q) = g*(q / conj(c))``, entry by entry where the factor is
    (Beck 2017, Theorems 4.14, 6.6 and 6.11). The constants of smoothness and strong convexity are those of ``g`` times
    ``|c|^2``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1().scaled(2.0)
    >>> f
    ArgumentScaled(Norm1(), 2)
    >>> f.prox(np.array([3.0, -1.0]), 0.5).tolist()
    [2.0, 0.0]
    """

    functional: Functional
    factor: Data

    def __post_init__(self) -> None:
        if not isinstance(self.functional, Functional):
            raise DtypeError(f"ArgumentScaled needs a functional such as Norm1(), not {type(self.functional).__name__}")
        factor = data(self.factor, "the factor of an argument")
        factor = ex.total(factor) if factor.shape == (1,) else factor
        if is_fixed(factor) and 0 not in factor.shape and number(ex.smallest(abs(factor))) == 0:
            raise ParameterError(
                f"the factor of the argument of {self.functional!r} must not be zero, where it would be constant"
            )
        if factor.shape != () and self.functional.facts.separable is not YES:
            raise UnsupportedError(
                f"one factor per entry needs a functional that is a sum over the entries, which {self.functional!r} is "
                f"not known to be; write the term f(oa.Diagonal(c) @ x)"
            )
        object.__setattr__(self, "factor", factor)

    @property
    def _conjugate(self) -> Expression:
        return ex.pointwise("conj", self.factor)

    @property
    def _squared(self) -> Expression:
        return ex.square_abs(self.factor)

    def define_value(self, v: Expression) -> Expression:
        return self.functional.define_value(self.factor * v)

    def define_violation(self, v: Expression) -> Expression:
        outside = self.functional.define_violation(self.factor * v)
        return outside if is_literal(outside, 0.0) else outside / ex.largest(abs(self.factor))

    def define_gradient(self, v: Expression) -> Expression:
        return self._conjugate * self.functional.define_gradient(self.factor * v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        moved = self.factor * ex.broadcast_to(d, v.shape)
        return self._conjugate * self.functional.define_hessian_product(self.factor * v, moved)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        found = self.functional.define_hessian_operator(shape, kind)
        if found is None or self.factor.shape == ():
            return None if found is None else scale(self._squared, found)
        diagonal = Diagonal(ex.broadcast_to(self.factor, found.out_shape))
        return compose(diagonal.H, compose(found, diagonal))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return self.functional.define_prox(self.factor * v, step_times(t, self._squared, v)) / self.factor

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.functional.define_conjugate_value(q / self._conjugate)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(q / self._conjugate)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._conjugate * self.functional.define_dual_projection(q / self._conjugate)

    def offers(self, ability: str) -> bool:
        return self.functional.offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        known = self.functional.facts
        modulus = known.strong_convexity
        return replace(
            known,
            smoothness=None if known.smoothness is None else self._smoothness(known.smoothness),
            strong_convexity=None if modulus is None else modulus * ex.smallest(self._squared),
        )

    def _smoothness(self, bound: Bound) -> Bound:
        if self.factor.shape == ():
            return bound.scaled(self._squared)
        return bound.times(exact(ex.largest(self._squared)))

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """As its functional."""
        return differentiable(self.functional)

    def behind(self, batch: int) -> Functional:
        return ArgumentScaled(self.functional.behind(batch), self.factor)

    def define_conditions(self) -> list[Condition]:
        sentence = f"the factor of the argument of {self.functional!r} must not be zero"
        return condition(abs(self.factor), True, sentence) + self.functional.define_conditions()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.factor, shape, self, "a factor")
        self.functional.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        if kind == "real" and self.factor.kind == "complex":
            raise DtypeError(f"{self!r} has a complex factor, but was given a real array; give it a complex one")
        self.functional.check_kind(kind)

    def text(self, inner: str) -> str:
        factor = data_text(self.factor)
        return self.functional.text(f"{grouped(factor) if is_sum(self.factor) else factor} * {grouped(inner)}")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return self.functional.latex(rf"{factor_latex(self.factor, names)} \, {latex_grouped(inner)}", names)

    def __repr__(self) -> str:
        return f"ArgumentScaled({self.functional!r}, {data_text(self.factor)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        signs = rng.choice([-1.0, 1.0], (3, 4))
        return [
            ArgumentScaled(Norm2(), -1.5),
            ArgumentScaled(Huber(0.8), signs * rng.uniform(0.3, 2.0, (3, 4))),
            ArgumentScaled(Huber(0.5), Parameter(1.7, name="c", positive=True)),
            ArgumentScaled(Indicator(Box(-0.5, None)), Parameter(-0.6, name="c")),
            ArgumentScaled(Norm21(), 0.5 + 1.0j),
            ArgumentScaled(Norm1(rng.uniform(0.1, 2.0, (3, 1))), rng.uniform(-0.7, 0.7, (4,)) + 0.8j),
        ]


@argument_scaled.register(Functional)
def with_scaled_argument(functional: Functional, factor: Any) -> Any:
    """``v -> f(factor v)`` in its simplest form: factors of factors merge.

    Raises
    ------
    ParameterError, DtypeError, UnsupportedError
        As for `ArgumentScaled`.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.functionals.Norm2().scaled(2.0).scaled(3.0)
    ArgumentScaled(Norm2(), 6)
    """
    made = ArgumentScaled(functional, factor)
    if is_literal(made.factor, 1.0) and isinstance(made.factor.value, float):
        return functional
    if isinstance(functional, ArgumentScaled):
        return ArgumentScaled(functional.functional, functional.factor * made.factor)
    return made


__all__ = ["ArgumentScaled", "with_scaled_argument"]
