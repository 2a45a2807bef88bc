"""The package as it is handed out: version, type marker, command, and the commands that the README names."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import opalg

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_one_version_everywhere():
    assert opalg.__version__ == PROJECT["version"] == metadata.version("opalg")
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_types_are_handed_out():
    assert (Path(opalg.__file__).parent / "py.typed").exists()


def test_the_command_exists():
    (command,) = metadata.entry_points(group="console_scripts", name="opalg")
    assert callable(command.load())


def test_every_public_name_exists():
    assert len(set(opalg.__all__)) == len(opalg.__all__)
    for name in opalg.__all__:
        assert hasattr(opalg, name), name


PAGES = [path for pattern in ("*.md", "docs/*.md", "docs/reference/*.md") for path in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if not t.startswith(("http:", "https:")) and not (page.parent / t).exists()]
    assert missing == []
