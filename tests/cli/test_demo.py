"""The demo from end to end on tiny pictures."""

import json

import numpy as np
import pytest

from opalg.cli import demo
from opalg.cli.main import main

skimage_io = pytest.importorskip("skimage.io")
pytest.importorskip("matplotlib")

TIMES = ("seconds", "versions")


def done(tmp_path, *options):
    """The figures of a demo that ended well."""
    folder = tmp_path / "out"
    assert main(["demo", "--output", str(folder), *options]) == 0
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert sorted(p.name for p in folder.iterdir()) == sorted([*figures["files"], "figures.json"])
    return figures


def in_one_line(text):
    """Text without its line breaks, which fall where the length of a folder's name puts them."""
    return " ".join(text.split())


def without_times(figures):
    """Figures less what differs from run to run."""
    if isinstance(figures, dict):
        return {k: without_times(v) for k, v in figures.items() if k not in TIMES}
    return figures


def test_restoring_writes_pictures_and_a_certificate(tmp_path, capsys):
    figures = done(tmp_path, "--size", "48", "--no-tune")
    out = capsys.readouterr().out
    solve = figures["solves"]["restored"]
    assert solve["status"] == "CONVERGED"
    assert solve["certificate"]["kind"] == "duality gap"
    assert solve["certificate"]["relative"] <= figures["options"]["tol"]
    assert figures["psnr"]["restored"] > figures["psnr"]["blurred"] + 3.0
    assert figures["tuning"] is None
    assert "no picture has less than" in in_one_line(out)
    assert "* admm" in out
    original = skimage_io.imread(tmp_path / "out" / "original.png")
    restored = skimage_io.imread(tmp_path / "out" / "restored.png")
    assert original.shape == restored.shape == (48, 48)
    error = np.mean((original / 255.0 - restored / 255.0) ** 2)
    assert -10 * np.log10(error) == pytest.approx(figures["psnr"]["restored"], abs=0.1)
    assert "Energy" in (tmp_path / "out" / "plan.txt").read_text(encoding="utf-8")


def test_tuning_finds_the_width_and_gains_outside_the_crop(tmp_path, capsys):
    figures = done(tmp_path, "--size", "64")
    tuned, guessed = figures["solves"]["tuned"], figures["solves"]["guessed"]
    assert guessed["width"] == pytest.approx(1.5)
    assert abs(tuned["width"] - 2.0) < 0.25
    elsewhere = figures["tuning"]["psnr_outside_crop"]
    assert elsewhere["tuned"] > elsewhere["guessed"] + 1.0
    losses = [row["mean_squared_error"] for row in figures["tuning"]["path"]]
    assert min(losses) < 0.7 * losses[0]
    assert "after" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_figures_and_replaces_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "STEPS", 3)
    first = done(tmp_path, "--size", "24")
    second = done(tmp_path, "--size", "24")
    assert without_times(first) == without_times(second)
    assert "were replaced" in in_one_line(capsys.readouterr().out)
    assert without_times(done(tmp_path, "--size", "24", "--seed", "1")) != without_times(first)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_restores_the_same(tmp_path, dtype):
    pytest.importorskip("torch")
    options = ["--size", "24", "--tol", "3e-3", "--no-tune"]
    figures = done(tmp_path, *options, "--backend", "torch", "--dtype", dtype)
    numpy = done(tmp_path, *options)
    assert figures["options"]["dtype"] == dtype
    assert figures["psnr"]["restored"] == pytest.approx(numpy["psnr"]["restored"], abs=0.05)


def test_torch_tunes_the_same(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(demo, "STEPS", 3)
    options = ["--size", "24", "--tol", "3e-3"]
    figures, numpy = done(tmp_path, *options, "--backend", "torch"), done(tmp_path, *options)
    assert numpy["solves"]["tuned"]["width"] != numpy["solves"]["guessed"]["width"]
    assert figures["solves"]["tuned"]["width"] == pytest.approx(numpy["solves"]["tuned"]["width"], rel=1e-3)


def test_a_colour_picture_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 255, (5, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    file = tmp_path / "colour.png"
    skimage_io.imsave(file, pixels, check_contrast=False)
    figures = done(tmp_path, "--image", str(file), "--no-tune", "--sigma", "1.5")
    assert figures["shape"] == [3, 40, 48]
    assert figures["psnr"]["restored"] > figures["psnr"]["blurred"] + 3.0
    assert skimage_io.imread(tmp_path / "out" / "restored.png").shape == (40, 48, 3)


def test_the_energy_of_a_colour_picture_is_vectorial(rng):
    data, x = rng.random((3, 8, 9)), rng.random((3, 8, 9))
    energy = demo.model(data, 1.0, 0.5, 2).energy
    terms = {type(t.functional).__name__: t.value({energy.variables[0]: x}) for t in energy.terms}
    down, right = np.roll(x, -1, axis=1) - x, np.roll(x, -1, axis=2) - x
    assert terms["Norm21"] == pytest.approx(0.5 * np.sqrt((down**2 + right**2).sum(axis=0)).sum())


def test_a_tolerance_that_is_not_reached_is_said_and_is_a_failure(tmp_path, capsys):
    folder = tmp_path / "out"
    assert (
        main(["demo", "--size", "24", "--no-tune", "--dtype", "float32", "--tol", "1e-30", "--output", str(folder)])
        == 1
    )
    assert "CONVERGED" not in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--image", "missing.png"], ["--backend", "torch", "--device", "nowhere"]])
def test_a_failure_leaves_no_folder(tmp_path, capsys, options):
    folder = tmp_path / "out"
    assert main(["demo", "--size", "24", "--output", str(folder), *options]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not folder.exists()


def test_files_of_others_are_safe(tmp_path, capsys):
    mine = tmp_path / "original.png"
    mine.write_text("mine", encoding="utf-8")
    assert main(["demo", "--size", "24", "--output", str(tmp_path)]) == 1
    assert "original.png" in capsys.readouterr().err
    assert mine.read_text(encoding="utf-8") == "mine"


def test_missing_packages_are_named(monkeypatch, capsys):
    found = demo.importlib.util.find_spec
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None if name == "skimage" else found(name))
    assert main(["demo"]) == 1
    assert "scikit-image: pip install 'opalg[examples]'" in capsys.readouterr().err


def test_shortened_keeps_what_a_first_reader_wants():
    text = "Energy\n  E\n\nMethods\n  * admm: " + "word " * 60 + "\n      detail\n\nStep\n  1. v"
    lines = demo.shortened(text, 60).splitlines()
    assert lines[0] == "  Methods"
    assert lines[1].startswith("    * admm: word")
    assert lines[1].endswith("...")
    assert len(lines) == 2
