"""Online equilibrium models at a tiny scale: declaration, training, evaluation, and what is written down."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from examples.online_equilibrium import __main__ as command  # noqa: E402
from examples.online_equilibrium import costs, laws  # noqa: E402
from examples.online_equilibrium.evaluation import golden_section, oracle_tau, restored  # noqa: E402
from examples.online_equilibrium.instances import INSTANCES  # noqa: E402
from examples.online_equilibrium.model import Residual, UNet, declare, field_of  # noqa: E402
from examples.online_equilibrium.settings import FULL, SCALES, SMALL  # noqa: E402
from examples.online_equilibrium.training import MODES, Starts, pretrained, trained  # noqa: E402

TINY = replace(
    SMALL,
    size=16,
    train=4,
    test=2,
    views=12,
    strata=3,
    drawn=6,
    coils=4,
    coils_drawn=2,
    lights=6,
    lights_drawn=3,
    slices=2,
    pretrain_steps=4,
    batch=2,
    iterations=4,
    backward=4,
    steps=3,
    test_iterations=6,
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", list(INSTANCES))
def test_every_instance_trains_in_both_ways(name):
    instance = INSTANCES[name](TINY)
    start = pretrained(instance, TINY)
    before = {n: p.detach().clone() for n, p in start.named_parameters()}
    for mode in MODES:
        model = trained(instance, start, mode, TINY)
        assert len(model.log.steps) == TINY.steps
        assert np.isfinite(model.log.column("loss")).all()
        assert model.tau > 0
        moved = [not torch.equal(p, before[n]) for n, p in model.network.named_parameters()]
        assert any(moved)
        found = restored(instance, model, mode, TINY)
        assert found.images.shape == tuple(instance.test.shape)
        assert len(found.curve) == TINY.test_iterations + 1
        assert found.snr.shape == found.psnr.shape == found.ssim.shape == (2,)
    assert all(torch.equal(p, before[n]) for n, p in start.named_parameters())  # copies were trained


def test_noise_has_the_signal_to_noise_ratio():
    instance = INSTANCES["resonance"](TINY)
    y = instance.measure(instance.test, torch.Generator().manual_seed(0))["y"]
    for exact, noisy in zip(instance.A @ instance.test, y, strict=True):
        assert float(20 * torch.log10(exact.norm() / (noisy - exact).norm())) == pytest.approx(40.0, abs=1e-3)
    assert y.is_complex()


def test_a_step_of_the_map_is_what_it_says():
    instance = INSTANCES["tomography"](TINY)
    network = Residual(1)
    plan = declare(instance.A, field_of(network, "image"), 12, 2, 0.7, True, 0.3)
    x, y = instance.test, instance.measure(instance.test, torch.Generator())["y"]
    with torch.no_grad():
        gradient = (instance.A.H @ (instance.A @ x - y)) / 12
        expected = (x - 0.7 * (gradient + 0.3 * network(x[:, None])[:, 0])).clamp_min(0)
    torch.testing.assert_close(plan.step((x,), params={"y": y})[0], expected, rtol=1e-5, atol=1e-6)


def test_the_data_term_has_a_unit_lipschitz_constant():
    for make in INSTANCES.values():
        instance = make(TINY)
        assert float(instance.A.norm_bound()) ** 2 / instance.blocks <= 1.0 + 1e-5


def test_solves_go_on_where_the_image_was_left():
    instance = INSTANCES["tomography"](TINY)
    starts = Starts(instance, replace(TINY, afresh=0.0))
    generator = torch.Generator().manual_seed(0)
    inputs, target, indices = next(iter(starts.batches(0, generator)))
    first = starts(inputs["y"])
    torch.testing.assert_close(first, instance.start(inputs["y"]))
    starts.loss(first + 1.0, target)
    torch.testing.assert_close(starts(inputs["y"]), first + 1.0)
    assert set(starts.last) == set(indices.tolist())


def test_the_oracle_finds_the_least_of_each():
    places = np.array([-0.3, 0.9])
    found = golden_section(lambda v: (v - places) ** 2, np.full(2, -1.0), np.full(2, 2.0), 25)
    np.testing.assert_allclose(found, places, atol=1e-3)
    instance = INSTANCES["tomography"](TINY)
    model = trained(instance, pretrained(instance, TINY), "online", TINY)
    tau = oracle_tau(instance, model, "full", TINY)
    best = restored(instance, model, "full", TINY, tau).snr
    assert (best >= restored(instance, model, "full", TINY, 4.0 * model.tau).snr - 1e-6).all()


def test_the_network_of_the_released_code():
    network = UNet(1).eval()
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)
    assert 7.5e6 < sum(p.numel() for n, p in network.named_parameters()) < 8.0e6
    assert (FULL.size, FULL.views, FULL.drawn, FULL.iterations, FULL.network) == (512, 90, 30, 180, "unet")


def test_the_laws_and_costs_are_measured():
    assert max(laws.agreement(20)) < 1e-12
    assert laws.floor_with_all() < 1e-15
    settings = replace(costs.MANY_VIEWS, size=16, views=24, strata=4, drawn=8, iterations=3, train=4)
    instance, network, settings = costs.light(settings)
    assert set(costs.profiles(instance, network, settings, 1)) == set(MODES)
    assert all(v > 0 for v in costs.training_seconds(instance, network, settings, 1).values())


def test_the_command_writes_tables_and_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SCALES, "small", TINY)
    monkeypatch.setattr(sys, "argv", ["x", "--only", "diffraction", "--steps", "2", "--out", str(tmp_path)])
    command.main()
    assert "oracle" in capsys.readouterr().out
    names = {p.name for p in tmp_path.iterdir()}
    assert {"diffraction.md", "diffraction.json", "diffraction-curves.png", "diffraction-images.png"} <= names
    figures = json.loads((tmp_path / "diffraction.json").read_text())
    assert {r["tau"] for r in figures["results"]} == {"trained", "oracle"}
    assert figures["settings"]["steps"] == 2


def written(folder, count, size=20):
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size)).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("name", list(INSTANCES))
def test_every_instance_is_of_the_pictures_that_it_is_given(tmp_path, name):
    instance = INSTANCES[name](TINY, written(tmp_path / "pictures", 9))
    slices = TINY.slices if name == "diffraction" else 1
    assert len(instance.test) == 2 and len(instance.train) == (9 - 2 * slices) // slices
    first = instance.test[0].numpy().reshape(-1, 16, 16)[0]
    whole = np.random.default_rng(0).integers(0, 256, (20, 20)).astype(float)[2:18, 2:18]
    wanted = (whole - whole.min()) / np.ptp(whole)
    np.testing.assert_allclose(np.abs(first), wanted, atol=1e-6)


def test_folders_that_do_not_do_are_refused_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SCALES, "small", TINY)
    monkeypatch.setattr(command, "run", None)
    cases = {
        tmp_path / "nowhere": "there is no folder",
        tmp_path: "*.png",
        written(tmp_path / "few", 7): "holds 7 pictures, but 8 are needed",  # of two slices each
        written(tmp_path / "low", 9, 12): "12 x 12 pixels",
    }
    for folder, text in cases.items():
        monkeypatch.setattr(sys, "argv", ["x", "--only", "diffraction", "--data", str(folder)])
        with pytest.raises(SystemExit) as stopped:
            command.main()
        assert stopped.value.code == 2 and text in " ".join(capsys.readouterr().err.split())
