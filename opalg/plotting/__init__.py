"""Pictures of convergence and of results; matplotlib is imported where something is drawn."""

from opalg.plotting.history import plot_history
from opalg.plotting.images import save_images
from opalg.plotting.tuning import plot_tuning

__all__ = ["plot_history", "plot_tuning", "save_images"]
