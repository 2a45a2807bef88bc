"""What methods have to know of denoisers that stand in the place of a prox or of a gradient."""

from __future__ import annotations

from opalg.energies.energy import Term
from opalg.facts import YES
from opalg.functionals.plug_and_play import PlugAndPlay
from opalg.functionals.red import Red
from opalg.methods.problem import Problem, term_convexity


def stands_for_prox(term: Term) -> bool:
    """Whether a term is a denoiser in the place of a prox."""
    return isinstance(term.functional, PlugAndPlay)


def fixes_step(term: Term) -> bool:
    """Whether a term is known by its prox at one step only: ``prox_{t w f}`` for ``t w = 1``."""
    return isinstance(term.functional, PlugAndPlay) and not term.functional.strength


def is_symmetric(problem: Problem) -> bool:
    """Whether every term without an energy is declared to be a field with a symmetric Jacobian."""
    functionals = [t.functional for t in problem.without_value]
    return all(isinstance(f, Red) and f.symmetric for f in functionals)


def guarantee(problem: Problem) -> tuple[str, ...]:
    """Sentences on what is known of the convergence of the proximal gradient step, from what was declared."""
    wild = [t for t in problem.without_value if not is_tame(t)]
    others = [t for t in problem.terms if t not in problem.without_value and term_convexity(t) is not YES]
    if not wild and not others:
        return ("what was declared makes the plain step converge to a fixed point wherever there is one",)
    return tuple(f"{t!r}: nothing declared makes the step converge; the residual tells whether it did" for t in wild)


def is_tame(term: Term) -> bool:
    """Whether a step on the term, no longer than its constant allows, is averaged by what was declared.

    The field of a nonexpansive denoiser is cocoercive with the constant that follows from that (Bauschke and Combettes
    2017, Proposition 4.11 and Remark 4.34); a constant given apart says nothing on that.
    """
    functional = term.functional
    if isinstance(functional, Red):
        return functional.is_nonexpansive and functional.lipschitz is None
    return isinstance(functional, PlugAndPlay) and functional.averaged is not None and functional.averaged < 1.0
