"""Learning: image quality measures, gradients of losses of solutions, and tuning of parameters along them."""

from opalg.learning import metrics, samplers, schedules
from opalg.learning.hypergradients import Hypergradient, hypergradient
from opalg.learning.online import OnlinePlan, online
from opalg.learning.path import Tuning, TuningStep
from opalg.learning.schedules import Adaptive, Fixed, Hoag, Maid
from opalg.learning.tuning import tune

__all__ = [
    "Adaptive",
    "Fixed",
    "Hoag",
    "Hypergradient",
    "Maid",
    "OnlinePlan",
    "Tuning",
    "TuningStep",
    "hypergradient",
    "metrics",
    "online",
    "samplers",
    "schedules",
    "tune",
]
