"""Every so many entries of an array: the primitive behind strides and decimation."""

from __future__ import annotations

from typing import Any

from opalg.nodes import node
from opalg.program.expression import Shape
from opalg.program.linear import Kernel, Linear


@node
class Sampled(Linear):
    """The entries ``start, start + step, ...`` below ``stop`` of each axis; the adjoint puts them among zeros."""

    in_shape: Shape
    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(-(-(b - a) // s) for a, b, s in zip(self.start, self.stop, self.step, strict=True))

    def kernel(self) -> Kernel:
        return Kernel(view_samples, (self.start, self.stop, self.step), in_place=False, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(place_samples, (self.start, self.stop, self.step, self.in_shape))

    def __repr__(self) -> str:
        return f"Sampled({self.in_shape}, {self.start}, {self.stop}, {self.step})"


def view_samples(lib: Any, x: Any, start: Any, stop: Any, step: Any, out: Any = None) -> Any:
    """Every step-th entry of a box of the trailing axes, as a view."""
    return x[(..., *(slice(a, b, s) for a, b, s in zip(start, stop, step, strict=True)))]


def place_samples(lib: Any, x: Any, start: Any, stop: Any, step: Any, shape: Any, out: Any = None) -> Any:
    """Put x on every step-th entry of a box of an array of zeros."""
    out = lib.zeros_like(x, tuple(x.shape[: x.ndim - len(shape)]) + tuple(shape), out=out)
    box = (..., *(slice(a, b, s) for a, b, s in zip(start, stop, step, strict=True)))
    out[box] = x
    return out
