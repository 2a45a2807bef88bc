"""TV deblurring with nonnegativity on a graphics card: opalg beside a loop written by hand, in one run.

    python benchmarks/graphics_card.py [--backend torch|cupy] [--sizes 512 2048] [--repeat 7]

Both do ADMM iterations for ``|k * x - y|^2 / 2 + lambda TV(x)`` over ``x >= 0`` in float32. Timed is a fixed number of
iterations, with one wait for the device at the end; and for opalg a whole ``plan.solve`` besides, with its looks at the
duality gap and its certificate in double precision. Medians and ratios count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import opalg as oa
from opalg.arrays import Backend, backend

ITERATIONS = 200


def waiting(lib: Backend) -> Callable[[], None]:
    """What waits for the device."""
    if lib.name == "cupy":
        return __import__("cupy").cuda.Device().synchronize
    return __import__("torch").cuda.synchronize


class HandWritten:
    """What an expert writes for the card: spectra once, real FFTs, as few kernels as the library allows."""

    def __init__(self, lib: Backend, y: Any, spectrum: Any, laplacian: Any, weight: float, rho: float) -> None:
        self.xp = __import__(lib.name)
        self.fft, self.y = self.xp.fft, y
        self.spectrum, self.rho, self.limit = spectrum, rho, weight / rho
        self.inverse = 1 / (abs(spectrum) ** 2 + rho * (laplacian + 1))
        self.back = spectrum.conj() * self.fft.rfft2(y)

    def run(self, iterations: int) -> Any:
        """The nonnegative copy after some iterations."""
        xp, y, rho = self.xp, self.y, self.rho
        v, w = xp.zeros((2, *y.shape), dtype=y.dtype), xp.zeros_like(y)
        if hasattr(y, "is_cuda"):
            v = v.to(y.device)
        u, z = v.clone() if hasattr(v, "clone") else v.copy(), w.clone() if hasattr(w, "clone") else w.copy()
        for _ in range(iterations):
            g = 2 * u - v
            right = rho * (xp.roll(g[0], 1, 0) - g[0] + xp.roll(g[1], 1, 1) - g[1] + 2 * z - w)
            x = self.fft.irfft2((self.fft.rfft2(right) + self.back) * self.inverse, s=y.shape)
            slopes = xp.stack((xp.roll(x, -1, 0) - x, xp.roll(x, -1, 1) - x))
            v = v + slopes - u
            w = w + x - z
            size = xp.sqrt(v[0] ** 2 + v[1] ** 2)
            u = v * (1 - self.limit / xp.clip(size, self.limit, None))
            z = xp.clip(w, 0, None)
        return z


def compared(lib: Backend, size: int, repeat: int) -> None:
    """Print one block for a size."""
    rng, weight, rho, wait = np.random.default_rng(0), 1e-3, 0.02, waiting(lib)
    rows, columns = np.mgrid[0:size, 0:size] / size
    image = ((rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.08) + 0.5 * ((rows > 0.6) & (columns > 0.3))
    r = np.arange(-8, 9)
    kernel = np.exp(-(r[:, None] ** 2 + r**2) / 8.0)
    kernel /= kernel.sum()
    x = oa.Variable((size, size), name="x")
    K, D = oa.Convolve(kernel, x.shape), oa.Gradient(x.shape, boundary="periodic")
    y = lib.asarray((K @ image.astype(float) + 0.01 * rng.standard_normal(image.shape)).astype(np.float32))
    plan = oa.compile(0.5 * oa.sum_squares(K @ x - y) + weight * oa.norm21(D @ x) + oa.indicator(x >= 0))
    padded = np.zeros((size, size))
    padded[:17, :17] = kernel
    spectrum = np.fft.rfft2(np.roll(padded, (-8, -8), (0, 1)))
    angle = 2 * np.sin(np.pi * np.arange(size) / size)
    laplacian = angle[:, None] ** 2 + angle[: size // 2 + 1] ** 2
    hand = HandWritten(lib, y, lib.asarray(spectrum), lib.asarray(laplacian), weight, rho)
    binding = plan.bind()
    iteration = binding.iteration()

    def ours() -> None:
        iteration.start(binding.initial_state(None))
        for _ in range(ITERATIONS):
            iteration.advance()

    def solve() -> oa.Solution:
        return plan.solve(tol=1e-3)

    times: dict[str, list[float]] = {}
    actions = {"by hand": lambda: hand.run(ITERATIONS), "opalg": ours, "plan.solve": solve}
    for _ in range(repeat + 1):
        for name, action in actions.items():
            wait()
            begin = time.perf_counter()
            action()
            wait()
            times.setdefault(name, []).append(time.perf_counter() - begin)
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    solution = solve()
    print(f"{size} x {size}: by hand {medians['by hand'] / ITERATIONS * 1e3:.3f} ms an iteration, ", end="")
    print(f"opalg {medians['opalg'] / ITERATIONS * 1e3:.3f} ms, ratio {medians['opalg'] / medians['by hand']:.2f}")
    print(f"  plan.solve to a duality gap of 1e-3: {solution.iterations} iterations, {medians['plan.solve']:.3f} s")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="torch", choices=("torch", "cupy"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    lib = backend(options.backend, "float32", "cuda")
    print(f"{options.backend}, float32")
    for size in options.sizes:
        compared(lib, size, options.repeat)


if __name__ == "__main__":
    main()
