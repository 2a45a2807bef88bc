"""Fields of experts: potentials of the responses of filters, all of which can be learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.exactness import Exactness
from opalg.functionals.expressions import affine_argument
from opalg.functionals.huber import Huber
from opalg.functionals.network_functions import Declared, NetworkFunctional, function_of
from opalg.functionals.potential import Potential, PotentialSum
from opalg.functionals.scalar_network import ScalarNetwork
from opalg.functionals.weights import Condition, Data, data, nonnegative, positive, real_data, sign_hint
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.held_norm import HeldNorm
from opalg.operators.multi_convolution import MultiConvolve
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Literal, Pointwise, Reduce, Shape
from opalg.program.linear import Reshaped
from opalg.program.notation import data_latex, data_text, latex_name
from opalg.program.opaque import OpaqueFunction


@node
class ExpertSum(Functional):
    """``f(v) = sum_k w_k sum_i phi(v_(k, i))``: a pointwise functional with one weight for each filter's response.

    Parameters
    ----------
    functional : Functional
        The sum of ``phi`` over all entries; one that is separable, such as a `PotentialSum`, `Huber` or `Norm1`.
    weights : array, Parameter or Expression with one axis
        Real weights ``w``, one for each response.
    axes : int
        How many axes a response has; the one that the weights belong to is in front of them.

    Raises
    ------
    ParameterError
        Where the functional is not known to be separable.
    ShapeError
        Where the weights have not one axis, or are not as many as the responses of the argument.
    DtypeError
        For complex weights.

    Notes
    -----
    ``prox_t`` is that of phi with the step ``t w_k``, and ``f*(q) = sum_k w_k sum_i phi*(q_(k, i) / w_k)``. The
    Lipschitz constant of the gradient is at most that of phi times ``max |w|``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.ExpertSum(oa.functionals.Norm1(), [1.0, 10.0], axes=1)
    >>> f.value(np.array([[1.0, -2.0], [3.0, 0.0]]))
    33.0
    """

    functional: Functional
    weights: Data
    axes: int = 2

    def __post_init__(self) -> None:
        weights = real_data(self.weights, "the weights of ExpertSum")
        weights = ex.broadcast_to(weights, (1,)) if weights.shape == () else weights
        if weights.ndim != 1:
            raise ShapeError(f"the weights of ExpertSum have one axis, one weight for each filter, not {weights.shape}")
        object.__setattr__(self, "weights", weights)
        if not isinstance(self.functional, Functional) or self.functional.facts.separable is not YES:
            raise ParameterError(
                f"weights for each filter need a function of one entry at a time, and {self.functional!r} is not known "
                f"to be one; use an oa.Potential, or a functional such as oa.functionals.Huber(0.1)"
            )

    def _spread(self, v: Expression) -> Expression:
        """The weights with as many axes as v."""
        column = (*(1,) * (v.ndim - self.axes - 1), self.weights.shape[0], *(1,) * self.axes)
        return Apply(Reshaped(self.weights.shape, column), self.weights)

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._spread(v) * entries_of(self.functional.define_value(v), v, self.functional))

    def define_violation(self, v: Expression) -> Expression:
        return self.functional.define_violation(v)

    def define_gradient(self, v: Expression) -> Expression:
        return self._spread(v) * self.functional.define_gradient(v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return self._spread(v) * self.functional.define_hessian_product(v, d)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return self.functional.define_prox(v, t * self._spread(v))

    def define_conjugate_value(self, q: Expression) -> Expression:
        w = self._spread(q)
        return ex.total(w * entries_of(self.functional.define_conjugate_value(q / w), q, self.functional))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(q / self._spread(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        w = self._spread(q)
        return w * self.functional.define_dual_projection(q / w)

    def offers(self, ability: str) -> bool:
        if ability == "gradient":
            return super().offers(ability)
        sign = nonnegative(self.weights) if ability == "prox" else positive(self.weights)
        return sign is YES and self.functional.offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        known, sign = self.functional.facts, nonnegative(self.weights)
        size = ex.largest(self.weights if sign is YES else abs(self.weights))
        slope, modulus = known.smoothness, known.strong_convexity
        return FunctionalFacts(
            convex=known.convex if sign is YES and known.convex is YES else UNKNOWN,
            smooth=YES if known.smooth is YES else UNKNOWN,
            smoothness=None if slope is None else slope.times(Bound(size)),
            strong_convexity=None if modulus is None or sign is not YES else modulus * ex.smallest(self.weights),
            quadratic=YES if known.quadratic is YES else UNKNOWN,
            separable=YES,
            bounded_below=YES if sign is YES and known.bounded_below is YES else UNKNOWN,
            homogeneity=known.homogeneity,
            phase_invariant=known.phase_invariant,
        )

    @property
    def exactness(self) -> Exactness | None:
        return self.functional.exactness if self.offers("prox") else None

    def behind(self, batch: int) -> Functional:
        return ExpertSum(self.functional.behind(batch), self.weights, self.axes)

    def define_conditions(self) -> list[Condition]:
        return self.functional.define_conditions()

    def hint(self) -> str:
        return self.functional.hint() or sign_hint([self.weights], strict=False)

    def why_not(self, ability: str) -> str:
        return self.functional.why_not(ability)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        count = self.weights.shape[0]
        if len(shape) <= self.axes or shape[len(shape) - self.axes - 1] != count:
            raise ShapeError(
                f"{self!r} has {count} weights, but was given an argument of shape {shape}, whose filters' responses "
                f"are counted by the axis in front of the last {self.axes}; give one weight for each filter"
            )
        self.functional.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.functional.check_kind(kind)

    def text(self, inner: str) -> str:
        return f"functionals.{self!r}({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        one = self.functional.latex(rf"\left({inner}\right)_k", names)
        return rf"\sum_k {data_latex(self.weights, names)}_k \left({one}\right)"

    def __repr__(self) -> str:
        axes = "" if self.axes == 2 else f", axes={self.axes}"
        return f"ExpertSum({self.functional!r}, {data_text(self.weights)}{axes})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        import sympy

        t = sympy.Symbol("t")
        weights = Parameter(rng.uniform(0.3, 1.5, 3), name="w", positive=True)
        return [
            ExpertSum(PotentialSum(Potential(t, sympy.log(1 + t**2))), rng.uniform(0.3, 1.5, 3), 1),
            ExpertSum(Huber(0.7), weights, 1),
        ]


@node
class EntrySum(NetworkFunctional):
    """``f(v) = sum_i phi(v_i)`` for a function phi of arrays that works entry by entry, by its user's word.

    Parameters
    ----------
    function : callable
        ``phi(v)``: a function of a real array that returns one of the same shape.

    Raises
    ------
    ParameterError
        For what cannot be called.

    Notes
    -----
    No prox and no conjugate are known, and nothing of convexity. Its entries can have weights, which the sum of a
    `ScalarNetwork` cannot.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.functionals.fields_of_experts import EntrySum
    >>> EntrySum(lambda v: v**4).value(np.array([1.0, 2.0]))
    17.0
    """

    function: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", replace(function_of(self.function), symmetric=True, keeps_shape=True))

    @property
    def network(self) -> OpaqueFunction:
        found: OpaqueFunction = self.function
        return found

    @property
    def declared(self) -> Declared:
        return Declared(energy=YES, smooth=YES)

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self.network.at(v))

    def define_gradient(self, v: Expression) -> Expression:
        return self.network.pulled(v, ex.broadcast_to(Literal(1.0), v.shape))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(smooth=YES, separable=YES)

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(
                f"{self!r} takes real arrays, but was given a complex one; apply it to real and imaginary parts"
            )

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\sum_i {latex_name(self.network.name)}\left(\left({inner}\right)_i\right)"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members for the property tests."""
        return [EntrySum(OpaqueFunction(_quartic, _quartic_back, "quartic", curved=_quartic_twice))]


def _quartic(v: Any) -> Any:
    return v**4 / 4


def _quartic_back(v: Any, u: Any) -> Any:
    return u * v**3


def _quartic_twice(v: Any, u: Any, d: Any) -> Any:
    return 3 * u * v**2 * d


def entries_of(value: Expression, v: Expression, owner: Functional) -> Expression:
    """What the value of a separable functional adds up, with the shape of v.

    Raises
    ------
    UnsupportedError
        Where it is not written as a sum over the entries of v.
    """
    match value:
        case Literal(value=0.0):
            return ex.broadcast_to(value, v.shape)
        case Reduce(function="sum", argument=summed, axes=None) if summed.shape == v.shape:
            return summed
        case Pointwise(function="multiply", arguments=(factor, rest)) if factor.shape == () and rest.shape == ():
            return factor * entries_of(rest, v, owner)
        case Pointwise(function="negative", arguments=(rest,)):
            return -entries_of(rest, v, owner)
        case Pointwise(function="add" | "subtract" as sign, arguments=(a, b)):
            return ex.pointwise(sign, entries_of(a, v, owner), entries_of(b, v, owner))
    raise UnsupportedError(
        f"{owner!r} does not say its value as a sum over entries, so its entries cannot have weights; leave the "
        f"weights out and add one term for each filter, with its weight in front"
    )


def fields_of_experts(
    filters: Any,
    potential: Any,
    x: Any,
    weights: Any = None,
    boundary: str = "periodic",
    origin: Any = "center",
    *,
    biases: Any = None,
    norm: Any = None,
) -> Any:
    """A field of experts, ``sum_k w_k sum_i phi((f_k * x)_i + b_k)``: a potential of the responses of several filters.

    Parameters
    ----------
    filters : array or Parameter, shape ``(count, *size)``; or LinearOperator
        The filters, with as many axes of a size as the images they are convolved with. Or the operator itself, such as
        ``oa.Matrix(A)`` for dense experts, each row of which is one.
    potential : Potential or Functional, or pair or triple of callables
        The function phi; or a functional that is a sum over entries, such as ``oa.functionals.Huber(0.1)``; or
        ``(phi, phi')`` as functions of arrays, with ``phi''`` behind them where gradients of solutions are wanted; with
        weights, functions that return an array of the shape they are given, entry by entry.
    x : affine expression
        The image; axes in front of those of the filters are a batch.
    weights : array or Parameter, optional
        One weight for each filter; 1 by default. With weights that are known to be nonnegative, as
        ``Parameter(..., nonneg=True)``, a convex potential stays convex.
    boundary, origin : str, str or tuple of int
        As for `MultiConvolve`.
    biases : array or Parameter, optional
        One number for each filter, or an array of the shape of the responses.
    norm : number, optional
        Hold the norm of the filters as an operator on the image at this number; see `opalg.HeldNorm`.

    Raises
    ------
    ShapeError
        For filters of more axes than the image, and weights and biases of another number than theirs.
    ParameterError
        For what is no potential, and for weights of a functional that is no sum over entries.

    Notes
    -----
    Filters, biases, weights and parameters of the potential may be Parameters, in which a solution has gradients
    (``sol.vjp``). Potentials that differ from filter to filter take data of shape ``(count, 1, 1)``.

    References
    ----------
    Roth, Black (2009), Equation 9; Chen, Ranftl, Pock (2014) for learning them through the solution.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> differences = np.array([[[1.0, -1.0]], [[0.5, -0.5]]])
    >>> x = oa.Variable((1, 4), name="x")
    >>> field = oa.fields_of_experts(differences, oa.functionals.Norm1(), x, weights=[1.0, 2.0])
    >>> field.value(np.array([[0.0, 0.0, 3.0, 3.0]]))
    12.0
    """
    affine = affine_argument(x, "fields_of_experts")
    operator = filters if isinstance(filters, LinearOperator) else _bank(filters, affine.shape, boundary, origin)
    functional = _functional(potential, weights is not None)
    if weights is not None:
        functional = ExpertSum(functional, weights, len(operator.out_shape) - 1)
    held = operator if norm is None else HeldNorm(operator, norm)
    responses = held @ affine
    return functional(responses if biases is None else responses + _spread(biases, operator.out_shape, responses.shape))


def _bank(filters: Any, image: Shape, boundary: str, origin: Any) -> MultiConvolve:
    """Convolution of an image by filters."""
    bank = data(filters, "the filters of fields_of_experts")
    axes = bank.ndim - 1
    if not 1 <= axes <= len(image):
        raise ShapeError(
            f"fields_of_experts needs filters of shape (count, *size), with a size of at most the {len(image)} "
            f"axes of the image, not {bank.shape}"
        )
    return MultiConvolve(bank, image[len(image) - axes :], boundary=boundary, origin=origin)


def _functional(potential: Any, weighted: bool) -> Functional:
    """The sum of a potential over all entries; one whose entries can have weights where they do."""
    if isinstance(potential, (tuple, list)) and len(potential) in (2, 3) and all(map(callable, potential)):
        return _pair(weighted, *potential)
    found = PotentialSum(potential) if isinstance(potential, Potential) else potential
    if not isinstance(found, Functional):
        raise ParameterError(
            f"the potential of fields_of_experts must be an oa.Potential, a functional such as "
            f"oa.functionals.Huber(0.1), or a pair of functions (phi, phi'), not {type(potential).__name__}"
        )
    return found


def _pair(weighted: bool, phi: Any, slope: Any, curvature: Any = None) -> Functional:
    """``sum_i phi(v_i)`` with the derivatives that are given."""

    def back(v: Any, u: Any) -> Any:
        return u * slope(v)

    def bent(v: Any, u: Any, d: Any) -> Any:
        return u * curvature(v) * d

    function = function_of(phi, back, None, None if curvature is None else bent)
    return EntrySum(function) if weighted else ScalarNetwork(function)


def _spread(biases: Any, own: Shape, responses: Shape) -> Expression:
    """Biases with the shape of the responses, one for each filter or each entry."""
    found = real_data(biases, "the biases of fields_of_experts")
    if found.shape == own[:1] and found.shape != own:
        found = Apply(Reshaped(found.shape, (*own[:1], *(1,) * (len(own) - 1))), found)
    fits = len(found.shape) <= len(responses) and all(
        a in (1, b) for a, b in zip(found.shape[::-1], responses[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(
            f"the biases of fields_of_experts are one number for each of the {own[0]} filters, or an array of the "
            f"shape {own} of their responses, not of shape {found.shape}"
        )
    return ex.broadcast_to(found, responses)


__all__ = ["ExpertSum", "fields_of_experts"]
