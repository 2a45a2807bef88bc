"""The learned regulariser at a tiny size: its formulas, a training step, and the two baselines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import opalg as oa

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from examples.deep_regularisation import __main__ as command  # noqa: E402
from examples.deep_regularisation.data import halved  # noqa: E402
from examples.deep_regularisation.evaluation import EARLY, Restored, lipschitz_of, restore, restore_red  # noqa: E402
from examples.deep_regularisation.model import Denoiser, Potential, declare, measurement  # noqa: E402
from examples.deep_regularisation.report import write_report  # noqa: E402
from examples.deep_regularisation.settings import FULL, MEDIUM, SMALL  # noqa: E402
from examples.deep_regularisation.study import study  # noqa: E402
from examples.deep_regularisation.training import measured_by, train_bilevel  # noqa: E402

TINY = replace(
    SMALL,
    side=8,
    train=4,
    test=2,
    denoiser_batch=2,
    denoiser_steps=3,
    batch=2,
    steps=2,
    rates=((1.0, 1e-3),),
    iterations=20,
    ascent=1,
    shown=8,
)


@pytest.fixture
def clean() -> torch.Tensor:
    ramp = np.linspace(0.1, 0.9, 64).reshape(8, 8)
    rows = [ramp, ramp.T, np.cos(3 * ramp) ** 2, (ramp > 0.5) * 0.8]
    return torch.as_tensor(np.stack(rows).astype(np.float32))


@pytest.fixture
def potential() -> Potential:
    torch.manual_seed(0)
    return Potential(Denoiser(4))


def test_the_gradient_of_the_potential_is_the_mean_of_the_network_and_its_transposed_derivative(potential, clean):
    s = potential.double()
    x = clean.double()[:1]
    jacobian = torch.autograd.functional.jacobian(s.h, x).reshape(64, 64)
    expected = 0.5 * (s.h(x).reshape(64) + jacobian.T @ x.reshape(64))
    torch.testing.assert_close(oa.penalties.gradient_of(s)(x).reshape(64), expected)


def test_a_solution_is_stationary_and_close_to_the_data(potential, clean):
    s, A, lam = potential.double(), measurement(8), 0.1
    x0, y = clean.double(), measured_by(measurement(8))(clean.double())["y"]
    found = declare(s, A, 4, dtype="float64").solve(params={"y": y, "lam": lam}, tol=1e-9).x
    slope = found - oa.penalties.gradient_of(s)(found).detach()
    stationary = A.H @ (A @ found - y) + lam * slope
    assert float(stationary.abs().max()) < 1e-7 < float(slope.abs().max())
    assert float((A @ found - y).norm()) < 0.5 * float((A @ x0).norm())


def test_the_map_of_a_denoiser_ends_where_its_field_balances_the_data(potential, clean):
    A, lam = measurement(8), 0.05
    found = restore_red(potential.h.double(), lam, 0.5, clean.double(), A, 400, dtype="float64")
    x = torch.as_tensor(found.images)
    y = measured_by(A)(clean.double())["y"]
    balance = A.H @ (A @ x - y) + lam * (x - potential.h(x).detach())
    assert float(balance.abs().max()) < 1e-8
    assert len(found.curve) == 401 and found.residual < 1e-8


def test_a_curve_is_of_the_iterates(potential, clean):
    A = measurement(8)
    short, long = (restore(potential, 0.1, clean, A, count, dtype="float32") for count in (5, 9))
    np.testing.assert_allclose(long.curve[:6], short.curve, atol=1e-4)
    start = A.H @ (A @ clean)
    assert short.curve[0] == pytest.approx(oa.metrics.psnr(start, clean, sample_axes=1).mean())
    assert short.curve[-1] == pytest.approx(short.psnr)


def test_early_figures_are_of_one_iterate(potential, clean):
    A = measurement(8)
    short, long = (restore(potential, 0.1, clean, A, count, dtype="float32") for count in (EARLY, EARLY + 7))
    assert short.early_ssim == short.ssim and short.early_psnr == short.curve[-1]
    assert long.early_ssim == pytest.approx(short.ssim, abs=1e-5)
    assert long.early_psnr == pytest.approx(short.psnr, abs=1e-4)


def test_the_arrival_is_the_last_entry_into_a_band():
    curve = [10.0, 20.0, 25.95, 26.5, 26.05, 26.0]
    assert Restored(np.zeros(1), curve, 26.0, 0.0, 0.0, 0.0).arrival() == 4
    assert Restored(np.zeros(1), [26.0, 26.0], 26.0, 0.0, 0.0, 0.0).arrival() == 0


def test_training_moves_weights_and_lambda_of_a_copy(potential, clean):
    before = [w.detach().clone() for w in potential.parameters()]
    done = train_bilevel(potential, clean, measurement(8), 1.0, 1e-3, TINY)
    assert done.steps == 2 and all(row["outcome"] != "skipped" for row in done.log.steps)
    assert all(torch.equal(a, b) for a, b in zip(before, potential.parameters(), strict=True))
    trained = done.module.networks[0]
    moved = [not torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True)]
    assert all(moved) and float(done.module.lam.detach()) not in (0.1, 0.0)


def test_the_attack_finds_the_largest_singular_value_of_a_quadratic_potential():
    class Quadratic(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = torch.linspace(0.0, 2.0, 64, dtype=x.dtype).reshape(8, 8)
            return 0.5 * (weights * x * x).flatten(1).sum(dim=1)

    assert lipschitz_of(Quadratic(), torch.zeros(3, 8, 8), steps=200) == pytest.approx(2.0, abs=0.05)


def test_a_study_writes_its_table_figures_and_numbers(clean, tmp_path):
    lines: list[str] = []
    found = study(TINY, clean, clean[:2], say=lines.append, folder=tmp_path)
    text = write_report(found, tmp_path)
    assert list(found.methods) == ["RED", "gradient step", "bilevel 1"] and len(lines) == 3
    assert "26.34" in text and "26.34" in (tmp_path / "table.md").read_text()
    numbers = json.loads((tmp_path / "figures.json").read_text())
    assert [m["name"] for m in numbers["methods"]] == list(found.methods)
    assert all(len(m["curve"]) == TINY.shown + 1 for m in numbers["methods"])
    assert (tmp_path / "psnr_per_iteration.png").stat().st_size > 0 and (tmp_path / "pictures.png").exists()
    assert found["bilevel 1"].products


def test_the_command_writes_a_folder(clean, tmp_path, monkeypatch, capsys):
    seen = {}

    def some(settings, folder):
        seen.update(settings=settings, folder=folder)
        return clean, clean[:2]

    monkeypatch.setattr(command, "samples", some)
    monkeypatch.setitem(command.SCALES, "small", TINY)
    command.main(["--steps", "1", "--betas", "1", "--data", str(tmp_path), "--out", str(tmp_path / "found")])
    assert seen["folder"] == tmp_path and seen["settings"].steps == 1
    assert "bilevel 1" in capsys.readouterr().out and (tmp_path / "found" / "table.md").exists()


def test_the_full_scale_needs_pictures_of_its_size(capsys):
    with pytest.raises(SystemExit):
        command.main(["--scale", "full"])
    assert "--data FOLDER" in capsys.readouterr().err


def test_folders_without_pictures_are_refused_before_training(tmp_path, capsys):
    for folder, text in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "*.png")):
        with pytest.raises(SystemExit):
            command.main(["--data", str(folder), "--out", str(tmp_path / "out")])
        assert text in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_pictures_are_halved_by_means():
    (found,) = halved([np.arange(20.0).reshape(4, 5)])
    np.testing.assert_allclose(found, [[3.0, 5.0], [13.0, 15.0]])


def test_scales_are_those_of_the_documentation():
    assert (SMALL.side, MEDIUM.side, FULL.side) == (24, 48, 180) and FULL.device == "cuda"
    assert all([beta for beta, _ in s.rates] == [1.0, 3.0, 10.0] for s in (SMALL, MEDIUM, FULL))
