"""Gradients of solutions by implicit differentiation."""

from opalg.implicit.differentiator import Differentiator
from opalg.implicit.gradients import Gradients
from opalg.implicit.spectrum import SpectralReport

__all__ = ["Differentiator", "Gradients", "SpectralReport"]
