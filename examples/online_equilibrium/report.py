"""Tables and pictures of the experiment, written into a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from opalg.learning import Table
from opalg.plotting import plot_image_grid, plot_psnr_per_iteration

from .evaluation import Restored
from .instances import Instance
from .settings import Settings
from .training import Trained

Results = Mapping[tuple[str, str, str], Restored]  # by training, map at test, and choice of the weight


def table_of(models: Mapping[str, Trained], results: Results) -> Table:
    """Quality of every combination; the oracle rows look at the truth."""
    rows = []
    for (training, tested, choice), found in results.items():
        quality = (found.snr.mean(), found.psnr.mean(), found.ssim.mean())
        rows.append((training, tested, choice, float(found.tau.mean()), *quality, models[training].seconds))
    columns = ("trained", "tested", "tau", "mean tau", "SNR", "PSNR", "SSIM", "seconds of training")
    return Table(columns, rows, digits=(0, 0, 0, 3, 2, 2, 4, 0))


def write(
    folder: Path,
    instance: Instance,
    settings: Settings,
    models: Mapping[str, Trained],
    results: Results,
    start: np.ndarray,
    more: Mapping[str, Any],
) -> Table:
    """Everything about one instance; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    table = table_of(models, results)
    (folder / f"{instance.name}.md").write_text(table.markdown() + "\n")
    for training, model in models.items():
        model.log.to_csv(folder / f"{instance.name}-{training}.csv")
    fixed = {key: found for key, found in results.items() if key[2] == "trained"}
    curves = {f"{a} training, {b} map": found.curve for (a, b, _), found in fixed.items()}
    plot_psnr_per_iteration(curves, ylabel="SNR (dB)").figure.savefig(folder / f"{instance.name}-curves.png", dpi=150)
    rows = {"truth": instance.test.cpu().numpy(), "start": start}
    rows |= {f"{a} training": found.images for (a, b, _), found in fixed.items() if a == b}
    grid = plot_image_grid({label: _shown(images) for label, images in rows.items()})
    grid.savefig(folder / f"{instance.name}-images.png", dpi=150)
    figures = {"settings": asdict(settings), **more}
    figures["results"] = [
        {"trained": a, "tested": b, "tau": c, "taus": f.tau.tolist(), "snr": f.snr.tolist(), "psnr": f.psnr.tolist()}
        | {"ssim": f.ssim.tolist(), "curve": f.curve.tolist()}
        for (a, b, c), f in results.items()
    ]
    (folder / f"{instance.name}.json").write_text(json.dumps(figures, indent=1))
    return table


def _shown(images: np.ndarray, count: int = 4) -> list[np.ndarray]:
    """A few samples as pictures: magnitudes, and the middle one of several slices."""
    found = np.abs(images[:count])
    return list(found if found.ndim == 3 else found[:, found.shape[1] // 2])
