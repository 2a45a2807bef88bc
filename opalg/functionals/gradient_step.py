"""Gradient-step terms: how far a network moves an array."""

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
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import latex_name
from opalg.program.opaque import OpaqueFunction


@node
class GradientStep(NetworkEnergy):
    """``f(v) = |v - N(v)|^2 / 2`` for a network N.

    Parameters
    ----------
    mapping : callable
        ``N(v)``: a Torch module or a function of an array that returns one of the same shape; it gets the whole array,
        batch and channel axes included.
    convex : bool, optional
        The user's word on the convexity of f; unknown where it is not given.
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
    The gradient is ``r - J(v)^T r`` with ``r = v - N(v)`` and J the derivative of N. One step along it is the denoiser
    ``D(v) = v - grad f(v)`` that such networks are trained as, `denoise`. With a Lipschitz constant below 1 it is the
    prox of a function (Hurault, Leclaire and Papadakis 2022; Gribonval and Nikolova 2020, Theorem 3).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.GradientStep(lambda v: 0.5 * v)
    >>> f.value(np.array([2.0, -4.0]))
    2.5
    """

    mapping: Any
    convex: bool | None = None
    lipschitz: Any = None
    estimated: bool = False

    def __post_init__(self) -> None:
        fact_of(self.convex, "convex of a gradient step")
        object.__setattr__(self, "mapping", replace(function_of(self.mapping), keeps_shape=True))
        found, estimated = declared_bound(self.lipschitz, self.estimated, "the Lipschitz constant of gradient_step")
        object.__setattr__(self, "lipschitz", found)
        object.__setattr__(self, "estimated", estimated)

    @property
    def network(self) -> OpaqueFunction:
        found: OpaqueFunction = self.mapping
        return found

    def define_value(self, v: Expression) -> Expression:
        return 0.5 * ex.norm_squared(v - self.network.at(v))

    def define_gradient(self, v: Expression) -> Expression:
        rest = v - self.network.at(v)
        return rest - self.network.pulled(v, rest)

    def denoise(self, v: Any) -> Any:
        """The denoiser ``v - grad f(v)`` of an array."""
        return v - self.gradient(v)

    def denoise_along(self, v: Any, d: Any) -> Any:
        """The derivative of `denoise` at v along d; it is its own transpose."""
        return d - self.hessian_vector(v, d)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=fact_of(self.convex, "convex"),
            smooth=YES,
            smoothness=as_bound(self.lipschitz, self.estimated),
            bounded_below=YES,
        )

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        applied = rf"{latex_name(self.network.name)}\left({inner}\right)"
        return rf"\tfrac{{1}}{{2}}\left\|{inner} - {applied}\right\|^2"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        network = OpaqueFunction(_bent, _bent_back, "bent", directional=_bent_along, curved=_bent_twice)
        linear = OpaqueFunction(_shrunk, _shrunk_along, "shrunk", curved=_straight, symmetric=True)
        return [GradientStep(network), GradientStep(linear, convex=True, lipschitz=0.25)]


def gradient_step(
    network: Any,
    x: Any,
    *,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    convex: bool | None = None,
    lipschitz: Any = None,
) -> Any:
    """The gradient-step term ``|x - N(x)|^2 / 2`` of a network (Hurault, Leclaire and Papadakis 2022).

    Parameters
    ----------
    network : callable
        ``N``, a Torch module in evaluation mode or a function of an array; its weights stay as they are.
    x : affine expression
    vjp : callable, optional
        ``vjp(x, u)``, the transposed derivative of N at x times u; Torch finds it itself, other libraries need it.
    jvp, hvp : callable, optional
        ``jvp(x, d)``, the derivative of N along d, and ``hvp(x, u, d)``, the derivative of ``vjp(x, u)`` in x along d:
        gradients of the solution need them where Torch does not find them.
    convex, lipschitz
        What is known of the term; see `opalg.functionals.GradientStep`. Nothing is assumed that is not declared.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> energy = oa.gradient_step(lambda v: 0.5 * v, x, vjp=lambda v, u: 0.5 * u)
    >>> energy.value(np.array([2.0, -4.0])), energy.gradient(np.array([2.0, -4.0]))
    (2.5, array([ 0.5, -1. ]))
    """
    return GradientStep(function_of(network, vjp, jvp, hvp, keeps_shape=True), convex, lipschitz)(x)


def _bent(v: Any) -> Any:
    return 0.1 * v * v


def _bent_along(v: Any, d: Any) -> Any:
    return 0.2 * v * d


def _bent_back(v: Any, u: Any) -> Any:
    return _conjugated(0.2 * v) * u


def _bent_twice(v: Any, u: Any, d: Any) -> Any:
    return _conjugated(0.2 * d) * u


def _conjugated(v: Any) -> Any:
    lib = backend_of(v)
    return lib.xp.conj(v) if lib.kind_of(v) == "complex" else v


def _shrunk(v: Any) -> Any:
    return 0.5 * v


def _shrunk_along(v: Any, d: Any) -> Any:
    return 0.5 * d


def _straight(v: Any, u: Any, d: Any) -> Any:
    return 0.0 * d
