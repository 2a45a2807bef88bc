"""Crops of photographs: of those in BSD400 where they are at hand, else of those that come with scikit-image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from opalg.learning import datasets

from .settings import Settings

TRAIN = ("camera", "coins", "coffee", "moon", "brick", "gravel")
TEST = ("astronaut", "chelsea")
LEAST_STD = 0.05  # crops that are flatter have huge gradients behind a normalisation


def samples(settings: Settings, folder: Path | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples to train on and to test with, of different pictures."""
    if folder is None:
        known, unknown = (halved(datasets.photographs(names)) for names in (TRAIN, TEST))
    else:
        pictures = datasets.pictures(folder)
        known, unknown = pictures[: len(pictures) * 37 // 40], pictures[len(pictures) * 37 // 40 :]
    train = datasets.crops(
        known, settings.side, settings.train, settings.seed, min_std=LEAST_STD, augment=settings.augment
    )
    test = datasets.crops(unknown, settings.side, settings.test, settings.seed + 1, min_std=LEAST_STD)
    return tuple(torch.as_tensor(np.ascontiguousarray(v)).to(settings.device) for v in (train, test))  # type: ignore[return-value]


def halved(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures at half their resolution, at which small crops show about as much as those of BSD400."""
    return [_halved(p) for p in pictures]


def _halved(picture: np.ndarray) -> np.ndarray:
    h, w = (n // 2 for n in picture.shape)
    return picture[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean(axis=(1, 3))
