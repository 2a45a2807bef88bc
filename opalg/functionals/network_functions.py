"""What terms made of networks have in common: the function itself, and what its user declares about it.

Nothing about a network can be proved by looking at it, so each property is the user's word. What was not declared is
unknown; what was is marked as asserted wherever it is shown, and bounds carry the certainty ``"asserted"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from opalg.errors import ParameterError, ShapeError
from opalg.facts import NO, UNKNOWN, YES, Bound, Fact
from opalg.functionals.calculus import Functional
from opalg.functionals.weights import nonnegative, real_data
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_text, latex_name
from opalg.program.opaque import OpaqueFunction, opaque


@dataclass(frozen=True)
class Declared:
    """What is known about a term made of a network, all of it by its user's word.

    Attributes
    ----------
    energy : Fact
        Whether there is a number that the term adds to an energy, and not only a field or a map.
    smooth : Fact
        Whether it counts as differentiable, by the derivative that the network brings.
    convex : Fact
        Whether its energy is convex.
    symmetric : Fact
        Whether the network's Jacobian is symmetric everywhere.
    nonexpansive : Fact
        Whether the network moves no two points farther apart.
    averaged : float or None
        An ``a`` with ``D = (1 - a) I + a N`` for a nonexpansive N; 0.5 says firmly nonexpansive.
    lipschitz : Bound or None
        A Lipschitz constant of what the term adds to the gradient.

    Examples
    --------
    >>> import opalg as oa
    >>> print(oa.functionals.Red(lambda v: 0.5 * v, nonexpansive=True).declared)
    no energy is known, smooth, nonexpansive, Lipschitz constant 2 (asserted)
    """

    energy: Fact = UNKNOWN
    smooth: Fact = UNKNOWN
    convex: Fact = UNKNOWN
    symmetric: Fact = UNKNOWN
    nonexpansive: Fact = UNKNOWN
    averaged: float | None = None
    lipschitz: Bound | None = None

    def __str__(self) -> str:
        parts = ["an energy" if self.energy is YES else "no energy is known"]
        for name in ("smooth", "convex", "symmetric", "nonexpansive"):
            found = getattr(self, name)
            parts += [] if found is UNKNOWN else [name if found is YES else f"not {name}"]
        if self.averaged is not None:
            firm = " (firmly nonexpansive)" if self.averaged <= 0.5 else ""
            parts.append(f"{self.averaged:g}-averaged{firm}")
        if self.lipschitz is not None:
            parts.append(f"Lipschitz constant {self.lipschitz!r}")
        return ", ".join(parts)


class NetworkFunctional(Functional):
    """A functional that is made of an opaque function; see `declared` for what is known about it."""

    @property
    def network(self) -> OpaqueFunction:
        """The opaque function."""
        raise NotImplementedError

    @property
    def declared(self) -> Declared:
        """What its user declared, and what follows from that."""
        raise NotImplementedError

    @property
    def options(self) -> dict[str, Any]:
        """The keywords that were given, in the words that users type."""
        raise NotImplementedError

    def text(self, inner: str) -> str:
        function = _lower(type(self).__name__)
        return f"{function}({', '.join([self.network.name, inner, *_keywords(self.options)])})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        words = _lower(type(self).__name__).replace("_", "-")
        return rf"\mathrm{{{words}}}_{{{latex_name(self.network.name)}}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([self.network.name, *_keywords(self.options)])})"


class NetworkEnergy(NetworkFunctional):
    """A network term with an energy, of which convexity and a Lipschitz constant may be declared."""

    convex: bool | None
    lipschitz: Any

    @property
    def declared(self) -> Declared:
        facts = self.facts
        return Declared(energy=YES, smooth=YES, convex=facts.convex, lipschitz=facts.smoothness)

    @property
    def options(self) -> dict[str, Any]:
        return {"convex": self.convex, "lipschitz": self.lipschitz}


def function_of(
    network: Any,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    **manner: bool,
) -> OpaqueFunction:
    """A network as an opaque function; one that is an opaque function already stays what it is.

    Raises
    ------
    ParameterError
        For what cannot be called.
    """
    return network if isinstance(network, OpaqueFunction) else opaque(network, vjp, jvp=jvp, hvp=hvp, **manner)


def declared_bound(value: Any, estimated: bool, what: str) -> tuple[Expression | None, bool]:
    """A Lipschitz constant that a user gives, and whether it is an estimate only.

    Raises
    ------
    ParameterError
        For a negative or infinite number.
    DtypeError
        For what is no real number.
    ShapeError
        For more than one number.
    """
    if value is None:
        return None, False
    if isinstance(value, Bound):
        value, estimated = value.expression, value.certainty == "estimate"
    found = real_data(value, what)
    if found.shape != ():
        raise ShapeError(f"{what} must be one number, not an array of shape {found.shape}")
    if isinstance(found, Literal) and not (isfinite(found.value.real) and nonnegative(found) is YES):
        raise ParameterError(f"{what} must be a nonnegative number, not {found.value!r}")
    return found, estimated


def as_bound(expression: Expression | None, estimated: bool) -> Bound | None:
    """A declared Lipschitz constant as a bound that says where it comes from."""
    return None if expression is None else Bound(expression, "estimate" if estimated else "asserted")


def fact_of(value: bool | None, what: str) -> Fact:
    """True, False or None as a fact.

    Raises
    ------
    ParameterError
        For anything else.
    """
    if value not in (None, True, False):
        raise ParameterError(f"{what} must be True, False or None for unknown, not {value!r}")
    return UNKNOWN if value is None else YES if value else NO


def said(value: bool, what: str) -> Fact:
    """A property that is declared or not: yes or unknown.

    Raises
    ------
    ParameterError
        For anything but True and False.
    """
    if value not in (True, False):
        raise ParameterError(f"{what} must be True or False, not {value!r}")
    return YES if value else UNKNOWN


def check_averaged(value: float | None) -> None:
    """Raise ParameterError where a constant of averagedness is outside of (0, 1]."""
    if value is not None and not 0 < value <= 1:
        raise ParameterError(f"averaged must lie in (0, 1] (0.5 for firmly nonexpansive), not {value!r}")


def _lower(name: str) -> str:
    """The name of a class as users type the function: ``PlugAndPlay`` is ``plug_and_play``."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _keywords(options: Mapping[str, Any]) -> list[str]:
    given = {k: v for k, v in options.items() if v is not None and v is not False}
    unset = {k: v for k, v in options.items() if k == "convex" and v is False}
    return [f"{k}={data_text(v) if isinstance(v, Expression) else repr(v)}" for k, v in {**given, **unset}.items()]
