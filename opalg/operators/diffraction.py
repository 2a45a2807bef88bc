"""Intensity diffraction tomography: what slices of a weakly scattering sample do to images under tilted light."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from math import pi
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.facts import exact, upper
from opalg.leaves import Constant, Leaf, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.fourier import RFFT, InverseRFFT, half_shape
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import conjugate, text, times
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Join, Literal, Reduce, Shape
from opalg.program.linear import Reshaped, Window
from opalg.rules import rule

COMPONENTS = ("both", "phase", "absorption")
_EDGE = 1e-6  # relative width of the pupil's edge, so that rounding does not darken light on a ring at the edge


@node
class IntensityDiffraction(LinearOperator):
    """Intensity images of slices under tilted light, ``I_l = sum_s F^-1 (H_phase F Re e_s + H_absorption F Im e_s)``.

    The linear model of intensity diffraction tomography (first Born approximation, interference with the unscattered
    light only). Give all lengths in one unit.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the images and slices.
    depths : array, Constant, Parameter or number, shape ``(slices,)``
        Positions of the slices along the optical axis, growing the way the light goes; the focus is at 0.
    illumination : array, Constant or Parameter, shape ``(leds, 2)``
        The direction of each plane wave as its numerical aperture ``n sin(angle)`` along rows and columns; for rings
        of light see `annular_illumination`.
    wavelength : number, Parameter or scalar Expression
        In vacuum.
    aperture : number, Parameter or scalar Expression
        Numerical aperture of the objective, at most ``index``. Illumination lies inside it (bright field): light from
        outside leaves nothing to interfere with.
    pixel : number, Parameter or scalar Expression
        Side of a pixel in the sample.
    index : number, Parameter or scalar Expression
        Refractive index ``n`` of the medium.
    thickness : number, Parameter or scalar Expression, optional
        Thickness of a slice; by default the distance between equally spaced depths.
    component : str
        ``"both"``, or ``"phase"`` or ``"absorption"`` for samples of one sort.

    Raises
    ------
    ShapeError
        Where depths, illumination or a scalar have a wrong shape, or the image has not two axes.
    DtypeError
        For complex data.
    ParameterError
        For lengths that are not positive, an aperture above the index, illumination outside the aperture, an unknown
        component, and slices without a thickness.

    Notes
    -----
    Takes the contrast ``e`` of the permittivity (relative to vacuum; ``e = 2 n dn`` for a small change ``dn`` of the
    index) as real arrays ``(slices, 2, rows, columns)``, real part first, or ``(slices, rows, columns)`` for one
    ``component``; gives the changes of intensity ``(leds, rows, columns)``, relative to the background of each image.
    ``Im e > 0`` absorbs. With ``k = n / wavelength``, ``eta(v) = sqrt(k^2 - |v|^2)``, the illumination ``u``, the pupil
    P and ``a(v) = P(v) pi thickness / (wavelength^2 eta(v))``, at a spatial frequency ``v`` and depth ``z``,

    ``H_phase = i (a(v + u) exp(-i f) - a(v - u) exp(i g))``,
    ``H_absorption = -(a(v + u) exp(-i f) + a(v - u) exp(i g))``

    with ``f = 2 pi z (eta(v + u) - eta(u))`` and ``g = 2 pi z (eta(v - u) - eta(u))``. The convolutions are periodic;
    the highest frequency of an even axis, whose sign sampling cannot tell, is left out. Gradients flow to every
    quantity that is a Parameter, through phases and amplitudes but not through the edge of the pupil. The transfer
    functions of all slices and lights are held in memory. The norm is bounded frequency by frequency (Schur and
    Frobenius); for one light or one slice of one component it is exact, and ``A A.H`` or ``A.H A`` is diagonal in the
    Fourier basis, by a rule. Sources: Ling, Tahir, Lin, Lee and Tian 2018, High-throughput intensity diffraction
    tomography with a computational microscope; Li et al. 2019 for rings of light.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> ring = oa.annular_illumination(6, aperture=0.3)
    >>> A = oa.IntensityDiffraction((8, 8), np.array([-2.0, 0.0, 2.0]), ring, 0.5, 0.4, 0.5, index=1.33)
    >>> A.in_shape, A.out_shape
    ((3, 2, 8, 8), (6, 8, 8))
    >>> A.phase.in_shape
    (3, 8, 8)
    """

    shape: Shape
    depths: Any
    illumination: Any
    wavelength: Any
    aperture: Any
    pixel: Any
    index: Any = 1.0
    thickness: Any = None
    component: str = "both"

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if len(shape) != 2 or 0 in shape:
            raise ShapeError(f"IntensityDiffraction takes images with rows and columns, not shape {shape}")
        if self.component not in COMPONENTS:
            raise ParameterError(f"the components of IntensityDiffraction are {COMPONENTS}, not {self.component!r}")
        depths = _data(np.atleast_1d(self.depths) if isinstance(self.depths, (int, float)) else self.depths, "depths")
        light = _data(self.illumination, "illumination")
        if depths.ndim != 1 or 0 in depths.shape:
            raise ShapeError(f"the depths have shape (slices,), but were given with shape {depths.shape}")
        if light.ndim != 2 or light.shape[1] != 2 or 0 in light.shape:
            raise ShapeError(f"the illumination has shape (leds, 2), but was given with shape {light.shape}")
        set_to = {"shape": shape, "depths": depths, "illumination": light}
        for name in ("wavelength", "aperture", "pixel", "index"):
            set_to[name] = _length(getattr(self, name), name)
        set_to["thickness"] = _spacing(depths) if self.thickness is None else _length(self.thickness, "thickness")
        for name, value in set_to.items():
            object.__setattr__(self, name, value)
        _check_optics(self)

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "real"

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return (*self._channels, *self.shape)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (self.illumination.shape[0], *self.shape)

    @property
    def _channels(self) -> Shape:
        slices = self.depths.shape[0]
        return (slices, 2) if self.component == "both" else (slices,)

    @property
    def phase(self) -> IntensityDiffraction:
        """The part that sees the real part of the contrast only, ``(slices, rows, columns)``."""
        return replace(self, component="phase")

    @property
    def absorption(self) -> IntensityDiffraction:
        """The part that sees the imaginary part of the contrast only, ``(slices, rows, columns)``."""
        return replace(self, component="absorption")

    @cached_property
    def transfer(self) -> Expression:
        """The transfer functions on half spectra, ``(leds, *in_shape[:-2], rows, columns // 2 + 1)``."""
        return _transfer_functions(self)

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        slices, images = self._beside
        spectra = ex.Apply(slices, RFFT(self.in_shape, (-2, -1), "backward").trace(x))
        axes = tuple(range(-2 - len(self._channels), -2))
        seen = Reduce("sum", self.transfer * spectra, axes, keepdims=True)
        return InverseRFFT(self.out_shape, (-2, -1), "backward").trace(ex.Apply(images, seen, adjoint=True))

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        slices, images = self._beside
        spectra = ex.Apply(images, InverseRFFT(self.out_shape, (-2, -1), "backward").trace_adjoint(y))
        # The small array is conjugated, twice, so that no second copy of the transfer functions is kept.
        gathered = self.transfer * ex.pointwise("conj", spectra)
        seen = ex.pointwise("conj", Reduce("sum", gathered, (-3 - len(self._channels),), keepdims=True))
        return RFFT(self.in_shape, (-2, -1), "backward").trace_adjoint(ex.Apply(slices, seen, adjoint=True))

    @property
    def _beside(self) -> tuple[Reshaped, Reshaped]:
        """Spectra of slices and of images laid on the axes of the transfer functions."""
        lights, channels, half = self.out_shape[0], self._channels, half_shape(self.shape, -1)
        slices = Reshaped((*channels, *half), (1, *channels, *half))
        return slices, Reshaped((lights, *half), (lights, *(1,) * len(channels), *half))

    @property
    def facts(self) -> Facts:
        size = abs(self.transfer)
        inputs = tuple(range(-2 - len(self._channels), -2))
        lights = -3 - len(self._channels)
        frobenius = Reduce("sum", ex.square(size), (lights, *inputs), keepdims=True)
        if self._single:
            return Facts(norm=exact(ex.sqrt(ex.largest(frobenius))))
        rows = Reduce("max", Reduce("sum", size, inputs, keepdims=True), (lights,), keepdims=True)
        columns = Reduce("max", Reduce("sum", size, (lights,), keepdims=True), inputs, keepdims=True)
        return Facts(norm=upper(ex.sqrt(ex.largest(ex.minimum(frobenius, rows * columns)))))

    @property
    def _single(self) -> bool:
        """Whether there is one image, or one unknown array."""
        return self.out_shape[0] == 1 or self._channels == (1,)

    def out_kind(self, kind: str) -> str:
        return "real"

    def adjoint_kind(self, kind: str) -> str:
        return "real"

    def __repr__(self) -> str:
        parts = f"{self.shape}, {self.depths.shape[0]} slices, {self.illumination.shape[0]} leds"
        return f"IntensityDiffraction({parts}, {text(self.wavelength)}, {text(self.aperture)}" + (
            ")" if self.component == "both" else f", {self.component!r})"
        )

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        lights = np.array([[0.1, 0.2], [-0.15, 0.05], [0.0, 0.0]])
        depth, wave = Parameter(np.array([-1.3, 0.4]), name="depths"), Parameter(0.6, name="wavelength", positive=True)
        tilt = Parameter(lights[:2], name="tilt")
        return [
            IntensityDiffraction((3, 4), np.array([-1.0, 0.5]), lights, 0.5, 0.4, 0.5),
            IntensityDiffraction((4, 3), depth, tilt, wave, 0.5, 0.4, index=1.4, thickness=0.7, component="phase"),
            IntensityDiffraction((2, 5), 0.8, lights, 0.5, 0.4, 0.5, thickness=1.0, component="absorption"),
            IntensityDiffraction((5, 2), depth, lights[:1], 0.5, 0.4, 0.5, index=1.3),
        ]


def annular_illumination(count: int, aperture: float, start: float = 0.0) -> np.ndarray:
    """Directions of light on a ring, equally spaced.

    Parameters
    ----------
    count : int
        How many.
    aperture : float
        Their common numerical aperture ``n sin(angle)``; that of the objective, or just below it, sees most.
    start : float
        The azimuth of the first one in radians, from the columns' axis towards the rows'.

    Returns
    -------
    array, shape ``(count, 2)``
        Numerical apertures along rows and columns.

    Raises
    ------
    ParameterError
        Where there is no light, or the aperture is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> np.round(oa.annular_illumination(4, 0.5), 3) + 0.0
    array([[ 0. ,  0.5],
           [ 0.5,  0. ],
           [ 0. , -0.5],
           [-0.5,  0. ]])
    """
    if count < 1 or aperture < 0:
        raise ParameterError(f"a ring of light needs count >= 1 and aperture >= 0, not {count} and {aperture}")
    turn = start + 2 * pi * np.arange(count) / count
    return aperture * np.stack([np.sin(turn), np.cos(turn)], axis=1)


def _data(value: Any, name: str) -> Expression:
    found = value if isinstance(value, Expression) else Constant(value)
    if found.kind != "real":
        raise DtypeError(f"{name} of IntensityDiffraction are {found.kind}; give real numbers")
    return found


def _length(value: Any, name: str) -> Expression:
    found = ex.as_expression(value)
    if found.shape != () or found.kind != "real":
        raise ShapeError(f"{name} of IntensityDiffraction is one real number, not {found.kind} of shape {found.shape}")
    if isinstance(found, Literal) and not float(found.value.real) > 0:
        raise ParameterError(f"{name} of IntensityDiffraction is positive, not {found.value.real:g}")
    return found


def _host(data: Expression) -> np.ndarray | None:
    """The value of a constant or number; None for what may change."""
    if isinstance(data, Literal):
        return np.asarray(data.value)
    return backend("numpy", "float64").asarray(data.value) if isinstance(data, Constant) else None


def _spacing(depths: Expression) -> Expression:
    value = backend("numpy", "float64").asarray(depths.value) if isinstance(depths, Leaf) else None
    steps = None if value is None else np.diff(value)
    if steps is None or not len(steps) or np.ptp(steps) > 1e-6 * np.abs(steps).max() or steps[0] == 0:
        raise ParameterError(
            "IntensityDiffraction takes the thickness of a slice from equally spaced depths, which these are not; give "
            "thickness=, in the unit of the wavelength"
        )
    return Literal(float(abs(steps).mean()))


def _check_optics(operator: IntensityDiffraction) -> None:
    aperture, index, light = (_host(e) for e in (operator.aperture, operator.index, operator.illumination))
    if aperture is None:
        return
    if index is not None and aperture > index:
        raise ParameterError(f"the aperture {aperture:g} exceeds the refractive index {index:g}; set index=")
    if light is not None:
        tilt = np.hypot(light[:, 0], light[:, 1])
        if tilt.max() > aperture * (1 + _EDGE / 4):
            worst = int(tilt.argmax())
            raise ParameterError(
                f"light {worst} has the numerical aperture {tilt[worst]:g}, outside the objective's {aperture:g}: it "
                f"leaves no background to interfere with. Leave out dark-field images"
            )


def _transfer_functions(operator: IntensityDiffraction) -> Expression:
    """The transfer functions as a formula of the optics, with axes lights, slices, (parts,) rows, columns."""
    rows, columns = operator.shape
    inverse = 1.0 / operator.wavelength
    down, across = (_tilts(operator, axis) * inverse for axis in (0, 1))
    v_down = Constant(np.fft.fftfreq(rows)[:, None], name="row frequencies") / operator.pixel
    v_across = Constant(np.fft.rfftfreq(columns)[None, :], name="column frequencies") / operator.pixel
    depths = ex.Apply(Reshaped(operator.depths.shape, (*operator.depths.shape, 1, 1, 1)), operator.depths)
    tilt = ex.square(down) + ex.square(across)
    axial = ex.sqrt(ex.square(operator.index * inverse) - tilt)
    plain, mixed = ex.square(v_down) + ex.square(v_across), 2.0 * (v_down * down + v_across * across)
    above = _scattered(operator, plain + mixed, tilt, axial, -2 * pi * depths)
    below = _scattered(operator, plain - mixed, tilt, axial, 2 * pi * depths)
    phase, absorption = Literal(1j) * (above - below), -(above + below)
    slices, lights = operator.depths.shape[0], operator.illumination.shape[0]
    whole = (lights, slices, 1, rows, columns // 2 + 1)
    if operator.component == "both":
        return Join((ex.broadcast_to(phase, whole), ex.broadcast_to(absorption, whole)), -3)
    chosen = ex.broadcast_to(phase if operator.component == "phase" else absorption, whole)
    return ex.Apply(Reshaped(whole, (*whole[:2], *whole[3:])), chosen)


def _tilts(operator: IntensityDiffraction, axis: int) -> Expression:
    """One coordinate of all lights, on an axis in front of slices, parts, rows and columns."""
    light = operator.illumination
    count = light.shape[0]
    column = ex.Apply(Window(light.shape, (0, axis), (count, axis + 1)), light)
    return ex.Apply(Reshaped((count, 1), (count, 1, 1, 1, 1)), column)


def _scattered(
    operator: IntensityDiffraction, moved: Expression, tilt: Expression, axial: Expression, turn: Expression
) -> Expression:
    """``a(q) exp(i turn (eta(q) - eta(u)))`` where ``|q|^2 = |u|^2 + moved``, inside the pupil and the band.

    The difference of the axial frequencies is a quotient, so that single precision does not lose it by cancellation.
    """
    wave, pupil = operator.index / operator.wavelength, ex.square(operator.aperture / operator.wavelength)
    inside = ex.pointwise("less_equal", tilt + moved, (1 + _EDGE) * pupil)
    seen = ex.pointwise("logical_and", inside, _band(operator.shape))
    kept = ex.where(seen, moved, 0.0)
    eta = ex.sqrt(ex.maximum(ex.square(wave) - tilt - kept, _EDGE * ex.square(wave)))
    size = ex.where(seen, (pi * operator.thickness / ex.square(operator.wavelength)) / eta, 0.0)
    return size * ex.exp(Literal(1j) * (turn * (-kept / (eta + axial))))


def _band(shape: Shape) -> Constant:
    """The frequencies whose sign sampling can tell, on a half spectrum."""
    rows, columns = (2 * np.abs(f(n)) < 1 for f, n in zip((np.fft.fftfreq, np.fft.rfftfreq), shape, strict=True))
    return Constant(rows[:, None] & columns[None, :], name="band")


@rule(Composed, group="diagonalise")
def diagonalise_single_diffraction(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  DiagonalIn(RFFT, sum |H|^2)     (A with one unknown array; A @ A.H for one image)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=IntensityDiffraction() as left), IntensityDiffraction() as right):
            fits, shape = right._channels == (1,), right.in_shape
        case (IntensityDiffraction() as right, Adjoint(operator=IntensityDiffraction() as left)):
            fits, shape = right.out_shape[0] == 1, right.out_shape
        case _:
            return None
    if left is not right or not fits:
        return None
    functions = right.transfer
    total = Reduce("sum", times(conjugate(functions), functions), tuple(range(-functions.ndim, -2)), keepdims=True)
    half = functions.shape[-2:]
    spectrum = ex.Apply(Reshaped((1,) * (functions.ndim - 2) + half, (1, *half)), total)
    merged = DiagonalIn(RFFT(shape, (-2, -1), "backward"), spectrum)
    return merged if rest is None else compose(merged, rest)
