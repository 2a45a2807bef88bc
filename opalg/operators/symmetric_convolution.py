"""Convolutions that a cosine transform diagonalises: even kernels, on images continued by their mirror image."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from opalg.arrays import backend_of
from opalg.leaves import Constant
from opalg.operators.algebra import LinearOperator
from opalg.operators.convolution import Convolve
from opalg.operators.cosine import DCT
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Apply, Broadcast, Expression, Literal, Pointwise, Reduce
from opalg.program.linear import Window
from opalg.rules import rule

_CONSTANT_EVENNESS: WeakKeyDictionary[Constant, bool] = WeakKeyDictionary()


def is_even(e: Expression) -> bool:
    """Whether an array equals its mirror image along each axis, as far as its form tells (constants are looked at).

    A parameter may become anything, so it is even only where it has one entry; a formula of even arrays is even.
    """
    if all(n == 1 for n in e.shape):
        return True
    match e:
        case Literal():
            return True
        case Constant():
            if e not in _CONSTANT_EVENNESS:
                _CONSTANT_EVENNESS[e] = _equals_its_mirror_images(e.value)
            return _CONSTANT_EVENNESS[e]
        case Pointwise(arguments=arguments):
            return all(map(is_even, arguments))
        case Broadcast(argument=inner) | Reduce(argument=inner):
            return is_even(inner)
        case Apply(operator=Window(in_shape=size, start=start, stop=stop), argument=inner):
            centred = all(a == n - b for n, a, b in zip(size, start, stop, strict=True))
            return centred and inner.ndim == len(size if not e.adjoint else start) and is_even(inner)
    return False


def _equals_its_mirror_images(value: Any) -> bool:
    """Up to the rounding of sums that were formed in another order."""
    host = backend_of(value).to_numpy(value)
    tolerance = 8 * np.finfo(host.dtype).eps * np.max(np.abs(host), initial=0.0)
    return all(np.max(np.abs(host - np.flip(host, axis)), initial=0.0) <= tolerance for axis in range(host.ndim))


def cosine_spectrum(kernel: Expression, shape: tuple[int, ...]) -> Expression:
    """``s_m = sum_i k_i cos(pi m i / n)`` on each axis, of an even kernel with its origin in the middle.

    One cosine transform of type 1, of length n + 1, of the half of the kernel from the origin on.
    """
    centre = tuple(k // 2 for k in kernel.shape)
    half = ex.Apply(Window(kernel.shape, centre, kernel.shape), kernel)
    length = tuple(n + 1 for n in shape)
    among_zeros = Window(length, (0,) * len(shape), half.shape)
    cosines = DCT(length, type=1, norm="backward").trace(ex.Apply(among_zeros, half, adjoint=True))
    return ex.Apply(Window(length, (0,) * len(shape), shape), cosines)


@rule(Convolve, group="diagonalise")
def diagonalise_symmetric_convolution(convolution: Convolve) -> LinearOperator | None:
    """Convolve(k, symmetric)  ->  DiagonalIn(DCT, sum_i k_i cos(pi m i / n))     (k even about its origin)"""
    kernel, shape = convolution.kernel, convolution.shape
    size = kernel.shape
    if convolution.boundary != "symmetric" or convolution.strided:
        return None
    centred = all(k == 2 * o + 1 for k, o in zip(size, convolution.origin, strict=True))
    if not centred or any(k // 2 > n for k, n in zip(size, shape, strict=True)) or not is_even(kernel):
        return None
    return DiagonalIn(DCT(shape), cosine_spectrum(kernel, shape))
