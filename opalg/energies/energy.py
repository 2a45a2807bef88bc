"""Terms and energies: weights times functionals of affine expressions, added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.arrays import Backend, backend_of, library_name
from opalg.emit import call
from opalg.energies.affine import Affine, Variable, as_data
from opalg.energies.latex import html_of, latex_of
from opalg.energies.text import energy_text
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.functionals.calculus import Functional
from opalg.leaves import Leaf, Parameter
from opalg.nodes import Node, node, walk
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, hessian_vector, sum_of
from opalg.program.expression import Expression, Input, Literal


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
        if isinstance(other, EnergyExpression):
            return _sum(self, -1.0 * other)
        number = _scalar(other)
        return NotImplemented if number is None else _sum(self, -number)

    def __rsub__(self, other: Any) -> Any:
        return _sum(-1.0 * self, other)

    def __neg__(self) -> Any:
        return -1.0 * self

    def __mul__(self, factor: Any) -> Any:
        return self.__rmul__(factor)

    def __rmul__(self, factor: Any) -> Any:
        weight = _scalar(factor)
        if weight is None:
            return NotImplemented
        terms = tuple(Term(_weighted(weight, t), t.functional, t.expression) for t in self.terms)
        return Energy(terms, weight * self.constant) if isinstance(self, Energy) else terms[0]

    def __truediv__(self, factor: Any) -> Any:
        weight = _scalar(factor)
        return NotImplemented if weight is None else self.__rmul__(1.0 / weight)

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
        violations = [t.functional.define_violation(t.expression.trace(point)) for t in self.terms]
        value, *far = call([self.trace(point), *violations], inputs, arrays, lib)
        size = 1.0 + max((float(lib.item(lib.xp.max(lib.xp.abs(a)))) for a in arrays if 0 not in a.shape), default=0.0)
        if any(lib_number(lib, v) > 10 * lib.epsilon * size for v in far):
            return float("inf")
        return lib_number(lib, value)

    def gradient(self, at: Any) -> Any:
        """The gradient at a point: an array, or a mapping where ``at`` is one.

        Raises
        ------
        UnsupportedError
            Where a term is not differentiable.
        """
        self._need_smooth("gradient")
        point, arrays, lib = self._point(at)
        inputs = list(point.values())
        found = call(gradient(self.trace(point), inputs), inputs, arrays, lib)
        return dict(zip(point, found, strict=True)) if isinstance(at, Mapping) else found[0]

    def hessian_vector(self, at: Any, direction: Any) -> Any:
        """The Hessian at a point times a direction, in the form in which the point is given."""
        self._need_smooth("Hessian")
        point, arrays, lib = self._point(at)
        _, directions, _ = self._point(direction)
        inputs = list(point.values())
        moved = [Input(f"direction {i}", v.shape, v.kind) for i, v in enumerate(inputs)]
        products = hessian_vector(self.trace(point), inputs, moved)
        found = call(products, inputs + moved, arrays + directions, lib)
        return dict(zip(point, found, strict=True)) if isinstance(at, Mapping) else found[0]

    def _need_smooth(self, what: str) -> None:
        for term in self.terms:
            if term.functional.facts.smooth is not YES:
                raise UnsupportedError(f"the energy has no {what}: the term {term!r} is not differentiable everywhere")

    def _point(self, at: Any) -> tuple[dict[Variable, Expression], list[Any], Backend]:
        variables = self.variables
        given = at if isinstance(at, Mapping) else {variables[0]: at}
        if len(given) != len(variables) or any(v not in given for v in variables):
            names = ", ".join(v.label for v in variables)
            raise ParameterError(f"the energy has the variables {names}; give a mapping with an array for each")
        arrays = []
        for variable in variables:
            array = given[variable]
            if library_name(array) is None:
                raise DtypeError(f"the value of {variable.label} must be an array, not {type(array).__name__}")
            if tuple(array.shape) != variable.shape:
                raise ShapeError(f"{variable.label} has shape {variable.shape}, the array given {tuple(array.shape)}")
            arrays.append(array)
        lib = backend_of(arrays[0])
        point = point_of(variables)
        return point, [lib.asarray(a, v.kind) for a, v in zip(arrays, variables, strict=True)], lib

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


def point_of(variables: tuple[Variable, ...]) -> dict[Variable, Expression]:
    """An input of the step language for each variable."""
    return {v: Input(f"x{i}", v.shape, v.kind) for i, v in enumerate(variables)}


def lib_number(lib: Backend, value: Any) -> float:
    """A scalar result of a program as a Python float."""
    return float(value.real) if isinstance(value, (int, float, complex)) else float(lib.item(value).real)


def _scalar(value: Any) -> Expression | None:
    if isinstance(value, (Node,)) and not isinstance(value, Expression):
        return None
    found = as_data(value)
    if found is None:
        return None
    if found.shape not in ((), (1,)):
        raise ShapeError(
            f"a weight must be a scalar, but has shape {found.shape}; for weights per entry use "
            f"oa.norm1(e, weights=...), oa.sum_squares(e, weights=...) or a Diagonal"
        )
    if found.kind == "complex":
        raise DtypeError("a weight must be real")
    return found if found.shape == () else ex.total(found)


def _weighted(factor: Expression, term: Term) -> Expression:
    return term.weight if term.functional.facts.indicator else factor * term.weight


def _sum(left: EnergyExpression, right: Any) -> Any:
    if isinstance(right, EnergyExpression):
        return Energy(left.terms + right.terms, left.constant + right.constant)
    number = _scalar(right)
    return NotImplemented if number is None else Energy(left.terms, left.constant + number)


def check_names(energy: EnergyExpression) -> None:
    """Raise ParameterError where two variables or two parameters share a name."""
    for what, things in (("variables", energy.variables), ("parameters", energy.parameters)):
        seen: set[str] = set()
        for thing in things:
            if thing.name is not None and thing.name in seen:
                raise ParameterError(f"two {what} of the energy are called {thing.name!r}; give each its own name")
            seen.add(thing.name or "")
