"""Learning: image quality measures, gradients of losses of solutions, and tuning of parameters along them."""

from opalg.learning import metrics
from opalg.learning.hypergradients import Hypergradient, hypergradient
from opalg.learning.tuning import Tuning, TuningStep, tune

__all__ = ["Hypergradient", "Tuning", "TuningStep", "hypergradient", "metrics", "tune"]
