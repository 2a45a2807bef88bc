"""Functionals: functions from arrays to numbers, with their values, gradients, proxes, conjugates and facts."""

from opalg.functionals.calculus import Conjugate, Functional, FunctionalFacts
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.potential import Potential, PotentialSum
from opalg.functionals.sets import Affine, Box, Point, Set, affine, box, nonneg, point
from opalg.functionals.sum_squares import SumSquares

__all__ = [
    "Affine",
    "Box",
    "Conjugate",
    "Functional",
    "FunctionalFacts",
    "Huber",
    "Indicator",
    "Norm1",
    "Norm2",
    "Norm21",
    "Point",
    "Potential",
    "PotentialSum",
    "Set",
    "SumSquares",
    "affine",
    "box",
    "nonneg",
    "point",
]
