"""The pytest plugin, run on modules of a user's own in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MODULE = """
import numpy as np
import opalg as oa
from opalg import nonneg  # a set, which is checked as its indicator
from opalg import Gradient  # someone else's class, whose examples are not checked

blur = oa.Convolve(np.array([[0.2, 0.6, 0.1]]), shape=(4, 5))
stages = [oa.Identity((3,)), 2.0 * blur]
by_name = {"norm": oa.functionals.Norm1(), "number": 3}
x = oa.Variable((4, 5), name="x")
energy = oa.sum_squares(blur @ x - np.ones((4, 5))) + oa.norm1(x)
_hidden = oa.FunctionOperator(np.cumsum, np.cumsum, in_shape=3, in_dtype="real")


@oa.testing.checked
def difference():
    return oa.FiniteDifference((3, 4), 0)


def unmarked():
    raise AssertionError("nobody asked for this")
"""

WRONG = """
import numpy as np
import opalg as oa

wrong = oa.FunctionOperator(lambda x: x, lambda y: 2 * y, in_shape=(3, 2), name="wrong")
right = oa.Identity((3,))


def test_beside_them():
    assert True
"""


def run(folder, *arguments):
    """Pytest in a folder, without what this repository configures."""
    command = [sys.executable, "-m", "pytest", "-p", "opalg_pytest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-c", "empty.ini", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "empty.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "my_things.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "test_wrong.py").write_text(WRONG, encoding="utf-8")
    return tmp_path


def test_every_object_of_a_module_is_a_test(folder):
    done = run(folder, "--opalg-check", "my_things", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    names = ["nonneg", "blur", "stages[0]", "stages[1]", "by_name['norm']", "energy", "difference()"]
    for name in names:
        assert f"my_things::{name} PASSED" in done.stdout, done.stdout
    assert f"{len(names)} passed" in done.stdout


def test_a_failure_is_the_report(folder):
    done = run(folder, "--opalg-check", "test_wrong.py", "test_wrong.py")
    assert done.returncode == 1
    assert "2 passed" in done.stdout and "1 failed" in done.stdout
    assert "A.H is 2 times the adjoint" in done.stdout
    assert "Traceback" not in done.stdout and "promises.py" not in done.stdout


def test_selection_by_name(folder):
    done = run(folder, "--opalg-check", "my_things", "-k", "blur or difference")
    assert "2 passed" in done.stdout and "deselected" in done.stdout


@pytest.mark.parametrize(
    ("module", "words"),
    [("no_such_module", "there is no module 'no_such_module'"), ("json", "holds no operator, functional or energy")],
)
def test_what_cannot_be_collected_gets_a_sentence(folder, module, words):
    done = run(folder, "--opalg-check", module)
    assert done.returncode != 0
    assert words in done.stdout
    assert "Traceback" not in done.stdout


def test_a_script_that_ends_the_interpreter_gets_a_sentence(folder):
    (folder / "script.py").write_text("import sys\n\nsys.exit(3)\n", encoding="utf-8")
    done = run(folder, "--opalg-check", "script")
    assert done.returncode != 0
    assert "script ends the interpreter when it is imported (SystemExit: 3)" in done.stdout
    assert "INTERNALERROR" not in done.stdout


def test_it_costs_nothing_where_it_is_not_asked_for(folder):
    """Neither opalg nor NumPy is imported, and the tests of the folder are what runs."""
    (folder / "test_light.py").write_text(
        "import sys\n\ndef test_light():\n    assert not {'opalg', 'numpy', 'torch'} & set(sys.modules)\n",
        encoding="utf-8",
    )
    done = run(folder, "test_light.py")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
