"""Gradients of solutions by implicit differentiation."""

from opalg.implicit.differentiator import Differentiator
from opalg.implicit.gradients import Gradients

__all__ = ["Differentiator", "Gradients"]
