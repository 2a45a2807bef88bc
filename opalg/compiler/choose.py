"""The choice among methods, with reasons."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

import opalg.methods
from opalg.errors import ConvexityError, ParameterError, UnsupportedError
from opalg.facts import NO, YES
from opalg.methods.method import Fit, Method
from opalg.methods.problem import Problem, term_convexity


@dataclass(frozen=True)
class Candidate:
    """A method and its judgement of an energy."""

    method: Method
    fit: Fit


def all_methods() -> list[Method]:
    """Every method: the subclasses of `Method` with a name, found in the files of ``opalg.methods``."""
    for module in pkgutil.iter_modules(opalg.methods.__path__):
        importlib.import_module(f"opalg.methods.{module.name}")
    return [cls() for cls in Method.__subclasses__() if cls.name]


def judge(problem: Problem) -> list[Candidate]:
    """What every method says of an energy, those that fit first."""
    found = [Candidate(m, m.fit(problem)) for m in all_methods()]
    return sorted(found, key=lambda c: (-c.fit.fits, -c.fit.preference, c.method.name))


def choose(problem: Problem, wanted: str, nonconvex: bool) -> tuple[Method, list[Candidate]]:
    """The method to use and all judgements.

    Raises
    ------
    ConvexityError
        Where the energy is not known to be convex and ``nonconvex`` is False.
    ParameterError
        Where there is no method of the wanted name.
    UnsupportedError
        Where the wanted method, or every method, refuses; the message holds the reasons.
    """
    if problem.convex is not YES and not nonconvex:
        doubtful = next(t for t in problem.terms if term_convexity(t) is not YES)
        known = "is not convex" if term_convexity(doubtful) is NO else "is not known to be convex"
        raise ConvexityError(
            f"the term {doubtful!r} {known}, so a minimiser cannot be promised. Say nonconvex=True to accept a "
            f"stationary point, or use a convex functional."
        )
    candidates = judge(problem)
    by_name = {c.method.name: c for c in candidates}
    if wanted == "auto":
        if candidates[0].fit.fits:
            return candidates[0].method, candidates
        reasons = "\n".join(f"  {c.method.name}: {c.fit.reason}" for c in candidates)
        raise UnsupportedError(f"no method fits the energy {problem.energy!r}:\n{reasons}")
    if wanted not in by_name:
        raise ParameterError(f"there is no method {wanted!r}; there are {', '.join(sorted(by_name))}")
    if not by_name[wanted].fit.fits:
        fitting = ", ".join(c.method.name for c in candidates if c.fit.fits) or "none"
        raise UnsupportedError(f"{wanted} does not fit: {by_name[wanted].fit.reason} (methods that fit: {fitting})")
    return by_name[wanted].method, candidates
