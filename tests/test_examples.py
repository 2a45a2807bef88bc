"""The examples run as they stand."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, capsys):
    names = runpy.run_path(str(path))
    out = capsys.readouterr().out
    if path.stem == "deblur":
        assert names["sol"].status.success
        assert "dB restored" in out
        assert set(names["g"]) == {names["lam"], names["k"]}


def test_there_are_examples():
    assert EXAMPLES
