"""Checkpoints: what is written is read again, and a run that was interrupted anywhere ends in the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import opalg as oa
from opalg.learning.checkpoints import load_state, save_state
from tests.learning.training_cases import SHAPE, assert_same_run, batches, experts, noisy, ridge

ROOT = Path(oa.__file__).parent.parent


def schedule(optimiser):
    """A scheduler made of schedulers, one of which holds a table."""
    kinds = torch.optim.lr_scheduler
    steps = kinds.MultiStepLR(optimiser, [1, 3], 0.5)
    return kinds.SequentialLR(optimiser, [steps, kinds.CosineAnnealingLR(optimiser, 20)], [4])


def everything(epochs=3, **more):
    """A run with all that has a state: schedules, warm starts, penalties, guards, evaluations."""
    torch.manual_seed(3)
    module = experts().as_module(warm_start=True)

    def layer(x):
        return torch.sin(x @ module.A[0].T + module.b)

    penalties = [
        oa.penalties.Lipschitz(layer, 0.2, 0.01),
        oa.penalties.Jacobian(lambda x: layer(x) * torch.rand(()), 0.01),  # draws from Torch's own generator
    ]
    options = {"validate": noisy(seed=7), **more}
    return oa.fit(
        module, noisy(), epochs=epochs, lr=0.02, scheduler=schedule, penalties=penalties,
        guard=oa.learning.Guard(explode=50.0, clip=0.1), **options,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Bits are the same where the number of threads is: one, here and in the processes that are started."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(one_thread):
    return everything()


@pytest.mark.parametrize("step", [2, 3, 5, 9])
def test_a_run_goes_on_to_the_same_bits(uninterrupted, tmp_path, step):
    """Stopped in the middle of an epoch, at the end of one, and after the last step."""
    path = tmp_path / "deep" / "run.safetensors"
    first = everything(checkpoint=path, callback=lambda row: row["step"] == step)
    assert not first.finished and first.steps == step
    assert_same_run(everything(checkpoint=path), uninterrupted)


def test_more_epochs_go_on_from_the_end(uninterrupted, tmp_path):
    everything(1, checkpoint=tmp_path / "run")
    everything(2, checkpoint=tmp_path / "run")
    assert_same_run(everything(3, checkpoint=tmp_path / "run"), uninterrupted)
    assert everything(3, checkpoint=tmp_path / "run").steps == 9, "there is nothing left to do"


def test_energies_start_from_their_dual_state_again(tmp_path):
    """Warm starts of a method whose state is more than the variable, with scales that belong to it."""

    def run(**more):
        x = oa.Variable((12,), name="x")
        y = oa.Parameter(torch.zeros(12, dtype=torch.float64), name="y")
        lam = oa.Parameter(torch.tensor(0.3, dtype=torch.float64), name="lam", positive=True)
        energy = 0.5 * oa.sum_squares(x - y) + lam * oa.norm1(oa.FiniteDifference((12,), axis=0) @ x)
        data = [({"y": torch.linspace(0, 1, 12, dtype=torch.float64)}, torch.zeros(12, dtype=torch.float64))]
        return oa.fit(oa.compile(energy), data, epochs=4, lr=0.05, positive="exp", warm_start=True, **more)

    run(checkpoint=tmp_path / "run", callback=lambda row: row["step"] == 2)
    assert_same_run(run(checkpoint=tmp_path / "run"), run())


def test_online_plans_draw_what_they_would_have_drawn(tmp_path):
    def run(**more):
        x = oa.Variable(6, name="x")
        y = oa.Parameter(torch.zeros(12, dtype=torch.float64), name="y")
        lam = oa.Parameter(torch.tensor(0.4, dtype=torch.float64), name="lam")
        parts = [oa.Matrix(m) for m in torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0)).double() / 2]
        data = 0.25 * oa.sum_squares(oa.vstack(parts) @ x - y)
        image = x - 0.3 * (oa.grad(data) + lam * oa.grad(0.5 * oa.sum_squares(x)))
        plan = oa.online(oa.fixed_point(x, image, acceleration="none"), 2)
        batch = ({"y": torch.ones(12, dtype=torch.float64)}, torch.ones(6, dtype=torch.float64))
        return oa.fit(plan, [batch] * 2, epochs=3, lr=0.1, max_iter=15, gradient_options={"max_iter": 15}, **more)

    whole = run()
    assert len(set(whole.log.column("residual"))) == 6, "every solve draws its own blocks"
    run(checkpoint=tmp_path / "run", callback=lambda row: row["step"] == 3)
    assert_same_run(run(checkpoint=tmp_path / "run"), whole)
    batch = ({"y": torch.ones(12, dtype=torch.float64)}, torch.ones(6, dtype=torch.float64))
    watched = run(validate=[batch])
    assert np.array_equal(watched.log.column("loss"), whole.log.column("loss")), "evaluations draw nothing"
    assert oa.learning.evaluate(watched.module, [batch]) == oa.learning.evaluate(watched.module, [batch])


def test_loaders_that_shuffle_go_on_in_the_same_order(tmp_path):
    def run(**more):
        torch.manual_seed(1)
        network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5))
        clean = torch.arange(96.0).reshape(12, 8) / 96
        pairs = torch.utils.data.TensorDataset(clean, clean)
        loader = torch.utils.data.DataLoader(pairs, batch_size=3, shuffle=True)
        groups = [("0.weight", "adam"), ("0.bias", "sgd")]
        return oa.fit(network, loader, epochs=3, lr=0.1, optimizer=groups, **more)

    whole = run()
    for step in (2, 4, 7):
        path = tmp_path / f"run{step}"
        run(checkpoint=path, callback=lambda row, at=step: row["step"] == at)
        assert_same_run(run(checkpoint=path), whole)


SCRIPT = """
import sys
import torch
import opalg as oa
torch.set_num_threads(1)
from tests.learning.test_checkpoints import everything

def slow(row):
    print(row["step"], flush=True)
    import time
    time.sleep(float(sys.argv[2]))

done = everything(checkpoint=sys.argv[1], callback=slow)
print("finished" if done.finished else "interrupted", done.steps, flush=True)
"""


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(uninterrupted, tmp_path):
    path = tmp_path / "run.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), "0.3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for line in process.stdout:
        if line.strip() == "4":
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    word, steps = rest.split()[-2:]
    assert word == "interrupted" and 4 <= int(steps) < 9
    assert_same_run(everything(checkpoint=path), uninterrupted)


def test_an_interrupt_in_the_middle_of_a_step_keeps_the_last_checkpoint(tmp_path):
    """As a second Ctrl-C does; whatever was half done is not saved."""
    path, calls = tmp_path / "run", []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return (output - target).square().mean()

    with pytest.raises(KeyboardInterrupt):
        oa.fit(ridge(), batches(), loss, epochs=3, lr=0.1, checkpoint=path)
    again = oa.fit(ridge(), batches(), epochs=3, lr=0.1, checkpoint=path)
    assert_same_run(again, oa.fit(ridge(), batches(), epochs=3, lr=0.1))


def test_an_interrupt_between_steps_is_saved(tmp_path):
    def stop(row):
        if row["step"] == 2:
            raise KeyboardInterrupt

    done = oa.fit(ridge(), batches(), lr=0.1, checkpoint=tmp_path / "run", callback=stop)
    assert not done.finished and done.steps == 2
    again = oa.fit(ridge(), batches(), lr=0.1, checkpoint=tmp_path / "run")
    assert_same_run(again, oa.fit(ridge(), batches(), lr=0.1))


def test_signals_are_handled_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    oa.fit(ridge(), batches(1))
    assert signal.getsignal(signal.SIGINT) is before


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run"
    oa.fit(ridge(), batches(1), checkpoint=path)
    with pytest.raises(oa.ParameterError, match=r"parameters were .*A absent, now of shape \(1, 6, 8\)"):
        oa.fit(experts(), noisy(), epochs=2, checkpoint=path)
    with pytest.raises(oa.ParameterError, match=r"lam of shape \(\), now absent; parametrizations"):
        oa.fit(ridge(), batches(1), epochs=2, checkpoint=path, positive="exp")
    with pytest.raises(oa.ParameterError, match=r"optimisers and schedulers were \['Adam'\], now \['SGD'\]"):
        oa.fit(ridge(), batches(1), epochs=2, checkpoint=path, optimizer="sgd")
    with pytest.raises(oa.ParameterError, match="seed were 0, now 1"):
        oa.fit(ridge(), batches(1), epochs=2, checkpoint=path, seed=1)
    with pytest.raises(oa.ParameterError, match="penalties"):
        oa.fit(ridge(), batches(1), epochs=2, checkpoint=path, penalties=[oa.penalties.Jacobian(torch.sin)])


def test_states_of_all_kinds_are_read_again(tmp_path):
    state = {
        "a/b": torch.arange(3.0),
        "a": {"b": torch.ones(2, 2, dtype=torch.complex128) * 1j, 3: torch.tensor(True)},
        "empty": torch.zeros(0, 4),
        "scalars": [1, 2.5, None, "text", False, (1, (2,))],
        "numpy": np.float64(0.1) + np.int64(1),
        "nan": float("nan"),
    }
    path = save_state(tmp_path / "folder" / "state", state)
    found = load_state(path)
    assert torch.equal(found["a/b"], state["a/b"]) and torch.equal(found["a"]["b"], state["a"]["b"])
    assert found["a"][3].dtype == torch.bool and found["empty"].shape == (0, 4)
    assert found["scalars"] == state["scalars"] and found["numpy"] == 1.1 and np.isnan(found["nan"])
    turned = torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)
    again = load_state(save_state(tmp_path / "turned", {"w": turned}))["w"]
    assert torch.equal(again, turned) and again.stride() == turned.stride()
    assert [p.name for p in path.parent.iterdir()] == ["state"], "nothing is left behind"


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    (tmp_path / "text").write_text("not one")
    with pytest.raises(oa.ParameterError, match="no checkpoint"):
        oa.fit(ridge(), batches(1), checkpoint=tmp_path / "text")
    with pytest.raises(oa.ParameterError, match="no checkpoint"):
        load_state(tmp_path)
    save_file({"w": torch.ones(2)}, tmp_path / "weights")
    with pytest.raises(oa.ParameterError, match=r"format is None.*give another checkpoint=, or remove the file"):
        load_state(tmp_path / "weights")
    whole = save_state(tmp_path / "whole", {"w": torch.ones(100)}).read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(oa.ParameterError, match="no checkpoint"):
        load_state(tmp_path / "half")


def test_what_cannot_be_written_is_said():
    with pytest.raises(oa.UnsupportedError, match="a/b holds set"):
        save_state("nowhere", {"a": {"b": {1}}})


def test_a_missing_library_is_said_at_the_start(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(oa.UnsupportedError, match="pip install safetensors"):
        oa.fit(ridge(), batches(1), checkpoint=tmp_path / "run", callback=lambda row: pytest.fail("it trained"))


def test_cuda_tensors_come_back_without_a_card(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = save_state(tmp_path / "state", {"w": torch.ones(SHAPE)})
    raw = path.read_bytes().replace(b'device\\": \\"cpu\\"', b'device\\": \\"mps\\"')
    path.write_bytes(raw)
    assert load_state(path)["w"].device.type == "cpu"


def test_another_learning_rate_is_not_forgotten_silently(tmp_path):
    path = tmp_path / "run.safetensors"
    oa.fit(ridge(), batches(), lr=0.1, checkpoint=path)
    with pytest.raises(oa.ParameterError, match=r"Adam of the checkpoint has lr = 0.1, but now 0.2 is given"):
        oa.fit(ridge(), batches(), lr=0.2, epochs=2, checkpoint=path)
    assert oa.fit(ridge(), batches(), lr=0.1, epochs=2, checkpoint=path).epochs == 2


@pytest.mark.parametrize("way", ["exp", "softplus", "clamp"])
def test_another_reparametrisation_is_refused(tmp_path, way):
    """The free numbers have one name and one shape whatever function they go through."""
    path = tmp_path / "run"
    oa.fit(ridge(), batches(1), lr=0.1, checkpoint=path, positive="exp")
    if way == "exp":
        assert oa.fit(ridge(), batches(1), lr=0.1, epochs=2, checkpoint=path, positive=way).epochs == 2
        return
    module = ridge().as_module(positive=way)
    with pytest.raises(oa.ParameterError, match=rf"parametrisations were lam Exp, now {way.title()}.*positive="):
        oa.fit(module, batches(1), lr=0.1, epochs=2, checkpoint=path)
    assert module.lam.item() == 1.0, "nothing was read into it"


def test_settings_of_parametrisations_are_compared(tmp_path):
    def fit(iterations):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(8, 8).double(), torch.nn.Linear(8, 8).double())
        torch.nn.utils.parametrizations.spectral_norm(network[1], n_power_iterations=iterations)
        data = [(torch.ones(SHAPE, dtype=torch.float64), torch.zeros(SHAPE, dtype=torch.float64))]
        return oa.fit(network, data, checkpoint=tmp_path / "run")

    fit(1)
    with pytest.raises(oa.ParameterError, match=r"1\.weight _Sp.*n_power_iterations=1\), now .*n_power_iterations=2"):
        fit(2)


def test_another_precision_is_refused(tmp_path):
    path = tmp_path / "run"
    oa.fit(ridge(torch.float32), batches(1, dtype=torch.float32), checkpoint=path)
    with pytest.raises(oa.ParameterError, match=r"dtypes of parameters were .*lam float32, now float64.*dtype="):
        oa.fit(ridge(), batches(1), epochs=2, checkpoint=path)


def test_a_refused_checkpoint_leaves_the_module_alone(tmp_path):
    oa.fit(ridge(), batches(1), lr=0.1, checkpoint=tmp_path / "run")
    module = ridge().as_module()
    with pytest.raises(oa.ParameterError, match=r"lr = 0\.1"):
        oa.fit(module, batches(1), lr=0.2, checkpoint=tmp_path / "run")
    assert module.lam.item() == 1.0


@pytest.mark.parametrize(
    "text",
    [
        None,
        '{"dict": [["setup", {"dict"',
        '{"value": 3}',
        '{"list": []}',
        '{"dict": 3}',
        "[1, 2]",
        '{"dict": [["w", {"tensor": "/absent", "device": "cpu", "order": [0]}]]}',
        '{"dict": [["w", {"tensor": "/w", "device": "cpu", "order": [5, 7]}]]}',
        '{"dict": [["w", {"tensor": "/w", "device": "cpu"}]]}',
        '{"dict": [["w", {"complex": "/w", "device": "cpu", "order": [0]}]]}',
    ],
)
def test_metadata_that_are_cut_or_foreign_are_refused(tmp_path, text):
    state = {} if text is None else {"state": text}
    save_file({"/w": torch.ones(3)}, tmp_path / "run", metadata={"format": "opalg training 1", **state})
    with pytest.raises(oa.ParameterError, match=r"run is no checkpoint of opalg.*remove the file to begin anew"):
        oa.fit(ridge(), batches(1), checkpoint=tmp_path / "run")


def change(path, what):
    """Write a checkpoint anew with something else in it."""
    state = load_state(path)
    what(state)
    save_state(path, state)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda s: s.pop("starts"), "lacks starts: another version"),
        (lambda s: s.pop("setup"), "lacks setup"),
        (lambda s: s.update(setup=3), "holds int, no mapping"),
        (lambda s: s["setup"].pop("parametrisations"), "does not say what the parametrisations were"),
        (lambda s: s["setup"].pop("dtypes of parameters"), "does not say what the dtypes of parameters were"),
        (lambda s: s["setup"].pop("seed"), "does not say what the seed were"),
        (lambda s: s.update(place=[1, 2]), "no checkpoint of opalg, or was cut or changed"),
        (lambda s: s.update(place=None), "no checkpoint of opalg, or was cut or changed"),
        (lambda s: s.update(module={}), "no checkpoint of opalg, or was cut or changed"),
        (lambda s: s["optimisers"].pop("optimisers"), "reading it met KeyError: 'optimisers'"),
        (lambda s: s.update(random={}), "reading it met KeyError"),
        (lambda s: s.update(log=[3]), "reading it met TypeError"),
    ],
)
def test_states_of_other_versions_are_refused_in_a_sentence(tmp_path, what, said):
    path = tmp_path / "run"
    oa.fit(ridge(), batches(1), checkpoint=path)
    change(path, what)
    with pytest.raises(oa.ParameterError, match=f"(?s){said}.*remove the file to begin anew"):
        oa.fit(ridge(), batches(1), epochs=2, checkpoint=path)


@pytest.mark.parametrize("path", [True, 3, b"run", ["run"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(oa.ParameterError, match=r"as in checkpoint='run\.safetensors', not"):
        oa.fit(ridge(), untouched, checkpoint=path)


def untouched(epoch, generator):
    pytest.fail("data were asked for")


def test_places_where_nothing_can_be_written_are_refused_at_the_start(tmp_path):
    (tmp_path / "file").write_text("something")
    for path, said in [
        (tmp_path, r"is a folder; give a file in it, as in checkpoint='.*run\.safetensors'"),
        (tmp_path / "file" / "run", "cannot be written"),
        (tmp_path / "file" / "deep" / "run", "cannot be written"),
        (tmp_path / ("long" * 100), "cannot be written"),
    ]:
        with pytest.raises(oa.ParameterError, match=f"{said}"):
            oa.fit(ridge(), untouched, checkpoint=path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(oa.ParameterError, match="no plain file"):
        oa.fit(ridge(), untouched, checkpoint=tmp_path / "pipe")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "pipe"], "nothing was made"


def test_a_folder_without_permission_is_refused_at_the_start(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("opalg.learning.checkpoints.TemporaryFile", refuse)
    with pytest.raises(oa.ParameterError, match=r"Permission denied.*in a folder where you may write"):
        oa.fit(ridge(), untouched, checkpoint=tmp_path / "run")


def test_a_path_with_a_character_that_none_may_have_is_refused(tmp_path):
    with pytest.raises(oa.ParameterError, match="cannot be written"):
        oa.fit(ridge(), batches(1), checkpoint=f"{tmp_path}/a\0b", callback=lambda row: pytest.fail("it trained"))


def test_a_write_that_fails_leaves_the_checkpoint_that_was_there(tmp_path, monkeypatch):
    import safetensors.torch

    path = tmp_path / "run"
    oa.fit(ridge(), batches(1), lr=0.1, checkpoint=path)
    before = path.read_bytes()

    def half(tensors, where, metadata):
        Path(where).write_bytes(b"half")
        raise safetensors.SafetensorError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", half)
        with pytest.raises(oa.ParameterError, match=r"run' cannot be written: No space left.*is as it was"):
            oa.fit(ridge(), batches(1), lr=0.1, epochs=2, checkpoint=path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run"], "nothing half-written is left"
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("replace")))
        with pytest.raises(oa.ParameterError, match="replace"):
            save_state(path, {"w": torch.ones(2)})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_metric_that_raises_loses_no_epoch(uninterrupted, tmp_path):
    """The second validation fails; the epoch before it is on the disk, and is validated when the run goes on."""
    path, images = tmp_path / "run", []

    def broken(image, reference):
        images.append(1)
        if len(images) > 12:  # three batches of four samples in each epoch
            raise ZeroDivisionError("in the metric")
        return 1.0

    with pytest.raises(ZeroDivisionError):
        everything(metrics={"psnr": broken}, checkpoint=path)
    state = load_state(path)
    assert state["place"][:3] == [2, 6, 0] and state["place"][4] == 1, "two epochs were made, one was validated"
    metrics = {"psnr": lambda image, reference: 1.0}
    again = everything(metrics=metrics, checkpoint=path)
    assert [row["epoch"] for row in again.log.evaluations] == [1, 2, 3]
    assert_same_run(again, everything(metrics=metrics))
    assert repr(again.log.column("loss")) == repr(uninterrupted.log.column("loss"))


def test_an_epoch_is_written_down_again_with_its_validation(tmp_path):
    path = tmp_path / "run"
    oa.fit(ridge(), batches(1), checkpoint=path, validate=batches(1))
    state = load_state(path)
    assert state["place"][4] == 1 and state["log"][-1]["kind"] == "validation"


def test_the_setup_is_readable_without_opalg(tmp_path):
    """As JSON, with names of classes and dtypes."""
    from safetensors import safe_open

    path = tmp_path / "run"
    oa.fit(ridge(), batches(1), checkpoint=path, positive="exp")
    with safe_open(str(path), framework="pt") as file:
        assert '["lam", {"value": "Exp"}]' in json.dumps(json.loads(file.metadata()["state"]))


@pytest.mark.parametrize(("before", "now"), [({}, {"acceleration": "none"}), ({"sample_axes": 1}, {"step": 0.1})])
def test_another_map_of_the_same_parameters_is_refused(tmp_path, before, now):
    def model(step=0.3, **options):
        u, f = oa.Variable(SHAPE, name="u"), oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="f")
        lam = oa.Parameter(torch.tensor(1.0, dtype=torch.float64), name="lam")
        return oa.fixed_point(u, u - step * (u - f + lam * u), **options)

    data = [({"f": torch.ones(SHAPE, dtype=torch.float64)}, torch.ones(SHAPE, dtype=torch.float64))]
    oa.fit(model(**before), data, checkpoint=tmp_path / "run")
    assert oa.fit(model(**before), data, epochs=2, checkpoint=tmp_path / "run").epochs == 2
    with pytest.raises(oa.ParameterError, match="models were"):
        oa.fit(model(**now), data, epochs=3, checkpoint=tmp_path / "run")


def numbered(lam=1.0, weight=2.0, layer=torch.nn.Tanh):
    """A map with a network, a constant array and a weight of its own."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), layer()).double()
    u, f = oa.Variable(SHAPE, name="u"), oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="f")
    lam = oa.Parameter(torch.tensor(lam, dtype=torch.float64), name="lam")
    D = oa.Diagonal(weight * torch.ones(SHAPE, dtype=torch.float64))
    return oa.fixed_point(u, u - 0.1 * (u - f + lam * oa.grad(oa.sum_squares(D @ u)) + 0.1 * oa.apply(net, u)))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"weight": 3.0}, "numbers in models were 1. Constant"),
        ({"weight": -2.0}, "numbers in models were 1. Constant"),
        ({"layer": torch.nn.ReLU}, r"layers were networks\.0\.1 Tanh\(\), now ReLU\(\)"),
        ({"lam": 0.9}, "values that are not trained were lam 1, now 0.9"),
    ],
    ids=["constant", "sign", "layer", "untrained"],
)
def test_models_are_compared_by_their_numbers_and_layers(tmp_path, now, said):
    data = [({"f": torch.ones(SHAPE, dtype=torch.float64)}, torch.ones(SHAPE, dtype=torch.float64))]
    path = tmp_path / "run"
    oa.fit(numbered(), data, wrt="networks", checkpoint=path)
    assert oa.fit(numbered(), data, wrt="networks", epochs=2, checkpoint=path).epochs == 2
    with pytest.raises(oa.ParameterError, match=said):
        oa.fit(numbered(**now), data, wrt="networks", epochs=3, checkpoint=path)


def test_values_that_a_callback_moves_are_not_compared(tmp_path):
    data = [({"f": torch.ones(SHAPE, dtype=torch.float64)}, torch.ones(SHAPE, dtype=torch.float64))]

    def run(epochs):
        module = numbered().as_module()

        def anneal(row):
            with torch.no_grad():
                module.lam.mul_(0.5)

        return oa.fit(module, data, wrt="networks", epochs=epochs, callback=anneal, checkpoint=tmp_path / "run")

    run(1)
    assert float(run(3).module.lam.detach()) == 0.125


def test_a_run_that_its_callback_has_ended_has_ended(tmp_path):
    def run(steps, **more):
        return oa.fit(experts(), noisy(), epochs=9, callback=lambda row: row["step"] >= steps, **more)

    first = run(5, checkpoint=tmp_path / "run")
    assert_same_run(run(5, checkpoint=tmp_path / "run"), first)
    assert_same_run(run(8, checkpoint=tmp_path / "run"), run(8))
    assert oa.fit(experts(), noisy(), epochs=3, checkpoint=tmp_path / "run").steps == 9, "no callback ends it now"
