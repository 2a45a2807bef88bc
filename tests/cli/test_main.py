"""The command line as a user meets it: help, sentences, exit codes."""

import subprocess
import sys

import pytest

import opalg
from opalg.cli import main as cli
from opalg.cli.main import main

MODULE = """
import numpy as np
import opalg as oa

x = oa.Variable(3, name="x")
E = oa.sum_squares(x - np.ones(3)) + oa.indicator(x >= 0)
number = 3

def make():
    return E

def broken():
    raise RuntimeError("out of order")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module of a user's, which is the current one."""
    (tmp_path / "my_energies.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "fails.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "lacks.py").write_text("import a_package_that_is_not_there\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("my_energies", "fails", "lacks"):
        sys.modules.pop(name, None)


def refused(capsys, code, *arguments):
    """The one sentence on stderr of a command that ends with a code and prints nothing else."""
    assert main(list(arguments)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_command(capsys, arguments):
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(command.name in out for command in cli.COMMANDS)
    assert "opalg demo" in out


@pytest.mark.parametrize("command", [c.name for c in cli.COMMANDS])
def test_every_command_has_help(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"usage: opalg {command}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"opalg {opalg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dance"], ["dance", "demo"]),
        (["--loud"], ["--loud"]),
        (["demo", "--size", "two"], ["--size", "two", "opalg demo --help"]),
        (["demo", "--size", "7"], ["--size", "24"]),
        (["demo", "--sigma", "0"], ["--sigma", "positive"]),
        (["demo", "--sigma", "nan"], ["--sigma", "finite"]),
        (["demo", "--noise", "-1"], ["--noise", "negative"]),
        (["demo", "--tol", "small"], ["--tol", "small"]),
        (["demo", "--backend", "fortran"], ["fortran", "numpy"]),
        (["demo", "--dtype", "int8"], ["int8", "float32"]),
        (["explain"], ["MODULE:ENERGY"]),
        (["explain", "my_energies"], ["MODULE:OBJECT"]),
        (["explain", ":E"], ["MODULE:OBJECT"]),
    ],
)
def test_wrong_arguments_get_one_sentence_and_code_2(capsys, arguments, words):
    sentence = refused(capsys, 2, *arguments)
    assert all(word in sentence for word in words)


@pytest.mark.parametrize("name", ["my_energies:E", "my_energies.py:E", "my_energies:make"])
def test_explain_prints_the_plan(capsys, folder, name):
    assert main(["explain", name]) == 0
    out = capsys.readouterr().out
    assert "* proximal_gradient" in out
    assert "Cost of an iteration" in out


def test_explain_takes_a_method_a_precision_and_prints_the_source(capsys, folder):
    assert main(["explain", "my_energies:E", "--method", "admm", "--dtype", "float32", "--source"]) == 0
    out = capsys.readouterr().out
    assert "* admm" in out
    assert "numpy float32" in out
    assert "def step(" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_energies:energy", ["no 'energy'"]),
        ("my_energies:mak", ["did you mean make?"]),
        ("my_energies:number", ["int", "an energy"]),
        ("nowhere_at_all:E", ["no module 'nowhere_at_all'"]),
        ("nowhere.py:E", ["no file nowhere.py"]),
        ("fails:E", ["fails when it is imported", "ZeroDivisionError"]),
        ("lacks:E", ["needs the module 'a_package_that_is_not_there'"]),
        ("my_energies:broken", ["RuntimeError", "out of order"]),
    ],
)
def test_what_cannot_be_explained_gets_a_sentence_and_code_1(capsys, folder, name, words):
    sentence = refused(capsys, 1, "explain", name)
    assert all(word in sentence for word in words)


def test_an_unknown_method_gets_a_sentence(capsys, folder):
    assert "dance" in refused(capsys, 1, "explain", "my_energies:E", "--method", "dance")


def test_info_names_versions_and_devices(capsys):
    import numpy as np

    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"opalg {opalg.__version__}" in out
    assert np.__version__ in out
    assert "numpy: cpu" in out


def test_interruption_ends_with_a_sentence_and_code_130(capsys, monkeypatch):
    def stop(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "COMMANDS", tuple(_running(c, stop) for c in cli.COMMANDS))
    assert "interrupted" in refused(capsys, 130, "info")


def test_an_error_of_the_system_gets_a_sentence(capsys, monkeypatch):
    def fail(options):
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(cli, "COMMANDS", tuple(_running(c, fail) for c in cli.COMMANDS))
    assert "Permission denied (/somewhere)" in refused(capsys, 1, "info")


def _running(command, function):
    from dataclasses import replace

    return replace(command, run=function)


def test_the_module_is_the_command_and_survives_a_reader_that_leaves():
    done = subprocess.run(
        [sys.executable, "-m", "opalg", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"opalg {opalg.__version__}\n"
