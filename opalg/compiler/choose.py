"""The choice among methods, with reasons."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

import opalg.methods
from opalg.energies.energy import Term
from opalg.errors import ConvexityError, ParameterError, UnsupportedError
from opalg.facts import NO, YES
from opalg.methods.method import Fit, Method, refuse
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


def hint_of(term: Term) -> str:
    """What to declare so that a term's convexity can be proved, as one more sentence."""
    hint = term.functional.hint()
    return f" Or {hint}." if hint else ""


def at_values(candidates: list[Candidate], refused: list[str]) -> list[Candidate]:
    """The judgements, with those turned to no that failed at the values of the data (``"name: reason"``)."""
    reasons = dict(text.split(": ", 1) for text in refused)
    names = [c.method.name for c in candidates]
    assert all(name in names for name in reasons)
    return [Candidate(c.method, refuse(reasons[c.method.name])) if c.method.name in reasons else c for c in candidates]


def choose(problem: Problem, wanted: str, nonconvex: bool) -> list[Candidate]:
    """All judgements, the best first; at least the wanted method fits.

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
        if doubtful.functional.facts.has_value is not YES:
            raise ConvexityError(
                f"the term {doubtful!r} has no energy, so there is no minimiser to promise. Say nonconvex=True to "
                f"accept a point that the steps of the method leave where it is.{hint_of(doubtful)}"
            )
        raise ConvexityError(
            f"the term {doubtful!r} {known}, so a minimiser cannot be promised. Say nonconvex=True to accept a "
            f"stationary point, or use a convex functional.{hint_of(doubtful)}"
        )
    candidates = judge(problem)
    by_name = {c.method.name: c for c in candidates}
    if wanted == "auto":
        if candidates[0].fit.fits:
            return candidates
        reasons = "\n".join(f"  {c.method.name}: {c.fit.reason}" for c in candidates)
        raise UnsupportedError(f"no method fits the energy {problem.energy!r}:\n{reasons}")
    if wanted not in by_name:
        raise ParameterError(f"there is no method {wanted!r}; there are {', '.join(sorted(by_name))}")
    if not by_name[wanted].fit.fits:
        fitting = ", ".join(c.method.name for c in candidates if c.fit.fits) or "none"
        raise UnsupportedError(f"{wanted} does not fit: {by_name[wanted].fit.reason} (methods that fit: {fitting})")
    return candidates
