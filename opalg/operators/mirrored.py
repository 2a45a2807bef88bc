"""Primitives on spectra: the symmetry that the spectrum of a real array has."""

from __future__ import annotations

from typing import Any

from opalg.nodes import node
from opalg.program.expression import Shape
from opalg.program.linear import Kernel, Linear


@node
class Mirrored(Linear):
    """``s -> conj(s[-k])`` along some axes; its own adjoint for ``Re sum(conj(u) v)``, and its own inverse."""

    in_shape: Shape
    axes: tuple[int, ...]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    def kernel(self) -> Kernel:
        return Kernel(mirror, (self.axes,), in_place=False, fresh=True)

    def adjoint_kernel(self) -> Kernel:
        return self.kernel()

    def __repr__(self) -> str:
        return f"Mirrored({self.in_shape}, {self.axes})"


@node
class Unfolded(Linear):
    """A half spectrum of a real array completed to all frequencies, by ``s[-k] = conj(s[k])``.

    The last of ``axes`` is the halved one. Linear over the reals; a real half spectrum gives a real one.
    """

    out_shape: Shape
    axes: tuple[int, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        half = list(self.out_shape)
        half[self.axes[-1]] = half[self.axes[-1]] // 2 + 1
        return tuple(half)

    def kernel(self) -> Kernel:
        return Kernel(unfold, (self.axes, self.out_shape))

    def adjoint_kernel(self) -> Kernel:
        return Kernel(fold_back, (self.axes, self.in_shape, self.out_shape[self.axes[-1]]))

    def __repr__(self) -> str:
        return f"Unfolded({self.out_shape}, {self.axes})"


def mirror(lib: Any, x: Any, axes: Any, out: Any = None) -> Any:
    """``conj(x[-k])`` along some axes."""
    for axis in axes:
        x = lib.xp.roll(lib.xp.flip(x, axis=axis), 1, axis=axis)
    return lib.xp.conj(x) if lib.kind_of(x) == "complex" else lib.copy(x)


def unfold(lib: Any, x: Any, axes: Any, shape: Any, out: Any = None) -> Any:
    """All frequencies of a half spectrum."""
    out = lib.empty_like(x, tuple(x.shape[: x.ndim - len(shape)]) + tuple(shape), out=out)
    trailing = tuple(slice(None) for _ in range(-1 - axes[-1]))
    held = x.shape[axes[-1]]
    out[(..., slice(0, held), *trailing)] = x
    columns = lib.xp.flip(x[(..., slice(1, shape[axes[-1]] - held + 1), *trailing)], axis=axes[-1])
    out[(..., slice(held, shape[axes[-1]]), *trailing)] = mirror(lib, columns, axes[:-1])
    return out


def fold_back(lib: Any, x: Any, axes: Any, shape: Any, length: int, out: Any = None) -> Any:
    """The adjoint of completing a half spectrum: mirrored columns are added to those they were copied from."""
    trailing = tuple(slice(None) for _ in range(-1 - axes[-1]))
    held = shape[axes[-1]]
    out = lib.copy(x[(..., slice(0, held), *trailing)], out=out)
    columns = lib.xp.flip(x[(..., slice(held, length), *trailing)], axis=axes[-1])
    inside = (..., slice(1, length - held + 1), *trailing)
    lib.add(out[inside], mirror(lib, columns, axes[:-1]), out=out[inside])
    return out
