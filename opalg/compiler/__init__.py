"""From an energy to a plan: analyse, choose, lower, bind, explain."""

from opalg.compiler.pipeline import compile, minimize
from opalg.compiler.plan import Plan

__all__ = ["Plan", "compile", "minimize"]
