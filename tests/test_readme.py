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


NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]\d+)?")


def apart(text: str) -> tuple[list[str], list[float]]:
    """The words and the numbers of a text, times left out."""
    text = re.sub(r"\([\d.]+ s\)", "", text)
    return NUMBER.sub("#", text).split(), [float(n) for n in NUMBER.findall(text)]


def test_the_example_prints_what_the_readme_prints():
    pytest.importorskip("skimage")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block("example"), "README.md", "exec"), {})
    words, numbers = apart(printed.getvalue())
    expected_words, expected_numbers = apart(block("output"))
    assert words == expected_words
    assert numbers == pytest.approx(expected_numbers, rel=0.05)
