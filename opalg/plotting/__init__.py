"""Pictures of convergence and of results; matplotlib is imported where something is drawn."""

from opalg.plotting.history import plot_history
from opalg.plotting.images import save_images

__all__ = ["plot_history", "save_images"]
