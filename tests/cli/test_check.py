"""``opalg check`` on operators, functionals and energies of a user's own, and on whole modules."""

import sys

import pytest

from opalg.cli.main import main

MODULE = """
import numpy as np
import opalg as oa

blur = oa.Convolve(np.array([[0.2, 0.6, 0.1]]), shape=(4, 5))
norm = oa.functionals.Norm1()
number = 3


class Wrong:
    in_shape = out_shape = (4,)

    def apply(self, x):
        return 2.0 * x

    def adjoint(self, y):
        return 3.0 * y


class Steep:
    def value(self, v):
        return float((v**2).sum())

    def gradient(self, v):
        return 3.0 * v


x = oa.Variable((4, 5), name="x")
energy = 0.5 * oa.sum_squares(blur @ x - oa.Parameter(np.ones((4, 5)), name="y")) + 0.1 * oa.sum_squares(x)
wrong = Wrong()
steep = Steep()

def make():
    return blur

def broken():
    raise ValueError("out of order")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a user's module, which is the current one."""
    (tmp_path / "my_things.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_things", None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["my_things:blur"],
        ["my_things.py:blur"],
        ["my_things:make"],
        ["my_things:norm"],
        ["my_things:norm", "--shape", "6"],
        ["my_things:energy"],
    ],
)
def test_what_is_right_passes(capsys, arguments):
    assert main(["check", *arguments]) == 0
    assert "all hold" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "found"), [("wrong", "adjoint:"), ("steep", "gradient")])
def test_what_is_wrong_is_said_and_is_a_failure(capsys, name, found):
    assert main(["check", f"my_things:{name}"]) == 1
    assert f"- {found}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_things:number", ["int", "an operator"]),
        ("my_things:broken", ["ValueError", "out of order"]),
        ("my_things:missing", ["my_things", "'missing'"]),
        ("no_such_module:blur", ["no module 'no_such_module'"]),
        ("no_such_file.py:blur", ["no file no_such_file.py"]),
    ],
)
def test_what_cannot_be_checked_gets_a_sentence(capsys, name, words):
    assert main(["check", name]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words)


@pytest.mark.parametrize("name", ["my_things", "my_things.py"])
def test_a_whole_module(capsys, name):
    assert main(["check", name]) == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    for good in ("blur", "norm", "energy"):
        assert any(line.startswith("ok ") and f" {good}: " in line for line in lines), out
    for bad in ("wrong", "steep"):
        assert any(line.startswith("FAILED") and f" {bad}: " in line for line in lines), out
    assert "- adjoint:" in out and "A.H is 1.5 times the adjoint" in out
    assert "5 checked, 2 failed, in " in lines[-1]


def test_a_whole_package_of_the_house(capsys):
    assert main(["check", "opalg.operators.difference"]) == 0
    out = capsys.readouterr().out
    assert "Gradient.examples[0]: Gradient(" in out and "none failed" in out


def test_a_module_with_nothing_to_check_gets_a_sentence(capsys):
    assert main(["check", "json"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "@oa.testing.checked" in err
    assert main(["check", "no_such_module"]) == 1
    assert "no module 'no_such_module'" in capsys.readouterr().err
