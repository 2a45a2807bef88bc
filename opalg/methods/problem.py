"""The canonical energy as methods see it: its terms by what can be done with them, and certified constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf

from opalg.energies.affine import Variable
from opalg.energies.energy import EnergyExpression, Term, slopes_of
from opalg.errors import UnsupportedError
from opalg.facts import NO, YES, Bound, Fact, exact, upper
from opalg.functionals.calculus import Exactness, Functional
from opalg.functionals.composed_prox import can_compose, composed_prox
from opalg.functionals.linear import Linear
from opalg.nodes import substitute, walk
from opalg.operators.algebra import Identity, LinearOperator, Scaled, add, compose, scale
from opalg.operators.batched import trim_to
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Apply, Expression, Input, Literal
from opalg.rules import rewrite


@dataclass(frozen=True)
class Problem:
    """An energy in canonical form.

    Attributes
    ----------
    energy : EnergyExpression
        The canonical energy.
    declared : tuple of Variable
        The variables in the order of the energy as it was declared, which rewriting may change.
    apart : tuple of Term
        Smooth terms that a method takes by their prox.
    """

    energy: EnergyExpression
    declared: tuple[Variable, ...] = ()
    apart: tuple[Term, ...] = ()

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The unknowns, in the order in which they were declared."""
        return self.declared or self.energy.variables

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms."""
        return self.energy.terms

    @cached_property
    def convex(self) -> Fact:
        """Whether every term is convex, given that parameters make no weight negative."""
        out = YES
        for term in self.terms:
            out = out & term_convexity(term)
        return out

    @cached_property
    def without_value(self) -> tuple[Term, ...]:
        """Terms that are known by a field or a prox only, and add no number to an energy."""
        return tuple(t for t in self.terms if t.functional.facts.has_value is not YES)

    @cached_property
    def smooth_terms(self) -> tuple[Term, ...]:
        """Terms with a gradient everywhere, of which a method takes the gradient."""
        return tuple(t for t in self.terms if t.functional.facts.smooth is YES and t not in self.apart)

    @cached_property
    def rough_terms(self) -> tuple[Term, ...]:
        """The other terms."""
        return tuple(t for t in self.terms if t not in self.smooth_terms)

    @cached_property
    def quadratic(self) -> bool:
        """Whether every term is known to have the same Hessian everywhere."""
        return all(has_constant_hessian(t) for t in self.terms)

    @cached_property
    def smoothness(self) -> Bound | None:
        """A bound on the Lipschitz constant of the gradient of the smooth terms, None where none is known."""
        hessian = self.hessian(self.smooth_terms)
        if hessian is not None and hessian.facts.norm is not None and hessian.facts.norm.certified:
            return hessian.facts.norm
        total: Bound | None = None
        for term in self.smooth_terms:
            curvature, size = term.functional.facts.smoothness, squared_norm(term)
            if curvature is None or size is None:
                return None
            bound = curvature.times(size).scaled(abs(term.weight))
            total = bound if total is None else total.plus(bound)
        return total if total is not None else exact(0.0)

    @cached_property
    def strong_convexity(self) -> Expression | None:
        """A certified modulus of strong convexity of the whole energy; None where none is known."""
        if len(self.variables) != 1 or self.convex is not YES:
            return None
        found: Expression | None = None
        for term in self.terms:
            modulus = term.functional.facts.strong_convexity
            operator = term.expression.operator_of(self.variables[0])
            lowest = rewrite(operator.gram).facts.lowest if modulus is not None else None
            if modulus is not None and lowest is not None:
                part = term.weight * modulus * ex.maximum(lowest, 0.0)
                found = part if found is None else found + part
        return found

    @cached_property
    def gradient_at_zero(self) -> dict[Variable, Expression]:
        """The gradient of the smooth terms at zero, as formulas over leaves."""
        slopes: dict[Variable, Expression] = {}
        for variable in self.variables:
            parts = []
            for term in self.smooth_terms:
                slope = slope_at_zero(term)
                back = None if slope is None else adjoint_at(term, variable, slope)
                parts.extend([] if back is None else [back])
            slopes[variable] = in_kind(ex.broadcast_to(sum_of(parts), variable.shape), variable.kind)
        return slopes

    @property
    def origin(self) -> dict[Variable, Expression]:
        """The variables at zero."""
        zeros = {"real": Literal(0.0), "complex": Literal(0j)}
        return {v: ex.broadcast_to(zeros[v.kind], v.shape) for v in self.variables}

    @cached_property
    def default_start(self) -> dict[Variable, Expression]:
        """One gradient step from zero, where the smooth terms have a certified constant; else zero."""
        bound = self.smoothness
        if bound is None or not self.smooth_terms:
            return self.origin
        step = _reciprocal(bound.expression)
        return {v: -self.gradient_at_zero[v] * step for v in self.variables}

    def smooth_gradient(self, point: dict[Variable, Expression]) -> list[Expression]:
        """The gradient of the smooth terms, in the form that takes fewer transforms."""
        inputs, slopes = self._slopes
        replaced = dict(zip(inputs, point.values(), strict=True))
        return [substitute(slope, replaced) for slope in slopes]

    @cached_property
    def _slopes(self) -> tuple[list[Input], list[Expression]]:
        """The gradient of the smooth terms at inputs of its own: a compound point may be folded away."""
        inputs = [Input(f"at{i}", v.shape, v.kind) for i, v in enumerate(self.variables)]
        point = dict(zip(self.variables, inputs, strict=True))
        nodes: list[Expression] = list(inputs)
        direct = slopes_of(self.smooth_terms, point)
        hessian = self.hessian(self.smooth_terms)
        if hessian is None:
            return inputs, [in_kind(slope, v.kind) for slope, v in zip(direct, self.variables, strict=True)]
        (variable,) = self.variables
        by_gram = [hessian.trace(point[variable]) + self.gradient_at_zero[variable]]
        chosen = by_gram if effort(by_gram, nodes) < effort(direct, nodes) else direct
        return inputs, [in_kind(slope, variable.kind) for slope in chosen]

    def smooth_value(self, point: dict[Variable, Expression]) -> Expression:
        """The value of the smooth terms."""
        return sum_of([t.trace(point) for t in self.smooth_terms])

    def hessian(self, terms: tuple[Term, ...]) -> LinearOperator | None:
        """The Hessian of quadratic terms of one variable as a simplified operator; None where it is not one."""
        if len(self.variables) != 1 or not terms or not all(has_constant_hessian(t) for t in terms):
            return None
        (variable,) = self.variables
        return total_operator([curvature_operator(t, variable) for t in terms])


def in_kind(e: Expression, kind: str) -> Expression:
    """A real expression, such as zero, as that of a complex variable."""
    return Literal(1.0 + 0j) * e if kind == "complex" and e.kind != "complex" else e


def _reciprocal(constant: Expression) -> Expression:
    """``1 / L``, 0 where ``L`` is zero."""
    positive = ex.pointwise("greater", constant, 0.0)
    return ex.where(positive, 1.0 / ex.where(positive, constant, 1.0), 0.0)


def term_convexity(term: Term) -> Fact:
    """Whether a term is convex, given that parameters do not make its weight negative."""
    return NO if has_negative_weight(term) else term.functional.facts.convex


def why_not_convex(problem: Problem) -> str:
    """A sentence on an energy that is not known to be convex, for methods that rest on convexity."""
    if problem.without_value:
        return f"the term {problem.without_value[0]!r} has no energy, and this method rests on a convex one"
    return "the energy is not known to be convex"


def has_negative_weight(term: Term) -> bool:
    """Whether the weight is a negative number; an indicator has none to speak of, and a linear term may have it."""
    if term.functional.facts.indicator or not isinstance(term.weight, Literal) or isinstance(term.functional, Linear):
        return False
    return term.weight.value.real < 0


def effort(expressions: list[Expression], inputs: list[Expression]) -> tuple[int, int]:
    """Transforms and nodes of a program that depend on its inputs: a rough cost that no timing enters."""
    moving: set[Expression] = set(inputs)
    transforms = 0
    for current in walk(*expressions):
        if any(child in moving for child in current.children):
            moving.add(current)  # type: ignore[arg-type]
            if isinstance(current, Apply):
                kernel = current.operator.adjoint_kernel() if current.adjoint else current.operator.kernel()
                transforms += kernel.transforms
    return transforms, len(moving)


def scaled_gradient(term: Term, v: Expression) -> Expression:
    """``w`` times the gradient of a term's functional at v."""
    return term.weight * term.functional.define_gradient(v)


def slope_at_zero(term: Term) -> Expression | None:
    """``w`` times the gradient of a term's functional where the variables are zero; None where that is zero."""
    offset, facts = term.expression.offset, term.functional.facts
    if offset is not None:
        return scaled_gradient(term, offset)
    if facts.phase_invariant is YES or (facts.homogeneity or 0.0) > 1.0:
        return None
    zero = Literal(0.0) if term.expression.kind == "real" else Literal(0j)
    return scaled_gradient(term, ex.broadcast_to(zero, term.expression.shape))


def has_constant_hessian(term: Term) -> bool:
    """Whether a term is known to be a quadratic polynomial."""
    expression = term.expression
    return term.functional.define_hessian_operator(expression.shape, expression.kind) is not None


def curvature_operator(term: Term, variable: Variable) -> LinearOperator:
    """The Hessian ``w A.H H A`` of ``w f(A x - b)`` where f has the same Hessian H everywhere."""
    operator = term.expression.operator_of(variable)
    hessian = term.functional.define_hessian_operator(term.expression.shape, term.expression.kind)
    assert hessian is not None
    if isinstance(hessian, Identity):
        return scale(term.weight, operator.gram)
    if isinstance(hessian, Scaled) and isinstance(hessian.operator, Identity):
        return scale(term.weight * hessian.factor, operator.gram)
    middle, inner = trim_to(hessian, operator)
    return scale(term.weight, compose(inner.H, compose(middle, inner)))


def total_operator(operators: list[LinearOperator]) -> LinearOperator:
    """The sum of operators on one variable, simplified."""
    out = operators[0]
    for operator in operators[1:]:
        out = add(*trim_to(out, operator, same_input=True))
    return rewrite(out)


def squared_norm(term: Term) -> Bound | None:
    """A bound on the squared norm of a term's operator over all variables."""
    out: Bound | None = None
    for part in term.expression.parts:
        gram = rewrite(part.operator.gram).facts.norm
        norm = part.operator.facts.norm
        if gram is None and norm is None:
            return None
        bound = gram if gram is not None and gram.certified else norm.times(norm, exact=True) if norm else gram
        assert bound is not None
        out = bound if out is None else upper(out.expression + bound.expression)
    return out


def direct_prox(term: Term) -> Exactness | None:
    """How exactly the prox of a term in its variable is known; None where it is not."""
    if len(term.expression.parts) != 1 or has_negative_weight(term):
        return None
    (part,) = term.expression.parts
    if part.kind != part.variable.kind:
        return None
    return can_compose(term.functional, part.operator, term.expression.offset, part.variable.kind)


def apply_direct_prox(term: Term, v: Expression, t: Expression) -> Expression:
    """The prox of ``t w f(A x + b)`` in x at v, in a way that `composed_prox` knows."""
    (part,) = term.expression.parts
    step = t if term.functional.facts.indicator else t * term.weight
    found = composed_prox(term.functional, part.operator, term.expression.offset, v, step)
    if found is None:
        raise UnsupportedError(f"the term {term!r} has no prox in its variable")
    return found


def row_scale(term: Term) -> Expression | None:
    """The ``c`` with ``A A.H = c I`` of the operator of a term in one variable; None where there is none."""
    (part,) = term.expression.parts
    return Literal(1.0) if isinstance(part.operator, Identity) else part.operator.facts.cogram_scale


def split_prox(term: Term, v: Expression, t: Expression) -> Expression:
    """The prox of ``t w f`` itself, for splittings that introduce ``u = A x + b``."""
    return term.functional.define_prox(v, t if term.functional.facts.indicator else t * term.weight)


def adjoint_at(term: Term, variable: Variable, q: Expression) -> Expression | None:
    """``A.H q`` for one variable; None where the term does not involve it."""
    for part in term.expression.parts:
        if part.variable is variable:
            back = part.operator.trace_adjoint(q)
            return ex.pointwise("real", back) if variable.kind == "real" and back.kind == "complex" else back
    return None


def pulled_back(terms: Iterable[Term], variable: Variable, duals: Iterable[Expression]) -> Expression:
    """``sum_i A_i.H q_i`` for one variable, where terms behind the same operator apply its adjoint once."""
    gathered: dict[LinearOperator, tuple[Term, Expression]] = {}
    for term, q in zip(terms, duals, strict=True):
        operator = next((part.operator for part in term.expression.parts if part.variable is variable), None)
        if operator is not None:
            known = gathered.get(operator)
            gathered[operator] = (term, q if known is None else known[1] + q)
    parts = [adjoint_at(term, variable, q) for term, q in gathered.values()]
    return sum_of([part for part in parts if part is not None])


def natural_penalty(problem: Problem, split: list[Term]) -> Expression:
    """``sum w f(A x0 + b) / sum |A x0 + b|^2`` over the split terms that are no indicators.

    A penalty has the unit of an energy over a square. It is taken at the start, at zero where the start leaves nothing
    of the terms but rounding, or has no price; where there are indicators only, a tenth of the smooth part's Lipschitz
    constant over the operators' squared norms stands in, or 1.
    """
    priced = [t for t in split if not t.functional.facts.indicator and t not in problem.without_value]
    smooth = problem.smoothness
    norms = [squared_norm(t) for t in split]
    reach = sum_of([n.expression for n in norms if n is not None])
    reach = ex.where(ex.pointwise("greater", reach, 0.0), reach, 1.0)  # operators that are zero have no unit
    found = Literal(1.0) if smooth is None else 0.1 * smooth.expression / reach
    found = ex.where(ex.pointwise("greater", found, 0.0), found, 1.0)
    for point in (problem.origin, problem.default_start) if priced else ():
        found = price_at(priced, point, found)
    return found


def price_at(terms: list[Term], point: dict[Variable, Expression], otherwise: Expression) -> Expression:
    """``sum w f(A x + b) / sum |A x + b|^2``, or something else where that has no meaning.

    So it is where all ``A x + b`` vanish up to rounding, and on the border of a domain, as of a logarithm.
    """
    places = [in_domain(t.functional, t.expression.trace(point)) for t in terms]
    price = sum_of([t.weight * t.functional.define_value(p) for t, p in zip(terms, places, strict=True)])
    size = sum_of([ex.norm_squared(p) for p in places])
    whole = [ex.norm_squared(t.expression.linear_trace(point)) for t in terms]
    whole += [ex.norm_squared(t.expression.offset) for t in terms if t.expression.offset is not None]
    priced = ex.pointwise("logical_and", ex.pointwise("greater", price, 0.0), ex.pointwise("less", price, inf))
    usable = ex.pointwise("logical_and", priced, ex.pointwise("greater", size, 1e-24 * sum_of(whole)))
    return ex.where(usable, price / ex.where(usable, size, 1.0), otherwise)


def in_domain(functional: Functional, v: Expression) -> Expression:
    """The nearest point of the domain of a functional with a prox; outside its value makes no sense."""
    violation = functional.define_violation(v)
    everywhere = isinstance(violation, Literal) and violation.value == 0.0
    return v if everywhere else functional.define_prox(v, Literal(0.0))


def value_near(term: Term, point: Mapping[Variable, Expression]) -> Expression:
    """The value of a term at a point that may leave its domain a little, as the nearest point of it has it."""
    if term.functional.facts.indicator or not term.functional.offers("prox"):
        return term.trace(point)
    return term.weight * term.functional.define_value(in_domain(term.functional, term.expression.trace(point)))
