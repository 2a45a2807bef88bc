"""What the step of a map ``x - t * grad(E)`` promises: a bound on ``2 / L``, or on the factor by which it contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from opalg.energies.affine import Variable
from opalg.energies.gradient_map import AdjointMap, SlopeMap
from opalg.energies.maps import AffineMap, DataMap, MapExpression, ScaledMap, SummedMap
from opalg.errors import UnsupportedError
from opalg.facts import YES
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.operators.algebra import Identity, LinearOperator
from opalg.program.expression import Expression, Literal
from opalg.program.interpreter import evaluate, number
from opalg.rules import rewrite

Factors = tuple[Expression, ...]


@dataclass(frozen=True)
class StepBound:
    """Whether a step is small enough, and how large it may be.

    Attributes
    ----------
    kind : {"gradient", "equilibrium"}
        Whether the map is gradient descent on a convex energy, for which ``0 < step < 2 / L`` is enough, or has
        adjoints of its own or is not convex, for which the bound on the map's own factor has to be below 1.
    step : float
        The largest entry of the step.
    lipschitz : float
        ``L``, a bound on the Lipschitz constant of what the step multiplies.
    limit : float
        Below it the step is safe: ``2 / L``, or for an equilibrium map the step up to which the factor is below 1;
        0 where no step can be shown to do.
    factor : float
        A bound on the Lipschitz constant of the map.
    certainty : {"upper", "estimate"}
        Whether norms are bounded by proofs, or estimated by Lanczos' method, which is sharper.

    Notes
    -----
    Acceleration can find fixed points of maps whose plain iteration diverges, so that a step beyond the limit need not
    show in residuals.
    """

    kind: str
    step: float
    lipschitz: float
    limit: float
    factor: float
    certainty: str

    @property
    def safe(self) -> bool:
        """Whether plain iteration is bound to converge."""
        return 0.0 < self.step < self.limit

    def __str__(self) -> str:
        """One sentence."""
        how = "with certified norms" if self.certainty == "upper" else "with estimated norms"
        step = f"the step {self.step:.4g}"
        if self.kind == "gradient":
            if self.safe:
                return f"{step} is below 2 / L = {self.limit:.4g} {how}, so plain iteration converges"
            if self.certainty == "upper":
                return f"{step} is beyond {self.limit:.4g}, which is what 2 / L is at least {how}"
            return f"{step} is not below 2 / L = {self.limit:.4g} {how}, so plain iteration may diverge"
        if self.safe:
            return f"{step} makes a contraction of factor at most {self.factor:.4g} {how}"
        hope = f"steps below {self.limit:.4g} do" if self.limit > 0 else "no step is known to do"
        return f"{step} is not known to make a contraction, the factor being at most {self.factor:.4g} {how}; {hope}"


def step_bound(
    expression: MapExpression, variable: Variable, params: Mapping[Parameter, Any], certified: bool
) -> StepBound:
    """The bound for a map ``x - t * (...)`` of gradients of energies, tied or untied.

    Parameters
    ----------
    expression : MapExpression
    variable : Variable
    params : mapping from Parameter to array
        Values of parameters at which to look; others have their own.
    certified : bool
        Bound norms by facts instead of estimating them.

    Raises
    ------
    UnsupportedError
        For a map of another form, and where a term's smoothness or an operator's norm is not known.

    Notes
    -----
    With ``G = sum_i r_i C_i^H grad f_i(A_i x)`` the Lipschitz constant is at most ``sum_i r_i |C_i| Lip(grad f_i)
    |A_i|``. Where all ``C_i = A_i`` and the terms are convex, ``x - t G`` is averaged for ``0 < t < 2 / L`` (Baillon
    and Haddad 1977). Otherwise tied quadratic terms with Hessian between m and M make a factor of at most ``max(|1 - t
    m|, |1 - t M|)``, and the others add t times their own constants. Steps and weights that are arrays count with
    their largest entries.
    """
    fixed: dict[Any, Any] = {p: Constant(np.asarray(_on_host(v))) for p, v in params.items()}
    pieces = _pieces(substitute(expression, fixed) if fixed else expression)
    slopes = [(factors, e) for factors, e in pieces if isinstance(e, AdjointMap)]
    _check_form([p for p in pieces if not isinstance(p[1], (AdjointMap, DataMap))], bool(slopes), variable)
    shared = _common([factors for factors, _ in slopes])
    steps = -_product(slopes[0][0][:shared])
    parts = [_Part.of(factors[shared:], found, variable, certified) for factors, found in slopes]
    lipschitz = sum(p.size for p in parts)
    step, lowest = float(steps.max()), float(steps.min())
    tied = lowest > 0 and all(p.tied for p in parts)
    rest = sum(p.size for p in parts if not p.quadratic)
    below, above = (sum(v) for v in ([p.lowest for p in parts if p.quadratic], [p.size for p in parts if p.quadratic]))
    if tied:
        below, above, rest = sum(p.lowest for p in parts), lipschitz, 0.0
        limit = 2.0 / lipschitz if lipschitz > 0 else inf
    else:
        limit = 2.0 / (above + rest) if lowest > 0 and rest < below else 0.0
    factor = max(abs(1.0 - t * m) for t in (lowest, step) for m in (below, above)) + max(abs(lowest), abs(step)) * rest
    kind = "gradient" if tied else "equilibrium"
    return StepBound(kind, step, lipschitz, limit, factor, "upper" if certified else "estimate")


@dataclass(frozen=True)
class _Part:
    """What is known of ``r C^H grad f(A x)``."""

    size: float
    lowest: float
    tied: bool
    quadratic: bool

    @staticmethod
    def of(factors: Sequence[Expression], found: AdjointMap, variable: Variable, certified: bool) -> _Part:
        assert isinstance(found.inner, SlopeMap)
        term, own = found.inner.term, found.inner.term.expression.operator_of(variable)
        facts, weight = term.functional.facts, number(term.weight)
        if facts.smoothness is None:
            raise UnsupportedError(f"no Lipschitz constant of the gradient of {term!r} is known")
        weights = _product(factors) * weight
        uniform = bool(np.all(weights == weights.flat[0]) and weights.flat[0] >= 0)
        same = bool(found.operator is own or found.operator == own)
        tied = same and uniform and facts.convex is YES
        norms = _norm(own, certified) * (1.0 if same else _norm(found.operator, certified))
        bend = facts.smoothness.value * float(np.max(np.abs(weights)))
        size = bend * norms * (_norm(own, certified) if same else 1.0)
        lowest = 0.0
        if tied and facts.strong_convexity is not None:
            bottom = rewrite(own.gram).facts.lowest
            least = 0.0 if bottom is None else max(number(bottom), 0.0)
            lowest = number(facts.strong_convexity) * float(weights.flat[0]) * least
        constant = term.functional.define_hessian_operator(term.expression.shape, term.expression.kind) is not None
        return _Part(size, lowest, tied, tied and constant)


def _pieces(e: MapExpression, factors: Factors = ()) -> list[tuple[Factors, MapExpression]]:
    """A map as a sum of pieces with factors."""
    if isinstance(e, SummedMap):
        return _pieces(e.first, factors) + _pieces(e.second, factors)
    if isinstance(e, ScaledMap):
        return _pieces(e.inner, (*factors, e.factor))
    return [(factors, e)]


def _check_form(others: Sequence[tuple[Factors, MapExpression]], slopes: bool, variable: Variable) -> None:
    """Raise unless the pieces beside gradients and data are the variable itself."""
    plain = len(others) == 1 and not others[0][0] and isinstance(others[0][1], AffineMap)
    if not slopes or not plain or not isinstance(others[0][1].linear_part(variable), Identity):
        raise UnsupportedError(
            "a bound on the step is known for maps of the form x - t * (w * oa.grad(E) + ...), tied or untied"
        )


def _common(lists: Sequence[Factors]) -> int:
    """How many factors all lists begin with; at least the sign of all."""
    count = 0
    while all(len(factors) > count for factors in lists) and len({id(f) for f in (i[count] for i in lists)}) == 1:
        count += 1
    return count


def _product(factors: Sequence[Expression]) -> np.ndarray:
    found = np.ones((1,))
    for factor in factors:
        value = factor.value if isinstance(factor, Literal) else evaluate([factor], {}, _numpy())[0]
        found = found * np.real(np.asarray(value))
    return found


def _numpy() -> Any:
    from opalg.arrays import backend

    return backend("numpy", "float64")


def _norm(operator: LinearOperator, certified: bool) -> float:
    if not certified:
        known = operator.facts.norm
        if known is not None and known.certainty == "exact":
            return known.value
        return operator.norm_estimate().above
    bounds = [b for b in (operator.facts.norm, rewrite(operator).facts.norm) if b is not None and b.certified]
    gram = rewrite(operator.gram).facts.norm
    values = [b.value for b in bounds] + ([gram.value**0.5] if gram is not None and gram.certified else [])
    if not values:
        raise UnsupportedError(f"no certified bound on the norm of {operator!r} is known; leave certified=True out")
    return min(values)


def step_facts(expressions: Sequence[MapExpression], variables: Sequence[Variable]) -> list[str]:
    """A line on the step of a map, where something is known of it without any work."""
    if len(variables) != 1:
        return []
    try:
        return [str(step_bound(expressions[0], variables[0], {}, certified=True))]
    except UnsupportedError:
        return []


def _on_host(value: Any) -> Any:
    from opalg.arrays import backend_of

    return backend_of(value).to_numpy(value) if hasattr(value, "shape") else value


__all__ = ["StepBound", "step_bound", "step_facts"]
