"""The choice among methods, with reasons."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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


def with_options(wanted: str, options: Mapping[str, Any]) -> Method | None:
    """The method that options are for, with these options; None where there are none.

    Raises
    ------
    TypeError
        For an option that no method knows, as for any unknown keyword.
    ParameterError
        For an option of another method than the wanted one.
    """
    if not options:
        return None
    methods = all_methods()
    takers = {name: sorted(m.name for m in methods if name in m.options) for name in options}
    for name, owners in takers.items():
        if not owners:
            known = "; ".join(f"{', '.join(m.options)} ({m.name})" for m in methods if m.options)
            raise TypeError(
                f"compile() got an unexpected keyword argument {name!r}; options of single methods are {known}"
            )
        if wanted not in ("auto", *owners):
            raise ParameterError(
                f"{name}= is an option of {', '.join(owners)}, not of {wanted}; leave it out, or say "
                f"method={owners[0]!r}"
            )
    found = next((m for m in methods if set(options) <= set(m.options)), None)
    if found is None:
        raise ParameterError(f"no method takes {', '.join(options)} together")
    return replace(found, **{n: v for n, v in options.items() if n != "prox"})  # type: ignore[type-var]


def judge(problem: Problem, special: Method | None = None) -> list[Candidate]:
    """What every method says of an energy, those that fit first; one with options in the place of its plain form."""
    methods = [special if special is not None and m.name == special.name else m for m in all_methods()]
    found = [Candidate(m, m.fit(problem)) for m in methods]
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


def choose(problem: Problem, wanted: str, nonconvex: bool, special: Method | None = None) -> list[Candidate]:
    """All judgements, the best first; at least the wanted method fits, with its options where it has some.

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
    candidates = judge(problem, special)
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
