"""Operators that are diagonal in the basis of a transform, and the rules that find and merge them."""

from __future__ import annotations

from functools import reduce, singledispatch
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError
from opalg.facts import UNKNOWN, YES, exact
from opalg.leaves import Leaf, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Added, Adjoint, Composed, Identity, LinearOperator, Scaled, add, compose
from opalg.operators.bases import as_basis, lifted, meet
from opalg.operators.batched import AsComplex, Batched
from opalg.operators.cosine import DCT, DST
from opalg.operators.diagonal import Diagonal, Mask, adjacent, diagonal_of
from opalg.operators.fourier import FFT, RFFT, gram_scale
from opalg.operators.knowledge import Facts
from opalg.operators.local import (
    local_adjoint,
    local_multiple,
    local_product,
    local_scalar,
    local_sum,
    local_trace,
)
from opalg.operators.mirrored import Mirrored
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
from opalg.operators.spectrum_text import spectrum_text
from opalg.operators.wavelet import Wavelet
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Window
from opalg.program.text import elided
from opalg.rules import rule

_MOST_BASIS = 26  # characters in a repr, which so stays below 100


@node
class DiagonalIn(LinearOperator):
    """Diagonal in a basis: ``x -> T^-1 (s T x)``.

    Parameters
    ----------
    transform : FFT, RFFT, DCT, DST, or an operator with ``T.H T = T T.H = c I``
        The transform ``T``. The factor of a Fourier transform cancels, so it is stored with ``norm="backward"``, and a
        cosine or sine transform with ``norm="ortho"``.
    spectrum : array, Constant, Parameter or Expression
        The spectrum ``s``; it broadcasts to ``transform.out_shape``. For an `RFFT` it is the half spectrum of a real
        kernel: ``s[-k] = conj(s[k])`` along the columns that are their own mirror image.
    local : tuple of LocalTerm, optional
        The same operator as a sum of products of stencils, where it is one; rules keep it. It is applied without any
        transform then, while sums, products and inverses are formed from the spectrum.

    Raises
    ------
    ShapeError
        Where the spectrum does not broadcast to the transform's result.
    ParameterError
        Where an array given for an `RFFT` is no spectrum of a real kernel, or the transform is no scaled isometry.

    Notes
    -----
    With an `RFFT` the operator maps real to real; of a complex argument it treats real and imaginary part alike.
    ``A.H`` has the spectrum ``conj(s)``, ``||A|| = max |s|`` (exact), the inverse has ``1 / s``. With a real spectrum
    it is self-adjoint and its lowest eigenvalue is ``min s`` (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> mean = oa.DiagonalIn(oa.DCT((4,)), np.array([1.0, 0.0, 0.0, 0.0]))
    >>> np.round(mean @ np.array([1.0, 2.0, 3.0, 6.0]), 12).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """

    transform: LinearOperator
    spectrum: Any
    local: Any = ()

    def __post_init__(self) -> None:
        transform = as_basis(self.transform)
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

    def trace(self, x: Expression) -> Expression:
        if self.local:
            ex.batch_shape(x.shape, self.in_shape, self)
            return local_trace(self.local, x)
        if isinstance(self.transform, RFFT) and x.kind == "complex":
            return self.trace(ex.pointwise("real", x)) + Literal(1j) * self.trace(ex.pointwise("imag", x))
        return from_spectrum(self.transform, self.spectrum * to_spectrum(self.transform, x))

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.H.trace(y)

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
        if self.spectrum.kind == "real":
            return self
        return DiagonalIn(self.transform, conjugate(self.spectrum), local_adjoint(self.local))

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
        if isinstance(t, (FFT, RFFT, DCT, DST)):
            every = set(t.axes) == set(range(-len(t.shape), 0))
            given = [] if every else [f"axes={t.axes}"]
            given += [f"type={t.type}"] if isinstance(t, (DCT, DST)) and t.type != 2 else []
            basis = type(t).__name__ + (f"({', '.join(given)})" if given else "")
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
            DiagonalIn(DCT((2, 3)), Parameter(rng.random((2, 3)), name="weights", nonneg=True)),
            DiagonalIn(DST((3, 2), axes=0, type=7), rng.standard_normal((3, 1)) + 1j * rng.standard_normal((3, 1))),
        ]


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


def half_of_real_part(full: Expression, transform: RFFT) -> Expression:
    """The half spectrum of the real part of the kernel that has the given full spectrum."""
    full = ex.broadcast_to(full, transform.shape)
    symmetric = 0.5 * (full + ex.Apply(Mirrored(transform.shape, transform.axes), full))
    box = Window(transform.shape, (0,) * len(transform.shape), transform.out_shape)
    return ex.Apply(box, symmetric)


@singledispatch
def diagonal_form(operator: LinearOperator) -> DiagonalIn | None:
    """The operator as one that is diagonal in a basis; None where it is not known as one.

    Operators that are cheaper as they are, such as stencils, register how to write them so; a sum or product that needs
    the common basis asks for it.
    """
    return None


@diagonal_form.register
def _(operator: DiagonalIn) -> DiagonalIn | None:
    return operator


@diagonal_form.register
def _(operator: Adjoint) -> DiagonalIn | None:
    form = diagonal_form(operator.operator)
    return None if form is None else form.H  # type: ignore[return-value]


@diagonal_form.register
def _(operator: Scaled) -> DiagonalIn | None:
    form, c = diagonal_form(operator.operator), operator.factor
    if form is None or (c.kind == "complex" and isinstance(form.transform, RFFT)):
        return None
    return DiagonalIn(form.transform, times(c, form.spectrum), local_multiple(c, form.local))


@diagonal_form.register
def _(operator: Batched) -> DiagonalIn | None:
    form = diagonal_form(operator.operator)
    transform = None if form is None else lifted(form.transform, operator.batch)
    return None if form is None or transform is None else DiagonalIn(transform, form.spectrum, form.local)


@diagonal_form.register
def _(operator: Composed) -> DiagonalIn | None:
    return product_in_basis(diagonal_form(operator.outer), diagonal_form(operator.inner))


@diagonal_form.register
def _(operator: Added) -> DiagonalIn | None:
    return reduce(sum_in_basis, map(diagonal_form, operator.operators))


def product_in_basis(a: DiagonalIn | None, b: DiagonalIn | None) -> DiagonalIn | None:
    """``a @ b`` where one basis makes both diagonal."""
    common = None if a is None or b is None else meet((a.transform, a.spectrum), (b.transform, b.spectrum))
    if a is None or b is None or common is None:
        return None
    basis, s, t = common
    return DiagonalIn(basis, times(s, t), local_product(a.local, b.local))


def sum_in_basis(a: DiagonalIn | None, b: DiagonalIn | None) -> DiagonalIn | None:
    """``a + b`` where one basis makes both diagonal."""
    common = None if a is None or b is None else meet((a.transform, a.spectrum), (b.transform, b.spectrum))
    if a is None or b is None or common is None:
        return None
    basis, s, t = common
    return DiagonalIn(basis, s + t, local_sum(a.local, b.local))


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


@rule(Composed, group="diagonalise")
def diagonalise_conjugation(product: Composed) -> LinearOperator | None:
    """T.H @ diag(d) @ T  ->  DiagonalIn(T, c d)     (T a DCT, DST or wavelet transform, T.H T = c I)"""
    match product:
        case Composed(outer=a, inner=Composed(outer=Diagonal() | Mask() as d, inner=tail)):
            b, rest = (tail.outer, tail.inner) if isinstance(tail, Composed) else (tail, None)
            known, back = b.facts.gram_scale, b.facts.cogram_scale
            if not isinstance(b, (DCT, DST, Wavelet)) or a is not b.H or known is None or back is None:
                return None
            merged = DiagonalIn(b, known * diagonal_of(d))
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Batched, group="merge")
def lift_batched_spectrum(batched: Batched) -> LinearOperator | None:
    """batched(DiagonalIn(T, s))  ->  DiagonalIn(T over the same axes of the whole array, s)"""
    return diagonal_form(batched) if isinstance(batched.operator, DiagonalIn) else None


@rule(Composed, group="merge")
def merge_spectra_in_product(product: Composed) -> LinearOperator | None:
    """DiagonalIn(T, a) @ DiagonalIn(T, b)  ->  DiagonalIn(T, a b)     (and stencils that T diagonalises)"""
    a, b, rest = adjacent(product)
    merged = product_in_basis(diagonal_form(a), diagonal_form(b))
    if merged is None:
        return None
    if not merged.local and all(diagonal_form(o).local for o in (a, b)):  # type: ignore[union-attr]
        return None  # many stencils: the transforms are left for when a sum needs them
    return merged if rest is None else compose(merged, rest)


@rule(Scaled, group="merge")
def merge_scalar_into_spectrum(scaled: Scaled) -> LinearOperator | None:
    """c DiagonalIn(T, s)  ->  DiagonalIn(T, c s)     (c real where T is an RFFT)"""
    return diagonal_form(scaled) if isinstance(scaled.operator, DiagonalIn) else None


@rule(Added, group="merge")
def merge_spectra_in_sum(total: Added) -> LinearOperator | None:
    """c I + DiagonalIn(T, a) + DiagonalIn(T, b)  ->  DiagonalIn(T, c + a + b)     (and stencils that T diagonalises)"""
    groups: list[DiagonalIn] = []
    others: list[LinearOperator] = []
    scalars: list[LinearOperator] = []
    members = 0
    for operator in total.operators:
        form = diagonal_form(operator)
        if form is not None:
            members += 1
            _gather(groups, form)
        else:
            (others if _multiple_of_identity(operator) is None else scalars).append(operator)
    left_over = []
    for operator in scalars:
        at = next((i for i, g in enumerate(groups) if _takes(g, operator)), None)
        if at is None:
            left_over.append(operator)
        else:
            groups[at] = _with_scalar(groups[at], operator)
    if len(groups) + len(left_over) == members + len(scalars):
        return None
    return add(*groups, *left_over, *others)


def _gather(groups: list[DiagonalIn], form: DiagonalIn) -> None:
    """Add an operator to the first group that shares a basis with it, or begin a new group."""
    for i, group in enumerate(groups):
        together = sum_in_basis(group, form)
        if together is not None:
            groups[i] = together
            return
    groups.append(form)


def _multiple_of_identity(operator: LinearOperator) -> Expression | None:
    match operator:
        case Identity():
            return Literal(1.0)
        case Scaled(factor=c, operator=Identity()):
            return c
    return None


def _takes(group: DiagonalIn, scalar: LinearOperator) -> bool:
    factor = _multiple_of_identity(scalar)
    return factor is not None and (factor.kind == "real" or not isinstance(group.transform, RFFT))


def _with_scalar(group: DiagonalIn, scalar: LinearOperator) -> DiagonalIn:
    factor = _multiple_of_identity(scalar)
    assert factor is not None
    return DiagonalIn(group.transform, group.spectrum + factor, local_sum(group.local, local_scalar(factor)))
