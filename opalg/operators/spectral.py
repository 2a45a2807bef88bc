"""Operators that are diagonal in the basis of a transform, and the rules that find and merge them."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError
from opalg.facts import UNKNOWN, YES, exact
from opalg.leaves import Constant, Leaf, Parameter
from opalg.nodes import node, walk
from opalg.operators.algebra import Added, Adjoint, Composed, Identity, LinearOperator, Scaled, add, compose
from opalg.operators.batched import AsComplex
from opalg.operators.diagonal import Diagonal, Mask, adjacent, diagonal_of
from opalg.operators.fourier import FFT, RFFT, gram_scale
from opalg.operators.knowledge import Facts
from opalg.operators.mirrored import Mirrored, Unfolded
from opalg.operators.round_trip import from_spectrum, to_spectrum
from opalg.operators.spectra import (
    as_data,
    check_broadcast,
    conjugate,
    has_constant_zero,
    is_nonnegative,
    pseudo_reciprocal,
    times,
)
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Literal, Pointwise, Shape
from opalg.program.linear import Window
from opalg.program.text import elided, text_of
from opalg.rules import rule

_MOST_SPECTRUM, _MOST_BASIS = 58, 26  # characters in a repr, which so stays below 100


@node
class DiagonalIn(LinearOperator):
    """Diagonal in a basis: ``x -> T^-1 (s T x)``.

    Parameters
    ----------
    transform : FFT, RFFT, or an operator with ``T.H T = c I``
        The transform ``T``. The factor of a Fourier transform cancels, so it is stored with ``norm="backward"``.
    spectrum : array, Constant, Parameter or Expression
        The spectrum ``s``; it broadcasts to ``transform.out_shape``. For an `RFFT` it is the half spectrum of a real
        kernel: ``s[-k] = conj(s[k])`` along the columns that are their own mirror image.

    Raises
    ------
    ShapeError
        Where the spectrum does not broadcast to the transform's result.
    ParameterError
        Where an array given for an `RFFT` is no spectrum of a real kernel, or the transform is no scaled isometry.

    Notes
    -----
    With an `RFFT` the operator maps real to real; of a complex argument it treats real and imaginary part alike.
    ``A.H`` has the spectrum ``conj(s)``, ``||A|| = max |s|`` (exact), the inverse has ``1 / s``.
    """

    transform: LinearOperator
    spectrum: Any

    def __post_init__(self) -> None:
        transform = self.transform
        if isinstance(transform, (FFT, RFFT)):
            halved = transform.axes[-1:] if isinstance(transform, RFFT) else ()
            axes = (*sorted(set(transform.axes) - set(halved)), *halved)
            transform = type(transform)(transform.shape, axes, "backward")
        elif transform.facts.gram_scale is None or transform.facts.cogram_scale is None:
            raise ParameterError(f"DiagonalIn needs an FFT, an RFFT or a T with T.H T = T T.H = c I, not {transform!r}")
        object.__setattr__(self, "transform", transform)
        object.__setattr__(self, "spectrum", as_data(self.spectrum, "DiagonalIn"))
        check_broadcast(self.spectrum, transform.out_shape, "the spectrum of DiagonalIn")
        if isinstance(transform, RFFT) and isinstance(self.spectrum, Leaf):
            _check_mirrored(self.spectrum, transform)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.transform.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.transform.in_shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        if isinstance(self.transform, RFFT):
            return "any"
        return "complex" if self.spectrum.kind == "complex" else self.transform.in_kind

    def out_kind(self, kind: str) -> str:
        return "complex" if self.in_kind == "complex" else kind

    def adjoint_kind(self, kind: str) -> str:
        return self.out_kind(kind)

    def trace(self, x: Expression) -> Expression:
        if isinstance(self.transform, RFFT) and x.kind == "complex":
            return self.trace(ex.pointwise("real", x)) + Literal(1j) * self.trace(ex.pointwise("imag", x))
        return from_spectrum(self.transform, self.spectrum * to_spectrum(self.transform, x))

    def trace_adjoint(self, y: Expression) -> Expression:
        return DiagonalIn(self.transform, conjugate(self.spectrum)).trace(y)

    @property
    def facts(self) -> Facts:
        s = self.spectrum
        real = s.kind == "real"
        return Facts(
            self_adjoint=YES if real else UNKNOWN,
            positive=YES if is_nonnegative(s) else UNKNOWN,
            norm=exact(ex.largest(abs(s))),
            lowest=ex.smallest(s) if real else None,
        )

    @property
    def H(self) -> LinearOperator:
        return DiagonalIn(self.transform, conjugate(self.spectrum))

    def inverse(self) -> LinearOperator:
        """``DiagonalIn(T, 1 / s)``.

        Raises
        ------
        UnsupportedError
            Where ``s`` is constant and has a zero; the value of a parameter is not looked at, since it may change.
        """
        if has_constant_zero(self.spectrum):
            raise UnsupportedError(f"{self!r} has a zero in its spectrum, so it has no inverse")
        return DiagonalIn(self.transform, 1.0 / self.spectrum)

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """``DiagonalIn(T, 1 / s)`` with zeros where ``s`` is zero, up to the cutoff."""
        return DiagonalIn(self.transform, pseudo_reciprocal(self.spectrum, cutoff))

    def __repr__(self) -> str:
        t = self.transform
        if isinstance(t, (FFT, RFFT)):
            every = set(t.axes) == set(range(-len(t.shape), 0))
            basis = type(t).__name__ + ("" if every else f"(axes={t.axes})")
        else:
            basis = repr(t)
        return f"DiagonalIn({elided(basis, _MOST_BASIS)}, {spectrum_text(self.spectrum)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        kernel = rng.standard_normal((3, 4))
        spectrum = np.fft.rfftn(kernel)
        return [
            DiagonalIn(FFT((3, 2)), rng.standard_normal((3, 2)) + 1j * rng.standard_normal((3, 2))),
            DiagonalIn(FFT((4,)), Parameter(rng.random(4) + 0.1, name="weights")),
            DiagonalIn(RFFT((3, 4)), spectrum),
            DiagonalIn(RFFT((3, 4)), np.abs(spectrum) ** 2),
            DiagonalIn(RFFT((2, 5), axes=1), np.fft.rfft(rng.standard_normal(5))),
            DiagonalIn(RFFT((5, 2), axes=0), np.fft.rfft(rng.standard_normal(5))[:, None]),
        ]


def spectrum_text(spectrum: Expression) -> str:
    """A spectrum as a short text, in which ``RFFT k`` is the transform of a kernel ``k`` wherever that was laid."""
    texts: dict[Any, str] = {}
    for n in walk(spectrum, within=Expression):
        match n:
            case Constant(name=None):
                texts[n] = f"array of shape {n.shape}" if n is spectrum else "array"
            case Apply(operator=FFT() | RFFT() as transform, adjoint=False, argument=kernel):
                while isinstance(kernel, Apply) and not isinstance(kernel.operator, (FFT, RFFT)):
                    kernel = kernel.argument
                of = text_of(kernel, texts)
                plain = isinstance(kernel, Leaf) or kernel in texts
                texts[n] = f"{type(transform).__name__} {of if plain else f'({of})'}"
            case Pointwise(
                function="add",
                arguments=(
                    Pointwise(function="square", arguments=(Pointwise(function="real", arguments=(a,)),)),
                    Pointwise(function="square", arguments=(Pointwise(function="imag", arguments=(b,)),)),
                ),
            ) if a is b:
                texts[n] = f"|{text_of(a, texts)}|^2"
    return elided(text_of(spectrum, texts), _MOST_SPECTRUM)


def _check_mirrored(leaf: Leaf, transform: RFFT) -> None:
    """Raise where the self-mirrored columns of a half spectrum are not those of a real array's spectrum."""
    axes, length = transform.axes, transform.shape[transform.axes[-1]]
    value = leaf.value
    host = np.asarray(value.cpu() if hasattr(value, "cpu") else value.get() if hasattr(value, "get") else value)
    for column in {0, length // 2} if length % 2 == 0 else {0}:
        broadcasts = host.ndim < -axes[-1] or host.shape[axes[-1]] == 1
        part = host if broadcasts else np.take(host, [column], axes[-1])
        mirrored = part
        for axis in axes[:-1]:
            if part.ndim >= -axis:
                mirrored = np.roll(np.flip(mirrored, axis), 1, axis)
        tolerance = 1e-4 if host.dtype in (np.float32, np.complex64) else 1e-9
        if part.size and np.max(np.abs(part - mirrored.conj())) > tolerance * max(1e-300, np.max(np.abs(host))):
            raise ParameterError(
                f"the spectrum {leaf.label!r} is not the half spectrum of a real kernel: column {column} differs from "
                f"its conjugated mirror image. Use FFT in place of RFFT, or the rfftn of a real array."
            )


def full_spectrum(half: Expression, transform: Any) -> Expression:
    """The spectrum on all frequencies of a half spectrum."""
    return ex.Apply(Unfolded(transform.shape, transform.axes), ex.broadcast_to(half, transform.out_shape))


def half_of_real_part(full: Expression, transform: RFFT) -> Expression:
    """The half spectrum of the real part of the kernel that has the given full spectrum."""
    full = ex.broadcast_to(full, transform.shape)
    symmetric = 0.5 * (full + ex.Apply(Mirrored(transform.shape, transform.axes), full))
    box = Window(transform.shape, (0,) * len(transform.shape), transform.out_shape)
    return ex.Apply(box, symmetric)


def _same_frequencies(a: LinearOperator, b: LinearOperator) -> bool:
    return isinstance(a, FFT) and isinstance(b, RFFT) and a.shape == b.shape and set(a.axes) == set(b.axes)


@rule(Composed, group="diagonalise")
def diagonalise_fourier_conjugation(product: Composed) -> LinearOperator | None:
    """F.H @ diag(d) @ F  ->  DiagonalIn(F, c d)     (F an FFT, F.H F = c I)"""
    match product:
        case Composed(outer=Adjoint(operator=FFT() as a), inner=Composed(outer=Diagonal() | Mask() as d, inner=tail)):
            b, rest = (tail.outer, tail.inner) if isinstance(tail, Composed) else (tail, None)
            if not isinstance(b, FFT) or (a.shape, set(a.axes)) != (b.shape, set(b.axes)):
                return None
            scale = (gram_scale(a) * gram_scale(b)) ** 0.5
            merged = DiagonalIn(a, scale * diagonal_of(d))
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="diagonalise")
def real_fft_for_real_data(product: Composed) -> LinearOperator | None:
    """Re @ DiagonalIn(FFT, s) @ complex  ->  DiagonalIn(RFFT, half of s symmetrised)     (on real arrays)"""
    match product:
        case Composed(
            outer=Adjoint(operator=AsComplex()),
            inner=Composed(outer=DiagonalIn(transform=FFT() as f, spectrum=s), inner=tail),
        ):
            first, rest = (tail.outer, tail.inner) if isinstance(tail, Composed) else (tail, None)
            if not isinstance(first, AsComplex):
                return None
            transform = RFFT(f.shape, f.axes, "backward")
            merged = DiagonalIn(transform, half_of_real_part(s, transform))
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="merge")
def merge_spectra_in_product(product: Composed) -> LinearOperator | None:
    """DiagonalIn(T, a) @ DiagonalIn(T, b)  ->  DiagonalIn(T, a b)"""
    match adjacent(product):
        case (DiagonalIn(transform=s, spectrum=a), DiagonalIn(transform=t, spectrum=b), rest):
            if s is t:
                merged = DiagonalIn(s, times(a, b))
            elif _same_frequencies(s, t):
                merged = DiagonalIn(s, times(a, full_spectrum(b, t)))
            elif _same_frequencies(t, s):
                merged = DiagonalIn(t, times(full_spectrum(a, s), b))
            else:
                return None
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Scaled, group="merge")
def merge_scalar_into_spectrum(scaled: Scaled) -> LinearOperator | None:
    """c DiagonalIn(T, s)  ->  DiagonalIn(T, c s)     (c real where T is an RFFT)"""
    match scaled:
        case Scaled(factor=c, operator=DiagonalIn(transform=t, spectrum=s)):
            if c.kind == "complex" and isinstance(t, RFFT):
                return None
            return DiagonalIn(t, c * s)
    return None


@rule(Added, group="merge")
def merge_spectra_in_sum(total: Added) -> LinearOperator | None:
    """c I + DiagonalIn(T, a) + DiagonalIn(T, b)  ->  DiagonalIn(T, c + a + b)"""
    basis = _common_transform(total.operators)
    if basis is None:
        return None
    parts = [_spectrum_in(basis, operator) for operator in total.operators]
    if sum(part is not None for part in parts) < 2:
        return None
    others = [operator for operator, part in zip(total.operators, parts, strict=True) if part is None]
    merged: Expression = Literal(0.0)
    for part in parts:
        merged = merged if part is None else merged + part
    return add(DiagonalIn(basis, merged), *others)


def _common_transform(operators: tuple[LinearOperator, ...]) -> LinearOperator | None:
    """The transform to gather in: an FFT where there is one, since half spectra can be completed to its spectrum."""
    found = [o.transform for o in operators if isinstance(o, DiagonalIn)]
    complex_ones = [t for t in found if isinstance(t, FFT)]
    return complex_ones[0] if complex_ones else found[0] if found else None


def _spectrum_in(basis: LinearOperator, operator: LinearOperator) -> Expression | None:
    match operator:
        case DiagonalIn(transform=t, spectrum=s) if t is basis:
            return s
        case DiagonalIn(transform=t, spectrum=s) if _same_frequencies(basis, t):
            return full_spectrum(s, t)
        case Identity():
            return Literal(1.0)
        case Scaled(factor=c, operator=Identity()) if c.kind == "real" or not isinstance(basis, RFFT):
            return c
    return None
