"""The IDX format of the MNIST database."""

import gzip
import struct

import numpy as np
import pytest

from opalg.errors import ParameterError
from opalg.learning.idx import read_idx


def idx(array: np.ndarray, code: int) -> bytes:
    """An array as the description of the format has it."""
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_of_all_types(tmp_path, rng, code, dtype, packed):
    wanted = (100 * rng.standard_normal((2, 3, 4)) % 100).astype(dtype)
    content = idx(wanted, code)
    (tmp_path / "file").write_bytes(gzip.compress(content) if packed else content)
    found = read_idx(tmp_path / "file")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, wanted)


def test_the_entries_by_hand(tmp_path):
    (tmp_path / "file").write_bytes(bytes([0, 0, 11, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 255, 255]))
    assert read_idx(tmp_path / "file").tolist() == [[256], [-1]]


WHOLE = idx(np.arange(6, dtype="u1").reshape(2, 3), 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"\x89PNG", "no IDX file"),
        (b"\0\0\x0a\x01", "no IDX file"),
        (WHOLE[:-1], r"17 bytes, .* \(2, 3\), has 18"),
        (WHOLE + b"\0", r"19 bytes, .* has 18"),
        (WHOLE[:9], "unknown"),
        (gzip.compress(WHOLE, mtime=0)[:-4], "damaged gzip"),
        (b"\x1f\x8bnothing", "damaged gzip"),
    ],
    ids=["empty", "picture", "unknown type", "short", "long", "cut head", "cut gzip", "no gzip"],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ParameterError, match=message):
        read_idx(tmp_path / "file")
