"""Bars of online equilibrium models: S3.1 to S3.6 and S3.8 to S3.10, at small scale."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

import opalg as oa
from examples.acceptance.bar import Bar
from examples.online_equilibrium import costs, laws
from examples.online_equilibrium.evaluation import data_of_test, images_of, oracle_tau, restored, snr_of
from examples.online_equilibrium.instances import INSTANCES, Instance, tomography
from examples.online_equilibrium.settings import SMALL, Settings
from examples.online_equilibrium.training import MODES, Trained, plans, pretrained, trained


def bars(settings: Settings = SMALL) -> Iterator[Bar]:
    """Measure them; training takes minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from law_bars()
        yield from operator_bars()
        yield from cost_bars()
        yield from other_bars(settings)
        yield from training_bars(settings)
    finally:
        torch.set_num_threads(threads)


def law_bars(repeats: int = 400) -> Iterator[Bar]:
    """S3.1 to S3.3: toys whose solutions are known."""
    solution, gradient = laws.agreement()
    yield Bar("S3.1", "all blocks against the full map: solution", solution, most=1e-12)
    yield Bar("S3.1", "all blocks against the full map: gradient", gradient, most=1e-12)
    with_, without = (laws.scaled_errors(replacing, repeats=repeats) for replacing in (True, False))
    yield Bar("S3.2", "w E|x - x_k|^2 for w = 4, 8, 16: largest deviation", laws.spread(with_), most=0.15)
    ratio = float(np.max(np.abs(np.array(without) / with_ - 1.0)))
    yield Bar("S3.2", "without replacement, corrected: against with", ratio, most=0.20)
    yield Bar("S3.2", "squared error with all blocks", laws.floor_with_all(), most=1e-15)
    yield Bar("S3.3", "error of the mean of 400 gradients, over rms / 20", laws.bias(repeats=repeats), most=1.3)


def operator_bars() -> Iterator[Bar]:
    """S3.9: adjoints, symmetry of transfer functions, filtered backprojection of a disc."""
    settings = replace(SMALL, size=24, train=1, test=1)
    for name, make in INSTANCES.items():
        yield Bar("S3.9", f"adjoint of {name}, float64", adjoint_error(make(settings).A), most=1e-12)
    yield Bar(
        "S3.9", "diffraction: impulse response against H(v), and H(v) against conj H(-v)", transfer_error(), most=1e-6
    )
    yield Bar("S3.9", "Hann FBP of a disc, largest error inside", disc_error(), most=0.01)


def adjoint_error(A: oa.LinearOperator) -> float:
    """``|<A x, y> - <x, A.H y>|`` over ``|A x| |y|`` for random arrays."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=A.in_shape), rng.normal(size=A.out_shape)
    if A.in_kind == "complex":
        x, y = x + 1j * rng.normal(size=x.shape), y + 1j * rng.normal(size=y.shape)
    image = A @ x
    gap = abs(np.vdot(image, y).real - np.vdot(x, A.H @ y).real)
    return float(gap / (np.linalg.norm(image) * np.linalg.norm(y)))


def transfer_error(n: int = 24) -> float:
    """How far the response to an impulse is from the transfer functions written out, and these from ``conj H(-v)``."""
    wavelength, aperture, pixel, index, thickness = 0.6, 0.4, 0.5, 1.33, 2.0
    depths, ring = np.array([-1.0, 1.0]), oa.annular_illumination(4, aperture=0.3)
    A = oa.IntensityDiffraction((n, n), depths, ring, wavelength, aperture, pixel, index, thickness).phase
    frequencies = np.fft.fftfreq(n, pixel)
    v = np.stack(np.meshgrid(frequencies, frequencies, indexing="ij"))
    k = index / wavelength

    def eta(w: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(np.maximum(k**2 - np.sum(w**2, axis=0), 1e-12)))

    def amplitude(w: np.ndarray) -> np.ndarray:
        inside = np.hypot(w[0], w[1]) <= aperture / wavelength
        return np.asarray(inside * np.pi * thickness / (wavelength**2 * eta(w)))

    inner = np.ones((n, n), bool)
    inner[n // 2], inner[:, n // 2] = False, False  # the highest frequency, whose sign sampling cannot tell
    worst = size = 0.0
    for s, z in enumerate(depths):
        impulse = np.zeros(A.in_shape)
        impulse[s, 0, 0] = 1.0
        measured = np.fft.fft2(A @ impulse)
        for led, direction in enumerate(ring):
            u = (direction / wavelength)[:, None, None]
            plus = amplitude(v + u) * np.exp(-2j * np.pi * z * (eta(v + u) - eta(u)))
            minus = amplitude(v - u) * np.exp(2j * np.pi * z * (eta(v - u) - eta(u)))
            H = np.where(inner, 1j * (plus - minus), 0.0)
            mirrored = np.roll(np.flip(H, (0, 1)), (1, 1), (0, 1))
            worst = max(worst, float(np.abs(H - mirrored.conj()).max()), float(np.abs(measured[led] - H).max()))
            size = max(size, float(np.abs(H).max()))
    return worst / size


def disc_error(n: int = 128, views: int = 180, radius: float = 40.0) -> float:
    """The largest relative error inside a disc, off its edge, from its sinogram in closed form."""
    A = oa.Radon((n, n), np.linspace(0.0, np.pi, views, endpoint=False))
    s = np.arange(A.out_shape[1]) - (A.out_shape[1] - 1) / 2
    edges = np.clip(np.stack([s - 0.5, s + 0.5]), -radius, radius)
    area = radius**2 * np.arcsin(edges / radius) + edges * np.sqrt(radius**2 - edges**2)
    image = A.fbp(np.broadcast_to(area[1] - area[0], A.out_shape).copy(), "hann")
    middles = np.arange(n) - (n - 1) / 2
    inside = np.hypot(*np.meshgrid(middles, middles)) < radius - 4.0
    return float(np.abs(image[inside] - 1.0).max())


def cost_bars() -> Iterator[Bar]:
    """S3.6: many views and a light network."""
    instance, network, settings = costs.light()
    found = costs.profiles(instance, network, settings)
    full, online = found["full"], found["online"]
    note = f"{settings.drawn} of {settings.views} views, {settings.size} x {settings.size}, batch {settings.batch}"
    ratio = (online.data + online.data_back) / (full.data + full.data_back)
    yield Bar("S3.6", "time of the data term, online over full", ratio, most=0.45, note=note)
    for name in ("data_bytes", "data_back_bytes"):
        way = "backwards" if "back" in name else "forwards"
        bytes_ratio = float(getattr(online, name) / getattr(full, name))
        yield Bar("S3.6", f"memory of the data term {way}, online over full", bytes_ratio, most=0.40)
    yield Bar("S3.6", "the data term's part of the full time", full.data_share, least=0.70)
    seconds = costs.training_seconds(instance, network, settings)
    yield Bar("S3.6", "time of training, online over full", seconds["online"] / seconds["full"], most=0.75)


def other_bars(settings: Settings) -> Iterator[Bar]:
    """Magnetic resonance and diffraction: both ways of training improve on the start, and S3.8."""
    for name in ("resonance", "diffraction"):
        instance = INSTANCES[name](settings)
        start = pretrained(instance, settings)
        models = {mode: trained(instance, start, mode, settings) for mode in MODES}
        for mode, model in models.items():
            found = restored(instance, model, mode, settings, iterations=settings.iterations)
            gain = float(found.snr.mean() - found.curve[0])
            yield Bar("S3.4", f"{name}, {mode} training: gain over the start in dB", gain, least=3.0)
        yield guard_bar(instance, [(model, mode) for model in models.values() for mode in MODES], settings)


def training_bars(settings: Settings) -> Iterator[Bar]:
    """S3.4, S3.5, S3.8 and S3.10: tomography trained in both ways."""
    instance = tomography(settings)
    start = pretrained(instance, settings)
    models = {mode: trained(instance, start, mode, settings) for mode in MODES}
    found = {mode: float(restored(instance, models[mode], mode, settings).snr.mean()) for mode in MODES}
    note = f"{found['full']:.2f} and {found['online']:.2f} dB, fixed tau"
    yield Bar(
        "S3.4",
        "SNR of full training less that of online training",
        found["full"] - found["online"],
        most=0.3,
        note=note,
    )
    every = float(restored(instance, models["online"], "full", settings).snr.mean())
    yield Bar("S3.5", "online training tested with all views and with some", abs(every - found["online"]), most=0.1)
    yield from guard_bars(instance, models, settings)
    yield from definition_bars(instance, settings)
    for mode in MODES:
        tau = oracle_tau(instance, models[mode], mode, settings)
        best = float(restored(instance, models[mode], mode, settings, tau).snr.mean())
        text = f"{found[mode]:.2f} dB at the trained weight, {best:.2f} at the best one for each image"
        yield Bar("S3.10", f"{mode}: gain of oracle tau", best - found[mode], least=0.0, note=text)


def guard_bars(instance: Instance, models: dict[str, Trained], settings: Settings) -> Iterator[Bar]:
    """S3.8: how far accelerated runs that gave no warning end below their best iterate; one map diverges."""
    spoiled = Trained(_Against(models["online"].network), 0.15, None, 0.0)  # leaves its fixed point
    runs = [(model, mode) for model in (*models.values(), spoiled) for mode in MODES]
    yield guard_bar(instance, runs, settings)
    fall = fall_of(instance, spoiled, "online", settings)
    warned = float(fall.mean > 0.5 and fall.danger != "")
    yield Bar("S3.8", "a diverging online run warns (it falls by more than 0.5 dB)", warned, least=1.0)


def guard_bar(instance: Instance, runs: Sequence[tuple[Trained, str]], settings: Settings) -> Bar:
    """The largest fall of the mean SNR in a run that gave no warning, zero where there is none."""
    found = [fall_of(instance, model, mode, settings) for model, mode in runs]
    silent = [fall for fall in found if not fall.danger]
    note = (
        f"{len(silent)} of {len(found)} runs warn of no danger (a missed tol is none); falls up to "
        f"{max(f.mean for f in found):.2f} dB, of single images without a warning up to "
        f"{max((f.worst for f in silent), default=0.0):.2f} dB"
    )
    what = f"{instance.name}: fall below the best iterate without a warning, in dB"
    return Bar("S3.8", what, max((f.mean for f in silent), default=0.0), most=0.5, note=note)


class Fall(NamedTuple):
    """How far a run ends below its best iterate in dB, on average and for the worst image, and what it warned of."""

    mean: float
    worst: float
    danger: str


def fall_of(instance: Instance, model: Trained, mode: str, settings: Settings) -> Fall:
    """How far a run with momentum ends below its best iterate, and the danger warned of.

    What counts as that is an error, and a warning with a message of its own: that iterates run away or have not
    settled, or that the map lengthens residuals. That iterations ran out before a tolerance says nothing of danger.
    """
    clean = instance.test
    plan = plans(instance, model.network, settings, len(clean), model.tau)[mode]
    y = data_of_test(instance, settings)
    curves = [snr_of(instance.start(y), clean)]
    danger = ""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            found = plan.solve(
                instance.start(y),
                params={"y": y},
                tol=1e-5 if mode == "full" else None,
                max_iter=settings.test_iterations,
                callback=lambda info: curves.append(snr_of(images_of(info.state, clean), clean)),
            )
            danger = found.message if any(found.message in str(w.message) for w in seen) else ""
        except oa.OpalgError as error:
            danger = str(error)
    each, mean = np.array(curves), np.mean(curves, axis=1)
    return Fall(float(mean.max() - mean[-1]), float(np.max(each.max(axis=0) - each[-1])), danger)


class _Against(torch.nn.Module):
    """A field of the other sign."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -self.inner(x)  # type: ignore[no-any-return]


def definition_bars(instance: Instance, settings: Settings) -> Iterator[Bar]:
    """S3.10: what SNR means, and that noise has it exactly."""
    clean = instance.test[0].double().numpy()
    other = clean + np.random.default_rng(0).normal(size=clean.shape)
    said = oa.metrics.snr(other, clean)
    meant = 20 * np.log10(np.linalg.norm(clean) / np.linalg.norm(clean - other))
    yield Bar("S3.10", "SNR against 20 log10(|x| / |x - x_hat|)", float(abs(said - meant)), most=1e-10)
    exact, noisy = instance.A @ instance.test, data_of_test(instance, settings)
    ratios: Any = [
        20 * torch.log10(a.double().norm() / (b.double() - a.double()).norm())
        for a, b in zip(exact, noisy, strict=True)
    ]
    worst = max(abs(float(r) - instance.snr) for r in ratios)
    yield Bar("S3.10", "SNR of the data against what was asked for, in dB", worst, most=1e-3)
