"""Regularisation by denoising."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend_of
from opalg.errors import UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.network_functions import (
    Declared,
    NetworkFunctional,
    as_bound,
    check_averaged,
    declared_bound,
    function_of,
    said,
)
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, Literal
from opalg.program.notation import latex_name
from opalg.program.opaque import Opaque, OpaqueFunction


@node
class Red(NetworkFunctional):
    """The field ``v - D(v)`` of a denoiser D, and ``f(v) = Re <v, v - D(v)> / 2`` where that is its energy.

    Parameters
    ----------
    denoiser : callable
        ``D(v)``: a Torch module or a function of an array that returns one of the same shape. It gets the whole array,
        batch and channel axes included, so a network that wants ``(batch, channels, h, w)`` is given such a variable,
        or a function that adds the axes and takes them away.
    symmetric : bool
        The user's word that the Jacobian of D is symmetric everywhere.
    homogeneous : bool
        The user's word that ``D(c v) = c D(v)`` for c close to 1.
    nonexpansive : bool
        The user's word that ``|D(u) - D(v)| <= |u - v|``.
    averaged : float, optional
        The user's word that ``D = (1 - a) I + a N`` with N nonexpansive, for this ``a`` in (0, 1]; 0.5 says that D is
        firmly nonexpansive.
    lipschitz : number, Parameter or Bound, optional
        A Lipschitz constant of the field ``v - D(v)``, not of D; at most 1 plus that of D. A `Bound` of certainty
        ``"estimate"`` says that it may lie below the truth. Where only ``nonexpansive`` is declared it is 2, and 2 a
        for an averaged D.
    estimated : bool
        Whether ``lipschitz`` is an estimate; a `Bound` says so itself.

    Raises
    ------
    ParameterError
        For a denoiser that cannot be called, and for declarations outside their ranges.

    Notes
    -----
    Only where D is locally homogeneous and its Jacobian J symmetric, so that ``J(v) v = D(v)`` and ``J = J^T``, is the
    field the gradient of ``<v, v - D(v)> / 2`` (Romano, Elad and Milanfar 2017, Section 3; Reehorst and Schniter
    2019, Theorem 1, for the converse). Then this functional has a value, and with ``nonexpansive`` it is convex and
    nonnegative. Otherwise it has none; an energy with it is solved as the equation that its gradient and this field
    vanish together, with ``nonexpansive`` by a step that converges (Cohen, Elad and Milanfar 2021, Theorem 4.1).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Red(lambda v: 0.5 * v)
    >>> f.gradient(np.array([2.0, -4.0]))
    array([ 1., -2.])
    >>> oa.functionals.Red(lambda v: 0.5 * v, symmetric=True, homogeneous=True).value(np.array([2.0, -4.0]))
    5.0
    """

    denoiser: Any
    symmetric: bool = False
    homogeneous: bool = False
    nonexpansive: bool = False
    averaged: float | None = None
    lipschitz: Any = None
    estimated: bool = False

    def __post_init__(self) -> None:
        for name in ("symmetric", "homogeneous", "nonexpansive"):
            said(getattr(self, name), f"{name} of a denoiser")
        check_averaged(self.averaged)
        function = function_of(self.denoiser, symmetric=self.symmetric, keeps_shape=True)
        object.__setattr__(self, "denoiser", replace(function, symmetric=self.symmetric, keeps_shape=True))
        found, estimated = declared_bound(self.lipschitz, self.estimated, "the Lipschitz constant of red")
        object.__setattr__(self, "lipschitz", found)
        object.__setattr__(self, "estimated", estimated)

    @property
    def network(self) -> OpaqueFunction:
        found: OpaqueFunction = self.denoiser
        return found

    @property
    def has_energy(self) -> bool:
        """Whether the declarations make the field a gradient whose energy has a formula."""
        return self.symmetric and self.homogeneous

    def define_value(self, v: Expression) -> Expression:
        if not self.has_energy:
            raise UnsupportedError(self.why_no_value())
        return Call(_HalfInner(), (v, self.network.at(v)), (), "real")

    def define_gradient(self, v: Expression) -> Expression:
        return v - self.network.at(v)

    def why_no_value(self) -> str:
        """Why there is no energy, and what to declare where there is one."""
        return (
            f"{self!r} has no energy: the field x - D(x) of a denoiser is a gradient only where D is locally "
            f"homogeneous and its Jacobian symmetric (Reehorst and Schniter 2019). Use its gradient, or declare "
            f"symmetric=True and homogeneous=True where the denoiser {self.network.name} is both"
        )

    @property
    def bound(self) -> Bound | None:
        """A Lipschitz constant of the field, as declared or as it follows from what was."""
        if self.lipschitz is not None:
            return as_bound(self.lipschitz, self.estimated)
        factor = self.averaged if self.averaged is not None else 1.0 if self.nonexpansive else None
        return None if factor is None else as_bound(Literal(2.0 * factor), False)

    @property
    def is_nonexpansive(self) -> bool:
        """Whether the denoiser is declared to be nonexpansive, or averaged, which includes that."""
        return self.nonexpansive or self.averaged is not None

    @property
    def facts(self) -> FunctionalFacts:
        tame = YES if self.has_energy and self.is_nonexpansive else UNKNOWN
        return FunctionalFacts(
            convex=tame,
            smooth=YES,
            smoothness=self.bound,
            bounded_below=tame,
            has_value=YES if self.has_energy else UNKNOWN,
        )

    @property
    def declared(self) -> Declared:
        facts = self.facts
        return Declared(
            energy=facts.has_value,
            smooth=YES,
            convex=facts.convex,
            symmetric=said(self.symmetric, "symmetric"),
            nonexpansive=said(self.is_nonexpansive, "nonexpansive"),
            averaged=self.averaged,
            lipschitz=self.bound,
        )

    @property
    def options(self) -> dict[str, Any]:
        names = ("symmetric", "homogeneous", "nonexpansive", "averaged", "lipschitz")
        return {name: getattr(self, name) for name in names}

    def hint(self) -> str:
        return "declare symmetric=True, homogeneous=True and nonexpansive=True where its denoiser is all that"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        if not self.has_energy:
            return super().latex(inner, names)
        applied = rf"{latex_name(self.network.name)}\left({inner}\right)"
        return rf"\tfrac{{1}}{{2}}\left\langle {inner}, {inner} - {applied}\right\rangle"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members with an energy for the property tests, on arrays of shape (3, 4)."""
        smoother = OpaqueFunction(_mirrored, None, "mirrored", directional=_mirrored_along, curved=_no_curvature)
        return [
            Red(smoother, symmetric=True, homogeneous=True, lipschitz=0.7),
            Red(smoother, symmetric=True, homogeneous=True, nonexpansive=True),
        ]


@dataclass(frozen=True)
class _HalfInner(Opaque):
    """``(v, D(v)) -> Re <v, v - D(v)> / 2``, whose derivative in v, through both arguments, is ``v - D(v)``."""

    def evaluate(self, lib: Backend, v: Any, denoised: Any) -> Any:
        u = lib.asarray(v)
        if 0 in u.shape:
            return lib.asarray(0.0)
        largest = lib.xp.max(lib.xp.abs(u))
        unit = lib.xp.where(largest > 0, largest, 0.0 * largest + 1.0)
        # in units of the largest entry: products that overflow would add up to NaN
        w = u / unit - lib.asarray(denoised) / unit
        u = u / unit
        product = lib.xp.real(lib.xp.conj(u) * w) if lib.kind_of(u) == "complex" else u * w
        return (0.5 * lib.xp.sum(product) * unit) * unit

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        v, denoised = call.arguments
        return None if tangents[0] is None else ex.inner(v - denoised, ex.broadcast_to(tangents[0], v.shape))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        v, denoised = call.arguments
        return [cotangent * (v - denoised), None]

    def __repr__(self) -> str:
        return "half_inner"


def red(
    denoiser: Any,
    x: Any,
    *,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    symmetric: bool = False,
    homogeneous: bool = False,
    nonexpansive: bool = False,
    averaged: float | None = None,
    lipschitz: Any = None,
) -> Any:
    """Regularisation by denoising: the field ``x - D(x)`` in the place of a gradient (Romano, Elad, Milanfar 2017).

    Parameters
    ----------
    denoiser : callable
        ``D``, a Torch module in evaluation mode or a function of an array; its weights stay as they are.
    x : affine expression
    vjp, jvp : callable, optional
        ``vjp(x, u)``, the transposed derivative of D at x times u, and ``jvp(x, d)``, the derivative along d; Torch
        finds both itself. Solving needs none, gradients of the solution do.
    symmetric, homogeneous, nonexpansive, averaged, lipschitz
        What the denoiser is known to be; see `opalg.functionals.Red`. Nothing is assumed that is not declared.

    Notes
    -----
    Without an energy, ``oa.compile(..., nonconvex=True)`` seeks the point where the gradient of the other terms and
    the field vanish together. Its step rests on ``lipschitz``, or on ``nonexpansive=True``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> energy = oa.sum_squares(x - np.array([1.0, 2.0])) + oa.red(lambda v: 0.5 * v, x, nonexpansive=True)
    >>> oa.minimize(energy, nonconvex=True, tol=1e-9).x.round(6)
    array([0.8, 1.6])
    """
    function = function_of(denoiser, vjp, jvp, symmetric=symmetric, keeps_shape=True)
    return Red(function, symmetric, homogeneous, nonexpansive, averaged, lipschitz)(x)


def _mirrored(v: Any) -> Any:
    return 0.6 * v + 0.3 * (backend_of(v).xp.flip(v, axis=-1) if v.ndim else v)


def _mirrored_along(v: Any, d: Any) -> Any:
    return _mirrored(d)


def _no_curvature(v: Any, u: Any, d: Any) -> Any:
    return 0.0 * d
