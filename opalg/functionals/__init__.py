"""Functionals: functions from arrays to numbers, with their values, gradients, proxes, conjugates and facts."""

from opalg.functionals.affine_sets import Affine, affine
from opalg.functionals.argument import ArgumentScaled
from opalg.functionals.balls import Ball1, Ball2, BallInf
from opalg.functionals.boxes import Box, box, nonneg
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.charbonnier import Charbonnier
from opalg.functionals.classification import Hinge, Logistic
from opalg.functionals.composition import Composition
from opalg.functionals.conjugate import Conjugate
from opalg.functionals.counting import Norm0, NormHalf
from opalg.functionals.distance import Distance, SquaredDistance
from opalg.functionals.elastic_net import ElasticNet
from opalg.functionals.entropy import Entropy
from opalg.functionals.envelope import MoreauEnvelope
from opalg.functionals.exactness import Exactness
from opalg.functionals.fields_of_experts import ExpertSum
from opalg.functionals.gradient_step import GradientStep
from opalg.functionals.group_huber import HuberNorm21
from opalg.functionals.halfspaces import Halfspace, Halfspaces
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.infimal import InfimalConvolution
from opalg.functionals.kl_divergence import KLDivergence
from opalg.functionals.linear import Linear
from opalg.functionals.log_barrier import LogBarrier
from opalg.functionals.log_cosh import LogCosh
from opalg.functionals.magnitude_mismatch import MagnitudeMismatch
from opalg.functionals.network_functions import Declared
from opalg.functionals.norm_inf import NormInf
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.ordered import OrderedNorm1
from opalg.functionals.overlapping_groups import GroupNorm
from opalg.functionals.pinned import Pinned
from opalg.functionals.plug_and_play import PlugAndPlay
from opalg.functionals.points import Point, point
from opalg.functionals.postcomposed import Postcomposed
from opalg.functionals.potential import PotentialSum
from opalg.functionals.potential_function import Potential
from opalg.functionals.quadratic import Quadratic
from opalg.functionals.quantile import Quantile
from opalg.functionals.red import Red
from opalg.functionals.robust import Cauchy, GemanMcClure, TruncatedQuadratic
from opalg.functionals.scalar_network import ScalarNetwork
from opalg.functionals.scaled import Weighted
from opalg.functionals.second_order_cone import SecondOrderCone
from opalg.functionals.separable_sum import SeparableSum
from opalg.functionals.sets import Set
from opalg.functionals.simplex import Simplex
from opalg.functionals.spectral import NuclearNorm, PSDCone, RankBall
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.sums import Sum
from opalg.functionals.support import SupportFunction
from opalg.functionals.tilted import Tilted
from opalg.functionals.translated import Translated

__all__ = [
    "Affine",
    "ArgumentScaled",
    "Ball1",
    "Ball2",
    "BallInf",
    "Box",
    "Cauchy",
    "Charbonnier",
    "Composition",
    "Conjugate",
    "Declared",
    "Distance",
    "ElasticNet",
    "Entropy",
    "Exactness",
    "ExpertSum",
    "Functional",
    "FunctionalFacts",
    "GemanMcClure",
    "GradientStep",
    "GroupNorm",
    "Halfspace",
    "Halfspaces",
    "Hinge",
    "Huber",
    "HuberNorm21",
    "Indicator",
    "InfimalConvolution",
    "KLDivergence",
    "Linear",
    "LogBarrier",
    "LogCosh",
    "Logistic",
    "MagnitudeMismatch",
    "MoreauEnvelope",
    "Norm0",
    "Norm1",
    "Norm2",
    "Norm21",
    "NormHalf",
    "NormInf",
    "NuclearNorm",
    "OrderedNorm1",
    "PSDCone",
    "Pinned",
    "PlugAndPlay",
    "Point",
    "Postcomposed",
    "Potential",
    "PotentialSum",
    "Quadratic",
    "Quantile",
    "RankBall",
    "Red",
    "ScalarNetwork",
    "SecondOrderCone",
    "SeparableSum",
    "Set",
    "Simplex",
    "SquaredDistance",
    "Sum",
    "SumSquares",
    "SupportFunction",
    "Tilted",
    "Translated",
    "TruncatedQuadratic",
    "Weighted",
    "affine",
    "box",
    "nonneg",
    "point",
]
