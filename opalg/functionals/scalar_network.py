"""Scalar networks, input-convex ones among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.facts import YES
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.network_functions import (
    NetworkEnergy,
    as_bound,
    declared_bound,
    fact_of,
    function_of,
)
from opalg.nodes import node
from opalg.program.expression import Expression, Literal
from opalg.program.notation import latex_name
from opalg.program.opaque import OpaqueFunction


@node
class ScalarNetwork(NetworkEnergy):
    """``f(v) = sum s(v)`` for a network s that gives one number for each sample, or one in all.

    Parameters
    ----------
    scalar : callable
        ``s(v)``: a Torch module or a function of an array; it gets the whole array, batch and channel axes included,
        and the numbers that it returns are added up.
    convex : bool, optional
        The user's word on the convexity of s: True for an input-convex network. Unknown where it is not given.
    lipschitz : number, Parameter or Bound, optional
        A Lipschitz constant of the gradient of f. A `Bound` of certainty ``"estimate"`` says that it may lie below the
        truth. Without one, steps are found by backtracking.
    estimated : bool
        Whether ``lipschitz`` is an estimate; a `Bound` says so itself.

    Raises
    ------
    ParameterError
        For a network that cannot be called, and for declarations outside their ranges.

    Notes
    -----
    A network is convex in its input where it is built of nonnegative weights behind the first layer and convex,
    nondecreasing activations (Amos, Xu and Kolter 2017, Proposition 1). Convexity is asserted, not looked for.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.ScalarNetwork(lambda v: np.sum(v**4), convex=True)
    >>> f.value(np.array([1.0, 2.0]))
    17.0
    """

    scalar: Any
    convex: bool | None = None
    lipschitz: Any = None
    estimated: bool = False

    def __post_init__(self) -> None:
        fact_of(self.convex, "convex of a scalar network")
        object.__setattr__(self, "scalar", replace(function_of(self.scalar), total=True, keeps_shape=False))
        found, estimated = declared_bound(self.lipschitz, self.estimated, "the Lipschitz constant of scalar_network")
        object.__setattr__(self, "lipschitz", found)
        object.__setattr__(self, "estimated", estimated)

    @property
    def network(self) -> OpaqueFunction:
        found: OpaqueFunction = self.scalar
        return found

    def define_value(self, v: Expression) -> Expression:
        return self.network.at(v)

    def define_gradient(self, v: Expression) -> Expression:
        return self.network.pulled(v, Literal(1.0))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=fact_of(self.convex, "convex"),
            smooth=YES,
            smoothness=as_bound(self.lipschitz, self.estimated),
        )

    def hint(self) -> str:
        return "declare convex=True where the network is convex in its input"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"{latex_name(self.network.name)}\left({inner}\right)"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        network = OpaqueFunction(_lengths, _lengths_back, "lengths", curved=_lengths_twice)
        return [ScalarNetwork(network), ScalarNetwork(network, convex=True, lipschitz=1.0)]


def scalar_network(
    network: Any,
    x: Any,
    *,
    vjp: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    convex: bool | None = None,
    lipschitz: Any = None,
) -> Any:
    """The sum of what a network gives, ``sum s(x)``: one number for each sample, or one in all.

    Parameters
    ----------
    network : callable
        ``s``, a Torch module in evaluation mode or a function of an array; its weights stay as they are.
    x : affine expression
    vjp : callable, optional
        ``vjp(x, u)``: the gradient at x times the number u; Torch finds it itself, other libraries need it.
    hvp : callable, optional
        ``hvp(x, u, d)``: the Hessian at x times d, times the number u; gradients of the solution need it where Torch
        does not find it.
    convex, lipschitz
        What is known of the network; see `opalg.functionals.ScalarNetwork`. Nothing is assumed that is not declared.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> energy = oa.scalar_network(lambda v: np.sum(v**4), x, vjp=lambda v, u: 4 * u * v**3)
    >>> energy.value(np.array([1.0, 2.0])), energy.gradient(np.array([1.0, 2.0]))
    (17.0, array([ 4., 32.]))
    """
    return ScalarNetwork(function_of(network, vjp, None, hvp, total=True), convex, lipschitz)(x)


def input_convex(
    network: Any,
    x: Any,
    *,
    vjp: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    lipschitz: Any = None,
) -> Any:
    """A network that its user declares to be convex in its input: `scalar_network` with ``convex=True``.

    Parameters
    ----------
    network, x, vjp, hvp, lipschitz
        As for `scalar_network`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> quartic = oa.input_convex(lambda v: np.sum(v**4), x, vjp=lambda v, u: 4 * u * v**3)
    >>> oa.minimize(quartic + 6 * oa.sum_squares(x - np.array([2.0, -2.0])), tol=1e-9).x.round(5)
    array([ 1.28791, -1.28791])
    """
    return scalar_network(network, x, vjp=vjp, hvp=hvp, convex=True, lipschitz=lipschitz)


def _lengths(v: Any) -> Any:
    size = abs(v)
    return backend_of(v).xp.hypot(0.0 * size + 1.0, size)


def _lengths_back(v: Any, u: Any) -> Any:
    return u * v / _lengths(v)


def _lengths_twice(v: Any, u: Any, d: Any) -> Any:
    lib, size = backend_of(v), _lengths(v)
    bent = v / size
    along = lib.xp.real(lib.xp.conj(bent) * d) if lib.kind_of(v) == "complex" else bent * d
    return u * ((d - bent * along) / size)
