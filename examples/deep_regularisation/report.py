"""Tables and figures of a study, beside what was published."""

from __future__ import annotations

import json
from pathlib import Path

import opalg as oa

from .study import Study

# BSD400, 180 x 180 pixels, half as many measurements: PSNR and SSIM on the authors' poster, Asilomar 2022.
PUBLISHED = {
    "RED": (25.63, 0.69),
    "gradient step": (25.98, 0.68),
    "bilevel 1": (26.34, 0.71),
    "bilevel 3": (27.42, 0.75),
    "bilevel 10": (28.33, 0.79),
}


def table(found: Study) -> oa.learning.Table:
    """Every method, published beside measured."""
    rows = []
    for name, method in found.methods.items():
        psnr, ssim = PUBLISHED.get(name, (None, None))
        rows.append(
            {
                "method": name,
                "published PSNR": psnr,
                "PSNR": method.restored.psnr,
                "published SSIM": ssim,
                "SSIM": method.restored.ssim,
                "best on the way": max(method.restored.curve),
                "at iteration": method.restored.curve.index(max(method.restored.curve)),
                "within 0.1 dB from": method.restored.arrival(),
                "allowed Lipschitz": method.beta,
                "measured Lipschitz": method.lipschitz,
                "lambda": method.lam,
            }
        )
    two = dict.fromkeys(("published PSNR", "PSNR", "best on the way", "measured Lipschitz"), 2)
    return oa.learning.Table.of(
        rows, digits={**two, "published SSIM": 2, "SSIM": 3, "allowed Lipschitz": 0, "lambda": 3}
    )


def write_report(found: Study, folder: Path) -> str:
    """Write table, figures and numbers to a folder; the table as text."""
    from opalg.plotting import plot_image_grid, plot_psnr_per_iteration

    shown = table(found)
    (folder / "table.md").write_text(shown.markdown() + "\n")
    (folder / "figures.json").write_text(json.dumps(found.figures(), indent=1))
    curves = {name: m.restored.curve for name, m in found.methods.items()}
    plot_psnr_per_iteration(curves).figure.savefig(folder / "psnr_per_iteration.png", dpi=150, bbox_inches="tight")
    count = min(6, len(found.test))
    rows = {"clean": found.test[:count].cpu().numpy()}
    rows |= {name: m.restored.images[:count] for name, m in found.methods.items()}
    captions = {
        name: [f"{oa.metrics.psnr(a, b):.2f} dB" for a, b in zip(images, rows["clean"], strict=True)]
        for name, images in rows.items()
        if name != "clean"
    }
    plot_image_grid(rows, captions=captions).savefig(folder / "pictures.png", dpi=150, bbox_inches="tight")
    return str(shown)
