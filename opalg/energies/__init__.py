"""The language: variables, affine expressions, constraints, terms and energies."""

from opalg.energies.affine import Affine, Constraint, Variable
from opalg.energies.energy import Energy, EnergyExpression, Term
from opalg.energies.functions import (
    huber,
    indicator,
    norm1,
    norm2,
    norm21,
    pointwise,
    sum_squares,
    total_variation,
)
from opalg.energies.maps import MapExpression, apply

__all__ = [
    "Affine",
    "Constraint",
    "Energy",
    "EnergyExpression",
    "MapExpression",
    "Term",
    "Variable",
    "apply",
    "huber",
    "indicator",
    "norm1",
    "norm2",
    "norm21",
    "pointwise",
    "sum_squares",
    "total_variation",
]
