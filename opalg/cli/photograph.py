"""The picture of the demo: loading, cropping, and what happens to it in a bad camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import NonFiniteError, ParameterError, ShapeError

LIMIT = {2: 512, 3: 384}  # side beyond which a grey, a colour picture is cropped unless a size is asked for
SMALLEST = 24
SAMPLE = "scikit-image's cameraman"


@dataclass(frozen=True)
class Photograph:
    """A picture and where it comes from.

    Attributes
    ----------
    pixels : array, shape ``(h, w)`` or ``(3, h, w)``
        float64, black 0 to white 1.
    name : str
        Its file, or the name of the sample.
    full : tuple of int
        Height and width before cropping.
    """

    pixels: np.ndarray
    name: str
    full: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def colour(self) -> bool:
        """Whether there are three channels."""
        return self.pixels.ndim == 3

    def __str__(self) -> str:
        kind = "colour" if self.colour else "grey"
        text = f"{self.name}, {kind}, {self.size[0]} x {self.size[1]}"
        return text if self.size == self.full else f"{text} (the centre of {self.full[0]} x {self.full[1]})"


def photograph(file: str | None, size: int | None) -> Photograph:
    """A picture from a file, or the sample that comes with scikit-image.

    Parameters
    ----------
    file : str, optional
        Any format that Pillow reads.
    size : int, optional
        Side of the centre square to keep; without it, larger pictures are cropped to 512 x 512, in colour 384 x 384.

    Raises
    ------
    ParameterError, ShapeError, NonFiniteError
        Where the file is missing or is no picture, or the picture is too small.
    """
    pixels = sample() if file is None else read(file)
    full = pixels.shape[-2], pixels.shape[-1]
    pixels = centre(pixels, LIMIT[pixels.ndim] if size is None else size)
    if min(pixels.shape[-2:]) < SMALLEST:
        found = f"{pixels.shape[-2]} x {pixels.shape[-1]}"
        raise ShapeError(f"the picture has {found} pixels; the demo needs {SMALLEST} each way")
    return Photograph(pixels, SAMPLE if file is None else str(file), full)


def sample() -> np.ndarray:
    """A photograph out of the wheel of scikit-image; nothing is downloaded."""
    from skimage import data

    return np.asarray(data.camera(), dtype=float) / 255.0


def read(file: str) -> np.ndarray:
    """A picture file as ``(h, w)`` or ``(3, h, w)`` between 0 and 1, upright; transparency is laid on white."""
    path = Path(file)
    if not path.is_file():
        raise ParameterError(f"there is no file {file}")
    try:
        raw = decoded(path)
    except (OSError, SyntaxError, ValueError) as problem:  # what Pillow raises for broken files
        raise ParameterError(f"{file} cannot be read as a picture: {str(problem).partition(chr(10))[0]}") from problem
    if raw.dtype.kind == "f":
        if not np.isfinite(raw).all():
            raise NonFiniteError(f"{file} holds NaN or infinity")
        scale = 1.0
    else:
        scale = {"bool": 1.0, "uint8": 255.0}.get(raw.dtype.name, 65535.0)
    return channels_first(np.clip(raw / scale, 0.0, 1.0), file)


def decoded(path: Path) -> np.ndarray:
    """The pixels of a file as Pillow decodes them: grey, grey with opacity, RGB or RGBA, channels last."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        frames = getattr(opened, "n_frames", 1)
        if frames > 1:
            raise ValueError(f"it holds {frames} frames, and the demo takes one picture")
        picture = ImageOps.exif_transpose(opened)
        if picture.mode in ("P", "PA"):
            picture = picture.convert("RGBA" if "transparency" in picture.info or picture.mode == "PA" else "RGB")
        elif picture.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
            picture = picture.convert("RGB")
        return np.asarray(picture)


def channels_first(pixels: np.ndarray, file: str) -> np.ndarray:
    """Grey ``(h, w)``, colour ``(3, h, w)``, from channels last with or without transparency."""
    channels = pixels.shape[-1] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise ShapeError(f"{file} has the shape {pixels.shape}; the demo takes one grey or colour picture")
    if pixels.ndim == 2:
        return pixels
    if channels in (2, 4):
        opacity = pixels[..., -1:]
        pixels = pixels[..., :-1] * opacity + (1.0 - opacity)
    return pixels[..., 0].copy() if pixels.shape[-1] == 1 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def window(shape: tuple[int, ...], side: int) -> tuple[Any, ...]:
    """The index of the centre square of a picture, as far as the picture reaches."""
    spans = []
    for n in shape[-2:]:
        start = max(0, (n - side) // 2)
        spans.append(slice(start, min(n, start + side)))
    return (..., *spans)


def centre(pixels: np.ndarray, side: int) -> np.ndarray:
    """The centre square of a picture."""
    return pixels[window(pixels.shape, side)].copy()


def busiest(pixels: np.ndarray, side: int) -> tuple[Any, ...]:
    """The index of the square with the strongest edges, on a grid of half its side."""
    h, w = pixels.shape[-2:]
    side = min(side, h, w)
    step = max(1, side // 2)
    corners = [(i, j) for i in range(0, h - side + 1, step) for j in range(0, w - side + 1, step)]
    squares = [(..., slice(i, i + side), slice(j, j + side)) for i, j in corners]
    down, right = (np.abs(np.diff(pixels, axis=axis, append=0.0)) for axis in (-2, -1))
    edges = down + right
    return max(squares, key=lambda square: float(edges[square][..., :-1, :-1].mean()))


def blurred(pixels: np.ndarray, sigma: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The picture through circular Gaussian blur with noise of that standard deviation.

    The blur is computed here, with SciPy, and not by the operator that takes it off again.
    """
    from scipy.ndimage import gaussian_filter

    clean = gaussian_filter(pixels, (0,) * (pixels.ndim - 2) + (sigma, sigma), mode="wrap", radius=radius(sigma))
    return clean + noise * rng.standard_normal(pixels.shape)


def radius(sigma: float) -> int:
    """How far the kernel of a Gaussian reaches."""
    return max(1, round(4.0 * sigma))
