"""Points of equations for tests: a solution linearised, as gradients see it."""

from __future__ import annotations

from typing import Any

import opalg as oa
from opalg.implicit.arguments import options_of
from opalg.implicit.linearise import Lineariser
from opalg.implicit.refine import Linearised


def lineariser_of(solution: oa.Solution, **options: Any) -> Lineariser:
    """The lineariser of a solution with options of a gradient."""
    d = solution.differentiator
    return Lineariser(d.problem, d.lowering, d.binding, {}, solution, options_of({"refine": True, **options}, d.lib))


def refined(solution: oa.Solution, **options: Any) -> Linearised:
    """The refined point of a solution."""
    return lineariser_of(solution, **options).refined()[0]
