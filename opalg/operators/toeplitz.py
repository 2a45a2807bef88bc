"""Self-adjoint Toeplitz matrices in several dimensions, applied by FFTs of twice the size."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from opalg.errors import ShapeError
from opalg.facts import YES, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.circular import WrapAround
from opalg.operators.fourier import FFT
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, text
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Shape
from opalg.program.linear import Window


@node
class HermitianToeplitz(LinearOperator):
    """A self-adjoint matrix that depends on differences only, ``y_n = sum_m h_(n - m) x_m``.

    Parameters
    ----------
    generator : array, Constant, Parameter or Expression, shape ``2 n - 1`` on each axis
        The entries ``h``, with ``h_0`` in the middle; of ``h`` only the part with ``h_-k = conj(h_k)`` counts.

    Raises
    ------
    ShapeError
        Where an axis of the generator has an even length.

    Notes
    -----
    The matrix is cut out of a circulant one, which FFTs of a length that is fast and at least ``2 n - 1`` diagonalise.
    Its eigenvalues lie between the smallest and the largest of the circulant's, which bounds ``||T||`` from above and
    the spectrum from below. The gram of a `NonuniformFFT` has this form (Fessler et al. 2005, Toeplitz-based iterative
    image reconstruction for MRI).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> T = oa.operators.HermitianToeplitz(np.array([-1.0, 2.0, -1.0]))
    >>> np.round(T.to_dense().real, 12) + 0.0
    array([[ 2., -1.],
           [-1.,  2.]])
    """

    generator: Any
    in_kind = "complex"

    def __post_init__(self) -> None:
        generator = as_data(self.generator, "HermitianToeplitz")
        if generator.ndim == 0 or any(n % 2 == 0 for n in generator.shape):
            raise ShapeError(
                f"the generator of HermitianToeplitz has an odd length 2 n - 1 on each axis, but has shape "
                f"{generator.shape}"
            )
        object.__setattr__(self, "generator", generator)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return tuple((n + 1) // 2 for n in self.generator.shape)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    @property
    def padded(self) -> Shape:
        """The shape of the circulant matrix's arrays."""
        return tuple(scipy.fft.next_fast_len(n) for n in self.generator.shape)

    @property
    def spectrum(self) -> Expression:
        """The real eigenvalues of the circulant matrix."""
        middle = tuple(n - 1 for n in self.in_shape)
        wrapped = ex.Apply(WrapAround(self.generator.shape, self.padded, middle), self.generator)
        return ex.pointwise("real", FFT(self.padded, norm="backward").trace(wrapped))

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        image = Window(self.padded, (0,) * len(self.padded), self.in_shape)
        circulant = DiagonalIn(FFT(self.padded), self.spectrum)
        return ex.Apply(image, circulant.trace(ex.Apply(image, x, adjoint=True)))

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.trace(y)

    @property
    def facts(self) -> Facts:
        spectrum = self.spectrum
        return Facts(self_adjoint=YES, norm=upper(ex.largest(abs(spectrum))), lowest=ex.smallest(spectrum))

    def __repr__(self) -> str:
        shown = text(self.generator) if isinstance(self.generator, (Constant, Parameter)) else str(self.in_shape)
        return f"HermitianToeplitz({shown})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        z = rng.standard_normal((3, 5)) + 1j * rng.standard_normal((3, 5))
        return [
            HermitianToeplitz(z),
            HermitianToeplitz(rng.standard_normal(7)),
            HermitianToeplitz(Parameter(z[:1, :3], name="generator")),
            HermitianToeplitz(np.array([3.0])),
        ]
