"""The Fourier transform at any frequencies, through finufft, and the Toeplitz operator that its gram is."""

from __future__ import annotations

from functools import cached_property
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.fourier import NORMS
from opalg.operators.knowledge import Facts
from opalg.operators.nonuniform_plans import Plans
from opalg.operators.shaped import OnShape
from opalg.operators.spectra import as_data, check_broadcast, text
from opalg.operators.toeplitz import HermitianToeplitz
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel

_FINEST, _COARSEST = 1e-14, 1e-1
_MARGIN = 10.0  # by how much finufft may miss its tolerance; measured: below 5


@node
class NonuniformFFT(OnShape):
    """The Fourier transform at any frequencies, ``y_j = c sum_n x_n exp(-i <p_j, n>)``, n counted from the centre.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image, with one to three axes.
    points : array or Constant, shape ``(*samples, len(shape))``
        The frequencies ``p_j`` in radians per sample, one coordinate for each axis of the image in order: pi is the
        highest frequency that sampling holds, ``2 pi`` times cycles per sample. Any real number will do, as
        frequencies repeat after ``2 pi``. For one axis the shape ``samples`` will do.
    tolerance : float
        Relative accuracy of the sums, from 1e-14 to 0.1; in single precision no finer than 1e-6.
    norm : str
        The factor ``c``: ``"ortho"`` (``1 / sqrt(N)``, N entries in the image), ``"backward"`` (1) or ``"forward"``
        (``1 / N``).
    threads : int, optional
        Threads of finufft on the CPU. By default the forward transform of large images takes all cores and the
        adjoint one: sums of several threads are added in the order in which those finish, so that results repeat up to
        rounding only.

    Raises
    ------
    ShapeError
        Where the image has not one to three axes, or the points have not one coordinate for each of them.
    DtypeError
        Where the points are not real.
    ParameterError
        For another norm, or a tolerance or number of threads out of range.
    UnsupportedError
        For points that are a Parameter; and when applied without finufft (on a graphics card, without cufinufft).

    Notes
    -----
    ``shape -> samples``, complex to complex; ``n`` runs from ``-(N_a // 2)`` on each axis, so points on the grid
    ``2 pi (k - N_a // 2) / N_a`` give the transform with both origins in the middle, which ``"ortho"`` makes unitary.
    Forward is finufft's type 2, the adjoint its type 1 with the conjugate exponent (Barnett, Magland and af Klinteberg
    2019). Both spread with the same kernel on the same fine grid, so the pair is adjoint up to rounding whatever the
    tolerance; only the sums themselves are as accurate as ``tolerance`` says. The norm is bounded by the largest
    eigenvalue of the circulant matrix around the Toeplitz matrix ``A.H A`` (see `toeplitz_gram`) and by
    ``c sqrt(N * samples)`` (Frobenius), with a margin for the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.NonuniformFFT((4,), np.array([0.0, np.pi / 2]), norm="backward")
    >>> np.round(A @ np.array([1.0, 2.0, 3.0, 4.0]), 6)
    array([10.+0.j,  2.-2.j])
    """

    shape: Shape
    points: Any
    tolerance: float = 1e-9
    norm: str = "ortho"
    threads: Any = None
    in_kind = "complex"

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if not 1 <= len(shape) <= 3 or 0 in shape:
            raise ShapeError(f"NonuniformFFT takes images of one to three axes without empty ones, not {shape}")
        if self.norm not in NORMS:
            raise ParameterError(f'NonuniformFFT has no norm={self.norm!r}; it has "ortho", "backward" and "forward"')
        if not _FINEST <= float(self.tolerance) <= _COARSEST:
            raise ParameterError(f"the tolerance of NonuniformFFT lies between 1e-14 and 0.1, not {self.tolerance!r}")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ParameterError(f"threads of NonuniformFFT is a positive integer or None, not {self.threads!r}")
        points = _checked_points(self.points, len(shape))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "tolerance", float(self.tolerance))
        flat = points.ndim == 1 or (len(shape) == 1 and points.shape[-1] != 1)
        object.__setattr__(self, "_samples", points.shape if flat else points.shape[:-1])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self._samples  # type: ignore[attr-defined, no-any-return]

    def kernel(self) -> Kernel:
        return Kernel(sample_spectrum, (self,), in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(spread_samples, (self,), in_place=False, transforms=1, passes=0.0)

    @property
    def factor(self) -> float:
        """The factor ``c``."""
        return {"backward": 1.0, "ortho": 1.0 / sqrt(prod(self.shape)), "forward": 1.0 / prod(self.shape)}[self.norm]

    @cached_property
    def plans(self) -> Plans:
        """What finufft prepares for these points, kept from one application to the next."""
        host = backend("numpy", "float64").asarray(self.points.value).reshape(-1, len(self.shape))
        return Plans(self.shape, host, self.tolerance, self.threads)

    def toeplitz_gram(self, weights: Any = None) -> HermitianToeplitz:
        """``A.H diag(w) A`` as one convolution on a doubled grid, without finufft (Fessler et al. 2005).

        Parameters
        ----------
        weights : array, Constant, Parameter or Expression, optional
            Real weights ``w`` of the samples, such as a density compensation, which broadcast to ``out_shape``; ones by
            default. Gradients in them flow.

        Returns
        -------
        HermitianToeplitz
            The gram up to the transform's tolerance, and self-adjoint up to rounding; it costs two FFTs.

        Raises
        ------
        DtypeError, ShapeError
            Where the weights are complex, or do not broadcast to the samples.

        Examples
        --------
        >>> import numpy as np
        >>> import opalg as oa
        >>> A = oa.NonuniformFFT((4, 3), np.random.default_rng(0).uniform(-np.pi, np.pi, (7, 2)))
        >>> x = np.ones((4, 3))
        >>> bool(np.allclose(A.toeplitz_gram() @ x, A.gram @ x))
        True
        """
        given: Expression = Literal(1.0) if weights is None else as_data(weights, "toeplitz_gram")
        if given.kind == "complex":
            raise DtypeError("the weights of toeplitz_gram are complex, which gives no gram; use their real part")
        check_broadcast(given, self.out_shape, "weights of toeplitz_gram")
        doubled = NonuniformFFT(
            tuple(2 * n - 1 for n in self.shape), self.points, self.tolerance, "backward", self.threads
        )
        samples = ex.broadcast_to(Literal(1 + 0j) * given, self.out_shape)
        return HermitianToeplitz(self.factor**2 * ex.Apply(doubled, samples, adjoint=True))

    @cached_property
    def facts(self) -> Facts:  # type: ignore[override]
        largest = self.factor * sqrt(prod(self.shape) * prod(self.out_shape))
        slack = _MARGIN * self.tolerance
        spectrum = self.toeplitz_gram().spectrum
        error = slack * ex.sqrt(ex.norm_squared(spectrum))
        squared = ex.minimum(ex.largest(abs(spectrum)) + error, largest**2)
        return Facts(norm=upper(ex.sqrt(squared) + slack * largest))

    def __repr__(self) -> str:
        name = "" if isinstance(self.points, Constant) and self.points.name is None else f"{text(self.points)}, "
        options = "" if self.norm == "ortho" else f", norm={self.norm!r}"
        return f"NonuniformFFT({self.shape}, {name}{prod(self.out_shape)} points, {self.tolerance:g}{options})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            NonuniformFFT((5,), rng.uniform(-np.pi, np.pi, 4)),
            NonuniformFFT((4,), rng.uniform(-9.0, 9.0, (6, 1)), tolerance=1e-12, norm="backward"),
            NonuniformFFT((3, 4), rng.uniform(-np.pi, np.pi, (2, 3, 2)), tolerance=1e-6, norm="forward"),
            NonuniformFFT((1, 3), np.array([[0.0, 0.0], [np.pi, -np.pi]])),
            NonuniformFFT((2, 3, 2), rng.uniform(-np.pi, np.pi, (5, 3)), threads=2),
        ]


def _checked_points(points: Any, ndim: int) -> Constant:
    if isinstance(points, Expression) and not isinstance(points, Constant):
        label = points.label if isinstance(points, Parameter) else repr(points)
        raise UnsupportedError(
            f"the points of NonuniformFFT are {label!r}, but no gradient flows to them; give an array or a Constant"
        )
    found = points if isinstance(points, Constant) else Constant(points)
    if found.kind != "real":
        raise DtypeError(
            f"the points of NonuniformFFT are {found.kind}; give real frequencies in radians per sample, of shape "
            f"(samples, {ndim}), not kx + 1j * ky"
        )
    if 0 in found.shape or found.ndim == 0 or (ndim > 1 and (found.ndim < 2 or found.shape[-1] != ndim)):
        raise ShapeError(
            f"NonuniformFFT of an image with {ndim} axes takes points of shape (*samples, {ndim}), but was given shape "
            f"{found.shape}"
        )
    return found


def sample_spectrum(lib: Any, x: Any, operator: Any, out: Any = None) -> Any:
    """The spectrum of x at the points of an operator."""
    return operator.plans.forward(lib, x, operator.in_shape, operator.out_shape, operator.factor)


def spread_samples(lib: Any, x: Any, operator: Any, out: Any = None) -> Any:
    """The adjoint: waves of the points' frequencies, added up."""
    return operator.plans.adjoint(lib, x, operator.out_shape, operator.in_shape, operator.factor)
