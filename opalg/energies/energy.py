"""Terms and energies: weights times functionals of affine expressions, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from opalg.arrays import Backend
from opalg.emit import call
from opalg.energies.affine import Affine, AffineExpression, Constraint, Variable
from opalg.energies.data import as_data, as_scalar, has_one_entry, label_of, reciprocal
from opalg.energies.latex import html_of, latex_of
from opalg.energies.point import arrays_at
from opalg.energies.text import energy_text
from opalg.errors import DtypeError, NotAffineError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Functional
from opalg.functionals.combining import level_set
from opalg.functionals.weights import nonnegative
from opalg.leaves import Leaf, Parameter
from opalg.nodes import Node, node, walk
from opalg.program import expression as ex
from opalg.program.differentiate import hessian_vector, sum_of, vjp
from opalg.program.expression import Expression, Input, Literal
from opalg.program.notation import data_text


class EnergyExpression(Node):
    """What terms and energies share: their arithmetic, values and gradients."""

    __array_ufunc__ = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms, in order."""
        raise NotImplementedError

    @property
    def constant(self) -> Expression:
        """The number that is added to the terms."""
        return Literal(0.0)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables, in order of appearance."""
        return tuple(dict.fromkeys(v for term in self.terms for v in term.expression.variables))

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every constant and parameter, in order of appearance."""
        return tuple(n for n in walk(self) if isinstance(n, Leaf))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in order of appearance."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Parameter))

    def __add__(self, other: Any) -> Any:
        return _sum(self, other)

    def __radd__(self, other: Any) -> Any:
        return _sum(self, other)

    def __sub__(self, other: Any) -> Any:
        return _sum(self, other, -1.0)

    def __rsub__(self, other: Any) -> Any:
        return _sum(-1.0 * self, other)

    def __neg__(self) -> Any:
        return -1.0 * self

    def __pos__(self) -> Any:
        return self

    def __mul__(self, factor: Any) -> Any:
        weight = _scalar(factor, self, "a weight")
        return NotImplemented if weight is None else _weighted(weight, self)

    def __rmul__(self, factor: Any) -> Any:
        return self.__mul__(factor)

    def __truediv__(self, factor: Any) -> Any:
        weight = _scalar(factor, self, "a weight")
        return NotImplemented if weight is None else _weighted(reciprocal(weight, self), self)

    def __pow__(self, exponent: Any) -> Any:
        raise NotAffineError(
            f"({self!r}) ** {exponent!r} is no energy; energies are weighted and added, and squares are written "
            f"inside, as oa.sum_squares(...)"
        )

    def __le__(self, bound: Any) -> Any:
        raise _no_constraint(self)

    __ge__ = __lt__ = __gt__ = __le__

    # Values on arrays.

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        """The value at a point as an expression (without the infinite values of indicators)."""
        return sum_of([term.trace(point) for term in self.terms]) + self.constant

    def value(self, at: Any) -> float:
        """The energy at a point; infinity outside its domain.

        Parameters
        ----------
        at : array, or mapping from Variable to array
            The point; the array alone where there is one variable.
        """
        point, arrays, lib = self._point(at)
        inputs = list(point.values())
        excess = self._excess(point, arrays, lib)
        if not excess <= 1.0:
            return excess if isnan(excess) else float("inf")
        return lib_number(lib, call([self.trace(point)], inputs, arrays, lib)[0])

    def _excess(self, point: dict[Variable, Input], arrays: list[Any], lib: Backend) -> float:
        """By how much the worst term leaves its domain, in units of the rounding of what went into it."""
        outputs = []
        for term in self.terms:
            violation = term.functional.define_violation(term.expression.trace(point))
            if not _is_zero(violation) and 0 not in term.expression.shape:
                moved = [p.operator.trace(point[p.variable]) for p in term.expression.parts]
                offset = [] if term.expression.offset is None else [term.expression.offset]
                outputs += [violation, sum_of([ex.largest(abs(part)) for part in moved + offset])]
        if not outputs:
            return 0.0
        found = [lib_number(lib, v) for v in call(outputs, list(point.values()), arrays, lib)]
        excesses = [v / max(10 * lib.epsilon * size, lib.tiny) for v, size in zip(found[::2], found[1::2], strict=True)]
        return float("nan") if any(map(isnan, excesses)) else max(excesses)

    def gradient(self, at: Any) -> Any:
        """The gradient at a point: an array, or a mapping where ``at`` is one.

        Of a term without an energy, such as `opalg.red`, the field that it puts in the place of a gradient.

        Raises
        ------
        UnsupportedError
            Where a term is not differentiable.
        """
        self.need_smooth("gradient")
        point, arrays, lib = self._point(at)
        inputs = list(point.values())
        found = call(slopes_of(self.terms, point), inputs, arrays, lib)
        return dict(zip(point, found, strict=True)) if isinstance(at, Mapping) else found[0]

    def hessian_vector(self, at: Any, direction: Any) -> Any:
        """The Hessian at a point times a direction, in the form in which the point is given."""
        self.need_smooth("Hessian")
        self._need_value("Hessian")
        point, arrays, lib = self._point(at)
        directions, other = arrays_at(direction, self.variables)
        if other.name != lib.name:
            raise DtypeError(f"the point is of {lib.name}, but the direction of {other.name}; convert one of them")
        inputs = list(point.values())
        moved = [Input(f"direction {i}", v.shape, v.kind) for i, v in enumerate(inputs)]
        products = hessian_vector(self.trace(point), inputs, moved)
        moving = [lib.asarray(d, v.kind) for d, v in zip(directions, point, strict=True)]
        found = call(products, inputs + moved, arrays + moving, lib)
        return dict(zip(point, found, strict=True)) if isinstance(at, Mapping) else found[0]

    def need_smooth(self, what: str) -> None:
        """Raise UnsupportedError where a term is not known to be differentiable; ``what`` was asked for."""
        for term in self.terms:
            smooth = term.functional.facts.smooth
            if smooth is not YES and not term.functional.slope_at_kinks:
                known = "is not differentiable everywhere" if smooth is NO else "is not known to be differentiable"
                reason = term.functional.why_not("gradient")
                raise UnsupportedError(
                    f"the energy has no {what}: the term {term!r} {known}{': ' + reason if reason else ''}; take the "
                    f"{what} of the other terms, or a smooth functional such as oa.huber"
                )

    def _need_value(self, what: str) -> None:
        for term in self.terms:
            if term.functional.facts.has_value is not YES:
                raise UnsupportedError(
                    f"the energy has no {what}: the term {term!r} has no energy; take the {what} of the other terms"
                )

    def _point(self, at: Any) -> tuple[dict[Variable, Input], list[Any], Backend]:
        arrays, lib = arrays_at(at, self.variables)
        return point_of(self.variables), arrays, lib

    # Text.

    def latex(self) -> str:
        """The energy as a LaTeX formula."""
        return latex_of(self)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _repr_html_(self) -> str:
        return html_of(self)

    def __repr__(self) -> str:
        return energy_text(self)


@node
class Term(EnergyExpression):
    """A weight times a functional of an affine expression."""

    weight: Expression
    functional: Functional
    expression: Affine

    @property
    def terms(self) -> tuple[Term, ...]:
        return (self,)

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        value = self.functional.define_value(self.expression.trace(point))
        return value if self.functional.facts.indicator else self.weight * value

    def __le__(self, bound: Any) -> Any:
        """The constraint that the term is at most a number, such as ``norm2(A @ x - y) <= r``.

        Raises
        ------
        UnsupportedError
            Where no projection onto the set ``{v : f(v) <= r}`` is known.
        """
        number = _scalar(bound, self, "a bound")
        if number is None:
            return NotImplemented
        unweighted = isinstance(self.weight, Literal) and self.weight.value == 1.0
        found = level_set(self.functional, number) if unweighted else None
        if found is None:
            raise _no_constraint(self)
        found.check_kind(self.expression.kind)
        return Constraint(self.expression, found, f"{self!r} <= {data_text(number)}")


@node
class Energy(EnergyExpression):
    """A sum of terms and a constant."""

    summands: tuple[Term, ...]
    added: Expression = Literal(0.0)

    @property
    def terms(self) -> tuple[Term, ...]:
        return self.summands

    @property
    def constant(self) -> Expression:
        return self.added


def point_of(variables: tuple[Variable, ...]) -> dict[Variable, Input]:
    """An input of the step language for each variable."""
    return {v: Input(f"x{i}", v.shape, v.kind) for i, v in enumerate(variables)}


def slopes_of(terms: Sequence[Term], point: Mapping[Variable, Input]) -> list[Expression]:
    """The gradient of terms in each variable; a term without an energy gives its field in the place of one."""
    moved = [term.expression.trace(point) for term in terms]
    cotangents: list[Expression | None] = [
        ex.broadcast_to(term.weight * term.functional.define_gradient(at), at.shape)
        for term, at in zip(terms, moved, strict=True)
    ]
    inputs = list(point.values())
    found = vjp(moved, cotangents, inputs)
    zeros = {"real": Literal(0.0), "complex": Literal(0j)}
    return [ex.broadcast_to(zeros[x.kind] if g is None else g, x.shape) for g, x in zip(found, inputs, strict=True)]


def lib_number(lib: Backend, value: Any) -> float:
    """A scalar result of a program as a Python float."""
    return float(value.real) if isinstance(value, (int, float, complex)) else float(lib.item(value).real)


def _scalar(value: Any, owner: EnergyExpression, role: str) -> Expression | None:
    """A number or scalar formula that is a weight of an energy, or is added to it; None for what is no data at all."""
    if isinstance(value, EnergyExpression):
        raise NotAffineError(f"the product of {owner!r} and {value!r} is no energy; energies are weighted and added")
    if isinstance(value, AffineExpression):
        raise NotAffineError(
            f"{value!r} is no number, so it cannot be {role} of {owner!r}; put it into a functional, as in "
            f"oa.sum_squares({value!r})"
        )
    if isinstance(value, Constraint):
        raise NotAffineError(f"{value!r} is a constraint and cannot be {role}; write oa.indicator({value!r})")
    found = as_data(value)
    if found is None:
        return None
    if not has_one_entry(found):
        hint = "weights per entry are written oa.norm1(e, weights=...) or oa.sum_squares(e, weights=...)"
        raise ShapeError(
            f"{role} must be a scalar, but {label_of(found)} has shape {found.shape}; "
            f"{hint if role == 'a weight' else 'an energy is one number, so add one number to it'}"
        )
    if found.kind == "complex":
        raise DtypeError(f"{role} must be real, but {label_of(found)} is complex; take its real part or its magnitude")
    return as_scalar(found)


def _weighted(factor: Expression, energy: EnergyExpression) -> Any:
    terms = []
    for term in energy.terms:
        if term.functional.facts.indicator:
            if nonnegative(factor) is NO:
                raise ParameterError(
                    f"{term!r} cannot have the weight {factor!r}: it is 0 or infinity, and its negative has no "
                    f"minimum; leave it out of what is subtracted or negated"
                )
            terms.append(term)
        else:
            terms.append(Term(factor * term.weight, term.functional, term.expression))
    if isinstance(energy, Term):
        return terms[0]
    constant = energy.constant
    return Energy(tuple(terms), constant if _is_zero(constant) else factor * constant)


def _sum(left: EnergyExpression, right: Any, sign: float = 1.0) -> Any:
    if isinstance(right, EnergyExpression):
        other = right if sign == 1.0 else sign * right
        return Energy(left.terms + other.terms, left.constant + other.constant)
    number = _scalar(right, left, "a summand")
    return NotImplemented if number is None else Energy(left.terms, left.constant + sign * number)


def _is_zero(number: Expression) -> bool:
    return isinstance(number, Literal) and number.value == 0


def _no_constraint(energy: EnergyExpression) -> UnsupportedError:
    return UnsupportedError(
        f"bounds on {energy!r} are no constraints; affine expressions are bounded, as in x <= 1, and norm1, norm2, "
        f"norm_inf and sum_squares of one without weights from above, as in norm2(A @ x - y) <= r. Add the energy with "
        f"a weight instead, and raise the weight until the bound holds"
    )
