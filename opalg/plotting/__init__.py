"""Pictures of convergence and of results; matplotlib is imported where something is drawn."""

from opalg.plotting.best_curves import plot_best_curves
from opalg.plotting.boxes import Box, boxes_of, plot_boxes
from opalg.plotting.history import plot_history
from opalg.plotting.image_grid import plot_image_grid
from opalg.plotting.images import save_images
from opalg.plotting.quality import plot_psnr_per_iteration
from opalg.plotting.tuning import plot_tuning

__all__ = [
    "Box",
    "boxes_of",
    "plot_best_curves",
    "plot_boxes",
    "plot_history",
    "plot_image_grid",
    "plot_psnr_per_iteration",
    "plot_tuning",
    "save_images",
]
