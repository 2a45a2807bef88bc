"""Transforms that undo each other: spectra are kept instead of being transformed back and forth."""

from __future__ import annotations

from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.fourier import FFT, RFFT
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Pointwise, Shape
from opalg.program.linear import Kernel, Linear


@node
class FromSpectrum(Linear):
    """The inverse of an `RFFT` on half spectra that are known to belong to real arrays: it undoes it exactly."""

    transform: RFFT

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.transform.out_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.transform.in_shape

    def out_kind(self, kind: str) -> str:
        return "real"

    def adjoint_kind(self, kind: str) -> str:
        return "complex"

    def kernel(self) -> Kernel:
        return self.transform.inverse().kernel()

    def adjoint_kernel(self) -> Kernel:
        return self.transform.inverse().adjoint_kernel()

    def __repr__(self) -> str:
        return f"{self.transform!r}^-1"


def from_spectrum(transform: LinearOperator, spectrum: Expression) -> Expression:
    """The array with the given transform; for an `RFFT`, the spectrum must be that of a real array."""
    if isinstance(transform, RFFT):
        return Apply(FromSpectrum(transform), spectrum)
    return transform.inverse().trace(spectrum)


def to_spectrum(transform: LinearOperator, x: Expression) -> Expression:
    """``T x``, where parts of x that came out of the inverse of T are taken from before it."""
    spectra, rest = _parted(transform, x, ex.Literal(1.0))
    if not spectra:
        return transform.trace(x)
    total = spectra[0]
    for spectrum in spectra[1:]:
        total = total + spectrum
    if rest:
        remaining = rest[0]
        for part in rest[1:]:
            remaining = remaining + part
        total = total + transform.trace(ex.broadcast_to(remaining, x.shape))
    return total


def _parted(transform: LinearOperator, x: Expression, factor: Expression) -> tuple[list[Expression], list[Expression]]:
    """The parts of a sum that are inverse transforms, as spectra, and the other parts."""
    match x:
        case Apply(operator=FromSpectrum(transform=t), argument=z, adjoint=False) if t is transform:
            return [factor * z], []
        case Apply(operator=FFT() as t, argument=z, adjoint=True) if _inverts(t, transform):
            return [factor * z], []
        case Apply(operator=LinearOperator() as t, argument=z, adjoint=adjoint) if (
            scale := _right_inverse_scale(t, adjoint, transform)
        ) is not None:
            return [(factor * scale) * z], []
        case Pointwise(function="add", arguments=(a, b)) if a.shape == b.shape == x.shape:
            first, second = _parted(transform, a, factor), _parted(transform, b, factor)
        case Pointwise(function="subtract", arguments=(a, b)) if a.shape == b.shape == x.shape:
            first, second = _parted(transform, a, factor), _parted(transform, b, -factor)
        case Pointwise(function="negative", arguments=(a,)):
            return _parted(transform, a, -factor)
        case Pointwise(function="multiply", arguments=(c, a)) if c.shape == () and c.kind == "real":
            return _parted(transform, a, factor * c)
        case _:
            return [], [factor * x]
    return first[0] + second[0], first[1] + second[1]


def _inverts(inverse: FFT, transform: LinearOperator) -> bool:
    if not isinstance(transform, FFT) or (inverse.shape, inverse.axes) != (transform.shape, transform.axes):
        return False
    return {inverse.norm, transform.norm} in ({"ortho"}, {"backward", "forward"})


def _right_inverse_scale(t: LinearOperator, adjoint: bool, transform: LinearOperator) -> Expression | None:
    """The ``c`` with ``transform @ (t or t.H) = c I``, where one is the adjoint of the other."""
    if isinstance(transform, (FFT, RFFT)) or not (t is transform if adjoint else t.H is transform):
        return None
    return transform.facts.cogram_scale
