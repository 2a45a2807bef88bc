"""Classes of a user's own, by the protocol alone, with bad manners and false claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import opalg as oa

Shape = tuple[int, int]
Map = Callable[[Any], Any]


class Plain:
    """An operator of a user's own: a map and its adjoint as two functions, and what it claims."""

    def __init__(
        self, shape: Shape, forward: Map, backward: Map, out_shape: Any = None, refuses: bool = True, **claims: Any
    ) -> None:
        self.in_shape, self.out_shape, self.refuses = shape, shape if out_shape is None else out_shape, refuses
        self.forward, self.backward = forward, backward
        for name, value in claims.items():
            setattr(self, name, value)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return self._checked(x, self.in_shape, self.forward)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self._checked(y, self.out_shape, self.backward)

    def _checked(self, x: np.ndarray, shape: Any, function: Map) -> np.ndarray:
        if self.refuses and x.shape != shape:
            raise ValueError(f"shape {x.shape} instead of {shape}")
        return function(x)


def plain(forward: Map, backward: Map | None = None, **options: Any) -> Callable[[Shape], Any]:
    return lambda shape: Plain(shape, forward, forward if backward is None else backward, **options)


def declaring(forward: Map, backward: Map, **facts: Any) -> Callable[[Shape], Any]:
    return plain(forward, backward, facts=oa.operators.Facts(**facts))


def writing(x: np.ndarray) -> np.ndarray:
    x *= 2.0
    return x.copy()


def in_memory_order(x: np.ndarray) -> np.ndarray:
    """Right for C order only: takes entries as they lie in memory."""
    return x.ravel(order="K").reshape(x.shape)


def with_buffer(shape: Shape) -> Any:
    buffers: dict[Any, np.ndarray] = {}

    def doubled(x: np.ndarray) -> np.ndarray:
        buffer = buffers.setdefault(x.dtype, np.empty(shape, x.dtype))
        np.multiply(x, 2.0, out=buffer)
        return buffer

    return Plain(shape, doubled, lambda y: 2.0 * y)


def counting(shape: Shape) -> Any:
    calls = [0]

    def drifting(x: np.ndarray) -> np.ndarray:
        calls[0] += 1
        return x * (1 + 1e-13 * (calls[0] % 2))

    return Plain(shape, drifting, lambda y: 1.0 * y)


def remembering(shape: Shape) -> Any:
    """The adjoint depends on the last argument of the forward map."""
    last = [1.0]

    def forward(x: np.ndarray) -> np.ndarray:
        last[0] = 1.0 if x.flat[0].real >= 0 else 1 + 1e-14
        return 2.0 * x

    return Plain(shape, forward, lambda y: 2.0 * last[0] * y)


class Forgets(Plain):
    """Its adjoint has itself as adjoint."""

    @property
    def H(self) -> Any:
        back = Plain(self.out_shape, self.backward, self.backward, self.in_shape)
        back.H = back  # type: ignore[attr-defined]
        return back


def with_gram(factor: float) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        gram = Plain(shape, lambda x: factor * x, lambda x: factor * x)
        return Plain(shape, lambda x: 3.0 * x, lambda y: 3.0 * y, gram=gram)

    return build


def nan_in_a_corner(x: np.ndarray) -> np.ndarray:
    out = 1.0 * x
    out[0, 0] = np.nan
    return out
