"""Operators with one seeded fault each, on images of any size, and what a report should say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import opalg as oa

Shape = tuple[int, int]


@dataclass(frozen=True)
class Fault:
    """A fault: how to build it at a size, and a word that the hint must hold."""

    name: str
    build: Callable[[Shape], Any]
    hint: str


def _gradient(x: np.ndarray) -> np.ndarray:
    """Forward differences, the last one zero."""
    out = np.zeros((2, *x.shape), x.dtype)
    out[0, :-1] = x[1:] - x[:-1]
    out[1, :, :-1] = x[:, 1:] - x[:, :-1]
    return out


def _gradient_adjoint(y: np.ndarray) -> np.ndarray:
    out = np.zeros(y.shape[1:], y.dtype)
    out[1:] += y[0, :-1]
    out[:-1] -= y[0, :-1]
    out[:, 1:] += y[1, :, :-1]
    out[:, :-1] -= y[1, :, :-1]
    return out


def _of_gradient(change: Callable[[np.ndarray], np.ndarray], after: Any = None) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        def adjoint(y: np.ndarray) -> np.ndarray:
            back = _gradient_adjoint(change(y))
            return back if after is None else after(back)

        return oa.FunctionOperator(_gradient, adjoint, in_shape=shape, out_shape=(2, *shape))

    return build


def _on_images(forward: Callable[..., Any], adjoint: Callable[..., Any], **options: Any) -> Callable[[Shape], Any]:
    return lambda shape: oa.FunctionOperator(forward, adjoint, in_shape=shape, **options)


def _weighted(x: np.ndarray) -> np.ndarray:
    return x * np.exp(1j * np.arange(x.size).reshape(x.shape)) * (1 + np.arange(x.shape[-1]))


def _one_corner_doubled(x: np.ndarray) -> np.ndarray:
    out = 3.0 * x
    out[-1, -1] *= 2
    return out


def _blur_zero(x: np.ndarray) -> np.ndarray:
    """Three-point mean along the last axis, zero outside."""
    out = x.copy()
    out[:, 1:] += x[:, :-1]
    out[:, :-1] += x[:, 1:]
    return out / 3


def _blur_periodic(x: np.ndarray) -> np.ndarray:
    return (x + np.roll(x, 1, 1) + np.roll(x, -1, 1)) / 3


def _lopsided(x: np.ndarray) -> np.ndarray:
    return 3 * x + 2 * np.roll(x, 1, 1) - np.roll(x, 2, 0)


def _lopsided_adjoint(y: np.ndarray) -> np.ndarray:
    return 3 * y + 2 * np.roll(y, -1, 1) - np.roll(y, -2, 0)


def _sum_rows(x: np.ndarray) -> np.ndarray:
    return x.sum(0)


def _spread(shape: Shape, factor: float) -> Any:
    def adjoint(y: np.ndarray) -> np.ndarray:
        return factor * np.broadcast_to(y, shape)

    return oa.FunctionOperator(_sum_rows, adjoint, in_shape=shape, out_shape=shape[1:])


def _one_row_missing(y: np.ndarray) -> np.ndarray:
    out = _lopsided_adjoint(y)
    out[0, 0] = 0
    return out


FAULTS = [
    Fault("dropped conjugate", _on_images(_weighted, _weighted, in_dtype=complex), "conjugate"),
    Fault(
        "dropped conjugate of a transform",
        _on_images(lambda x: np.fft.fft2(x), lambda y: np.fft.fft2(y), in_dtype=complex),
        "conjugate",
    ),
    Fault("factor two", _of_gradient(lambda y: 2 * y), "2 times"),
    Fault("wrong sign", _of_gradient(lambda y: -y), "sign"),
    Fault("sign of one axis", _of_gradient(lambda y: y * np.array([1.0, -1.0])[:, None, None]), "1 has the wrong sign"),
    Fault("swapped axes", _of_gradient(lambda y: y[::-1]), "swapped"),
    Fault("result shifted by one", _on_images(_lopsided, lambda y: np.roll(_lopsided_adjoint(y), 1, 1)), "shift"),
    Fault("zero border, shifted by one", _of_gradient(lambda y: np.roll(y, 1, 2)), "shift"),
    Fault("flipped", _on_images(_lopsided, lambda y: _lopsided_adjoint(y)[::-1]), "flipped"),
    Fault("forward map again", _on_images(_lopsided, _lopsided), "repeats the forward map"),
    Fault("one wrong corner pixel", _on_images(_one_corner_doubled, lambda y: 3.0 * y), "one entry"),
    Fault("one input forgotten", _on_images(_lopsided, _one_row_missing), "input index (0, 0)"),
    Fault("mean for sum", lambda shape: _spread(shape, 1 / shape[0]), "mean"),
    Fault("sum for mean", lambda shape: _spread(shape, float(shape[0])), "sum"),
    Fault("zero where periodic was meant", _on_images(_blur_periodic, _blur_zero), "boundary condition"),
    Fault("periodic where zero was meant", _on_images(_blur_zero, _blur_periodic), "boundary condition"),
    Fault(
        "periodic adjoint of a Neumann difference",
        _on_images(lambda x: _gradient(x)[0], lambda y: np.roll(y, 1, 0) - y),
        "boundary condition",
    ),
    Fault(
        "a transform without its norm",
        _on_images(lambda x: np.fft.fft2(x), lambda y: np.fft.ifft2(y), in_dtype=complex),
        "number of entries",
    ),
]

RIGHT = [
    Fault("gradient", _of_gradient(lambda y: y), ""),
    Fault("lopsided", _on_images(_lopsided, _lopsided_adjoint), ""),
    Fault("sum", lambda shape: _spread(shape, 1.0), ""),
    Fault("zero blur", _on_images(_blur_zero, _blur_zero), ""),
]
