"""The parallel-beam X-ray transform of images."""

from __future__ import annotations

from functools import cached_property
from math import isfinite, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import upper
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.filtered_backprojection import FilteredBackprojection
from opalg.operators.knowledge import Facts
from opalg.operators.projector import FOOTPRINTS, ParallelBeam, backproject, fitting_detectors, project
from opalg.operators.shaped import OnShape
from opalg.operators.stored import StoredMatrix, multiply_stored
from opalg.operators.unmatched_backprojection import UnmatchedBackprojection
from opalg.program.expression import Shape
from opalg.program.linear import Kernel

_MOST_STORED = 1 << 25  # weights; more are computed anew at each application


@node
class Radon(OnShape):
    """The parallel-beam X-ray transform, ``y_ak = sum_p w(s_k - p . (cos a, sin a)) x_p``.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image; pixels are unit squares.
    angles : array of float
        The angles in radians. At angle 0 rays run along the columns of the image (each detector sums a column); the
        angle grows counterclockwise for an image whose first row is on top.
    detectors : int, optional
        Number of detectors; by default the fewest that see the whole image from everywhere, odd or even as the image
        has columns, so that rays of angle 0 run through the middles of pixels.
    spacing : float
        Distance of neighbouring detectors, in pixels.
    offset : float
        Where the middle of the detectors sits on their axis, in pixels; 0 faces the middle of the image.
    weights : str
        ``"strip"``: the area of the pixel in the strip that the detector sees, divided by the strip's width;
        ``"ray"``: the length of the ray through the detector's middle in the pixel (Siddon 1985);
        ``"joseph"``: linear interpolation along rows or columns (Joseph 1982).
    matrix_free : bool, optional
        Whether weights are computed anew at each application instead of being stored as a sparse matrix; by default
        where there would be more than about 34 million.

    Raises
    ------
    ShapeError
        Where the shape has not two axes, or a zero.
    ParameterError
        Where the angles, the number of detectors or their geometry make no sense.
    UnsupportedError
        For other weights.

    Notes
    -----
    An image of shape ``(n0, n1)`` gives a sinogram of shape ``(len(angles), detectors)``. The pixel in row i and column
    j has its middle at ``p = (j - (n1 - 1) / 2, (n0 - 1) / 2 - i)``, and detector k looks along the line
    ``p . (cos a, sin a) = s_k``, with ``s_k = (k - (detectors - 1) / 2) spacing + offset``. Entries are lengths times
    values: the sinogram of a disc of height 1 and radius r is ``2 sqrt(r^2 - s^2)``.

    Forward and back projection use the same weights, so the pair is matched and the adjoint exact:
    ``(A.H y)_p = sum_ak w(s_k - p . (cos a, sin a)) y_ak``. The other one, which interpolates the rows of the sinogram
    and is not the adjoint, is `unmatched_backprojection`. ``||A||^2 <= sum_a r_a c_a`` with the largest sums of a row
    and of a column of each angle (Schur's test; an upper bound). The matrix is made at the first application, and on
    libraries without sparse matrices weights are always computed anew.

    References: Siddon 1985, Fast calculation of the exact radiological path for a three-dimensional CT array; Joseph
    1982, An improved algorithm for reprojecting rays through pixel images; Kak and Slaney 1988, Principles of
    computerized tomographic imaging.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.Radon((2, 2), [0.0, np.pi / 2])
    >>> A @ np.array([[1.0, 2.0], [3.0, 4.0]])
    array([[0., 4., 6., 0.],
           [0., 7., 3., 0.]])
    >>> A.backproject(np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    array([[1., 0.],
           [1., 0.]])
    >>> A.subset([1]).out_shape
    (1, 4)
    """

    shape: Shape
    angles: Any
    detectors: Any = None
    spacing: float = 1.0
    offset: float = 0.0
    weights: str = "strip"
    matrix_free: bool | None = None

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if len(shape) != 2 or 0 in shape:
            raise ShapeError(f"Radon takes images with two axes and without zeros in their shape, not {shape}")
        if self.weights not in FOOTPRINTS:
            raise UnsupportedError(
                f"Radon has the weights {', '.join(map(repr, FOOTPRINTS))}, but not {self.weights!r}"
            )
        spacing, offset = float(self.spacing), float(self.offset)
        if not (isfinite(spacing) and spacing > 0 and isfinite(offset)):
            raise ParameterError(
                f"Radon needs a positive spacing and a finite offset of the detectors, not {spacing} and {offset}"
            )
        count = fitting_detectors(shape, spacing) if self.detectors is None else self.detectors
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
            raise ParameterError(f"Radon needs a positive number of detectors, not {count!r}")
        angles = _checked_angles(self.angles)
        for name, value in (("shape", shape), ("angles", angles), ("detectors", int(count))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "offset", offset)
        free = self.beam.entries > _MOST_STORED if self.matrix_free is None else bool(self.matrix_free)
        object.__setattr__(self, "matrix_free", free)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (len(self.angles), self.detectors)

    @cached_property
    def beam(self) -> ParallelBeam:
        """The geometry."""
        return ParallelBeam(self.shape, self.angles, self.detectors, self.spacing, self.offset, self.weights)

    @cached_property
    def _stored(self) -> StoredMatrix | None:
        return None if self.matrix_free else StoredMatrix(self.beam.matrix)

    @property
    def matrix(self) -> Any:
        """The weights as a `scipy.sparse.csr_array`, a row for each ray and a column for each pixel."""
        return self.beam.matrix() if self._stored is None else self._stored.matrix

    def kernel(self) -> Kernel:
        return self._kernel(project_images)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(backproject_sinograms)

    def _kernel(self, function: Any) -> Kernel:
        beam = self.beam
        passes = 30.0 * len(beam.angles) if self.matrix_free else 4.0 * len(beam.angles)
        return Kernel(function, (self._stored, *beam.rays(beam.weights)), in_place=False, fresh=True, passes=passes)

    @property
    def facts(self) -> Facts:
        return Facts(norm=upper(sqrt(self.beam.squared_norm())))

    def subset(self, indices: Any) -> Radon:
        """The transform at some of the angles: a block of rows.

        Parameters
        ----------
        indices : int, slice, sequence of int, or boolean mask
            Which angles, in the order wanted.

        Returns
        -------
        Radon
            Of the same detectors; ``A.subset(i) @ x`` is ``(A @ x)[i]``.

        Raises
        ------
        ParameterError
            Where there is no such angle, or none is left.
        """
        if not isinstance(indices, slice):
            indices = np.atleast_1d(np.asarray(indices, dtype=None if np.size(indices) else int))
        try:
            chosen = np.array(self.angles)[indices]
        except IndexError as problem:
            raise ParameterError(f"{self!r} has no such angles: {problem}") from None
        return Radon(
            self.shape, chosen, self.detectors, self.spacing, self.offset, self.weights, matrix_free=self.matrix_free
        )

    def backproject(self, y: Any) -> Any:
        """``A.H @ y``: every value of a sinogram spread over the pixels that its ray meets."""
        return self.H @ y

    def fbp(self, y: Any, window: str = "ramp", cutoff: float = 1.0) -> Any:
        """The image of a sinogram by filtered backprojection.

        Parameters
        ----------
        y : array, shape ``batch + out_shape``
            The sinogram.
        window : str
            ``"ramp"``, ``"shepp-logan"``, ``"cosine"``, ``"hamming"`` or ``"hann"``.
        cutoff : float
            The highest frequency that passes, as a part of the highest one there is.

        Returns
        -------
        array, shape ``batch + in_shape``

        Raises
        ------
        ParameterError
            For another window or cutoff.
        """
        return self.fbp_operator(window, cutoff) @ y

    def fbp_operator(self, window: str = "ramp", cutoff: float = 1.0) -> FilteredBackprojection:
        """Filtered backprojection as an operator, from ``out_shape`` to ``in_shape``."""
        return FilteredBackprojection(self.beam, window, cutoff)

    def unmatched_backprojection(self, scale: float | None = None) -> UnmatchedBackprojection:
        """Backprojection by interpolation as an operator, from ``out_shape`` to ``in_shape``; it is not the adjoint.

        Parameters
        ----------
        scale : float, optional
            What the sum over the angles is multiplied by; ``pi / (2 len(angles))`` by default.

        Returns
        -------
        UnmatchedBackprojection
            It has an exact adjoint of its own. The adjoint of the transform is ``A.H``, which `backproject` applies.

        Raises
        ------
        ParameterError
            For a scale that is no finite number.

        Notes
        -----
        A fixed point of ``x - t * (B @ (A @ x - y))`` solves ``B A x = B y``, where ``B A`` is not symmetric, and is in
        general no minimiser of ``|A x - y|^2``.
        """
        return UnmatchedBackprojection(self.beam, scale)

    def __repr__(self) -> str:
        free = ", matrix_free=True" if self.matrix_free else ""
        return f"Radon({self.shape}, {len(self.angles)} angles, {self.detectors} detectors, {self.weights!r}{free})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        some = rng.uniform(-4.0, 8.0, 3)
        return [
            Radon((4, 5), [0.0, np.pi / 4, np.pi / 2, 2.0]),
            Radon((4, 5), [0.0, np.pi / 4, np.pi / 2, 2.0], weights="ray"),
            Radon((4, 5), [0.0, np.pi / 4, np.pi / 2, 2.0], weights="joseph"),
            Radon((3, 4), some, matrix_free=True),
            Radon((4, 3), some, 3, 1.7, 0.4, "ray", matrix_free=True),
            Radon((5, 2), some, 6, 0.6, -0.3, "joseph", matrix_free=True),
            Radon((1, 4), some[:2], weights="ray"),
            Radon((1, 1), [np.pi], 3, 0.5),
        ]


def _checked_angles(given: Any) -> tuple[float, ...]:
    host = np.asarray(given.cpu() if hasattr(given, "cpu") else given)
    if host.ndim != 1 or not host.size or host.dtype.kind not in "iuf" or not np.all(np.isfinite(host)):
        raise ParameterError(
            f"Radon takes one or more finite angles in radians, as an array with one axis, but was given {given!r}"
        )
    return tuple(float(a) for a in host)


def project_images(lib: Any, x: Any, stored: Any, *rays: Any, out: Any = None) -> Any:
    """The sinogram of images, by a sparse matrix where one is stored and the library has them."""
    matrix = None if stored is None else stored.on(lib)
    if matrix is None:
        return project(lib, x, *rays)
    image, sinogram = shapes_between(*rays)
    return multiply_stored(lib, matrix, x, image, sinogram)


def backproject_sinograms(lib: Any, y: Any, stored: Any, *rays: Any, out: Any = None) -> Any:
    """The adjoint of `project_images`."""
    matrix = None if stored is None else stored.on(lib, True)
    if matrix is None:
        return backproject(lib, y, *rays)
    image, sinogram = shapes_between(*rays)
    return multiply_stored(lib, matrix, y, sinogram, image)


def shapes_between(
    rows: Any, row_shares: Any, columns: Any, column_shares: Any, directions: Any, geometry: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of the image and of the sinogram that the arguments of `project` stand for."""
    return (rows.shape[-1], columns.shape[-1]), (rows.shape[0], geometry[0])
