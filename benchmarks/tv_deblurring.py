"""TV deblurring with nonnegativity: opalg beside a hand-written NumPy and SciPy loop, in one run.

    python benchmarks/tv_deblurring.py [--size 512] [--repeat 5]

Both minimise ``|k * x - y|^2 / 2 + lambda TV(x)`` over ``x >= 0`` in float32 by ADMM with an FFT x-update. The
hand-written loop keeps the penalty that is best for it among a grid of seven; opalg chooses its own. Each does as many
iterations as it needs to the same relative suboptimality, which a certified float64 solve measures, and only those
iterations are timed, for opalg with everything that ``plan.solve`` does besides. Timings alternate; medians and ratios
count.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import scipy.fft as fft
from skimage import data, transform

import opalg as oa

PENALTIES = (0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)


def picture(size: int) -> np.ndarray:
    """A photograph as float32 in [0, 1]."""
    image = data.camera().astype(np.float32) / 255
    return image if size == 512 else transform.resize(image, (size, size), anti_aliasing=True).astype(np.float32)


class HandWritten:
    """What an expert writes: spectra once, buffers reused, both cores in the FFT."""

    def __init__(self, y: np.ndarray, kernel: np.ndarray, weight: float) -> None:
        self.y, self.weight, n = y, np.float32(weight), y.shape[0]
        padded = np.zeros_like(y)
        padded[: kernel.shape[0], : kernel.shape[1]] = kernel
        self.spectrum = fft.rfft2(np.roll(padded, [-(k // 2) for k in kernel.shape], (0, 1)))
        angle = 2 * np.sin(np.pi * np.arange(n) / n)
        self.laplacian = (angle[:, None] ** 2 + angle[: n // 2 + 1] ** 2).astype(np.float32)

    def run(self, iterations: int, rho: float) -> np.ndarray:
        """The nonnegative copy after some iterations."""
        y, rho = self.y, np.float32(rho)
        inverse = 1 / (np.abs(self.spectrum) ** 2 + rho * (self.laplacian + 1))
        back = np.conj(self.spectrum) * fft.rfft2(y, workers=-1)
        v, w = np.zeros((2, *y.shape), np.float32), np.zeros_like(y)
        u, g, size, z = np.zeros_like(v), np.empty_like(v), np.empty_like(y), np.zeros_like(y)
        right, limit = np.empty_like(y), self.weight / rho
        for _ in range(iterations):
            np.subtract(u, v, out=g)
            g += u  # 2 u - v
            np.subtract(g[0, -1], g[0, 0], out=right[0])
            np.subtract(g[0, :-1], g[0, 1:], out=right[1:])
            right[:, 0] += g[1, :, -1] - g[1, :, 0]
            right[:, 1:] += g[1, :, :-1]
            right[:, 1:] -= g[1, :, 1:]
            right += 2 * z - w
            right *= rho
            spectrum = fft.rfft2(right, workers=-1)
            spectrum += back
            spectrum *= inverse
            x = fft.irfft2(spectrum, s=y.shape, workers=-1)
            np.subtract(x[1:], x[:-1], out=g[0, :-1])
            np.subtract(x[0], x[-1], out=g[0, -1])
            np.subtract(x[:, 1:], x[:, :-1], out=g[1, :, :-1])
            np.subtract(x[:, 0], x[:, -1], out=g[1, :, -1])
            v -= u
            v += g
            w -= z
            w += x
            np.multiply(v[0], v[0], out=size)
            size += v[1] * v[1]
            np.sqrt(size, out=size)
            np.maximum(size, limit, out=size)
            np.divide(limit, size, out=size)
            np.subtract(1, size, out=size)
            np.multiply(v, size, out=u)
            np.maximum(w, 0, out=z)
        return z

    def value(self, x: np.ndarray) -> float:
        """The energy in double precision."""
        x = x.astype(np.float64)
        residual = fft.irfft2(self.spectrum.astype(complex) * fft.rfft2(x), s=x.shape) - self.y
        slopes = [np.roll(x, -1, axis) - x for axis in (0, 1)]
        variation = float(np.sum(np.sqrt(slopes[0] ** 2 + slopes[1] ** 2)))
        return 0.5 * float(np.sum(residual**2)) + float(self.weight) * variation


def iterations_needed(value_after, target: float, most: int = 2000) -> int | None:  # type: ignore[no-untyped-def]
    """The least count at which a value is at most the target, by doubling and bisection; None beyond ``most``."""
    high = 8
    while value_after(high) > target:
        high *= 2
        if high > most:
            return None
    low = high // 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if value_after(middle) <= target else (middle + 1, high)
    return high


START_UP = """
import time, numpy as np
begin = time.perf_counter()
import opalg as oa
imported = time.perf_counter()
n = {size}
kernel = np.ones((17, 17), np.float32) / 289
x = oa.Variable((n, n))
K, D = oa.Convolve(kernel, x.shape), oa.Gradient(x.shape, boundary="periodic")
E = 0.5 * oa.sum_squares(K @ x - np.ones((n, n), np.float32)) + 1e-3 * oa.norm21(D @ x) + oa.indicator(x >= 0)
declared = time.perf_counter()
plan = oa.compile(E)
plan.step(plan.initial_state())
print(imported - begin, time.perf_counter() - declared)
"""


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--suboptimality", type=float, default=1e-3)
    args = parser.parse_args()

    rng, weight = np.random.default_rng(0), 1e-3
    image = picture(args.size)
    r = np.arange(-8, 9)
    kernel = np.exp(-(r[:, None] ** 2 + r**2) / 8.0)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    x = oa.Variable(image.shape, name="x")
    K, D = oa.Convolve(kernel, x.shape), oa.Gradient(x.shape, boundary="periodic")
    y = (K @ image + 0.01 * rng.standard_normal(image.shape)).astype(np.float32)
    energy = 0.5 * oa.sum_squares(K @ x - y) + weight * oa.norm21(D @ x) + oa.indicator(x >= 0)

    reference = oa.compile(energy, dtype=np.float64).solve(tol=1e-5, max_iter=20000)
    print(f"reference: {reference.value:.6f}, {reference.certificate}, {reference.iterations} iterations")
    best = reference.value
    target = best * (1 + args.suboptimality)

    hand = HandWritten(y, kernel, weight)
    counts = {rho: iterations_needed(lambda n, rho=rho: hand.value(hand.run(n, rho)), target, 400) for rho in PENALTIES}
    reached = {rho: n for rho, n in counts.items() if n is not None}
    rho = min(reached, key=lambda key: reached[key])
    plan = oa.compile(energy)
    options = {"tol": args.suboptimality, "on_failure": "return"}
    count = iterations_needed(lambda n: hand.value(plan.solve(max_iter=n, **options).x), target)
    assert count is not None

    times: dict[str, list[float]] = {"hand": [], "opalg": [], "certified": []}
    for _ in range(args.repeat):
        begin = time.perf_counter()
        hand.run(reached[rho], rho)
        times["hand"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        plan.solve(max_iter=count, **options)
        times["opalg"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        certified = plan.solve(tol=args.suboptimality)
        times["certified"].append(time.perf_counter() - begin)
    medians = {name: statistics.median(found) for name, found in times.items()}
    ratios = [b / a for a, b in zip(times["hand"], times["opalg"], strict=True)]
    print(f"hand-written loop: {reached[rho]} iterations with rho {rho}, median {medians['hand']:.3f} s")
    print(f"opalg: {count} iterations, median {medians['opalg']:.3f} s, all of plan.solve")
    print(f"ratio of medians {medians['opalg'] / medians['hand']:.2f}, each run {[round(q, 2) for q in ratios]}")
    print(
        f"opalg until its own certificate (duality gap {args.suboptimality:g}): {certified.iterations} iterations, "
        f"median {medians['certified']:.3f} s, {certified.certificate}"
    )
    binding = plan.bind()
    iteration = binding.iteration()
    iteration.start(binding.initial_state(None))
    iteration.advance()
    begin = time.perf_counter()
    for _ in range(100):
        iteration.advance()
    step = (time.perf_counter() - begin) / 100
    print(f"one iteration: hand-written {medians['hand'] / reached[rho] * 1e3:.2f} ms, opalg {step * 1e3:.2f} ms")
    found = subprocess.run(
        [sys.executable, "-c", START_UP.format(size=args.size)], capture_output=True, text=True, check=True
    )
    imported, first = map(float, found.stdout.split())
    print(f"fresh process: import opalg {imported:.3f} s, compile and first iteration {first:.3f} s")


if __name__ == "__main__":
    main()
