"""Filtered backprojection, the approximate inverse of the X-ray transform."""

from __future__ import annotations

from functools import cached_property
from math import pi, sqrt
from typing import Any

import numpy as np
import scipy.fft

from opalg.errors import ParameterError
from opalg.facts import upper
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.knowledge import Facts
from opalg.operators.projector import ParallelBeam, backproject, project
from opalg.program.expression import Shape
from opalg.program.linear import Kernel

WINDOWS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
_WEDGE = 4.0  # a gap between angles of more than so many usual gaps is a missing wedge


@node
class FilteredBackprojection(LinearOperator):
    """Filtered backprojection, ``x(p) = sum_a w_a (h * y_a)(p . (cos a, sin a))``, made by `Radon.fbp_operator`.

    Parameters
    ----------
    beam : ParallelBeam
        The geometry of the sinograms that it takes.
    window : str
        What damps the ramp at high frequencies: ``"ramp"`` (nothing), ``"shepp-logan"``, ``"cosine"``, ``"hamming"``
        or ``"hann"``.
    cutoff : float
        Where the window ends, as a part of the highest frequency; beyond, nothing passes.

    Raises
    ------
    ParameterError
        For another window, or a cutoff outside of ``0 < cutoff <= 1``.

    Notes
    -----
    The ramp is the transform of its band-limited kernel, ``h_0 = 1 / (4 d^2)``, ``h_k = -1 / (pi k d)^2`` for odd k and
    0 for even ones (Kak and Slaney 1988, Principles of computerized tomographic imaging, equation 61; d is the spacing
    of detectors), applied with zero padding. Filtered rows are interpolated linearly. ``w_a`` is the part of the half
    circle that is nearest to the angle, so that angles need not be equidistant; gaps of more than four times the usual
    one count as missing and get no weight. The adjoint is exact, and the norm bound is certified: filter times Schur's
    test of the interpolation.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.Radon((16, 16), np.pi * np.arange(40) / 40)
    >>> disc = np.hypot(*(np.indices((16, 16)) - 7.5)) < 5
    >>> found = A.fbp_operator("hann") @ (A @ disc.astype(float))
    >>> round(float(found[6:10, 6:10].mean()), 2)
    1.0
    """

    beam: ParallelBeam
    window: str = "ramp"
    cutoff: float = 1.0

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise ParameterError(f"fbp has the windows {', '.join(map(repr, WINDOWS))}, but not {self.window!r}")
        if not 0 < self.cutoff <= 1:
            raise ParameterError(
                f"the cutoff of fbp is a part of the highest frequency, 0 < cutoff <= 1, not {self.cutoff}"
            )
        object.__setattr__(self, "cutoff", float(self.cutoff))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.beam.sinogram_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.beam.shape

    @cached_property
    def response(self) -> Constant:
        """The filter at the frequencies of the real FFT of padded rows."""
        padded = 2 * scipy.fft.next_fast_len(self.beam.detectors, real=True)
        ramp = ramp_response(padded, self.beam.spacing)
        return Constant(ramp * window_of(self.window, np.linspace(0, 1, len(ramp)) / self.cutoff), copy=False)

    @cached_property
    def shares(self) -> Constant:
        """The weight of each angle."""
        return Constant(angular_shares(self.beam.angles)[:, None], copy=False)

    def kernel(self) -> Kernel:
        return self._kernel(filter_and_backproject)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(project_and_filter)

    def _kernel(self, function: Any) -> Kernel:
        arguments = (self.response, self.shares, *self.beam.rays("linear"))
        return Kernel(function, arguments, in_place=False, fresh=True, passes=20.0 * len(self.beam.angles))

    @property
    def facts(self) -> Facts:
        filtered = float(np.max(np.abs(self.response.value), initial=0.0))
        total = self.beam.squared_norm_of_interpolation(self.shares.value[:, 0])
        return Facts(norm=upper(filtered * sqrt(total)))

    def __repr__(self) -> str:
        return f"FilteredBackprojection({self.beam.sinogram_shape} -> {self.beam.shape}, {self.window!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        beam = ParallelBeam((3, 4), tuple(rng.uniform(0, 6.0, 3)), 5, 1.0, 0.0, "strip")
        shifted = ParallelBeam((4, 1), (0.0, 0.5), 3, 1.5, 0.25, "ray")
        return [FilteredBackprojection(beam), FilteredBackprojection(shifted, "hann", 0.8)]


def ramp_response(count: int, spacing: float) -> np.ndarray:
    """The transform of the band-limited ramp's kernel, for rows of ``count`` entries, times the spacing."""
    distance = np.minimum(np.arange(count), count - np.arange(count))
    kernel = np.zeros(count)
    odd = distance % 2 == 1
    kernel[odd] = -1 / (pi * distance[odd] * spacing) ** 2
    kernel[0] = 1 / (4 * spacing**2)
    return spacing * np.fft.rfft(kernel).real


def window_of(name: str, frequency: np.ndarray) -> np.ndarray:
    """The window at frequencies in units of where it ends, and 0 beyond."""
    found = {
        "ramp": lambda f: np.ones_like(f),
        "shepp-logan": lambda f: np.sinc(f / 2),
        "cosine": lambda f: np.cos(pi / 2 * f),
        "hamming": lambda f: 0.54 + 0.46 * np.cos(pi * f),
        "hann": lambda f: 0.5 + 0.5 * np.cos(pi * f),
    }[name](frequency)
    return np.where(frequency <= 1 + 1e-12, found, 0.0)


def angular_shares(angles: tuple[float, ...]) -> np.ndarray:
    """The part of the half circle that is nearest to each angle, where no usual gap is exceeded by far."""
    if not angles:
        return np.zeros(0)
    turned = np.mod(angles, pi)
    order = np.argsort(turned, kind="stable")
    gaps = np.diff(turned[order], append=turned[order[0]] + pi)
    usual = float(np.median(gaps[gaps > 1e-9])) if len(gaps) > 1 else pi
    gaps = np.where(gaps > _WEDGE * usual, usual, gaps)
    shares = np.empty(len(angles))
    shares[order] = (gaps + np.roll(gaps, 1)) / 2
    return shares


def filter_rows(lib: Any, y: Any, response: Any, detectors: int) -> Any:
    """Each row convolved with the filter, with zeros outside."""
    if lib.kind_of(y) == "complex":
        parts = filter_rows(lib, lib.xp.stack((lib.xp.real(y), lib.xp.imag(y))), response, detectors)
        return lib.asarray(parts[0, ...], "complex") + 1j * parts[1, ...]
    # The length of the padded rows is even, so that the response tells it.
    count = 2 * (response.shape[0] - 1)
    padded = lib.zeros_like(y, (*y.shape[:-1], count))
    padded[..., :detectors] = y
    spectrum = lib.rfftn(padded, (-1,), "backward") * response
    return lib.irfftn(spectrum, (count,), (-1,), "backward")[..., :detectors]


def filter_and_backproject(lib: Any, y: Any, response: Any, shares: Any, *rays: Any, out: Any = None) -> Any:
    """Filter the rows of sinograms, weight them by angle and smear them over the image."""
    return backproject(lib, shares * filter_rows(lib, y, response, rays[-1][0]), *rays)


def project_and_filter(lib: Any, x: Any, response: Any, shares: Any, *rays: Any, out: Any = None) -> Any:
    """The adjoint of `filter_and_backproject`: the filter is symmetric."""
    return filter_rows(lib, shares * project(lib, x, *rays), response, rays[-1][0])
