"""Train equilibrium models with all measurements and with some in each iteration, and compare them.

    python -m examples.online_equilibrium [--scale small|medium|full] [--only tomography] [--data FOLDER] [--out FOLDER]

``--data`` is a folder of pictures (PNG), cut to size; without it random phantoms are drawn. ``--scale full`` is the
tomography of the released code, 512 x 512 pixels, 90 views of which 30 are drawn, 180 iterations, and wants a graphics
card.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch

from opalg.errors import OpalgError
from opalg.learning.profiles import profile

from ..folders import folder
from .evaluation import data_of_test, oracle_tau, restored
from .instances import INSTANCES, Instance
from .report import Results, write
from .settings import SCALES, Settings
from .training import MODES, plans, pretrained, trained


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.online_equilibrium", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument("--only", nargs="+", choices=list(INSTANCES))
    parser.add_argument("--data", type=folder)
    parser.add_argument("--out", type=Path, default=Path("online-equilibrium"))
    parser.add_argument("--steps", type=int, help="steps of training, where the scale's own are too many or too few")
    parser.add_argument("--device", help="a device of Torch in place of the scale's own")
    asked = parser.parse_args()
    settings = SCALES[asked.scale]
    settings = replace(settings, steps=asked.steps or settings.steps, device=asked.device or settings.device)
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"the scale {asked.scale} wants a graphics card; say --device cpu to do without, slowly")
    names = asked.only or (["tomography"] if asked.scale == "full" else list(INSTANCES))
    try:
        instances = [INSTANCES[name](settings, asked.data) for name in names]
    except OpalgError as error:
        parser.error(str(error))
    for instance in instances:
        run(instance, settings, asked.out)


def run(instance: Instance, settings: Settings, folder: Path) -> Results:
    """Train both ways, test each with all measurements and with some, and write the results down."""
    print(f"{instance.name}: {instance.sampler.check(instance.blocks)} of {instance.blocks} blocks")
    network = pretrained(instance, settings)
    models = {mode: trained(instance, network, mode, settings) for mode in MODES}
    results = {(a, b, "trained"): restored(instance, models[a], b, settings) for a in MODES for b in MODES}
    for mode in MODES:
        tau = oracle_tau(instance, models[mode], mode, settings)
        results[mode, mode, "oracle"] = restored(instance, models[mode], mode, settings, tau)
    y = data_of_test(instance, settings)
    start = instance.start(y)
    few = plans(instance, models["online"].network, settings, len(y), models["online"].tau)
    x = torch.as_tensor(results["online", "full", "trained"].images, device=y.device)
    parts = {mode: profile(few[mode], x, params={"y": y}) for mode in MODES}
    scatter = few["online"].variance(x, params={"y": y})
    more = {"profiles": {m: asdict(p) for m, p in parts.items()}, "variance": asdict(scatter)}
    table = write(folder, instance, settings, models, results, start.cpu().numpy(), more)
    print(table, *(f"{mode}: {parts[mode]}" for mode in MODES), scatter, sep="\n")
    return results


if __name__ == "__main__":
    main()
