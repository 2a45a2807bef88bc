"""Checks for operators, functionals and gradients: the same that opalg runs on its own."""

from opalg.testing.functionals import check_functional
from opalg.testing.gradients import check_gradient
from opalg.testing.operators import check_operator
from opalg.testing.report import (
    FailedAdjointError,
    FailedCheckError,
    FailedLinearityError,
    Finding,
    Report,
)

__all__ = [
    "FailedAdjointError",
    "FailedCheckError",
    "FailedLinearityError",
    "Finding",
    "Report",
    "check_functional",
    "check_gradient",
    "check_operator",
]
