"""Where the data are in an energy: the residual that a criterion without a truth looks at, and losses of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend_of, library_name
from opalg.energies.affine import Affine, AffineExpression, Variable
from opalg.energies.energy import EnergyExpression, Term, point_of
from opalg.errors import ParameterError
from opalg.functionals.sum_squares import SumSquares
from opalg.learning.lower_level import LowerLevel
from opalg.leaves import Constant, Leaf, Parameter
from opalg.nodes import walk
from opalg.program import expression as ex
from opalg.program.differentiate import gradient
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate
from opalg.solving.solution import Solution

Values = Mapping[Parameter, Any]


def data_terms(energy: EnergyExpression, residual: Any) -> list[Term]:
    """The sums of squares of a residual; of the first one that holds data where no residual is given.

    Raises
    ------
    ParameterError
        Where there is none.
    """
    squares = [t for t in energy.terms if isinstance(t.functional, SumSquares)]
    if residual is None:
        with_data = [t for t in squares if t.expression.offset is not None and _leaves(t.expression.offset)]
        if not with_data:
            raise ParameterError(
                f"no data were found in {energy!r}, which holds no oa.sum_squares(A @ x - y); name the residual with "
                f"residual=A @ x - y"
            )
        return with_data[:1]
    wanted = residual_of(energy, residual)
    found = [t for t in squares if t.expression is wanted]
    if not found:
        raise ParameterError(
            f"the energy has no sum_squares({wanted!r}); its sums of squares are "
            f"{', '.join(map(repr, squares)) or 'none'}"
        )
    return found


def residual_of(energy: EnergyExpression, residual: Any) -> Affine:
    """The residual meant: the one given, or that of the first sum of squares that holds data.

    Raises
    ------
    ParameterError
        Where it is no affine expression of the energy's variables and parameters, or none is found.
    """
    if residual is None:
        return data_terms(energy, None)[0].expression
    if not isinstance(residual, AffineExpression):
        raise ParameterError(f"residual must be an affine expression such as A @ x - y, not {type(residual).__name__}")
    affine = residual.as_affine()
    known = set(energy.variables) | set(energy.parameters)
    parts = [n for n in walk(affine) if isinstance(n, (Variable, Parameter)) and n not in known]
    if parts:
        raise ParameterError(f"the residual {affine!r} holds {parts[0].label}, which the energy does not")
    return affine


def data_of(residual: Affine) -> tuple[Leaf, float]:
    """The array of data in a residual, and a sign: 1 in ``A x - y``, -1 in ``y - A x``.

    Raises
    ------
    ParameterError
        Where its offset is not ``y`` or ``-y`` for one array of data.
    """
    offset = residual.offset
    if offset is not None:
        leaves = [leaf for leaf in _leaves(offset) if leaf.shape == residual.shape]
        if len(leaves) == 1 and offset in (leaves[0], -leaves[0]):
            return leaves[0], -1.0 if offset is leaves[0] else 1.0
    raise ParameterError(
        f"the residual {residual!r} is not of the form A @ x - y with one array y; name one that is, of the same "
        f"parameters and with noise of known size in y, with residual=A @ x - y"
    )


class ResidualLoss:
    """A function of residuals as loss of a solution, with its gradients in the solution and in parameters.

    Parameters
    ----------
    value : Expression
        A scalar of ``point`` and ``inputs``.
    point : mapping from Variable to Input
    wrt : sequence of Parameter
        In which it is differentiated explicitly.
    lib : Backend
    """

    def __init__(self, value: Expression, point: Mapping[Variable, Input], wrt: Sequence[Parameter], lib: Backend):
        self.point, self.lib = dict(point), lib
        self.value = value
        self.slopes = gradient(value, list(self.point.values()))
        used = {n for n in walk(value) if isinstance(n, Parameter)}
        self.explicit = [p for p in wrt if p in used]
        self.partials = gradient(value, self.explicit) if self.explicit else []

    def at(self, params: Values, inputs: Mapping[Input, Any]) -> Any:
        """The function ``x -> (value, gradient in x)`` at values of parameters and further inputs."""
        bindings = self._bindings(params, inputs)

        def loss(x: Any) -> tuple[float, Any]:
            points = x if isinstance(x, Mapping) else dict.fromkeys(self.point, x)
            here = {i: points[v] for v, i in self.point.items()}
            value, *slopes = evaluate([self.value, *self.slopes], {**bindings, **here}, self.lib)
            found = dict(zip(self.point, slopes, strict=True))
            return float(self.lib.item(value).real), found if isinstance(x, Mapping) else slopes[0]

        return loss

    def partial(self, x: Any, params: Values, inputs: Mapping[Input, Any]) -> dict[Parameter, Any]:
        """The gradient in parameters at a fixed point."""
        if not self.explicit:
            return {}
        points = x if isinstance(x, Mapping) else dict.fromkeys(self.point, x)
        here = {i: points[v] for v, i in self.point.items()}
        found = evaluate(self.partials, {**self._bindings(params, inputs), **here}, self.lib)
        pairs = zip(self.explicit, found, strict=True)
        return {p: np.asarray(self.lib.to_numpy(g), dtype=float) for p, g in pairs}

    def pull_back(
        self, lower: LowerLevel, solution: Solution, params: Values, inputs: Mapping[Input, Any], place: Hashable
    ) -> tuple[float, dict[Parameter, np.ndarray]]:
        """The value at a solution and its whole gradient: through the solution, and explicit."""
        value, slopes = lower.pull_back(solution, self.at(params, inputs), place)
        for p, part in self.partial(solution.x, params, inputs).items():
            slopes[p] = slopes[p] + part
        return value, slopes

    def _bindings(self, params: Values, inputs: Mapping[Input, Any]) -> dict[Any, Any]:
        arrays = {p: self.lib.asarray(v, p.kind) for p, v in params.items()}
        return {**arrays, **inputs}


def squares_of(residual: Affine, factor: Expression, point: Mapping[Variable, Input]) -> Expression:
    """``sum_i factor_i |r_i|^2``."""
    return ex.total(factor * ex.square_abs(residual.trace(point)))


def points_of(energy: EnergyExpression) -> dict[Variable, Input]:
    """An input for each variable."""
    return point_of(energy.variables)


def to_array(value: Any) -> np.ndarray:
    """An array of any library, or a number, as a NumPy array."""
    return np.asarray(value if library_name(value) is None else backend_of(value).to_numpy(value))


def residual_size(residual: Affine) -> int:
    """The number of entries of a residual."""
    return int(np.prod(residual.shape))


def variance_of(noise: Any, residual: Affine) -> np.ndarray:
    """The variance of the noise, checked."""
    sigma = to_array(noise).astype(float)
    fits = sigma.ndim == 0 or sigma.shape == residual.shape
    if not fits or not np.isfinite(sigma).all() or not (sigma > 0).all():
        raise ParameterError(
            f"noise is the standard deviation of the noise, a positive number or an array of the shape "
            f"{residual.shape} of the data; found {noise!r}"
        )
    return np.broadcast_to(sigma, residual.shape) ** 2


def refuse_tuned(nodes: Sequence[Any], wrt: Sequence[Any], what: str) -> None:
    """Raise ParameterError where what is tuned is among nodes that a criterion without a truth rests on."""
    for p in wrt:
        if isinstance(p, Parameter) and any(p is n for n in nodes):
            raise ParameterError(f"wrt holds {p.label}, but without a truth {what} cannot be tuned")


def _leaves(expression: Expression) -> list[Leaf]:
    return [n for n in walk(expression) if isinstance(n, (Constant, Parameter))]
