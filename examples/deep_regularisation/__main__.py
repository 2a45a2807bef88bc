"""Compressive sensing with a regulariser that is learned by bilevel optimisation, beside two baselines.

python -m examples.deep_regularisation --scale small --out FOLDER
python -m examples.deep_regularisation --scale medium --data BSD400 --out FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opalg.errors import OpalgError

from ..folders import folder
from .data import samples
from .report import write_report
from .settings import SCALES
from .study import study


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with some arguments, by default those of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.deep_regularisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument("--data", type=folder, help="a folder of pictures (PNG), such as BSD400's")
    parser.add_argument("--out", type=Path, default=Path("deep_regularisation"))
    parser.add_argument("--device", help="such as cuda")
    parser.add_argument("--betas", type=float, nargs="+", help="only these of 1, 3 and 10")
    parser.add_argument("--steps", type=int, help="of bilevel training")
    parser.add_argument("--denoiser-steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    chosen = {n: getattr(asked, n) for n in ("device", "steps", "denoiser_steps", "batch")}
    settings = replace(SCALES[asked.scale], seed=asked.seed, **{n: v for n, v in chosen.items() if v is not None})
    if asked.betas:
        settings = replace(settings, rates=tuple(r for r in settings.rates if r[0] in asked.betas))
    if settings.side == 180 and asked.data is None:
        parser.error("the full scale is that of whole pictures of BSD400; say --data FOLDER")
    try:
        pictures = samples(settings, asked.data)
    except OpalgError as error:
        parser.error(str(error))
    asked.out.mkdir(parents=True, exist_ok=True)
    found = study(settings, *pictures, folder=asked.out)
    print(write_report(found, asked.out))
    if asked.scale == "full":
        from examples.acceptance.deep import of_full_scale

        for bar in of_full_scale(found):
            print(bar.name, bar.what, f"{bar.measured:.3f}", bar.threshold, "holds" if bar.holds else "does not hold")


if __name__ == "__main__":
    main()
