"""From an energy to a plan: analyse, choose, lower, bind, explain."""

from opalg.compiler.map_plan import MapPlan, fixed_point
from opalg.compiler.pipeline import compile, minimize
from opalg.compiler.plan import Plan
from opalg.compiler.untie import untie

__all__ = ["MapPlan", "Plan", "compile", "fixed_point", "minimize", "untie"]
