"""Arrays in the IDX format of the MNIST database."""

from __future__ import annotations

import gzip
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import ParameterError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Any) -> np.ndarray:
    """The array in an IDX file.

    Parameters
    ----------
    path : str or Path
        Gzipped files are recognised by their content.

    Returns
    -------
    array
        In the byte order of the machine.

    Raises
    ------
    ParameterError
        Where the file is of another format, or its length is not what its head says.

    Notes
    -----
    The head is two zero bytes, a byte for the type of the entries, a byte for the number of axes, and the length of
    each axis as a big-endian 32-bit integer; the entries follow, big-endian as well, the last axis fastest.
    """
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as problem:
            raise ParameterError(f"{path} is a damaged gzip file: {problem}") from problem
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise ParameterError(f"{path} is no IDX file: it begins with {content[:4]!r}")
    dtype, axes = np.dtype(_DTYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    needed = start + prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise ParameterError(
            f"{path} has {len(content)} bytes, but an IDX file of {axes} axes, of shape {shape or 'unknown'}, has "
            f"{needed}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


__all__ = ["read_idx"]
