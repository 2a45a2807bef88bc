"""The example of the README does what the README says it does."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def block(mark: str) -> str:
    """The code block that follows a mark."""
    found = re.search(rf"<!-- {mark} -->\n```\w*\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def without_times(text: str) -> list[str]:
    """The lines, without times and with numbers to two digits."""
    text = re.sub(r"\([\d.]+ s\)", "", text)
    return re.sub(r"-?\d+\.?\d*(e[+-]\d+)?", lambda m: f"{float(m[0]):.2g}", text).split()


def test_the_example_prints_what_the_readme_prints():
    pytest.importorskip("skimage")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block("example"), "README.md", "exec"), {})
    assert without_times(printed.getvalue()) == without_times(block("output"))
