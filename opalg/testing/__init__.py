"""Checks for operators, functionals, energies and gradients: the same that opalg runs on its own.

`strategies` (which needs Hypothesis) is imported where it is first used.
"""

from typing import Any

from opalg.testing import adapters
from opalg.testing.collecting import Checkable, check, checked, collected
from opalg.testing.energies import check_energy
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
from opalg.testing.rules import check_rule

__all__ = [
    "Checkable",
    "FailedAdjointError",
    "FailedCheckError",
    "FailedLinearityError",
    "Finding",
    "Report",
    "adapters",
    "check",
    "check_energy",
    "check_functional",
    "check_gradient",
    "check_operator",
    "check_rule",
    "checked",
    "collected",
]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        import importlib

        return importlib.import_module("opalg.testing.strategies")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
