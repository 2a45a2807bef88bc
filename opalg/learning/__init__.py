"""Learning: image quality measures, and tuning of parameters by implicit gradients."""

from opalg.learning import metrics

__all__ = ["metrics"]
