"""Check a functional: values, derivatives, prox, conjugate, declared facts, and how it treats arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import ParameterError
from opalg.functionals.indicator import Indicator
from opalg.functionals.sets import Set
from opalg.operators.algebra import as_shape
from opalg.testing import (
    duality,
    functional_algebra,
    functional_edges,
    functional_facts,
    functional_manners,
    proxes,
    slopes,
)
from opalg.testing.adapters import AdaptedFunctional, adapted_functional
from opalg.testing.catalogue import shape_for
from opalg.testing.functional_trial import FunctionalTrial, kinds_of
from opalg.testing.report import Findings, Report
from opalg.testing.subject import KINDS, SubjectError


def check_functional(
    functional: Any,
    shape: Any = None,
    rng: np.random.Generator | None = None,
    *,
    kinds: Collection[str] | None = None,
    library: str | None = None,
    dtype: str | None = None,
    skip: Collection[str] = (),
) -> Report:
    """Try everything that a functional promises.

    Parameters
    ----------
    functional : object
        A functional or set of opalg; a functional of PyProximal, ODL, SCICO or PyUNLocBoX; or any object with
        ``value(v)`` and perhaps ``gradient(v)``, ``hessian_vector(v, d)``, ``prox(v, t)``, ``conjugate`` and ``facts``.
    shape : tuple of int, optional
        The shape of the arrays to try; by default what the functional names as its ``example_shape``, else (3, 4).
        Functionals of matrices and cones need one that fits.
    rng : numpy.random.Generator, optional
        Where random arrays come from; the same ones each time by default.
    kinds : collection of {"real", "complex"}, optional
        The arrays to try; by default those that the functional takes, and real ones where it does not say.
    library : str, optional
        The array library: ``"numpy"``, ``"torch"``, ``"cupy"``, ``"array_api_strict"``; NumPy by default.
    dtype : str, optional
        The precision of the comparisons, ``"float64"`` or ``"float32"``; by default double, or what another library
        computes in.
    skip : collection of str
        Properties to leave out, of `PROPERTIES`.

    Returns
    -------
    Report
        True where everything holds. Each finding names the property and the likely mistake.

    Raises
    ------
    ParameterError
        Where the object has no ``value``, and for unknown names in ``skip`` or ``kinds``.

    Notes
    -----
    Gradients and Hessian products are compared with central differences. A prox ``u`` of ``v`` minimises
    ``f(u) + |u - v|^2 / (2 t)``: in one to three dimensions it is compared with a search of everything, at any size no
    point on the way to others may be better, and the conditions of first order must hold (``u + t f'(u) = v``, or
    ``(v - u) / t`` is a subgradient). Where f is convex its prox is firmly nonexpansive (Moreau 1965),
    ``v = prox_{t f}(v) + t prox_{f* / t}(v / t)``, and ``f(u) + f*(q) >= Re <u, q>``, with equality for a prox ``u``
    and ``q = (v - u) / t``. Facts are sampled, at the places where they are most likely to be false: what passes was
    not falsified. What is a mistake in one property is mostly one in others too; the first finding is the one to look
    at.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.testing.check_functional(oa.functionals.Norm1()).ok
    True
    >>> class Absolute:
    ...     def value(self, v):
    ...         return float(np.sum(np.abs(v)))
    ...     def prox(self, v, t):
    ...         return np.sign(v) * np.maximum(np.abs(v) - t / 2, 0)
    >>> report = oa.testing.check_functional(Absolute())
    >>> report.findings[0].hint
    'It is the prox for the step 0.5 t: check the factor of t, and whether f has a half'
    """
    unknown = [name for name in skip if name not in PROPERTIES] + [k for k in kinds or () if k not in KINDS]
    if unknown:
        raise ParameterError(f"{unknown[0]!r} is none of the properties {', '.join(PROPERTIES)} or kinds {KINDS}")
    given = adapted_functional(Indicator(functional) if isinstance(functional, Set) else functional, shape)
    foreign = given if isinstance(given, AdaptedFunctional) else None
    if not callable(getattr(given, "value", None)):
        raise ParameterError(f"{functional!r} has no value(v); give it one, or check an operator with check_operator")
    lib = backend(library or "numpy", dtype or (foreign.precision if foreign else "float64"))
    unpromised = getattr(given, "unpromised", {})
    findings = Findings(repr(given), (*skip, *unpromised))
    for name, habit in unpromised.items():
        if name not in skip:
            findings.note(f"{name} was not tried: {habit}")
    rng = np.random.default_rng(0) if rng is None else rng
    size = as_shape(shape) if shape is not None else shape_for(given)
    for kind in kinds_of(given) if kinds is None else kinds:
        trial = FunctionalTrial(given, size, kind, findings, rng, lib)
        for name, (abilities, try_it) in PROPERTIES.items():
            if name not in findings.skip and all(trial.offers(a) for a in abilities) and findings.trying(name):
                try:
                    with np.errstate(all="ignore"):  # what overflows is looked at, and named
                        try_it(trial)
                except SubjectError as problem:
                    findings.fail(name, f"{problem} for {kind} arrays")
    return findings.report()


PROPERTIES: dict[str, tuple[tuple[str, ...], Callable[[FunctionalTrial], None]]] = {
    "inputs": ((), functional_manners.inputs),
    "repeatable": ((), functional_manners.repeatable),
    "value": ((), slopes.value),
    "gradient": (("gradient",), slopes.gradient),
    "hessian": (("gradient", "hessian_vector"), slopes.hessian),
    "prox": (("prox",), proxes.prox),
    "brute_force": (("prox",), proxes.brute_force),
    "nonexpansive": (("prox",), proxes.nonexpansive),
    "moreau": (("conjugate",), duality.moreau),
    "fenchel": (("conjugate",), duality.fenchel),
    "biconjugate": (("conjugate",), duality.biconjugate),
    "algebra": ((), functional_algebra.algebra),
    "facts": ((), functional_facts.facts),
    "phases": ((), functional_facts.phases),
    "steps": (("prox",), functional_edges.steps),
    "zeros": ((), functional_edges.zeros),
    "weights": ((), functional_edges.weights),
    "sizes": ((), functional_edges.sizes),
    "missing": ((), functional_edges.missing),
    "extremes": ((), functional_edges.extremes),
    "dtype": ((), functional_manners.dtype),
    "fresh": ((), functional_manners.fresh),
    "layout": ((), functional_manners.layout),
    "batch": (("prox",), functional_manners.batch),
}
