"""The comparison of bilevel learning and equilibrium models, from one end to the other on a few pictures."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from examples.bilevel_vs_equilibrium import __main__ as command  # noqa: E402
from examples.bilevel_vs_equilibrium.experiment import BEYOND, Experiment, Sensor, apart, losses_of  # noqa: E402
from examples.bilevel_vs_equilibrium.model import declare, measurement  # noqa: E402
from examples.bilevel_vs_equilibrium.report import failures_of, winners_of  # noqa: E402
from examples.bilevel_vs_equilibrium.scales import SCALES, pictures_of  # noqa: E402
from examples.bilevel_vs_equilibrium.sweeping import described, same_runs  # noqa: E402
from opalg.errors import ParameterError  # noqa: E402
from opalg.learning import Sweep  # noqa: E402

TINY = SCALES["tiny"]


def test_the_command_writes_its_figures_and_goes_on_from_its_cache(tmp_path, monkeypatch, capsys):
    asked = ["--scale", "tiny", "--processes", "1", "--tasks", "deblurring", "--activations", "softshrink"]
    monkeypatch.setattr(sys, "argv", ["bilevel_vs_equilibrium", *asked, "--out", str(tmp_path)])
    command.main()
    assert "4 runs of 4 steps" in capsys.readouterr().out
    for name in ("figure_1_noise_0.1.png", "figure_4.png", "figure_5.png", "tables.md", "runs.csv", "runs.jsonl"):
        assert (tmp_path / name).stat().st_size > 0
    lines = (tmp_path / "runs.jsonl").read_text()
    command.main()
    assert (tmp_path / "runs.jsonl").read_text() == lines


def test_configurations_train_together_as_they_do_alone():
    run = Experiment(TINY)
    both = run("denoising", "relu", "equilibrium", 0.1, [0.5, 2.1], [0.5, 1.0])
    (alone,) = run("denoising", "relu", "equilibrium", 0.1, [0.5], [0.5])
    assert len(both[0]["curve"]) == TINY.epochs + 1
    np.testing.assert_allclose(both[0]["curve"], alone["curve"], rtol=2e-3)
    assert both[0]["loss"] == pytest.approx(alone["loss"], rel=2e-3)
    assert both[1]["loss"] != pytest.approx(alone["loss"], rel=1e-2)


def test_a_configuration_that_diverges_spoils_no_other():
    """With identity and a large step the map lengthens everything, and no acceleration helps for long."""
    run = Experiment(TINY.change(lr=0.3))
    found = run("inpainting", "identity", "equilibrium", 0.1, [0.1, 300.0], [0.1, 10.0])
    assert found[1]["loss"] > 10 * found[0]["loss"]
    assert np.isfinite([r["loss"] for r in found]).all()
    assert found[0]["skipped"] == 0


def test_losses_and_gradients_keep_configurations_apart():
    u = torch.zeros(4, 2, 3, 3)
    u[:, 1] = 1e30
    losses = losses_of(u, torch.ones(4, 3, 3))
    assert losses[0] == 1.0
    assert losses[1] == pytest.approx((BEYOND - 1) ** 2, rel=1e-6)
    gradient = torch.tensor([[0.5, 0.5], [3e30, 4e30], [1.0, torch.nan]])
    torch.testing.assert_close(apart(gradient), torch.tensor([[0.5, 0.5], [0.6, 0.8], [0.0, 0.0]]))


def test_every_configuration_gets_the_same_data():
    sensor = Sensor("inpainting", (8, 8), 0.1, 3)
    data = sensor(torch.ones(2, 8, 8), torch.Generator().manual_seed(0))["f"]
    assert data.shape == (2, 3, 8, 8)
    assert torch.equal(data[:, 0], data[:, 2])
    assert data[:, 0, :3].abs().max() < 0.6 < data[:, 0, 3:].min()


@pytest.mark.parametrize(("task", "rows"), [("denoising", 0), ("inpainting", 3), ("deblurring", 0)])
def test_the_tasks(task, rows, rng):
    x = rng.normal(size=(8, 8))
    seen = measurement(task, (8, 8)) @ x
    assert np.all(seen[:rows] == 0)
    if task == "deblurring":
        wanted = sum(np.roll(x, (k, k), (0, 1)) for k in (-1, 0, 1)) / 3
        np.testing.assert_allclose(seen, wanted, atol=1e-12)
    else:
        np.testing.assert_array_equal(seen[rows:], x[rows:])


def test_the_maps_are_those_of_the_paper(rng):
    tau, gamma = np.array([0.5, 0.9]), np.array([0.1, 1.0])
    plans = declare("inpainting", "softshrink", tau, gamma, (4, 4), 1, 0, dtype=np.float64)
    u, f = rng.normal(size=(2, 1, 2, 4, 4))
    K = measurement("inpainting", (4, 4))
    for plan, name in zip(plans, "AC", strict=True):
        values = {p.name: np.asarray(p.value) for p in plan.parameters}
        image = plan.step((torch.as_tensor(u),), params={"f": torch.as_tensor(f)})[0].numpy()
        for c in range(2):
            z = values["A"][c] @ u[0, c].ravel() + values["b"][c]
            shrunk = np.sign(z) * np.maximum(np.abs(z) - tau[c], 0)
            slope = K.H @ (K @ u[0, c] - f[0, c]) + gamma[c] * (values[name][c].T @ shrunk).reshape(4, 4)
            np.testing.assert_allclose(image[0, c], u[0, c] - tau[c] * slope, atol=1e-12)


def test_pictures_are_split_apart():
    found = pictures_of(SCALES["small"], None)
    assert found.shape == (8, 8)
    assert (len(found.train), len(found.choose), len(found.test)) == (1400, 0, 397)
    assert found.train.min() == -1
    assert found.train.max() == 1


def test_larger_scales_ask_for_their_pictures():
    with pytest.raises(ParameterError, match="--data"):
        pictures_of(SCALES["medium"], None)


def written_digits(folder, count):
    """MNIST's files of so many random pictures."""
    found = np.random.default_rng(0).integers(0, 256, (count, 28, 28)).astype(np.uint8)
    sizes = np.array(found.shape, ">u4").tobytes()
    (folder / "t10k-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + sizes + found.tobytes())
    (folder / "t10k-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1]) + np.array([count], ">u4").tobytes() + bytes(count)
    )
    return found


def test_the_small_scale_reduces_pictures_that_it_is_given(tmp_path):
    wanted = written_digits(tmp_path, 60)
    found = pictures_of(TINY, tmp_path)
    assert found.shape == (8, 8) and len(found.train) == 40 and len(found.test) == 20
    corner = wanted[0, 2:5, 2:5].mean() / 255
    assert float(found.train[0, 0, 0]) == pytest.approx(2 * corner - 1, abs=1e-6)
    last = wanted[0, 23:26, 23:26].mean() / 255
    assert float(found.train[0, 7, 7]) == pytest.approx(2 * last - 1, abs=1e-6)


@pytest.mark.parametrize("scale", ["tiny", "medium"])
def test_what_is_no_folder_of_data_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys, scale):
    monkeypatch.setattr(command, "run_sweep", None)
    out = str(tmp_path / "out")
    for data, text in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "t10k-images-idx3-ubyte")):
        monkeypatch.setattr(sys, "argv", ["x", "--scale", scale, "--data", str(data), "--out", out])
        with pytest.raises(SystemExit) as stopped:
            command.main()
        assert stopped.value.code == 2 and text in capsys.readouterr().err


def test_outcomes_of_other_pictures_are_not_taken_up(tmp_path):
    written_digits(tmp_path, 60)
    ours, theirs = (described(TINY, pictures_of(TINY, folder), 0) for folder in (None, tmp_path))
    same_runs(tmp_path / "out", ours)
    same_runs(tmp_path / "out", described(TINY.change(taus=(0.9,)), pictures_of(TINY, None), 0))
    with pytest.raises(ParameterError, match=r"checksums differ\); give another --out"):
        same_runs(tmp_path / "out", theirs)
    with pytest.raises(ParameterError, match="epochs, seed differ"):
        same_runs(tmp_path / "out", described(TINY.change(epochs=2), pictures_of(TINY, None), 1))


def test_the_winner_is_the_one_with_the_smaller_loss():
    rows = [
        {"noise": 0.1, "task": "denoising", "activation": "relu", "method": m, "tau": t, "gamma": 0.5, "loss": loss}
        | {"nothing": 0.01, "chosen by": None, "converged": 1.0}
        for (m, t), loss in {
            ("bilevel", 0.1): 0.4,
            ("bilevel", 0.5): 0.2,
            ("equilibrium", 0.1): 0.1,
            ("equilibrium", 0.5): 0.7,
        }.items()
    ]
    found = Sweep(rows, ("noise", "task", "activation", "method", "tau", "gamma"))
    text = str(winners_of(found))
    assert "equilibrium  0.1000" in text
    assert "0 of 1" in text
    assert failures_of(found).rows[1][:2] == (0.5, 1)
