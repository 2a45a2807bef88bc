"""What the compiler did, stage by stage, for people."""

from __future__ import annotations

from html import escape
from typing import Any

from opalg.compiler.placement import casts
from opalg.energies.energy import EnergyExpression
from opalg.facts import YES
from opalg.functionals.network_functions import NetworkFunctional
from opalg.program.text import program_text


class Explanation(str):
    """Readable text that shows itself as a block in a notebook."""

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self)}</pre>"


def explain(plan: Any) -> Explanation:
    """Every stage of a plan as text."""
    sections = [
        ("Energy", [repr(plan.energy)]),
        ("Rules that fired", _rules(plan)),
        ("Canonical energy", _terms(plan.problem.energy)),
        ("Facts", _facts(plan)),
        ("Methods", _methods(plan)),
        ("Step", [*plan.lowering.notes, *_step(plan)]),
        ("Certificate", [_certificate(plan)]),
        ("Runs on", [repr(plan.backend), *casts(plan.energy, plan.backend)]),
        ("Cost of an iteration", [str(plan.cost)]),
    ]
    return block(sections)


def block(sections: list[tuple[str, list[str]]]) -> Explanation:
    """Titled sections as one text."""
    blocks = [f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in sections]
    return Explanation("\n\n".join(blocks))


def _rules(plan: Any) -> list[str]:
    if not plan.rewrites:
        return ["none"]
    out = []
    for step in plan.rewrites:
        out += [f"{step.rule.name}:  {step.rule.formula}", f"    {step.before!r}  ->  {step.after!r}"]
    return out


def _terms(energy: EnergyExpression) -> list[str]:
    return [repr(t) for t in energy.terms]


def _facts(plan: Any) -> list[str]:
    problem = plan.problem
    lines = [f"variables: {', '.join(f'{v.label} {v.shape} {v.kind}' for v in problem.variables)}"]
    binding = plan.bind()
    now = "" if binding.convex or problem.convex is not YES else ", but not with the weights that parameters have now"
    lines.append(f"convex: {problem.convex!r}{now}")
    for term in problem.terms:
        facts = term.functional.facts
        smooth = "smooth" if term in problem.smooth_terms else "not smooth"
        weighted = None if facts.smoothness is None else facts.smoothness.scaled(term.weight)
        constant = "" if weighted is None else f", gradient constant {weighted!r} in its argument"
        exactness = term.functional.exactness
        prox = "" if exactness is None else f", prox {exactness!r}"
        lines.append(f"{term!r}: {smooth}, convex {facts.convex!r}{constant}{prox}")
        if isinstance(term.functional, NetworkFunctional):
            lines.append(f"  asserted by the user, not proved: {term.functional.declared}")
    if problem.smooth_terms:
        lines.append(f"gradient of the smooth part: Lipschitz constant {problem.smoothness!r}")
    modulus = binding.strong_convexity
    if modulus > 0:
        lines.append(f"strong convexity: at least {modulus:.3g}")
    return lines


def _methods(plan: Any) -> list[str]:
    out = []
    for c in plan.candidates:
        mark = "*" if c.method.name == plan.method.name else ("+" if c.fit.fits else "-")
        out.append(f"{mark} {c.method.name}: {c.fit.reason}")
    return [*out, "(* chosen, + fits, - does not fit)"]


def _step(plan: Any) -> list[str]:
    low = plan.lowering
    names = [s.name for s in low.state]
    lines = [f"state: {', '.join(f'{s.name} {s.shape}' for s in low.state)}; sought by {low.iteration} iteration"]
    if low.controls:
        binding = plan.bind()
        lines.append("controls: " + ", ".join(f"{c.name} = {binding.controls[c]:.4g}" for c in low.controls))
    lines += program_text([*low.step], names).splitlines()
    return lines


def _certificate(plan: Any) -> str:
    gap = plan.compiled.gap
    if gap is not None:
        return f"duality gap; {gap.how}"
    if plan.lowering.search is not None:
        return "residual |x+ - x| / t of the worst sample, relative to its gradients"
    if plan.problem.without_value:
        return "residual of the iteration; there is no energy, so no bound is known"
    return "residual of the iteration; no dual point can be made feasible here, so no bound is known"
