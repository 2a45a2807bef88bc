"""Objects named on the command line: attributes, indices, and what is said where there is none."""

from __future__ import annotations

import pytest

from opalg.cli.command import UsageError
from opalg.cli.objects import LoadError, load

SOURCE = """
import types
good = {"blur": 1, "key two": [10, 20]}
stages = [types.SimpleNamespace(A=3)]
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return str(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [("good['blur']", 1), ('good["key two"][1]', 20), ("stages[0].A", 3), ("stages[-1].A", 3), ("good", None)],
)
def test_attributes_and_indices(module, path, value):
    found = load(f"{module}:{path}")
    assert found == value or (value is None and found["blur"] == 1)


@pytest.mark.parametrize("path", ["good['blurr']", "good.key", "stages[4]", "stages[0].B", "nothing"])
def test_what_is_not_there_is_said(module, path):
    with pytest.raises(LoadError, match="has no"):
        load(f"{module}:{path}")
    with pytest.raises(LoadError, match="did you mean blur"):
        load(f"{module}:good['blurr']")


@pytest.mark.parametrize("path", ["good[blur]", "good[", "a b", "good['x'"])
def test_what_is_no_name_is_refused(module, path):
    with pytest.raises(UsageError, match="names no object"):
        load(f"{module}:{path}")
