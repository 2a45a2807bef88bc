"""The language: variables, affine expressions, constraints, terms and energies."""

from opalg.energies.affine import Affine, Constraint, Variable
from opalg.energies.data import broadcast_to
from opalg.energies.energy import Energy, EnergyExpression, Term
from opalg.energies.functions import indicator
from opalg.energies.gradient_map import grad
from opalg.energies.infimal import split_infimal_convolution
from opalg.energies.maps import MapExpression, apply
from opalg.energies.prox_map import prox
from opalg.energies.total_generalized_variation import total_generalized_variation

__all__ = [
    "Affine",
    "Constraint",
    "Energy",
    "EnergyExpression",
    "MapExpression",
    "Term",
    "Variable",
    "apply",
    "broadcast_to",
    "grad",
    "indicator",
    "prox",
    "split_infimal_convolution",
    "total_generalized_variation",
]
