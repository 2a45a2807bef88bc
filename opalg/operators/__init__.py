"""Linear operators: what can stand in front of an unknown."""

from opalg.operators import simplify_rules as _simplify_rules
from opalg.operators.algebra import Added, Adjoint, Composed, Conjugated, Identity, LinearOperator, Scaled, Zero
from opalg.operators.batched import AsComplex, Batched
from opalg.operators.convolution import Convolve, gaussian_kernel
from opalg.operators.diagonal import Diagonal, Mask
from opalg.operators.difference import Divergence, FiniteDifference, Gradient
from opalg.operators.fourier import FFT, RFFT, InverseRFFT
from opalg.operators.function import FunctionOperator, OpaqueOperator
from opalg.operators.knowledge import Facts
from opalg.operators.matrix import DenseMatrix, Matrix, SparseMatrix
from opalg.operators.spectral import DiagonalIn
from opalg.operators.stack import Stacked, hstack, vstack
from opalg.operators.wavelet import Wavelet

__all__ = [
    "FFT",
    "RFFT",
    "Added",
    "Adjoint",
    "AsComplex",
    "Batched",
    "Composed",
    "Conjugated",
    "Convolve",
    "DenseMatrix",
    "Diagonal",
    "DiagonalIn",
    "Divergence",
    "Facts",
    "FiniteDifference",
    "FunctionOperator",
    "Gradient",
    "Identity",
    "InverseRFFT",
    "LinearOperator",
    "Mask",
    "Matrix",
    "OpaqueOperator",
    "Scaled",
    "SparseMatrix",
    "Stacked",
    "Wavelet",
    "Zero",
    "gaussian_kernel",
    "hstack",
    "vstack",
]
