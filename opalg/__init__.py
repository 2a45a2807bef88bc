"""opalg: declare an energy from composable linear operators, compile it to a solver, differentiate its solution.

>>> import numpy as np
>>> import opalg as oa
>>> x = oa.Variable(3, name="x")
>>> sol = oa.minimize(oa.sum_squares(x - np.array([1.0, -2.0, 3.0])) + oa.indicator(x >= 0))
>>> sol.x.round(6).tolist()
[1.0, 0.0, 3.0]
"""

from opalg import functionals, interop, learning, operators, testing
from opalg.arrays import Backend, backend
from opalg.compiler import MapPlan, Plan, compile, fixed_point, minimize, untie
from opalg.energies import (
    Affine,
    Constraint,
    Energy,
    Term,
    Variable,
    apply,
    broadcast_to,
    grad,
    indicator,
    prox,
    split_infimal_convolution,
    total_generalized_variation,
)
from opalg.errors import (
    AdjointError,
    AdjointNotConvergedError,
    BreakdownError,
    ConvexityError,
    DeviceError,
    DivergedError,
    DtypeError,
    InexactSolutionError,
    NonFiniteError,
    NotAContractionError,
    NotAffineError,
    NotLinearError,
    OpalgError,
    ParameterError,
    RewriteCycleError,
    ShapeError,
    SingularAdjointError,
    UnsafeExpressionError,
    UnsupportedError,
)
from opalg.facts import NO, UNKNOWN, YES, Bound, Fact
from opalg.functionals.activations import activation
from opalg.functionals.affine_sets import affine
from opalg.functionals.balls import ball1, ball2, ball_inf
from opalg.functionals.boxes import box, nonneg
from opalg.functionals.charbonnier import charbonnier
from opalg.functionals.classification import hinge, logistic
from opalg.functionals.counting import norm0, norm_half
from opalg.functionals.distance import distance, squared_distance
from opalg.functionals.elastic_net import elastic_net
from opalg.functionals.entropy import entropy
from opalg.functionals.envelope import moreau_envelope
from opalg.functionals.fields_of_experts import fields_of_experts
from opalg.functionals.gradient_step import gradient_step
from opalg.functionals.halfspaces import halfspace, halfspaces
from opalg.functionals.huber import huber
from opalg.functionals.infimal import infimal_convolution
from opalg.functionals.kl_divergence import kl_divergence
from opalg.functionals.linear import linear
from opalg.functionals.log_barrier import log_barrier
from opalg.functionals.log_cosh import log_cosh
from opalg.functionals.magnitude_mismatch import magnitude_mismatch
from opalg.functionals.norm_inf import norm_inf
from opalg.functionals.norms import norm1, norm2, norm21
from opalg.functionals.ordered import ordered_norm1
from opalg.functionals.overlapping_groups import group_norm
from opalg.functionals.plug_and_play import plug_and_play
from opalg.functionals.points import point
from opalg.functionals.potential import pointwise
from opalg.functionals.potential_function import Potential
from opalg.functionals.quadratic import quadratic
from opalg.functionals.quantile import quantile
from opalg.functionals.red import red
from opalg.functionals.robust import cauchy, geman_mcclure, truncated_quadratic
from opalg.functionals.scalar_network import input_convex, scalar_network
from opalg.functionals.second_order_cone import second_order_cone
from opalg.functionals.separable_sum import separable_sum
from opalg.functionals.simplex import simplex
from opalg.functionals.spectral import nuclear_norm, psd_cone, rank_ball
from opalg.functionals.sum_squares import sum_squares
from opalg.functionals.support import support_function
from opalg.functionals.total_variation import total_variation
from opalg.interop import from_pylops, from_scipy, from_torch
from opalg.learning import Guard, fit, hypergradient, metrics, noise, online, penalties, samplers, sweep, tune
from opalg.leaves import Constant, Parameter
from opalg.operators import (
    DCT,
    DST,
    FFT,
    RFFT,
    CodedDiffraction,
    CoilSensitivities,
    Conj,
    Convolve,
    Crop,
    CumulativeSum,
    Diagonal,
    DiagonalIn,
    Divergence,
    Downsample,
    FiniteDifference,
    Flip,
    FunctionOperator,
    Gather,
    Gradient,
    Hadamard,
    HeldNorm,
    Hessian,
    Identity,
    Imag,
    IntensityDiffraction,
    Interpolate,
    InverseRFFT,
    Laplacian,
    LinearOperator,
    LowRank,
    Mask,
    Matrix,
    MatrixStack,
    Mean,
    MultiConvolve,
    NonuniformFFT,
    Pad,
    ParallelMRI,
    Patches,
    Permutation,
    Radon,
    Real,
    Reshape,
    Restrict,
    Roll,
    Slice,
    SparseMatrix,
    StructuredRandom,
    Sum,
    SymmetrizedGradient,
    Transpose,
    UndecimatedWavelet,
    Upsample,
    Warp,
    Wavelet,
    Zero,
    annular_illumination,
    block,
    block_diag,
    gaussian_kernel,
    hstack,
    kron,
    vstack,
)
from opalg.program.expression import Expression, exp, log, sqrt, total
from opalg.solving.certificate import Certificate
from opalg.solving.solution import ConvergenceWarning, Solution
from opalg.solving.status import Status

__version__ = "0.1.0"

__all__ = [
    "DCT",
    "DST",
    "FFT",
    "NO",
    "RFFT",
    "UNKNOWN",
    "YES",
    "AdjointError",
    "AdjointNotConvergedError",
    "Affine",
    "Backend",
    "Bound",
    "BreakdownError",
    "Certificate",
    "CodedDiffraction",
    "CoilSensitivities",
    "Conj",
    "Constant",
    "Constraint",
    "ConvergenceWarning",
    "ConvexityError",
    "Convolve",
    "Crop",
    "CumulativeSum",
    "DeviceError",
    "Diagonal",
    "DiagonalIn",
    "DivergedError",
    "Divergence",
    "Downsample",
    "DtypeError",
    "Energy",
    "Expression",
    "Fact",
    "FiniteDifference",
    "Flip",
    "FunctionOperator",
    "Gather",
    "Gradient",
    "Guard",
    "Hadamard",
    "HeldNorm",
    "Hessian",
    "Identity",
    "Imag",
    "InexactSolutionError",
    "IntensityDiffraction",
    "Interpolate",
    "InverseRFFT",
    "Laplacian",
    "LinearOperator",
    "LowRank",
    "MapPlan",
    "Mask",
    "Matrix",
    "MatrixStack",
    "Mean",
    "MultiConvolve",
    "NonFiniteError",
    "NonuniformFFT",
    "NotAContractionError",
    "NotAffineError",
    "NotLinearError",
    "OpalgError",
    "Pad",
    "ParallelMRI",
    "Parameter",
    "ParameterError",
    "Patches",
    "Permutation",
    "Plan",
    "Potential",
    "Radon",
    "Real",
    "Reshape",
    "Restrict",
    "RewriteCycleError",
    "Roll",
    "ShapeError",
    "SingularAdjointError",
    "Slice",
    "Solution",
    "SparseMatrix",
    "Status",
    "StructuredRandom",
    "Sum",
    "SymmetrizedGradient",
    "Term",
    "Transpose",
    "UndecimatedWavelet",
    "UnsafeExpressionError",
    "UnsupportedError",
    "Upsample",
    "Variable",
    "Warp",
    "Wavelet",
    "Zero",
    "__version__",
    "activation",
    "affine",
    "annular_illumination",
    "apply",
    "backend",
    "ball1",
    "ball2",
    "ball_inf",
    "block",
    "block_diag",
    "box",
    "broadcast_to",
    "cauchy",
    "charbonnier",
    "compile",
    "distance",
    "elastic_net",
    "entropy",
    "exp",
    "fields_of_experts",
    "fit",
    "fixed_point",
    "from_pylops",
    "from_scipy",
    "from_torch",
    "functionals",
    "gaussian_kernel",
    "geman_mcclure",
    "grad",
    "gradient_step",
    "group_norm",
    "halfspace",
    "halfspaces",
    "hinge",
    "hstack",
    "huber",
    "hypergradient",
    "indicator",
    "infimal_convolution",
    "input_convex",
    "interop",
    "kl_divergence",
    "kron",
    "linear",
    "log",
    "log_barrier",
    "log_cosh",
    "logistic",
    "magnitude_mismatch",
    "metrics",
    "minimize",
    "moreau_envelope",
    "noise",
    "nonneg",
    "norm0",
    "norm1",
    "norm2",
    "norm21",
    "norm_half",
    "norm_inf",
    "nuclear_norm",
    "online",
    "operators",
    "ordered_norm1",
    "penalties",
    "plug_and_play",
    "point",
    "pointwise",
    "prox",
    "psd_cone",
    "quadratic",
    "quantile",
    "rank_ball",
    "red",
    "samplers",
    "scalar_network",
    "second_order_cone",
    "separable_sum",
    "simplex",
    "split_infimal_convolution",
    "sqrt",
    "squared_distance",
    "sum_squares",
    "support_function",
    "sweep",
    "testing",
    "total",
    "total_generalized_variation",
    "total_variation",
    "truncated_quadratic",
    "tune",
    "untie",
    "vstack",
]
