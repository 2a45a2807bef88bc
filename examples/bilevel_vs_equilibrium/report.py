"""The figures and tables of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from opalg.learning import Sweep, Table
from opalg.plotting import plot_best_curves, plot_boxes, plot_image_grid

from .model import METHODS
from .scales import Scale

DROP = 0.5  # the loss above which the published boxes leave a run out
PANELS = {
    "figure 2": ("denoising", "relu", 0.5, 0.1),
    "figure 3": ("inpainting", "softshrink", 0.5, 1.0),
    "figure 4": ("deblurring", "softshrink", 0.5, 0.5),
}


def write_report(found: Sweep, scale: Scale, out: Path) -> str:
    """Write figures and tables into a folder; the tables as text."""
    parts = {
        "winners": winners_of(found),
        "boxes": boxes_table(found),
        "failures": failures_of(found),
        "panels": panels_of(found, scale),
    }
    text = "\n\n".join(f"{name}\n\n{table}" for name, table in parts.items())
    (out / "tables.txt").write_text(text + "\n")
    markdown = "\n\n".join(f"## {name}\n\n{table.markdown()}" for name, table in parts.items())
    (out / "tables.md").write_text(markdown + "\n")
    found.to_csv(out / "runs.csv")
    for noise, runs in ((shared["noise"], runs) for shared, runs in found.groups("noise")):
        plot_boxes(runs, "loss", group="task", hue="method", drop=DROP).figure.savefig(
            out / f"figure_1_noise_{noise:g}.png", dpi=150
        )
    curves = plot_best_curves(
        found, "curve", lines="method", columns="task", rows="noise", describe=("activation", "tau", "gamma")
    )
    curves.savefig(out / "figure_5.png", dpi=150)
    for name in PANELS:
        save_panel(name, scale, out)
    return text


def winners_of(found: Sweep) -> Table:
    """For each task and noise level the best run of each method, who wins and by how much."""
    rows = []
    for shared, runs in found.groups(("noise", "task")):
        row: dict[str, Any] = dict(shared)
        best = {r["method"]: r for r in runs.best("loss", by="method")}
        for method, run in best.items():
            row[method] = run["loss"]
            row[f"{method} with"] = f"{run['activation']}, tau {run['tau']:g}, gamma {run['gamma']:g}"
        row["nothing"] = runs.rows[0].get("nothing")
        if len(best) == 2:
            (a, first), (b, second) = best.items()
            row["winner"] = a if first["loss"] < second["loss"] else b
            row["margin"] = abs(first["loss"] - second["loss"])
            row["pairs won by bilevel"] = _pairs(runs)
        chosen = {r["method"]: r["loss"] for r in runs.best("chosen by", by="method")}
        row |= {f"{method}, chosen on other pictures": loss for method, loss in chosen.items()}
        rows.append(row)
    return Table.of(rows)


def _pairs(runs: Sweep) -> str:
    """How often the bilevel model is better where both methods were kept."""
    won = total = 0
    for _, pair in runs.groups(("activation", "tau", "gamma")):
        losses = {r["method"]: r.get("loss", np.inf) for r in pair}
        if len(losses) == 2 and all(is_kept(v) for v in losses.values()):
            total += 1
            won += losses["bilevel"] < losses["equilibrium"]
    return f"{won} of {total}"


def boxes_table(found: Sweep) -> Table:
    """What the boxes of figure 1 show, as numbers."""
    rows = []
    for shared, runs in found.groups(("noise", "task", "method")):
        kept = [r["loss"] for r in runs if is_kept(r.get("loss"))]
        quartiles = np.percentile(kept, [0, 25, 50, 75]) if kept else [None] * 4
        names = ("best", "first quartile", "median", "third quartile")
        rows.append(shared | {"kept": len(kept), "of": len(runs)} | dict(zip(names, quartiles, strict=True)))
    return Table.of(rows)


def failures_of(found: Sweep) -> Table:
    """Runs that figure 1 leaves out, for each step."""
    rows = []
    for shared, runs in found.groups("tau"):
        lost = [r for r in runs if not is_kept(r.get("loss"))]
        typical = sum(r["activation"] == "identity" and r["gamma"] >= 0.5 for r in lost)
        solved = np.mean([r.get("converged", 0.0) for r in runs])
        rows.append(
            shared
            | {"lost": len(lost), "of": len(runs), "identity with gamma >= 0.5": typical, "solved": float(solved)}
        )
    return Table.of(rows)


def panels_of(found: Sweep, scale: Scale) -> Table:
    """Loss and data consistency ``|K u - f| / |f|`` of the published panels, and that untrained, without noise."""
    rows = []
    noise = shown_noise(scale)
    names = ("method", "loss", "consistency", "untrained")
    for name, (task, activation, tau, gamma) in PANELS.items():
        for run in found.where(task=task, activation=activation, tau=tau, gamma=gamma, noise=noise):
            rows.append({"panel": name, "noise": noise} | {n: run.get(n) for n in names})
    return Table.of(rows) if rows else Table(("panel",), [])


def shown_noise(scale: Scale) -> float:
    """The noise level of the panels."""
    return 0.1 if 0.1 in scale.noises else scale.noises[0]


def save_panel(name: str, scale: Scale, out: Path) -> None:
    """The pictures of figure 2, 3 or 4, bilevel on the left and equilibrium on the right."""
    task, activation, tau, gamma = PANELS[name]
    rows: dict[str, list[Any]] = {"clean": [], "input": [], "K output": [], "output": []}
    captions: list[str] = []
    for method in METHODS:
        path = out / "pictures" / f"{task}-{activation}-{method}-{shown_noise(scale):g}.npz"
        stacks = _kept_pictures(path, tau, gamma)
        if stacks is None:
            return
        for row, stack in zip(rows.values(), stacks, strict=True):
            row += list(stack)
        _, f, again, _ = stacks
        captions += [f"{np.linalg.norm(a - b) / np.linalg.norm(b):.3f}" for a, b in zip(again, f, strict=True)]
    if task == "denoising":
        del rows["K output"]
    half = len(captions) // 2
    figure = plot_image_grid(
        rows,
        [METHODS[0], *[""] * (half - 1), METHODS[1]],
        captions={} if task == "denoising" else {"K output": captions},
        value_range=(-1, 1),
        height=0.8,
    )
    figure.savefig(out / f"{name.replace(' ', '_')}.png", dpi=150)


def _kept_pictures(path: Path, tau: float, gamma: float) -> list[np.ndarray] | None:
    """Clean pictures, data, ``K u`` and ``u`` of one configuration; None where there are none."""
    if not path.exists():
        return None
    with np.load(path) as kept:
        places = np.flatnonzero(np.isclose(kept["tau"], tau) & np.isclose(kept["gamma"], gamma))
        if not len(places):
            return None
        return [kept["clean"], *(kept[n][:, places[0]] for n in ("input", "again", "output"))]


def is_kept(loss: Any) -> bool:
    """Whether figure 1 shows a run."""
    return loss is not None and bool(loss < DROP)
