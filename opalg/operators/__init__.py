"""Linear operators: what can stand in front of an unknown."""

from opalg.operators import block_rules as _block_rules
from opalg.operators import selection_grams as _selection_grams
from opalg.operators import simplify_rules as _simplify_rules
from opalg.operators import symmetric_convolution as _symmetric_convolution
from opalg.operators.algebra import Added, Adjoint, Composed, Conjugated, Identity, LinearOperator, Scaled, Zero
from opalg.operators.aliasing import SampledDiagonalIn
from opalg.operators.batched import AsComplex, Batched
from opalg.operators.block import BlockDiagonal, BlockMatrix, block, block_diag
from opalg.operators.coded_diffraction import CodedDiffraction
from opalg.operators.coils import CoilSensitivities, ParallelMRI
from opalg.operators.convolution import Convolve, gaussian_kernel
from opalg.operators.cosine import DCT, DST
from opalg.operators.diagonal import Diagonal, Mask
from opalg.operators.difference import Divergence, FiniteDifference, Gradient
from opalg.operators.diffraction import IntensityDiffraction, annular_illumination
from opalg.operators.fourier import FFT, RFFT, InverseRFFT
from opalg.operators.function import FunctionOperator, OpaqueOperator
from opalg.operators.hadamard import Hadamard
from opalg.operators.held_norm import HeldNorm
from opalg.operators.interpolation import Interpolate
from opalg.operators.knowledge import Facts
from opalg.operators.kronecker import Kronecker, kron
from opalg.operators.low_rank import LowRank
from opalg.operators.matrix import CoordinateMatrix, DenseMatrix, Matrix, SparseMatrix
from opalg.operators.matrix_stack import MatrixStack
from opalg.operators.multi_convolution import MultiConvolve
from opalg.operators.nonuniform import NonuniformFFT
from opalg.operators.norm_estimate import NormEstimate
from opalg.operators.padding import Pad
from opalg.operators.parts import Conj, Imag, Real
from opalg.operators.patches import Patches
from opalg.operators.radon import Radon
from opalg.operators.rearrangement import Flip, Reshape, Roll, Transpose
from opalg.operators.reductions import CumulativeSum, Mean, Sum
from opalg.operators.sampling import Downsample, Upsample
from opalg.operators.second_order import Hessian, Laplacian, SymmetrizedGradient
from opalg.operators.selection import Gather, Permutation, Restrict
from opalg.operators.spectral import DiagonalIn
from opalg.operators.stack import Stacked, hstack, vstack
from opalg.operators.structured_random import RandomBasis, StructuredRandom
from opalg.operators.toeplitz import HermitianToeplitz
from opalg.operators.undecimated import UndecimatedWavelet
from opalg.operators.warp import Warp
from opalg.operators.wavelet import Wavelet
from opalg.operators.windows import Crop, Slice

__all__ = [
    "DCT",
    "DST",
    "FFT",
    "RFFT",
    "Added",
    "Adjoint",
    "AsComplex",
    "Batched",
    "BlockDiagonal",
    "BlockMatrix",
    "CodedDiffraction",
    "CoilSensitivities",
    "Composed",
    "Conj",
    "Conjugated",
    "Convolve",
    "CoordinateMatrix",
    "Crop",
    "CumulativeSum",
    "DenseMatrix",
    "Diagonal",
    "DiagonalIn",
    "Divergence",
    "Downsample",
    "Facts",
    "FiniteDifference",
    "Flip",
    "FunctionOperator",
    "Gather",
    "Gradient",
    "Hadamard",
    "HeldNorm",
    "HermitianToeplitz",
    "Hessian",
    "Identity",
    "Imag",
    "IntensityDiffraction",
    "Interpolate",
    "InverseRFFT",
    "Kronecker",
    "Laplacian",
    "LinearOperator",
    "LowRank",
    "Mask",
    "Matrix",
    "MatrixStack",
    "Mean",
    "MultiConvolve",
    "NonuniformFFT",
    "NormEstimate",
    "OpaqueOperator",
    "Pad",
    "ParallelMRI",
    "Patches",
    "Permutation",
    "Radon",
    "RandomBasis",
    "Real",
    "Reshape",
    "Restrict",
    "Roll",
    "SampledDiagonalIn",
    "Scaled",
    "Slice",
    "SparseMatrix",
    "Stacked",
    "StructuredRandom",
    "Sum",
    "SymmetrizedGradient",
    "Transpose",
    "UndecimatedWavelet",
    "Upsample",
    "Warp",
    "Wavelet",
    "Zero",
    "annular_illumination",
    "block",
    "block_diag",
    "gaussian_kernel",
    "hstack",
    "kron",
    "vstack",
]
