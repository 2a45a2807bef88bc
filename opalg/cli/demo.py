"""``opalg demo``: a photograph, a blur, an energy, its solution, and gradients that find the blur."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
import textwrap
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

import opalg as oa
from opalg.cli.command import Command, add_placement, nonnegative, positive, whole
from opalg.cli.folder import OutputFolder
from opalg.cli.photograph import Photograph, blurred, busiest, centre, photograph, radius, window
from opalg.errors import UnsupportedError
from opalg.plotting import save_images
from opalg.plotting.canvas import new_figure
from opalg.plotting.history import plot_history

CROP = 128  # side of the grey crop that is tuned on; a colour crop has as many numbers
GUESS_WIDTH, GUESS_WEIGHT = 0.75, 4.0  # factors by which the tuning starts wrong
STEPS = 12
NEEDED = {"matplotlib": "matplotlib", "skimage": "scikit-image", "tqdm": "tqdm"}
OPTIONS = ("sigma", "noise", "seed", "tol", "backend", "dtype", "device")
SHOWN = ("Rules that fired", "Methods", "Certificate", "Runs on", "Cost of an iteration")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--image", metavar="FILE", help="your own picture (default: one that ships with scikit-image)")
    parser.add_argument(
        "--size", metavar="N", type=whole(24), help="side of the centre square (default: at most 512, in colour 384)"
    )
    parser.add_argument("--output", metavar="DIR", default="opalg-demo", help="where to write (default: %(default)s)")
    add_placement(parser, backend="numpy", dtype="float64")
    parser.add_argument("--sigma", metavar="S", type=positive, default=2.0, help="width of the blur (2 pixels)")
    parser.add_argument("--noise", metavar="S", type=nonnegative, default=0.01, help="its standard deviation (0.01)")
    parser.add_argument("--seed", metavar="N", type=whole(0), default=0, help="of the noise (0)")
    parser.add_argument(
        "--tol", metavar="T", type=positive, default=3e-4, help="relative duality gap to reach (default: %(default)g)"
    )
    parser.add_argument("--no-tune", action="store_true", help="restore only, and leave the tuning out")


def require_extras() -> None:
    """Say what to install where something is missing.

    Raises
    ------
    UnsupportedError
        Where matplotlib, scikit-image or tqdm is not installed.
    """
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UnsupportedError(f"the demo needs {' and '.join(missing)}: pip install 'opalg[examples]'")


def shows_bars() -> bool:
    """Whether someone looks at progress bars: not where stderr goes to a file."""
    return sys.stderr.isatty()


@dataclass
class Model:
    """The energy of the demo for one picture, with the parameters that tuning moves."""

    energy: Any
    width: oa.Parameter
    weight: oa.Parameter


def model(data: np.ndarray, width: float, weight: float, reach: int) -> Model:
    """``1/2 |K x - y|^2 + lambda |D x|_21 + [x >= 0]`` for grey or colour data."""
    x = oa.Variable(data.shape, name="x")
    y = oa.Constant(data, name="y")
    sigma = oa.Parameter(width, name="width", positive=True)
    lam = oa.Parameter(weight, name="lambda", positive=True)
    plane = data.shape[-2:]
    K = oa.Convolve(oa.gaussian_kernel(sigma, reach), shape=plane, boundary="periodic")
    D = oa.Gradient(plane, boundary="periodic")
    axes = 0 if data.ndim == 2 else (-4, -3)  # of a colour picture, channels and directions together
    E = 0.5 * oa.sum_squares(K @ x - y) + lam * oa.norm21(D @ x, axis=axes) + oa.indicator(x >= 0)
    return Model(E, sigma, lam)


def usual_weight(noise: float) -> float:
    """A weight of the total variation that suits pictures between 0 and 1 with noise of that size."""
    return max(6e-4 * (noise / 0.01) ** 1.4, 1e-5)


def run(options: argparse.Namespace) -> int:
    """Do the demo; 0 where every solve reached its tolerance."""
    begin = perf_counter()
    require_extras()
    job = _Job(options)
    job.restore()
    if not options.no_tune:
        job.tune()
    job.write(perf_counter() - begin)
    return 0 if all(s.status.success for s in job.solutions.values()) else 1


class _Job:
    """One run of the demo: what was computed so far, by the names under which it is shown."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder = OutputFolder(options.output)
        self.photograph: Photograph = photograph(options.image, options.size)
        self.truth = self.photograph.pixels
        self.rng = np.random.default_rng(options.seed)
        self.data = blurred(self.truth, options.sigma, options.noise, self.rng)
        self.images: dict[str, np.ndarray] = {"original": self.truth, "blurred": self.data}
        self.solutions: dict[str, oa.Solution] = {}
        self.parameters: dict[str, dict[str, float]] = {}
        self.tuning: dict[str, Any] | None = None
        self.explanation = ""
        _heading("Photograph")
        _say(
            f"{self.photograph}; blurred by a Gaussian of width {options.sigma:g} that wraps around, with noise of "
            f"{options.noise:g} on a scale from 0 to 1 (seed {options.seed})."
        )

    def _file_names(self) -> list[str]:
        names = ["original.png", "blurred.png", "restored.png", "comparison.png", "convergence.png", "plan.txt"]
        return names if self.options.no_tune else [*names, "guessed.png", "tuned.png"]

    # The first part: the energy and its solution.

    def restore(self) -> None:
        """Restore with the width that is known and a weight that suits the noise."""
        options = self.options
        weight = usual_weight(options.noise)
        made = model(self.data, options.sigma, weight, radius(options.sigma))
        _heading("Energy")
        print("  E(x) = 1/2 |K x - y|^2 + lambda |D x|_21 + [x >= 0]")
        _say(
            f"K: periodic convolution with a Gaussian of width {options.sigma:g}; D: periodic differences, so that "
            f"|D x|_21 is the {'vectorial ' if self.photograph.colour else ''}total variation; lambda = {weight:.3g}."
        )
        begin = perf_counter()
        self.plan = oa.compile(made.energy, backend=options.backend, device=options.device, dtype=options.dtype)
        self.explanation = str(self.plan.explain())
        self.folder.prepare(self._file_names())
        _heading(f"Plan (compiled in {perf_counter() - begin:.2f} s; the whole of it is in plan.txt)")
        print(shortened(self.explanation))
        _heading(f"Solving to a relative certificate of {options.tol:g}")
        self._solve("restored", made, options.sigma, weight)
        self._show("blurred", "restored")

    def _solve(self, name: str, made: Model, width: float, weight: float) -> oa.Solution:
        params = {"width": width, "lambda": weight}
        start = self.solutions.get("restored")
        sol = self.plan.solve(start, params=params, tol=self.options.tol, progress=shows_bars(), on_failure="return")
        if sol.status is oa.Status.INTERRUPTED:
            raise KeyboardInterrupt
        self.solutions[name], self.parameters[name] = sol, params
        self.images[name] = np.asarray(self.plan.backend.to_numpy(sol.x), dtype=float)
        effort = f"{sol.iterations} iterations of {sol.method} in {sol.seconds:.1f} s"
        _say(f"{name}: {sol.status.name} after {effort}; {said(sol)}")
        return sol

    # The second part: gradients.

    def tune(self) -> None:
        """Start from a wrong width and weight, and let gradients on a crop find better ones."""
        options, known = self.options, self.parameters["restored"]
        side = int(CROP / np.sqrt(self.truth.size / np.prod(self.photograph.size)))
        side = min(side, max(16, min(self.photograph.size) // 2))
        reference = centre(self.truth, side)
        calibration = blurred(reference, options.sigma, options.noise, self.rng)
        width, weight = GUESS_WIDTH * known["width"], GUESS_WEIGHT * known["lambda"]
        _heading("Tuning lambda and the width of the kernel by implicit gradients")
        _say(
            f"Suppose that neither were known. We guess width {width:.3g} and lambda {weight:.3g}, take a crop of "
            f"{side} x {side} as a reference, blur it in the same way, and descend on the mean squared error of its "
            f"restoration. Each gradient solves one linear system with the transposed map of the method."
        )
        made = model(calibration, width, weight, radius(options.sigma))
        found = oa.tune(
            made.energy,
            [({}, reference)],
            [made.weight, made.width],
            steps=STEPS,
            tol=1e-3,
            gradient_tol=2e-2,
            gradient_products=200,
            progress=shows_bars(),
            backend=options.backend,
            device=options.device,
            dtype=options.dtype,
        )
        self._show_path(found, made)
        best = {"width": found.values[made.width], "lambda": found.values[made.weight]}
        _heading("The whole picture with the guessed and with the tuned values")
        self._solve("guessed", made, width, weight)
        self._solve("tuned", made, best["width"], best["lambda"])
        rest = np.ones(self.photograph.size, dtype=bool)
        rest[window(self.photograph.size, side)] = False
        self._show("guessed", "tuned", rest=rest)
        self.tuning = {"crop": side, "message": found.message, "path": [_row(r, made) for r in found.path]}
        self.tuning["psnr_outside_crop"] = {n: self._psnr(n, rest) for n in ("blurred", "restored", "guessed", "tuned")}

    def _show_path(self, found: Any, made: Model) -> None:
        print("   width    lambda   PSNR of crop   d/d log width   d/d log lambda   residual of the linear system")
        for row in found.path:
            width, weight = row.values[made.width], row.values[made.weight]
            slopes = row.gradients[made.width] * width, row.gradients[made.weight] * weight
            print(
                f"  {width:6.3f}  {weight:8.2e}  {row.psnr:10.2f} dB  {slopes[0]:14.2e}  {slopes[1]:15.2e}   "
                f"{row.relative_residual:.1e} after {row.products} products"
            )
        _say(
            f"Found in {found.path[-1].seconds:.1f} s: width {found.values[made.width]:.3f} (the picture was blurred "
            f"with {self.options.sigma:g}), lambda {found.values[made.weight]:.3g}; {found.message}."
        )

    # Figures and files.

    def _psnr(self, name: str, where: np.ndarray | None = None) -> float:
        image = self.images[name]
        if where is None:
            return oa.metrics.psnr(image, self.truth)
        return oa.metrics.psnr(image[..., where], self.truth[..., where])

    def _show(self, before: str, after: str, rest: np.ndarray | None = None) -> None:
        for name in (before, after):
            likeness = oa.metrics.ssim(self.images[name], self.truth)
            print(f"  {name:9}  PSNR {self._psnr(name):6.2f} dB   SSIM {likeness:.3f}")
        gain = self._psnr(after, rest) - self._psnr(before, rest)
        where = "" if rest is None else " outside the crop that was tuned on"
        _say(f"{'gained' if gain >= 0 else 'lost'} {abs(gain):.2f} dB{where}")

    def write(self, seconds: float) -> None:
        """Write pictures, plot and figures."""
        from skimage.io import imsave

        folder = self.folder
        for name, image in self.images.items():
            imsave(folder.file(f"{name}.png"), _bytes(image), check_contrast=False)
        self._sheet(folder.file("comparison.png"))
        figure = new_figure(7.0, 4.2)
        axes = plot_history(self.solutions["restored"].history, figure.add_subplot())
        axes.set_title(f"{self.solutions['restored'].method} on {self.photograph.size[0]} x {self.photograph.size[1]}")
        figure.savefig(folder.file("convergence.png"), dpi=150)
        folder.file("plan.txt").write_text(self.explanation + "\n", encoding="utf-8")
        folder.finish(self._figures(seconds))
        _heading(f"Done in {seconds:.1f} s")
        kept = " (the files of an earlier demo there were replaced)" if folder.earlier else ""
        _say(f"Pictures, comparison.png, convergence.png, plan.txt and figures.json are in {folder.path}{kept}.")

    def _sheet(self, path: Any) -> None:
        """All pictures in a row, and a detail of each below it."""
        pictures = {f"{name}\n{self._caption(name)}": image for name, image in self.images.items()}
        square = busiest(self.data, max(16, min(self.photograph.size) // 4))
        details = {f"detail of {name}": image[square] for name, image in self.images.items()}
        save_images({**pictures, **details}, path, height=3.2, columns=len(pictures))

    def _caption(self, name: str) -> str:
        if name == "original":
            return f"{self.photograph.size[0]} x {self.photograph.size[1]}"
        if name == "blurred":
            return f"width {self.options.sigma:g}, noise {self.options.noise:g}, {self._psnr(name):.2f} dB"
        p = self.parameters[name]
        return f"width {p['width']:.3g}, $\\lambda$ {p['lambda']:.2g}, {self._psnr(name):.2f} dB"

    def _figures(self, seconds: float) -> dict[str, Any]:
        options = self.options
        out: dict[str, Any] = {
            "picture": self.photograph.name,
            "shape": list(self.truth.shape),
            "options": {name: getattr(options, name) for name in OPTIONS},
            "method": self.plan.method.name,
            "psnr": {n: self._psnr(n) for n in self.images if n != "original"},
            "ssim": {n: oa.metrics.ssim(i, self.truth) for n, i in self.images.items() if n != "original"},
            "solves": {n: _solve_row(s, self.parameters[n]) for n, s in self.solutions.items()},
            "tuning": self.tuning,
            "seconds": round(seconds, 2),
            "versions": {"opalg": oa.__version__, "numpy": np.__version__, "python": platform.python_version()},
        }
        return out


def said(sol: oa.Solution) -> str:
    """The certificate as a sentence."""
    c = sol.certificate
    if c.kind == "duality gap" and np.isfinite(c.value):
        bound = f"no picture has less than {c.lower_bound:.6g}"
        return f"E = {sol.value:.6g} and {bound} (a relative gap of {c.relative:.1e})."
    return f"E = {sol.value:.6g}, {c}: {sol.status.value}."


def shortened(explanation: str, width: int = 110) -> str:
    """The sections of an explanation that a first reader wants, each line cut to a width."""
    out = []
    for block in explanation.split("\n\n"):
        title, *lines = block.splitlines()
        if title in SHOWN:
            kept = [line for line in lines if not line.startswith("      ")]
            out += [f"  {title}", *(f"    {textwrap.shorten(line, width, placeholder=' ...')}" for line in kept)]
    return "\n".join(out)


def _row(row: Any, made: Model) -> dict[str, Any]:
    return {
        "width": row.values[made.width],
        "lambda": row.values[made.weight],
        "mean_squared_error": row.loss,
        "gradient_width": row.gradients[made.width],
        "gradient_lambda": row.gradients[made.weight],
        "relative_residual": row.relative_residual,
        "products": row.products,
    }


def _solve_row(sol: oa.Solution, params: dict[str, float]) -> dict[str, Any]:
    c = sol.certificate
    return {
        **params,
        "status": sol.status.name,
        "energy": None if sol.value is None else _plain(sol.value),
        "certificate": {"kind": c.kind, "value": _plain(c.value), "relative": _plain(c.relative)},
        "iterations": sol.iterations,
        "seconds": round(sol.seconds, 3),
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _bytes(image: np.ndarray) -> np.ndarray:
    """8-bit pixels with channels last."""
    pixels = np.round(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


def _heading(text: str) -> None:
    print(f"\n{text}", flush=True)


def _say(text: str) -> None:
    print(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="  "), flush=True)


DEMO = Command(
    "demo",
    "restore a blurred photograph, with a certificate, and tune it by gradients",
    "Blur a photograph, declare the energy that restores it, show the plan, solve it with a certificate, and tune the "
    "weight and the width of the blur by gradients of the solution. Pictures, a plot and the figures go to a folder, "
    "in which only files of an earlier demo are replaced. Needs the extra: pip install 'opalg[examples]'.",
    arguments,
    run,
)
