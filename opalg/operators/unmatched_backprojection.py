"""Backprojection that interpolates the rows of sinograms, which is not the adjoint of the X-ray transform."""

from __future__ import annotations

from math import isfinite, pi, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.facts import upper
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.knowledge import Facts
from opalg.operators.projector import ParallelBeam, backproject, project
from opalg.program.expression import Shape
from opalg.program.linear import Kernel


@node
class UnmatchedBackprojection(LinearOperator):
    """Interpolated rows, ``x(p) = scale sum_a y_a(p . (cos a, sin a))``, by `Radon.unmatched_backprojection`.

    Parameters
    ----------
    beam : ParallelBeam
        The geometry of the sinograms that it takes; its weights do not count here.
    scale : float, optional
        What the sum is multiplied by; by default ``pi / (2 n)`` for n angles.

    Raises
    ------
    ParameterError
        For a scale that is no finite number.

    Notes
    -----
    ``y_a`` is the row of angle a, interpolated linearly between detectors; next to the outermost ones it goes down to 0
    at one spacing's distance. This is not the adjoint of `Radon`, whose weights differ. With A the transform and B this
    operator, a fixed point of ``x - t B (A x - y)`` solves ``B A x = B y`` and is in general no minimiser of
    ``|A x - y|^2``. ``B A`` is not symmetric, so that derivatives of the fixed point need ``(B A)^H = A^H B^H``; its
    eigenvalues may have negative real parts, so that without a regulariser the map need not contract. The operator's
    own adjoint, ``B.H``, is exact, and the norm bound is certified (Schur's test, angle by angle).

    With the default scale it is a mean over angles times ``pi / 2``, so that the mean over equal parts of the angles
    (`Radon.subset`) is the whole. The projector is paired with it so in the released code of Liu, Xu, Gan,
    Shoushtari and Kamilov 2022, Online deep equilibrium learning for regularization by denoising.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.Radon((2, 2), [0.0, np.pi / 2])
    >>> B = A.unmatched_backprojection(scale=0.5)
    >>> B @ np.array([[0.0, 1.0, 3.0, 0.0], [0.0, 10.0, 20.0, 0.0]])
    array([[10.5, 11.5],
           [ 5.5,  6.5]])
    """

    beam: ParallelBeam
    scale: float | None = None

    def __post_init__(self) -> None:
        scale = pi / (2 * len(self.beam.angles)) if self.scale is None else self.scale
        number = isinstance(scale, (int, float, np.integer, np.floating)) and not isinstance(scale, bool)
        if not (number and isfinite(scale)):
            raise ParameterError(
                f"the scale of unmatched_backprojection is a finite number, not {scale!r}; for one that is learned, "
                f"multiply the operator by it: theta * A.unmatched_backprojection()"
            )
        object.__setattr__(self, "scale", float(scale))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.beam.sinogram_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.beam.shape

    def kernel(self) -> Kernel:
        return self._kernel(interpolate_rows)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(spread_over_rows)

    def _kernel(self, function: Any) -> Kernel:
        arguments = (self.scale, *self.beam.rays("linear"))
        return Kernel(function, arguments, in_place=False, fresh=True, passes=20.0 * len(self.beam.angles))

    @property
    def facts(self) -> Facts:
        shares = [float(self.scale or 0.0)] * len(self.beam.angles)
        return Facts(norm=upper(sqrt(self.beam.squared_norm_of_interpolation(shares))))

    def __repr__(self) -> str:
        return f"UnmatchedBackprojection({self.beam.sinogram_shape} -> {self.beam.shape}, scale={self.scale:.6g})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Members for the property tests."""
        beam = ParallelBeam((3, 4), (0.0, 0.7, 2.3), 5, 1.0, 0.0, "strip")
        shifted = ParallelBeam((4, 1), (1.4, -2.0), 3, 1.5, 0.25, "ray")
        return [UnmatchedBackprojection(beam), UnmatchedBackprojection(shifted, -0.8)]


def interpolate_rows(lib: Any, y: Any, scale: float, *rays: Any, out: Any = None) -> Any:
    """Each pixel's value on the rows of sinograms, summed over the angles, times the scale."""
    return scale * backproject(lib, y, *rays)


def spread_over_rows(lib: Any, x: Any, scale: float, *rays: Any, out: Any = None) -> Any:
    """The adjoint of `interpolate_rows`."""
    return scale * project(lib, x, *rays)
