"""Magnetic resonance imaging with several receiver coils: sensitivities, and Cartesian sampling."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.facts import exact, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.diagonal import Diagonal, adjacent
from opalg.operators.fourier import FFT
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, conjugate, text, times
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce, Shape
from opalg.program.linear import Reshaped
from opalg.rules import rule

_ROUNDING = 8 * float(np.finfo(np.float64).eps)  # of a sum of a few squares that were scaled to sum to a constant


@node
class CoilSensitivities(LinearOperator):
    """The image as each coil sees it, ``y_c = s_c x``, on a new first axis.

    Parameters
    ----------
    maps : array, Constant, Parameter or Expression, shape ``(coils, *shape)``
        The sensitivities ``s_c``, complex or real; dimensionless. Gradients in them flow.
    normalise : bool
        Divide the maps by ``sqrt(sum_c |s_c|^2)`` first, where that is not zero.

    Raises
    ------
    ShapeError
        Where the maps have no coil axis in front of the image's axes, or an axis is empty.

    Notes
    -----
    ``shape -> (coils, *shape)``; ``(S.H y) = sum_c conj(s_c) y_c``; ``S.H S = Diagonal(sum_c |s_c|^2)``, which a rule
    puts in its place; ``||S|| = sqrt(max sum_c |s_c|^2)`` (exact). Maps that are normalised everywhere make it an
    isometry, which is a fact where constants show it. The model is that of Pruessmann et al. 1999 (SENSE).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> S = oa.CoilSensitivities(np.array([[3.0, 0.0], [4.0, 1.0]]))
    >>> (S @ np.array([1.0, 10.0])).tolist()
    [[3.0, 0.0], [4.0, 10.0]]
    >>> S.gram.simplify() @ np.array([1.0, 1.0])
    array([25.,  1.])
    >>> float(S.norm_bound())
    5.0
    """

    maps: Any
    normalise: bool = False

    def __post_init__(self) -> None:
        maps = as_data(self.maps, "CoilSensitivities")
        if maps.ndim < 2 or 0 in maps.shape:
            raise ShapeError(
                f"CoilSensitivities takes maps of shape (coils, *shape) without empty axes, but was given shape "
                f"{maps.shape}; for a single coil write maps[None]"
            )
        object.__setattr__(self, "maps", maps)
        object.__setattr__(self, "_gram_scale", _constant_energy(maps, self.normalise))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.maps.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.maps.shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.maps.kind == "complex" else "any"

    @property
    def weights(self) -> Expression:
        """The maps that are applied: as given, or normalised."""
        if not self.normalise:
            return self.maps
        total = Reduce("sum", ex.square_abs(self.maps), (-self.maps.ndim,), keepdims=True)
        return ex.safe_divide(self.maps, ex.sqrt(total))

    def trace(self, x: Expression) -> Expression:
        return _seen_by(self.weights, x, self)

    def trace_adjoint(self, y: Expression) -> Expression:
        return _combined(self.weights, y, self)

    @property
    def facts(self) -> Facts:
        scale = self._gram_scale  # type: ignore[attr-defined]
        if scale is not None:
            return Facts(gram_scale=Literal(scale), norm=exact(scale**0.5))
        return Facts(norm=exact(ex.sqrt(ex.largest(overlap(self, self)))))

    def __repr__(self) -> str:
        return f"CoilSensitivities({text(self.maps)}{', normalise=True' if self.normalise else ''})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        z = rng.standard_normal((3, 2, 4)) + 1j * rng.standard_normal((3, 2, 4))
        learned = Parameter(z[:2, :, :3], name="maps")
        return [
            CoilSensitivities(z),
            CoilSensitivities(rng.standard_normal((2, 3))),
            CoilSensitivities(learned),
            CoilSensitivities(z[:, :1, :3], normalise=True),
            CoilSensitivities(learned, normalise=True),
            CoilSensitivities(np.array([[0.6, -0.8], [0.8, 0.6]])),
            CoilSensitivities(z[:1] * (np.arange(4) != 1), normalise=True),
        ]


@node
class ParallelMRI(LinearOperator):
    """Cartesian magnetic resonance imaging with several coils, ``y_c = M F (s_c x)``.

    Parameters
    ----------
    maps : array, Constant, Parameter or Expression, shape ``(coils, *shape)``, or None
        The sensitivities ``s_c``; None is a single coil that sees everything alike, without a coil axis.
    mask : boolean array or Constant, or None
        Which frequencies were measured; it broadcasts to ``shape``, so a mask per line has the shape ``(1, columns)``
        or ``(rows, 1)``. None measures all.
    centered : bool
        Whether index ``n // 2`` of each axis is position and frequency zero, as in scanner data, fastMRI, BART and
        SigPy; False puts both at index 0, as `numpy.fft` does.
    normalise : bool
        Divide the maps by ``sqrt(sum_c |s_c|^2)`` first, where that is not zero.

    Raises
    ------
    ShapeError, DtypeError
        Where the maps or the mask have a wrong shape, or the mask is not boolean.
    ParameterError
        Where there are neither maps nor a mask.

    Notes
    -----
    ``F`` is the orthonormal Fourier transform over all axes of an image. The result has the shape ``(coils, *shape)``
    (without maps, ``shape``) and is zero where nothing was measured, so data with zeros there fit as they are.
    ``x = sum_c conj(s_c) F.H M y_c`` is the adjoint. ``||A|| <= sqrt(max sum_c |s_c|^2)``, exact for full sampling,
    where normalised maps make ``A`` an isometry. A rule turns ``A.H A`` into ``S.H F.H M F S``, one transform forth
    and one back for each coil, with the shifts of the centre gone: they commute with every convolution.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> maps = np.array([[[0.6, 0.8]], [[0.8, 0.6j]]])
    >>> A = oa.ParallelMRI(maps, np.array([True, False]))
    >>> A.in_shape, A.out_shape
    ((1, 2), (2, 1, 2))
    >>> np.round((A @ np.array([[1.0, 1.0]]))[0].real, 3)
    array([[0.141, 0.   ]])
    """

    maps: Any
    mask: Any = None
    centered: bool = True
    normalise: bool = False
    in_kind = "complex"

    def __post_init__(self) -> None:
        if self.maps is None and self.mask is None:
            raise ParameterError(
                "ParallelMRI needs maps, a mask, or both; a full transform without coils is FFT(shape)"
            )
        mask = self.mask if self.mask is None or isinstance(self.mask, Expression) else Constant(self.mask)
        if mask is not None and (not isinstance(mask, Constant) or mask.kind != "bool"):
            raise DtypeError(
                f"ParallelMRI takes a boolean mask, but was given {mask.kind} data; write mask > 0, or put a Diagonal "
                f"of weights in front of ParallelMRI(maps)"
            )
        object.__setattr__(self, "mask", mask)
        if self.maps is not None:
            coils = CoilSensitivities(self.maps, self.normalise)
            object.__setattr__(self, "maps", coils.maps)
            _check_mask(mask, coils.in_shape)
        elif 0 in mask.shape or mask.shape == ():  # type: ignore[union-attr]
            raise ShapeError(f"without maps the mask has the shape of the image, which cannot be {mask.shape}")  # type: ignore[union-attr]
        object.__setattr__(self, "_at_origin", _moved_mask(mask, self.in_shape, self.centered))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.mask.shape if self.maps is None else self.maps.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.mask.shape if self.maps is None else self.maps.shape

    @cached_property
    def coils(self) -> CoilSensitivities | None:
        """The sensitivities as an operator; None for a single coil without maps."""
        return None if self.maps is None else CoilSensitivities(self.maps, self.normalise)

    @property
    def transform(self) -> FFT:
        """The orthonormal transform of all coil images, with frequency zero at index 0."""
        return FFT(self.out_shape, tuple(range(-len(self.in_shape), 0)))

    @property
    def measured(self) -> Expression | None:
        """The mask in the order of `transform` as the numbers 1 and 0; None where all frequencies are measured."""
        mask = self._at_origin  # type: ignore[attr-defined]
        return None if mask is None else ex.where(mask, 1.0, 0.0)

    def _phases(self) -> tuple[Expression, Expression]:
        """What the image is multiplied by before the transform and its result after it, to have both centred."""
        before: Expression = Literal(1.0)
        after: Expression = Literal(1.0)
        for axis, n in enumerate(self.in_shape if self.centered else (), start=-len(self.in_shape)):
            turn, back = _axis_phases(n)
            tail = (1,) * (-1 - axis)
            before, after = before * Constant(turn.reshape(-1, *tail)), after * Constant(back.reshape(-1, *tail))
        return before, after

    def trace(self, x: Expression) -> Expression:
        before, after, mask = self._factors
        ex.batch_shape(x.shape, self.in_shape, self)
        seen = before * x if self.maps is None else _seen_by(before, x, self)
        return mask * after * self.transform.trace(ex.broadcast_to(seen, _lead(x, self.in_shape) + self.out_shape))

    def trace_adjoint(self, y: Expression) -> Expression:
        before, after, mask = self._factors
        ex.batch_shape(y.shape, self.out_shape, self)
        back = self.transform.trace_adjoint(mask * conjugate(after) * y)
        return conjugate(before) * back if self.maps is None else _combined(before, back, self)

    @cached_property
    def _factors(self) -> tuple[Expression, Expression, Expression]:
        """What is multiplied by before the transform (with the maps) and after it (phases, and the mask)."""
        before, after = self._phases()
        seen = before if self.coils is None else self.coils.weights * before
        return seen, after, Literal(1.0) if self.measured is None else ex.where(self.mask, 1.0, 0.0)

    @property
    def facts(self) -> Facts:
        full = self.measured is None
        if self.coils is None:
            one = Literal(1.0) if full else None
            some = full or bool(self.mask.value.any())
            return Facts(gram_scale=one, cogram_scale=one, norm=exact(float(some)))
        known = self.coils.facts
        assert known.norm is not None
        if full:
            return Facts(gram_scale=known.gram_scale, norm=known.norm)
        return Facts(norm=upper(known.norm.expression))

    def __repr__(self) -> str:
        parts = ["None" if self.maps is None else text(self.maps), "None" if self.mask is None else text(self.mask)]
        parts += [] if self.centered else ["centered=False"]
        return f"ParallelMRI({', '.join(parts + (['normalise=True'] if self.normalise else []))})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        z = rng.standard_normal((2, 3, 4)) + 1j * rng.standard_normal((2, 3, 4))
        lines = np.array([True, False, True, True])
        return [
            ParallelMRI(z, rng.random((3, 4)) < 0.5),
            ParallelMRI(z, lines, centered=False),
            ParallelMRI(Parameter(z[:, :, :3], name="maps"), lines[:3, None]),
            ParallelMRI(z, None, normalise=True),
            ParallelMRI(rng.standard_normal((3, 1, 5)), None),
            ParallelMRI(None, rng.random((3, 2, 2)) < 0.5),
            ParallelMRI(None, np.ones((2, 3), bool)),
            ParallelMRI(z[:, :2, 0], np.zeros(2, bool)),
        ]


def _constant_energy(maps: Expression, normalise: bool) -> float | None:
    """The constant ``sum_c |s_c|^2`` of maps that show one up to rounding in float64; None for others."""
    if not isinstance(maps, Constant):
        return None
    value = backend("numpy", "float64").asarray(maps.value)
    energy = np.sum(value.real**2 + value.imag**2, axis=0)
    if normalise:
        return 1.0 if bool((energy > 0).all()) else None
    middle = float(energy.mean())
    return middle if float(np.abs(energy - middle).max()) <= _ROUNDING * middle else None


def _lead(x: Expression, trailing: Shape) -> Shape:
    return x.shape[: x.ndim - len(trailing)]


def _seen_by(weights: Expression, x: Expression, owner: LinearOperator) -> Expression:
    ex.batch_shape(x.shape, owner.in_shape, owner)
    return weights * ex.Apply(Reshaped(owner.in_shape, (1, *owner.in_shape)), x)


def _combined(weights: Expression, y: Expression, owner: LinearOperator) -> Expression:
    ex.batch_shape(y.shape, owner.out_shape, owner)
    total = Reduce("sum", conjugate(weights) * y, (-len(owner.out_shape),), keepdims=True)
    return ex.Apply(Reshaped((1, *owner.in_shape), owner.in_shape), total)


def overlap(left: CoilSensitivities, right: CoilSensitivities) -> Expression:
    """``sum_c conj(s_c) t_c``, the diagonal of ``S.H T``."""
    a, b = left.weights, right.weights
    product = ex.square_abs(a) if a is b else times(conjugate(a), b)
    total = Reduce("sum", product, (-a.ndim,), keepdims=True)
    return ex.Apply(Reshaped((1, *left.in_shape), left.in_shape), total)


def _check_mask(mask: Constant | None, shape: Shape) -> None:
    if mask is None:
        return
    lead = len(shape) - mask.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(mask.shape, shape[lead:], strict=True)):
        raise ShapeError(
            f"the mask of ParallelMRI has shape {mask.shape}, which does not broadcast to the image's shape {shape}; "
            f"all coils share one mask"
        )


def _moved_mask(mask: Constant | None, shape: Shape, centered: bool) -> Constant | None:
    """The mask with frequency zero at index 0; None where it keeps everything."""
    if mask is None or bool(mask.value.all()):
        return None
    value = np.broadcast_to(backend("numpy").asarray(mask.value), shape)
    return Constant(np.fft.ifftshift(value) if centered else value)


def _axis_phases(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors before and after a transform of length n that move both origins to ``n // 2``."""
    middle = n // 2
    steps = np.arange(n)
    if n % 2 == 0:
        return (-1.0) ** steps, (-1.0) ** (steps - middle)
    turn = np.exp(2j * np.pi * ((middle * steps) % n) / n)
    return turn, turn * np.exp(-2j * np.pi * ((middle * middle) % n) / n)


@rule(Composed, group="merge")
def merge_coils_in_gram(product: Composed) -> LinearOperator | None:
    """S.H @ T  ->  diag(sum_c conj(s_c) t_c)     (S, T coil sensitivities)"""
    match adjacent(product):
        case (Adjoint(operator=CoilSensitivities() as s), CoilSensitivities() as t, rest):
            if s.out_shape != t.out_shape:
                return None
            merged = Diagonal(overlap(s, t), s.in_shape)
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="simplify")
def convolve_coil_images_in_gram(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  S.H @ DiagonalIn(FFT, mask) @ S     (A = M F S of Cartesian parallel MRI)"""
    match adjacent(product):
        case (Adjoint(operator=ParallelMRI() as a), ParallelMRI() as b, rest) if a is b:
            if a.coils is None and a.measured is None:
                return None
            parts: list[LinearOperator] = [] if a.measured is None else [_sampling(a)]
            parts = parts if a.coils is None else [a.coils.H, *parts, a.coils]
            parts += [] if rest is None else [rest]
            merged = parts[-1]
            for part in reversed(parts[:-1]):
                merged = compose(part, merged)
            return merged
    return None


def _sampling(operator: ParallelMRI) -> LinearOperator:
    assert operator.measured is not None
    return DiagonalIn(operator.transform, operator.measured)
