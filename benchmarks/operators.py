"""What applying a composed, rewritten operator costs beside the calls that an expert writes by hand.

    python benchmarks/operators.py [--backend numpy|torch|cupy] [--device cuda] [--size 1024] [--repeat 15]
    python benchmarks/operators.py --all [--only NAME] [--json FILE]

Prints, for each operator, the median of the ratios of paired runs at the full size in float32 and float64, and the
overhead in microseconds on an 8 x 8 image, where the quickest run of each side counts; "H" is the adjoint. A plain run
compares compositions and a few operators, ``--all`` the whole table of `entry_cases` and `transform_cases` (NumPy and
Torch). Both sides are run in turn in one process and give the same numbers, which is checked; of several ways by hand
the fastest counts.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import entry_cases  # noqa: F401 - enters its cases into the table
import numpy as np
import scipy.fft
import transform_cases  # noqa: F401
from by_hand import hand
from operator_table import CASES, Case, Map

import opalg as oa
from opalg.arrays import Backend, backend

FEW = ("Restrict", "Pad reflect", "Sum axis 0", "Gradient neumann", "Convolve zero 5", "Wavelet db4", "Radon 4 angles")
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # options of glibc's mallopt
PATIENCE = 0.5  # seconds for one row and size, unless fewer than three pairs were timed


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


def compositions(lib: Backend, size: int) -> dict[str, Case]:
    """Composed operators, which are rewritten."""
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

    scaled = oa.Mask(mask) @ oa.FFT(shape) @ oa.Diagonal(coil)
    return {
        "K.H K (periodic)": Case(blur.gram, [lambda x: irfft(on_power * rfft(x))]),
        "K.H K + 0.1 D.H D": Case(blur.gram + 0.1 * gradient.gram, [lambda x: irfft(on_both * rfft(x))]),
        "diag(w) K": Case(oa.Diagonal(weights) @ blur, [lambda x: on_weights * irfft(on_transfer * rfft(x))]),
        "M F diag(s)": Case(scaled, [lambda z: lib.xp.where(on_mask, fft(on_coil * z), zero)], [], "complex"),
        "diag(w) D": Case(oa.Diagonal(weights, (2, *shape)) @ oa.Gradient(shape), [differences]),
    }


class Row:
    """One direction of an operator beside the fastest way by hand, on arrays of one size."""

    def __init__(self, name: str, operator: oa.LinearOperator, ways: list[Map], kind: str, lib: Backend) -> None:
        self.operator = operator.simplify()
        self.x = argument(operator, kind, lib)
        ours = lib.to_numpy(self.operator.apply(self.x))
        for way in ways:
            other = lib.to_numpy(way(self.x))
            if not np.max(np.abs(ours - other)) <= 1e3 * lib.epsilon * np.max(np.abs(other)):
                raise AssertionError(f"{name}: the two sides differ")
        self.ways = ways

    def paired(self, repeat: int, wait: Map, calls: int) -> Iterator[tuple[float, float]]:
        """Seconds per call of the operator and by hand, timed in turn."""
        fastest = min(self.ways, key=lambda way: min(self._timed(way, calls, wait) for _ in range(3)))
        begin = time.perf_counter()
        for done in range(repeat):
            if done >= 3 and time.perf_counter() - begin > PATIENCE:
                return
            pair = (self.operator.apply, fastest)[:: -1 if done % 2 else 1]
            first, second = (self._timed(function, calls, wait) for function in pair)
            yield (second, first) if done % 2 else (first, second)

    def _timed(self, function: Map, calls: int, wait: Callable[[], None]) -> float:
        x = self.x
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            function(x)
        wait()
        return (time.perf_counter() - start) / calls


def rows(name: str, made: Case, lib: Backend) -> Iterator[tuple[str, Row]]:
    """The forward map and, where there is one by hand, the adjoint."""
    if made.forward:
        yield name, Row(name, made.operator, made.forward, made.kind, lib)
    if made.adjoint:
        kind = made.operator.out_kind(made.kind)
        yield f"{name} H", Row(f"{name} H", made.operator.H, made.adjoint, kind, lib)


def argument(operator: oa.LinearOperator, kind: str, lib: Backend) -> Any:
    """A random array that an operator takes."""
    rng, shape = np.random.default_rng(1), operator.in_shape
    x = rng.standard_normal(shape)
    return lib.asarray(x + 1j * rng.standard_normal(shape) if kind == "complex" else x)


def waiting(lib: Backend) -> Callable[[], None]:
    """What waits for the device."""
    if lib.name == "cupy":
        return __import__("cupy").cuda.Device().synchronize
    if lib.name == "torch" and "cuda" in str(lib.device):
        return __import__("torch").cuda.synchronize
    return lambda: None


def table(everything: bool, only: str, lib: Backend) -> dict[str, Callable[[Backend, int], Case]]:
    """What to compare: compositions, and operators of the catalogue where these are written by hand."""
    found: dict[str, Callable[[Backend, int], Case]] = {}
    for name in compositions(lib, 8):
        found[name] = lambda lib, size, name=name: compositions(lib, size)[name]
    if lib.name in ("numpy", "torch"):
        for name, build in CASES.items():
            if everything or name in FEW:
                found[name] = lambda lib, size, build=build: build(hand(lib), size)
    return {name: build for name, build in found.items() if only.lower() in name.lower()}


def measured(
    name: str, build: Callable[[Backend, int], Case], libs: list[Backend], size: int, repeat: int
) -> dict[str, list[float]]:
    """For each direction the ratios in both precisions, and the overhead in microseconds."""
    wait, found = waiting(libs[0]), {}
    for lib in libs:
        for direction, row in rows(name, build(lib, size), lib):
            ratios = [ours / other for ours, other in row.paired(repeat, wait, 1)]
            found.setdefault(direction, []).append(statistics.median(ratios))
    for direction, row in rows(name, build(libs[-1], 8), libs[-1]):
        ours, other = zip(*row.paired(4 * repeat, wait, 100), strict=True)
        found[direction].append((min(ours) - min(other)) * 1e6)
    return found


def keep_memory() -> None:
    """Let the process keep freed memory, so that page faults of fresh arrays do not fall on one side by chance."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_MMAP_MAX, 0)


def main() -> None:
    """Print one line for each operator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--backend", default="numpy", choices=("numpy", "torch", "cupy"))
    parser.add_argument("--device", default=None)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--all", action="store_true", help="the whole catalogue")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--json", default=None, help="a file for the numbers")
    parser.add_argument("--threads", type=int, default=1, help="threads of Torch, for both sides")
    options = parser.parse_args()
    if options.backend == "torch":
        __import__("torch").set_num_threads(options.threads)
    keep_memory()
    print(f"{options.backend}, {options.size} x {options.size}: ratio to the calls by hand; overhead on 8 x 8")
    libs = [backend(options.backend, precision, options.device) for precision in ("float32", "float64")]
    results: dict[str, list[float]] = {}
    for name, build in table(options.all or bool(options.only), options.only, libs[0]).items():
        found = measured(name, build, libs, options.size, options.repeat)
        results |= found
        for direction, (single, double, extra) in found.items():
            slow = max(single, double) > 1.1 or extra > 15
            text = f"  {direction:30s} float32 {single:5.2f}  float64 {double:5.2f}  overhead {extra:6.1f} us"
            print(text + ("  *" if slow else ""), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
