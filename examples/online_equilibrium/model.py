"""The equilibrium of a data term and a network's field, with all measurements or some of them in each iteration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import opalg as oa


def declare(
    A: oa.LinearOperator,
    field: Any,
    blocks: int,
    samples: int,
    step: float,
    nonneg: bool,
    tau: Any = 1.0,
    **options: Any,
) -> Any:
    """``x = P(x - step (grad g(x) + tau R(x)))`` with ``g(x) = |A x - y|^2 / (2 blocks)``, for several samples."""
    number = np.complex64 if A.in_kind == "complex" else np.float32
    x = oa.Variable((samples, *A.in_shape), name="x", dtype=number)
    data_number = np.complex64 if A.out_kind(x.kind) == "complex" else np.float32
    y = oa.Parameter(np.zeros((samples, *A.out_shape), data_number), name="y")
    tau = oa.Parameter(np.asarray(tau, np.float32), name="tau", positive=True)
    data = 0.5 / blocks * oa.sum_squares(A @ x - y)
    image = x - step * (oa.grad(data) + tau * oa.apply(field, x))
    image = oa.prox(oa.nonneg, image) if nonneg else image
    return oa.fixed_point(x, image, **{"acceleration": "none", "backend": "torch", "dtype": "float32", **options})


class Residual(torch.nn.Module):
    """A few convolutions with ReLU between them, which predict the noise of an image; spectrally normalised."""

    def __init__(self, channels: int, features: int = 16, layers: int = 3) -> None:
        super().__init__()
        widths = [channels, *[features] * (layers - 1), channels]
        parts: list[torch.nn.Module] = []
        for before, after in pairwise(widths):
            parts += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*parts[:-1])
        oa.learning.normalise_spectra(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class UNet(torch.nn.Module):
    """The U-Net of the released code: two convolutions at each level, all spectrally normalised.

    Of a pair of convolutions the first one is followed by normalisation over groups, so that the whole is not bound to
    lengthen nothing, although every convolution is.
    """

    def __init__(self, channels: int, base: int = 32, depth: int = 4) -> None:
        super().__init__()
        widths = [base * 2**i for i in range(depth + 1)]
        self.first = _pair(channels, base)
        self.down = torch.nn.ModuleList(_pair(a, b) for a, b in pairwise(widths))
        self.grow = torch.nn.ModuleList(torch.nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.up = torch.nn.ModuleList(_pair(2 * a, a) for a in widths[:-1])
        self.last = torch.nn.Conv2d(base, channels, 1)
        oa.learning.normalise_spectra(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.first(x)]
        for part in self.down:
            levels.append(part(torch.nn.functional.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for grow, part in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = part(torch.cat((levels.pop(), grow(x)), dim=1))
        return self.last(x)  # type: ignore[no-any-return]


def _pair(before: int, after: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(before, after, 3, padding=1, bias=False),
        torch.nn.GroupNorm(4, after),
        torch.nn.PReLU(),
        torch.nn.Conv2d(after, after, 3, padding=1, bias=False),
        torch.nn.PReLU(),
    )


def field_of(network: torch.nn.Module, layout: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network as a function of samples: single images, complex ones as two channels, or slices as channels."""

    def of_image(x: torch.Tensor) -> torch.Tensor:
        return network(x[:, None])[:, 0]  # type: ignore[no-any-return]

    def of_complex(x: torch.Tensor) -> torch.Tensor:
        parts = network(torch.view_as_real(x).permute(0, 3, 1, 2))
        return torch.view_as_complex(parts.permute(0, 2, 3, 1).contiguous())

    def of_slices(x: torch.Tensor) -> torch.Tensor:
        return network(x)  # type: ignore[no-any-return]

    return {"image": of_image, "complex": of_complex, "slices": of_slices}[layout]
