"""What plans of energies offer and plans of declared maps cannot: refused with what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from opalg.errors import ParameterError, UnsupportedError

P = ParamSpec("P")
R = TypeVar("R")

SOLVING = "it belongs to the solve: oa.fixed_point(x, T).solve({}=...)"
OF_COMPILE: dict[str, str] = {
    "method": "methods are for energies, oa.compile(E, method=...); a declared map is its own method, and "
    "acceleration='anderson', 'nesterov' or 'none' says how its fixed point is sought",
    "line_search": "a line search compares slopes or values of an energy, oa.compile(E, line_search='gradient'); the "
    "step of a declared map is part of it, x - step * oa.grad(E), and x + d * (T - x) damps any map",
    "prox": "it says which terms of an energy are taken by their prox; in a map write oa.prox(functional, map, step)",
    "nonconvex": "a declared map has no energy whose convexity would matter; leave it out",
    "fuse": "it is an option of oa.compile for energies; leave it out",
    "subject_to": "constraints belong to energies; project inside the map, oa.prox(oa.nonneg, T)",
    **{name: SOLVING.format(name) for name in ("x0", "params", "tol", "max_iter", "time_limit", "callback")},
    **{name: SOLVING.format(name) for name in ("progress", "on_failure")},
}
OF_SOLVE: dict[str, str] = {
    "step": "the step of a declared map is part of it; make it a parameter, x - t * oa.grad(E) with "
    "t = oa.Parameter(0.1, name='t'), and give solve(params={'t': ...})",
    **{
        name: f"it belongs to the plan: oa.fixed_point(x, T, {name}=...)"
        for name in ("acceleration", "memory", "sample_axes", "backend", "device", "dtype")
    },
    **{name: OF_COMPILE[name] for name in ("method", "line_search")},
}
_FIXED_POINT = "oa.compile(E) makes a plan of an energy E"
OF_ENERGIES: dict[str, str] = {
    "energy": f"a declared map has no energy; its images are plan.expressions, and {_FIXED_POINT}",
    "problem": f"a declared map has no energy; its images are plan.expressions, and {_FIXED_POINT}",
    "rewrites": "maps are compiled as they are written, so there is nothing to list; see plan.explain()",
    "candidates": "a declared map is its own method; plan.acceleration says how its fixed point is sought",
    "method": "a declared map is its own method; plan.acceleration says how its fixed point is sought",
    "value": f"a declared map has no energy to evaluate; how far x is from a fixed point tells T(x) - x, with T(x) as "
    f"plan.step((x,)), and {_FIXED_POINT}",
    "gradient": f"a declared map has no energy to differentiate; {_FIXED_POINT}, and sol.vjp differentiates solutions",
    "gap": f"no energy is known, so there is no duality gap; sol.certificate is a residual, and {_FIXED_POINT}",
}


class NoEnergyError(UnsupportedError, AttributeError):
    """What was asked for exists for energies only; an AttributeError, so that ``hasattr`` is False."""


def refuses(reasons: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: unknown keywords raise ParameterError, with the reason where it is one of these."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        known = list(signature(function).parameters)

        @wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            for name in options:
                if name in known:
                    continue
                offered = ", ".join(n for n in known if n != "self")
                why = reasons.get(name, f"there are {offered}")
                raise ParameterError(f"{function.__name__} of a declared map takes no {name}=: {why}")
            return function(*args, **options)

        return call

    return wrap


def missing(plan: str, name: str) -> AttributeError:
    """The error for an attribute that a plan of a map does not have."""
    if name in OF_ENERGIES:
        return NoEnergyError(f"a {plan} has no {name}: {OF_ENERGIES[name]}")
    return AttributeError(f"{plan!r} object has no attribute {name!r}")


__all__ = ["OF_COMPILE", "OF_SOLVE", "NoEnergyError", "missing", "refuses"]
