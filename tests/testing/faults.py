"""Operators with one seeded fault each, on images of any size, and what a report should say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import opalg as oa
from opalg.program.expression import as_expression
from tests.testing.protocol import (
    Forgets,
    Map,
    Shape,
    counting,
    declaring,
    in_memory_order,
    nan_in_a_corner,
    plain,
    remembering,
    with_buffer,
    with_gram,
    writing,
)


@dataclass(frozen=True)
class Fault:
    """A fault: how to build it at a size, a word that the hint must hold, and the property that must fail."""

    name: str
    build: Callable[[Shape], Any]
    hint: str
    property: str = "adjoint"


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


def _of_gradient_with(adjoint: Map) -> Callable[[Shape], Any]:
    return lambda shape: oa.FunctionOperator(_gradient, adjoint, in_shape=shape, out_shape=(2, *shape))


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


def _flat_index(shape: Shape) -> np.ndarray:
    """Positions of an image, some of them several times."""
    rng = np.random.default_rng(3)
    return rng.integers(0, shape[0] * shape[1], max(7, shape[0] * shape[1] // 2))


def _gathering(change: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        index = _flat_index(shape)

        def adjoint(y: np.ndarray) -> np.ndarray:
            out = np.zeros(shape[0] * shape[1], y.dtype)
            change(out, index, y)
            return out.reshape(shape)

        return oa.FunctionOperator(lambda x: x.ravel()[index], adjoint, in_shape=shape, out_shape=index.shape)

    return build


def _add_all(out: np.ndarray, index: np.ndarray, y: np.ndarray) -> None:
    np.add.at(out, index, y)


def _lose_one(out: np.ndarray, index: np.ndarray, y: np.ndarray) -> None:
    np.add.at(out, index[:-1], y[:-1])


def _overwrite(out: np.ndarray, index: np.ndarray, y: np.ndarray) -> None:
    out[index] = y


_KERNEL = np.array([[0.1, 0.2, 0.3], [0.0, 1.0, -0.4], [0.5, 0.0, 0.25]])


def _stencil(x: np.ndarray, kernel: np.ndarray, origin: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Periodic convolution, one shifted copy for each entry of the kernel."""
    return sum(  # type: ignore[return-value]
        kernel[i, j] * np.roll(x, (i - origin[0], j - origin[1]), (0, 1)) for i in range(3) for j in range(3)
    )


def _blurring(kernel: np.ndarray, origin: tuple[int, int] = (1, 1)) -> Callable[[Shape], Any]:
    return _on_images(lambda x: _stencil(x, _KERNEL), lambda y: _stencil(y, kernel, origin))


def _coils(shape: Shape) -> np.ndarray:
    i, j = np.indices(shape)
    return np.array([np.exp(1j * (k + 1) * i / shape[0]) * (1 + k * j / shape[1]) for k in range(4)])


def _coil_images(used: int) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        maps = _coils(shape)

        def adjoint(y: np.ndarray) -> np.ndarray:
            return np.sum(np.conj(maps[:used]) * y[:used], axis=0)

        return oa.FunctionOperator(lambda x: maps * x, adjoint, in_shape=shape, out_shape=(4, *shape), in_dtype=complex)

    return build


def _cropping(begin: int) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        inner = (shape[0] - 2, shape[1] - 2)

        def adjoint(y: np.ndarray) -> np.ndarray:
            out = np.zeros(shape, y.dtype)
            out[begin : begin + inner[0], begin : begin + inner[1]] = y
            return out

        return oa.FunctionOperator(lambda x: x[1:-1, 1:-1], adjoint, in_shape=shape, out_shape=inner)

    return build


def _stacking(combine: Map) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        signs = np.array([1.0, -1.0, 1.0])[:, None, None]
        return oa.FunctionOperator(
            lambda x: signs * x, lambda y: combine(signs * y), in_shape=shape, out_shape=(3, *shape)
        )

    return build


def _half_spectrum(back: Callable[[np.ndarray, Shape], np.ndarray]) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        out = (shape[0], shape[1] // 2 + 1)
        return oa.FunctionOperator(
            lambda x: np.fft.rfft2(x, norm="ortho"),
            lambda y: back(y, shape),
            in_shape=shape,
            out_shape=out,
            in_dtype="real",
            out_dtype="complex",
        )

    return build


def _irfft_alone(y: np.ndarray, shape: Shape) -> np.ndarray:
    return np.fft.irfft2(y, shape, norm="ortho")


def _padded_real(y: np.ndarray, shape: Shape) -> np.ndarray:
    full = np.zeros(shape, complex)
    full[:, : y.shape[1]] = y
    return np.fft.ifft2(full, norm="ortho").real


def _periodic_second_axis(y: np.ndarray) -> np.ndarray:
    out = _gradient_adjoint(y)
    out[:, 0] -= y[1, :, -1]
    out[:, -1] += y[1, :, -1]
    return out


def _downsampling(adjoint_fills: bool) -> Callable[[Shape], Any]:
    def build(shape: Shape) -> Any:
        small = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)

        def adjoint(y: np.ndarray) -> np.ndarray:
            if adjoint_fills:
                return np.repeat(np.repeat(y, 2, 0), 2, 1)[: shape[0], : shape[1]]
            out = np.zeros(shape, y.dtype)
            out[::2, ::2] = y
            return out

        return oa.FunctionOperator(lambda x: x[::2, ::2], adjoint, in_shape=shape, out_shape=small)

    return build


def _interpolating(weight: float) -> Callable[[Shape], Any]:
    """Values between neighbours of a row; the adjoint puts them back with a weight."""

    def build(shape: Shape) -> Any:
        def adjoint(y: np.ndarray) -> np.ndarray:
            out = np.zeros(shape, y.dtype)
            out[:, :-1] += weight * y
            out[:, 1:] += (1 - weight) * y
            return out

        out_shape = (shape[0], shape[1] - 1)
        return oa.FunctionOperator(
            lambda x: 0.7 * x[:, :-1] + 0.3 * x[:, 1:], adjoint, in_shape=shape, out_shape=out_shape
        )

    return build


def _one_middle_entry(x: np.ndarray) -> np.ndarray:
    out = _lopsided(x)
    middle = x.shape[0] // 2, x.shape[1] // 2
    out[middle] -= 2 * x[middle]
    return out


def _rolled(x: np.ndarray) -> np.ndarray:
    return np.roll(x, 1, 0)


def _rolled_back(y: np.ndarray) -> np.ndarray:
    return np.roll(y, -1, 0)


def _batched_wrongly(shape: Shape) -> Any:
    """Counts axes from the front, so that a batch is rolled instead of each image."""
    return oa.FunctionOperator(_rolled, _rolled_back, in_shape=shape, batched=True)


def _bounded(factor: float) -> Callable[[Shape], Any]:
    return lambda shape: oa.FunctionOperator(
        _gradient, _gradient_adjoint, in_shape=shape, out_shape=(2, *shape), norm=factor * 8**0.5
    )


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
    Fault("mean for sum in a stack", _stacking(lambda y: y.mean(0)), "mean"),
    Fault("one missing coil", _coil_images(3), "3 is missing"),
    Fault("kernel not flipped", _blurring(_KERNEL), "flip the kernel"),
    Fault("kernel origin off by one", _blurring(_KERNEL[::-1, ::-1], (1, 2)), "shift"),
    Fault("one wrong tap of the kernel", _blurring(_KERNEL[::-1, ::-1] + np.diag([0.0, 0.0, 1e-6])), ""),
    Fault("off-by-one crop", _cropping(0), "shift"),
    Fault("periodic along one axis only", _of_gradient_with(_periodic_second_axis), "boundary condition along axis -1"),
    Fault("one element of a gather lost", _gathering(_lose_one), "this one entry"),
    Fault("repeated indices overwritten", _gathering(_overwrite), ""),
    Fault("complex scalar taken real", _on_images(lambda x: (0.6 + 0.8j) * x, lambda y: 0.6 * y, in_dtype=complex), ""),
    Fault("half spectrum without its weights", _half_spectrum(_irfft_alone), ""),
    Fault("filled where zeros belong", _downsampling(True), ""),
    Fault("interpolation weights exchanged", _interpolating(0.3), ""),
    Fault("one entry of the matrix", _on_images(_one_middle_entry, _lopsided_adjoint), "this one entry"),
    Fault("the inverse for the adjoint", _on_images(lambda x: 2.0 * x, lambda y: y / 2), "0.25 times"),
    Fault("absolute value", _on_images(np.abs, lambda y: y, in_dtype="real"), "", "linear"),
    Fault("clipping", _on_images(lambda x: np.clip(x, -5, 5), lambda y: y, in_dtype="real"), "", "linear"),
    Fault("an offset", _on_images(lambda x: x + 1e-6, lambda y: y), "", "linear"),
    Fault("a threshold", _on_images(lambda x: np.where(np.abs(x) > 1e-3, x, 0), lambda y: y), "", "linear"),
    Fault("float32 promoted", plain(lambda x: x * np.ones(1)), "precision", "dtype"),
    Fault(
        "computed in float32",
        plain(lambda x: x.astype(np.complex64 if x.dtype.kind == "c" else np.float32)),
        "",
        "dtype",
    ),
    Fault("writes into its argument", plain(writing), "copy", "inputs"),
    Fault("returns a view of its argument", plain(lambda x: x[:]), "copy", "fresh"),
    Fault("returns a buffer of its own", with_buffer, "copy", "fresh"),
    Fault("counts its calls", counting, "", "repeatable"),
    Fault("an adjoint that remembers", remembering, "", "repeatable"),
    Fault("counts axes from the front", _batched_wrongly, "", "batch"),
    Fault("norm bound too small", _bounded(0.9), "", "norm"),
    Fault("declared an isometry", declaring(_lopsided, _lopsided_adjoint, gram_scale=as_expression(1.0)), "", "facts"),
    Fault("declared self-adjoint", declaring(_rolled, _rolled_back, self_adjoint=oa.YES), "", "facts"),
    Fault("declared positive", declaring(np.negative, np.negative, positive=oa.YES), "", "facts"),
    Fault("declared diagonal", declaring(_blur_periodic, _blur_periodic, diagonal=oa.YES), "", "facts"),
    Fault(
        "lowest eigenvalue too high",
        declaring(lambda x: 2.0 * x, lambda x: 2.0 * x, lowest=as_expression(2.1)),
        "",
        "facts",
    ),
    Fault("takes entries as they lie in memory", plain(in_memory_order, lambda y: 1.0 * y), "strides", "layout"),
    Fault("takes any shape", plain(lambda x: 2.0 * x, refuses=False), "trailing axes", "refusal"),
    Fault("a gram with another factor", with_gram(3.0), "", "gram"),
    Fault("an adjoint without the right adjoint", lambda s: Forgets(s, _lopsided, _lopsided_adjoint), "", "involution"),
    Fault("NaN in a corner", plain(nan_in_a_corner), "", "runs"),
    Fault("one row too few", plain(lambda x: 1.0 * x[1:]), "", "runs"),
    Fault(
        "a complex adjoint of a real map",
        plain(lambda x: 1.0 * x, lambda y: (1 + 1j) * y, in_kind="real"),
        "real part",
        "runs",
    ),
]

RIGHT = [
    Fault("gradient", _of_gradient(lambda y: y), ""),
    Fault("lopsided", _on_images(_lopsided, _lopsided_adjoint), ""),
    Fault("sum", lambda shape: _spread(shape, 1.0), ""),
    Fault("zero blur", _on_images(_blur_zero, _blur_zero), ""),
    Fault("stack", _stacking(lambda y: y.sum(0)), ""),
    Fault("coils", _coil_images(4), ""),
    Fault("blur", _blurring(_KERNEL[::-1, ::-1]), ""),
    Fault("crop", _cropping(1), ""),
    Fault("gather", _gathering(_add_all), ""),
    Fault("half spectrum", _half_spectrum(_padded_real), ""),
    Fault("downsampling", _downsampling(False), ""),
    Fault("interpolation", _interpolating(0.7), ""),
    Fault("bounded gradient", _bounded(1.0), ""),
    Fault("gram", with_gram(9.0), ""),
    Fault("declared unitary", declaring(_rolled, _rolled_back, gram_scale=as_expression(1.0)), ""),
    Fault(
        "declared positive and diagonal",
        declaring(lambda x: 2.0 * x, lambda x: 2.0 * x, positive=oa.YES, diagonal=oa.YES, lowest=as_expression(2.0)),
        "",
    ),
]
