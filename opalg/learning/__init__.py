"""Learning: image quality measures, gradients of losses of solutions, and tuning of parameters along them."""

from opalg.learning import datasets, metrics, noise, penalties, samplers, schedules
from opalg.learning.batches import Batch, Measured
from opalg.learning.evaluation import evaluate
from opalg.learning.guard import Guard
from opalg.learning.held_norms import refresh_norms
from opalg.learning.hypergradients import Hypergradient, hypergradient
from opalg.learning.inner_maximum import InnerMaximum
from opalg.learning.nonnegative import keep_nonnegative
from opalg.learning.online import OnlinePlan, online
from opalg.learning.path import Tuning, TuningStep
from opalg.learning.profiles import Profile, profile
from opalg.learning.schedules import Adaptive, Fixed, Hoag, Maid
from opalg.learning.spectral_norms import normalise_spectra, refresh_spectra
from opalg.learning.sweep import Sweep, sweep
from opalg.learning.tables import Table
from opalg.learning.training import Training, fit
from opalg.learning.training_log import TrainingLog
from opalg.learning.tuning import tune

__all__ = [
    "Adaptive",
    "Batch",
    "Fixed",
    "Guard",
    "Hoag",
    "Hypergradient",
    "InnerMaximum",
    "Maid",
    "Measured",
    "OnlinePlan",
    "Profile",
    "Sweep",
    "Table",
    "Training",
    "TrainingLog",
    "Tuning",
    "TuningStep",
    "datasets",
    "evaluate",
    "fit",
    "hypergradient",
    "keep_nonnegative",
    "metrics",
    "noise",
    "normalise_spectra",
    "online",
    "penalties",
    "profile",
    "refresh_norms",
    "refresh_spectra",
    "samplers",
    "schedules",
    "sweep",
    "tune",
]
