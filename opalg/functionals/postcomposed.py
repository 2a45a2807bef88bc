"""Functionals times a number plus a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError
from opalg.functionals.around import (
    Around,
    differentiable,
    finite_everywhere,
    is_literal,
    latex_grouped,
    safe_prox,
    safe_value,
)
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.scaled import Weighted, times_weight
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import Condition, Data, real_data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import data_latex, data_text, is_sum


@node
class Postcomposed(Around):
    """``f(v) = a g(v) + b``.

    Parameters
    ----------
    functional : Functional
        The functional ``g``.
    factor : number, Parameter or Expression
        The factor ``a``, at least 0.
    constant : number, Parameter or Expression
        The real number ``b``, which changes values only.

    Raises
    ------
    ParameterError
        For a factor that is known to be negative.
    ShapeError
        For factors or constants of more than one entry.
    DtypeError
        For complex ones.

    Notes
    -----
    ``prox_{t f} = prox_{t a g}`` and ``f*(q) = a g*(q / a) - b`` (Beck 2017, Theorems 4.13 and 4.14).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1() + 3.0
    >>> f
    Postcomposed(Norm1(), 1, 3)
    >>> f.value(np.array([1.0, -2.0]))
    6.0
    """

    functional: Functional
    factor: Data = 1.0
    constant: Data = 0.0

    def __post_init__(self) -> None:
        for name in ("factor", "constant"):
            found = real_data(getattr(self, name), f"the {name} of a functional")
            if found.shape not in ((), (1,)):
                raise ShapeError(
                    f"the {name} of a functional must be a number, but has shape {found.shape}; weights per entry are "
                    f"written w * f"
                )
            object.__setattr__(self, name, ex.total(found))
        if not isinstance(self.functional, Functional):
            raise DtypeError(f"Postcomposed needs a functional such as Norm1(), not {type(self.functional).__name__}")
        object.__setattr__(self, "_times", times_weight(self.functional, self.factor))

    @property
    def _multiple(self) -> Functional:
        """``a g``, which does everything but the constant."""
        multiple: Functional = self.__dict__["_times"]
        return multiple

    @property
    def squares(self) -> bool:  # type: ignore[override]
        return self._multiple.squares

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """As its multiple."""
        return differentiable(self._multiple)

    @property
    def everywhere(self) -> bool:
        return finite_everywhere(self._multiple)

    def define_value(self, v: Expression) -> Expression:
        return safe_value(self._multiple, v) + self.constant

    def define_violation(self, v: Expression) -> Expression:
        return self._multiple.define_violation(v)

    def define_gradient(self, v: Expression) -> Expression:
        return self._multiple.define_gradient(v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return self._multiple.define_hessian_product(v, d)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        return self._multiple.define_hessian_operator(shape, kind)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return safe_prox(self._multiple, v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self._multiple.define_conjugate_value(q) - self.constant

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self._multiple.define_dual_gauge(q)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._multiple.define_dual_projection(q)

    def offers(self, ability: str) -> bool:
        return self._multiple.offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        known, same = self._multiple.facts, is_literal(self.constant, 0.0)
        return replace(known, indicator=known.indicator and same, homogeneity=known.homogeneity if same else None)

    def behind(self, batch: int) -> Functional:
        return Postcomposed(self.functional.behind(batch), self.factor, self.constant)

    def define_conditions(self) -> list[Condition]:
        return self._multiple.define_conditions()

    def hint(self) -> str:
        return self._multiple.hint()

    def why_not(self, ability: str) -> str:
        return self._multiple.why_not(ability)

    def text(self, inner: str) -> str:
        constant = data_text(self.constant)
        if constant.startswith("-") and not is_sum(self.constant):
            return f"({self._multiple.text(inner)} - {constant[1:]})"
        return f"({self._multiple.text(inner)} + {constant})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        constant = data_latex(self.constant, names)
        return rf"\left({self._multiple.latex(inner, names)} + {latex_grouped(constant)}\right)"

    def __repr__(self) -> str:
        return f"Postcomposed({self.functional!r}, {data_text(self.factor)}, {data_text(self.constant)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Postcomposed(Norm2(), 2.0, 1.0),
            Postcomposed(Huber(0.8), Parameter(0.6, name="a", positive=True), Parameter(-2.0, name="b")),
            Postcomposed(SumSquares(), 0.5, -1.0),
            Postcomposed(Norm1(rng.uniform(0.1, 2.0, (3, 4))), 1.0, 3.0),
            Postcomposed(Indicator(Box(-0.5, 0.75)), 1.0, 2.0),
        ]


def plus_constant(functional: Functional, constant: Any) -> Functional:
    """``f + b`` in its simplest form: constants add up, and weights become factors.

    Raises
    ------
    DtypeError, ShapeError
        As for `Postcomposed`.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.functionals.Norm2() + 1.0 + 2.0
    Postcomposed(Norm2(), 1, 3)
    """
    made = Postcomposed(functional, 1.0, constant)
    if is_literal(made.constant, 0.0):
        return functional
    if isinstance(functional, Postcomposed):
        return Postcomposed(functional.functional, functional.factor, functional.constant + made.constant)
    if isinstance(functional, Weighted) and functional.weight.shape == () and functional.held is None:
        return Postcomposed(functional.functional, functional.weight, made.constant)
    return made


__all__ = ["Postcomposed", "plus_constant"]
