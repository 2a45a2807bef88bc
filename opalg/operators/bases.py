"""The transforms in whose bases operators are diagonal, and how spectra move from one to another."""

from __future__ import annotations

from opalg.errors import ParameterError
from opalg.operators.algebra import LinearOperator
from opalg.operators.cosine import DCT, DST
from opalg.operators.fourier import FFT, RFFT
from opalg.operators.mirrored import Unfolded
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Shape
from opalg.program.linear import Window


def as_basis(transform: LinearOperator) -> LinearOperator:
    """The transform that stands for a basis: axes in order, and the factor that is quickest.

    Raises
    ------
    ParameterError
        Where the transform is no scaled isometry, so that ``T^-1 s T`` is not what its adjoint gives.
    """
    if not isinstance(transform, LinearOperator):
        raise ParameterError(
            f"DiagonalIn takes a transform such as oa.FFT(shape) and then a spectrum, not {type(transform).__name__}"
        )
    match transform:
        case FFT(shape=shape, axes=axes):
            return FFT(shape, tuple(sorted(axes)), "backward")
        case RFFT(shape=shape, axes=axes):
            return RFFT(shape, (*sorted(axes[:-1]), axes[-1]), "backward")
        case DCT(type=2 | 4 | 8) | DST(type=1 | 2 | 4 | 6 | 7):  # other factors differ by a diagonal, which cancels
            return type(transform)(transform.shape, tuple(sorted(transform.axes)), transform.type)
        case DCT(norm="ortho") | DST(norm="ortho"):
            return type(transform)(transform.shape, tuple(sorted(transform.axes)), transform.type)
    if transform.facts.gram_scale is None or transform.facts.cogram_scale is None:
        raise ParameterError(
            f"DiagonalIn needs an FFT, RFFT, DCT or DST, or a T with T.H T = T T.H = c I, not {transform!r}; "
            f'give a DCT or DST norm="ortho"'
        )
    return transform


def lifted(transform: LinearOperator, batch: Shape) -> LinearOperator | None:
    """The transform of the same axes on arrays with some axes more in front; None for those that name no axes."""
    match transform:
        case FFT() | RFFT():
            return type(transform)(batch + transform.shape, transform.axes, transform.norm)
        case DCT() | DST():
            return type(transform)(batch + transform.shape, transform.axes, transform.type, transform.norm)
    return None


def meet(
    first: tuple[LinearOperator, Expression], second: tuple[LinearOperator, Expression]
) -> tuple[LinearOperator, Expression, Expression] | None:
    """A basis in which both of two operators are diagonal, and their spectra in it; None where none is known.

    Transforms of one family over different axes meet in the one over all those axes, where each spectrum is constant
    along the axes that its own transform leaves alone. Real FFTs and complex ones meet in the complex one.
    """
    (a, s), (b, t) = first, second
    if a is b:
        return a, s, t
    if a.in_shape != b.in_shape or not isinstance(a, (FFT, RFFT, DCT, DST)) or not isinstance(b, (FFT, RFFT, DCT, DST)):
        return None
    axes = tuple(sorted({*a.axes, *b.axes}))
    if not _constant_along(s, set(axes) - set(a.axes)) or not _constant_along(t, set(axes) - set(b.axes)):
        return None
    match a, b:
        case (FFT() | RFFT(), FFT() | RFFT()):
            family = RFFT if isinstance(a, RFFT) and isinstance(b, RFFT) else FFT
            basis = as_basis(family(a.shape, axes, "backward"))
            return basis, _moved(s, a, basis), _moved(t, b, basis)
        case (DCT(type=p), DCT(type=q)) | (DST(type=p), DST(type=q)) if p == q:
            return type(a)(a.shape, axes, p), s, t  # type: ignore[arg-type]
    return None


def _constant_along(spectrum: Expression, axes: set[int]) -> bool:
    return all(spectrum.ndim < -axis or spectrum.shape[axis] == 1 for axis in axes)


def _moved(spectrum: Expression, own: LinearOperator, basis: LinearOperator) -> Expression:
    """A spectrum on the frequencies of another Fourier transform over at least the same axes."""
    if isinstance(own, FFT) or (isinstance(basis, RFFT) and isinstance(own, RFFT) and own.axes[-1] == basis.axes[-1]):
        return spectrum
    full = full_spectrum(spectrum, own)
    return _halved(full, basis) if isinstance(basis, RFFT) else full


def full_spectrum(half: Expression, transform: RFFT | LinearOperator) -> Expression:
    """The spectrum on all frequencies of a half spectrum, which stays as small as it is along other axes."""
    assert isinstance(transform, RFFT)
    halved = transform.axes[-1]
    length = transform.shape[halved]
    if _constant_along(half, {halved}):
        return half
    shape = list(half.shape)
    shape[halved] = length
    present = tuple(axis for axis in transform.axes if half.ndim >= -axis)
    return Apply(Unfolded(tuple(shape), present), half)


def _halved(full: Expression, transform: RFFT) -> Expression:
    """The half spectrum of a full one that belongs to a real kernel."""
    axis = transform.axes[-1]
    kept = transform.out_shape[axis]
    if _constant_along(full, {axis}) or kept == full.shape[axis]:
        return full
    stop = list(full.shape)
    stop[axis] = kept
    return ex.Apply(Window(full.shape, (0,) * full.ndim, tuple(stop)), full)
