"""What applying a composed, rewritten operator costs beside the calls that an expert writes by hand.

    python benchmarks/operators.py [--backend numpy|torch|cupy] [--device cuda] [--size 1024] [--repeat 15]

Prints, for each operator, the median of the ratios of paired runs at the full size in float32 and float64, and the
overhead in microseconds on an 8 x 8 image. Both sides are run in turn in one process and give the same numbers, which
is checked.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

import opalg as oa
from opalg.arrays import Backend, backend

Map = Callable[[Any], Any]


@dataclass
class Case:
    """An operator, and the same by hand on arrays of one backend."""

    name: str
    operator: oa.LinearOperator
    by_hand: Map
    kind: str = "real"


def transforms(lib: Backend, size: int) -> tuple[Map, Map, Map]:
    """The real FFT, its inverse and the complex FFT that an expert would call."""
    if lib.name == "numpy":
        workers = -1 if size > 128 else None
        return (
            lambda x: scipy.fft.rfft2(x, workers=workers),
            lambda s: scipy.fft.irfft2(s, s=(size, size), workers=workers),
            lambda z: scipy.fft.fft2(z, norm="ortho", workers=workers),
        )
    fft = lib.xp.fft if lib.name == "cupy" else __import__("torch").fft
    return (fft.rfft2, lambda s: fft.irfft2(s, s=(size, size)), lambda z: fft.fft2(z, norm="ortho"))


def cases(lib: Backend, size: int) -> list[Case]:
    """The operators that are compared."""
    rng, shape = np.random.default_rng(0), (size, size)
    rfft, irfft, fft = transforms(lib, size)
    kernel = np.exp(-0.5 * np.add.outer(np.arange(-2.0, 3.0) ** 2, np.arange(-2.0, 3.0) ** 2))
    kernel /= kernel.sum()
    weights, mask = rng.random(shape) + 0.5, rng.random(shape) < 0.4
    coil = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    laid = np.zeros(shape)
    np.add.at(laid, np.ix_(np.arange(-2, 3) % size, np.arange(-2, 3) % size), kernel)
    transfer = np.fft.rfft2(laid)
    angles = 2 * np.sin(np.pi * np.arange(size) / size)
    laplacian = angles[:, None] ** 2 + angles[None, : size // 2 + 1] ** 2
    power = np.abs(transfer) ** 2
    blur = oa.Convolve(kernel, shape)
    gradient = oa.Gradient(shape, boundary="periodic")
    arrays = [lib.asarray(a) for a in (power, power + 0.1 * laplacian, transfer, weights, coil, mask)]
    on_power, on_both, on_transfer, on_weights, on_coil, on_mask = arrays
    zero = lib.zeros((), "complex")

    def differences(x: Any) -> Any:
        out = lib.empty((2, *shape))
        for axis in (0, 1):
            inner, outer = [slice(None)] * 2, [slice(None)] * 2
            inner[axis], outer[axis] = slice(None, -1), slice(1, None)
            last = [slice(None)] * 2
            last[axis] = slice(-1, None)
            lib.subtract(x[tuple(outer)], x[tuple(inner)], out=out[axis][tuple(inner)])
            out[axis][tuple(last)] = 0
        lib.multiply(out, on_weights, out=out)
        return out

    return [
        Case("K.H K (periodic)", blur.gram, lambda x: irfft(on_power * rfft(x))),
        Case("K.H K + 0.1 D.H D", blur.gram + 0.1 * gradient.gram, lambda x: irfft(on_both * rfft(x))),
        Case("diag(w) K", oa.Diagonal(weights) @ blur, lambda x: on_weights * irfft(on_transfer * rfft(x))),
        Case(
            "M F diag(s)",
            oa.Mask(mask) @ oa.FFT(shape) @ oa.Diagonal(coil),
            lambda z: lib.xp.where(on_mask, fft(on_coil * z), zero),
            "complex",
        ),
        Case("diag(w) D", oa.Diagonal(weights, (2, *shape)) @ oa.Gradient(shape), differences),
    ]


def ratio(case: Case, lib: Backend, size: int, repeat: int, wait: Callable[[], None]) -> float:
    """The median over paired runs of the time of the operator over the time by hand."""
    operator, x = case.operator.simplify(), argument(case, lib, size)
    check(operator, case, lib, x)
    found = []
    for _ in range(repeat):
        ours, hand = (timed(lambda f=f: f(x), wait) for f in (operator.apply, case.by_hand))
        found.append(ours / hand)
    return statistics.median(found)


def overhead(case: Case, lib: Backend, repeat: int, wait: Callable[[], None], calls: int = 300) -> float:
    """Microseconds per application that the operator takes longer than the calls by hand, on 8 x 8."""
    operator, x = case.operator.simplify(), argument(case, lib, 8)
    check(operator, case, lib, x)

    def many(f: Map) -> None:
        for _ in range(calls):
            f(x)

    found = []
    for _ in range(repeat):
        ours, hand = (timed(lambda f=f: many(f), wait) for f in (operator.apply, case.by_hand))
        found.append((ours - hand) / calls * 1e6)
    return statistics.median(found)


def argument(case: Case, lib: Backend, size: int) -> Any:
    """A random array for a case."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((size, size))
    return lib.asarray(x + 1j * rng.standard_normal((size, size)) if case.kind == "complex" else x)


def check(operator: oa.LinearOperator, case: Case, lib: Backend, x: Any) -> None:
    """Raise where the two sides do not give the same."""
    ours, hand = lib.to_numpy(operator.apply(x)), lib.to_numpy(case.by_hand(x))
    if not np.max(np.abs(ours - hand)) <= 1e3 * lib.epsilon * np.max(np.abs(hand)):
        raise AssertionError(f"{case.name}: the two sides differ")


def timed(action: Callable[[], Any], wait: Callable[[], None]) -> float:
    """Seconds that an action takes until the device has done it."""
    wait()
    start = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - start


def waiting(lib: Backend) -> Callable[[], None]:
    """What waits for the device."""
    if lib.name == "cupy":
        return __import__("cupy").cuda.Device().synchronize
    if lib.name == "torch" and "cuda" in str(lib.device):
        return __import__("torch").cuda.synchronize
    return lambda: None


def main() -> None:
    """Print one line for each operator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--backend", default="numpy", choices=("numpy", "torch", "cupy"))
    parser.add_argument("--device", default=None)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    print(f"{options.backend}, {options.size} x {options.size}: ratio to the calls by hand; overhead on 8 x 8")
    libs = [backend(options.backend, precision, options.device) for precision in ("float32", "float64")]
    wait = waiting(libs[0])
    for index, name in enumerate(case.name for case in cases(libs[0], 8)):
        ratios = [ratio(cases(lib, options.size)[index], lib, options.size, options.repeat, wait) for lib in libs]
        extra = overhead(cases(libs[1], 8)[index], libs[1], options.repeat, wait)
        print(f"  {name:20s} float32 {ratios[0]:5.2f}  float64 {ratios[1]:5.2f}  overhead {extra:6.1f} us")


if __name__ == "__main__":
    main()
