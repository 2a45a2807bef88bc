"""How large the experiment is: pictures, grid and training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import opalg as oa
from opalg.errors import ParameterError


@dataclass(frozen=True)
class Scale:
    """An experiment of some size.

    Attributes
    ----------
    name : str
    pictures : tuple of int
        How many to train on, to choose by, and to test on.
    taus, gammas, noises : tuple of float
        The grid, besides tasks, activations and methods.
    epoch : int
        Pictures in an epoch, after each of which the model is tested.
    epochs, batch : int
    lr : float
        The first learning rate of Adam; it falls to nothing along a cosine.
    curve : int
        Test pictures that the curves are of.
    """

    name: str
    pictures: tuple[int, int, int]
    taus: tuple[float, ...]
    gammas: tuple[float, ...]
    noises: tuple[float, ...]
    epoch: int
    epochs: int
    batch: int
    lr: float
    curve: int

    @property
    def steps(self) -> int:
        """Steps of training."""
        return self.epochs * (self.epoch // self.batch)

    def change(self, **values: Any) -> Scale:
        """The scale with other values; None leaves one as it is."""
        return replace(self, **{n: v for n, v in values.items() if v is not None})


SCALES = {
    "tiny": Scale("tiny", (40, 0, 20), (0.5, 2.1), (0.5,), (0.1,), 40, 1, 10, 1e-2, 10),
    "small": Scale(
        "small", (1400, 0, 397), (0.1, 0.5, 0.9, 1.1, 2.1), (0.1, 0.5, 1.0), (0.1,), 1400, 10, 100, 1e-2, 100
    ),
    "medium": Scale("medium", (8000, 1000, 1000), (0.1, 0.5, 0.9), (0.1, 0.5, 1.0), (0.1,), 640, 8, 32, 1e-3, 100),
    "full": Scale(
        "full",
        (8000, 1000, 1000),
        (0.01, 0.1, 0.5, 0.9, 1.1, 2.1),
        (0.1, 0.5, 1.0),
        (0.0, 0.05, 0.1, 0.5, 1.0),
        8000,
        100,
        100,
        1e-3,
        1000,
    ),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures between -1 and 1: to train on, to choose by (possibly none) and to test on."""

    train: torch.Tensor
    choose: torch.Tensor
    test: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Of one picture."""
        rows, columns = self.train.shape[1:]
        return int(rows), int(columns)


def pictures_of(scale: Scale, folder: Path | None) -> Pictures:
    """The 8 x 8 digits of scikit-learn or MNIST from a folder, each in its order.

    At small scale MNIST's test pictures are reduced to 8 x 8. At full scale its training pictures are trained on where
    they are there, and shuffled before some are kept to choose by; otherwise the 10,000 test pictures are split.
    """
    if scale.name in ("tiny", "small"):
        small = oa.learning.datasets.digits()[0] if folder is None else reduced(oa.learning.datasets.mnist(folder)[0])
        return _split(small, scale.pictures, None)
    if folder is None:
        raise ParameterError(f"--scale {scale.name} needs --data FOLDER with the files of MNIST")
    pictures = oa.learning.datasets.mnist(folder)[0]
    if scale.name != "full" or not list(folder.glob("train-images*")):
        return _split(pictures, scale.pictures, None)
    train = oa.learning.datasets.mnist(folder, "train")[0]
    found = _split(train, (len(train) - scale.pictures[1], scale.pictures[1], 0), 0)
    return Pictures(found.train, found.choose, _scaled(pictures))


def reduced(pictures: np.ndarray) -> np.ndarray:
    """Pictures of 28 x 28 pixels at 8 x 8: their margin of 2 pixels is cut off, and blocks of 3 x 3 are averaged."""
    inner = pictures[:, 2:-2, 2:-2]
    return inner.reshape(len(inner), 8, 3, 8, 3).mean(axis=(2, 4))


def _split(pictures: np.ndarray, sizes: tuple[int, int, int], seed: int | None) -> Pictures:
    parts = oa.learning.datasets.split(len(pictures), sizes, seed)
    return Pictures(*(_scaled(pictures[part]) for part in parts))


def _scaled(pictures: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(2 * pictures - 1)
