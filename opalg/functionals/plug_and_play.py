"""Plug-and-play: a denoiser in the place of a prox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opalg.errors import UnsupportedError
from opalg.facts import UNKNOWN
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.exactness import Exactness
from opalg.functionals.gradient_step import GradientStep
from opalg.functionals.network_functions import (
    Declared,
    NetworkFunctional,
    check_averaged,
    function_of,
    said,
)
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.opaque import OpaqueFunction, opaque


@node
class PlugAndPlay(NetworkFunctional):
    """A functional of which only a prox is known, and that is a denoiser: ``prox(v, t) = D(v)`` whatever t.

    Parameters
    ----------
    denoiser : callable or GradientStep
        ``D(v)``: a Torch module or a function of an array that returns one of the same shape; it gets the whole array,
        batch and channel axes included. A `GradientStep` stands for its denoiser, with its derivatives.
    strength : bool
        Whether the denoiser is ``D(v, s)``, told the strength ``s = sqrt(t)``: the standard deviation of the noise that
        a prox of step t takes out. On NumPy s is a number, on Torch a tensor without axes.
    nonexpansive : bool
        The user's word that ``|D(u) - D(v)| <= |u - v|``.
    averaged : float, optional
        The user's word that ``D = (1 - a) I + a N`` with N nonexpansive, for this ``a`` in (0, 1]; 0.5 says that D is
        firmly nonexpansive.
    exact : bool
        The user's word that D is the prox of a function, as the denoiser of a gradient-step network is whose gradient
        has a Lipschitz constant below 1 (Hurault, Leclaire and Papadakis 2022). The prox is known as exactly as that
        word, so that ``exactness`` says that it was declared.

    Raises
    ------
    ParameterError
        For a denoiser that cannot be called, and for declarations outside their ranges.

    Notes
    -----
    There is no value and no gradient. With ``D = prox_f`` and a weight w, the prox of ``t w f`` is known for
    ``t w = 1`` only, so the methods take exactly that step: ``x = D(x - grad g(x) / w)`` holds at the solution of
    ``g(x) + w plug_and_play(D, x)``, whichever method found it, and a larger weight regularises more. A denoiser with
    ``strength`` is a family of proxes, and any step will do; its fixed points depend on the step where the denoisers of
    different strengths are no proxes of one function (Venkatakrishnan, Bouman and Wohlberg 2013; Ryu et al. 2019).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.PlugAndPlay(lambda v: 0.5 * v).prox(np.array([2.0, -4.0]))
    array([ 1., -2.])
    """

    denoiser: Any
    strength: bool = False
    nonexpansive: bool = False
    averaged: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        for name in ("strength", "nonexpansive", "exact"):
            said(getattr(self, name), f"{name} of a denoiser")
        check_averaged(self.averaged)
        denoiser = denoiser_of(self.denoiser)
        object.__setattr__(self, "denoiser", replace(denoiser, keeps_shape=True, tuned=self.strength))

    @property
    def network(self) -> OpaqueFunction:
        found: OpaqueFunction = self.denoiser
        return found

    def define_value(self, v: Expression) -> Expression:
        raise UnsupportedError(self.why_no_value())

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return self.network.at(v, ex.sqrt(t)) if self.strength else self.network.at(v)

    def why_no_value(self) -> str:
        """Why there is no energy."""
        return (
            f"{self!r} has no energy: the denoiser {self.network.name} stands in the place of a prox, and nothing else "
            f"is known of what it would be the prox of"
        )

    def why_not(self, ability: str) -> str:
        return self.why_no_value() if ability != "prox" else ""

    @property
    def is_nonexpansive(self) -> bool:
        """Whether the denoiser is declared to be nonexpansive, or averaged, which includes that."""
        return self.nonexpansive or self.averaged is not None

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(has_value=UNKNOWN)

    @property
    def exactness(self) -> Exactness | None:
        return Exactness.DECLARED

    @property
    def declared(self) -> Declared:
        return Declared(
            symmetric=said(self.network.symmetric, "symmetric"),
            nonexpansive=said(self.is_nonexpansive, "nonexpansive"),
            averaged=self.averaged,
        )

    @property
    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("strength", "nonexpansive", "averaged", "exact")}


def plug_and_play(
    denoiser: Any,
    x: Any,
    *,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    strength: bool = False,
    symmetric: bool = False,
    nonexpansive: bool = False,
    averaged: float | None = None,
    exact: bool = False,
) -> Any:
    """A denoiser in the place of a prox, ``prox(v, t) = D(v)`` (Venkatakrishnan, Bouman and Wohlberg 2013).

    Parameters
    ----------
    denoiser : callable or GradientStep
        ``D``, a Torch module in evaluation mode or a function of an array; its weights stay as they are.
    x : affine expression
    vjp, jvp : callable, optional
        ``vjp(x, u)``, the transposed derivative of D at x times u, and ``jvp(x, d)``, the derivative along d; Torch
        finds both itself. Solving needs none, gradients of the solution do. With ``strength`` they take it as their
        second argument.
    strength : bool
        Whether the denoiser takes the strength as a second argument.
    symmetric : bool
        The user's word that the Jacobian of D is symmetric everywhere, so that ``vjp`` serves for ``jvp`` as well.
    nonexpansive, averaged, exact
        What the denoiser is known to be; see `opalg.functionals.PlugAndPlay`.

    Notes
    -----
    Compile with ``nonconvex=True``: what is found is a fixed point of the method, with a residual for a certificate.
    ``proximal_gradient`` then is PnP-PGD, ``admm`` PnP-ADMM.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> energy = oa.sum_squares(x - np.array([1.0, 2.0])) + oa.plug_and_play(lambda v: 0.5 * v, x, nonexpansive=True)
    >>> oa.minimize(energy, nonconvex=True, tol=1e-9).x.round(6)
    array([0.666667, 1.333333])
    """
    said(symmetric, "symmetric of a denoiser")
    if not isinstance(denoiser, GradientStep):
        denoiser = function_of(denoiser, vjp, jvp, symmetric=symmetric, keeps_shape=True, tuned=strength)
    return PlugAndPlay(denoiser, strength, nonexpansive, averaged, exact)(x)


def denoiser_of(network: Any) -> OpaqueFunction:
    """A denoiser as an opaque function; that of a gradient-step functional comes with its symmetric Jacobian."""
    if not isinstance(network, GradientStep):
        return function_of(network)
    return opaque(network.denoise, network.denoise_along, symmetric=True)
