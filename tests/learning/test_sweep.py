"""Sweeps over grids: order, batching, parallel runs, caches, errors."""

import errno
import io
import json
import multiprocessing
import os
import random
import signal
import time
import warnings
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from tests.learning.sweep_runs import distance, dying

GRID = {"tau": [0.1, 0.5, 0.9], "target": [0.0, 1.0]}
WANTED = [{"tau": t, "target": c, "loss": (t - c) ** 2} for t, c in product(*GRID.values())]


class Counted:
    """A run that writes down its calls."""

    def __init__(self, run=distance, stop=()):
        self.run, self.stop, self.calls = run, stop, []

    def __call__(self, **configuration):
        self.calls.append(configuration)
        if configuration in self.stop:
            raise KeyboardInterrupt
        return self.run(**configuration)


def test_all_combinations_in_order():
    assert oa.sweep(distance, GRID).rows == WANTED


def test_a_grid_may_be_a_list_of_configurations():
    listed = [{"tau": 0.1, "target": 1.0}, {"tau": 0.9, "target": 0.0}]
    assert [row["loss"] for row in oa.sweep(distance, listed)] == [(0.1 - 1.0) ** 2, 0.9**2]


def test_values_may_be_an_array_and_rows_hold_plain_numbers():
    found = oa.sweep(distance, {"tau": np.array([0.25, 0.5]), "target": range(2)})
    assert [(type(r["tau"]), type(r["target"])) for r in found] == [(float, int)] * 4


@pytest.mark.parametrize("grid", [{}, [], {"tau": []}, {"tau": "relu"}, {"tau": 0.1}, {1: [2]}, ["tau"]])
def test_grids_that_are_none_are_refused(grid):
    with pytest.raises(ParameterError, match="grid"):
        oa.sweep(distance, grid)


def test_a_configuration_that_occurs_twice_is_refused():
    with pytest.raises(ParameterError, match="seed"):
        oa.sweep(distance, {"tau": [1, np.float64(1.0)], "target": [0]})


def test_objects_may_be_values_without_a_cache(tmp_path):
    grid = {"function": [np.sin, np.cos]}

    def run(function):
        return {"at_zero": function(0.0)}

    found = oa.sweep(run, grid)
    assert found.where(function=np.cos).rows == [{"function": np.cos, "at_zero": 1.0}]
    with pytest.raises(ParameterError, match="put its name into the grid"):
        oa.sweep(run, grid, cache=tmp_path / "cache.jsonl")


@pytest.mark.parametrize("together", ["tau", "target", ("tau", "target"), ("target", "tau")])
def test_runs_together_give_the_rows_of_single_runs(together):
    names = (together,) if isinstance(together, str) else together

    def batched(tau, target):
        count = max(len(v) for v in (tau, target) if isinstance(v, list))
        taus, targets = (v if isinstance(v, list) else [v] * count for v in (tau, target))
        return [distance(t, c) for t, c in zip(taus, targets, strict=True)]

    run = Counted(batched)
    assert oa.sweep(run, GRID, together=together).rows == WANTED
    assert len(run.calls) == np.prod([len(v) for n, v in GRID.items() if n not in names])
    for call in run.calls:
        assert all(isinstance(call[n], list) is (n in names) for n in GRID)
    if len(names) == 2:
        assert run.calls == [{"tau": [0.1, 0.1, 0.5, 0.5, 0.9, 0.9], "target": [0.0, 1.0] * 3}]


def test_a_batch_needs_a_mapping_for_each_configuration():
    with pytest.raises(ParameterError, match="3 configurations together, but returned 2"):
        oa.sweep(lambda tau, target: [{"loss": 1}] * 2, GRID, together="tau")
    with pytest.raises(ParameterError, match="a list with a mapping"):
        oa.sweep(lambda tau, target: {"loss": tau}, GRID, together="tau")
    with pytest.raises(ParameterError, match="together names 'sigma'"):
        oa.sweep(distance, GRID, together="sigma")


@pytest.mark.parametrize("returned", [None, 0.5, {"tau": 1}, {"error": "x"}, {"loss": {}}, {"loss": 1j}, {1: 2}])
def test_figures_that_are_none_are_refused(returned):
    with pytest.raises(ParameterError, match=r"run returned|returns a mapping"):
        oa.sweep(lambda **c: returned, GRID)


def test_arrays_and_tensors_become_lists_and_numbers():
    torch = pytest.importorskip("torch")
    figures = {"a": np.arange(2.0), "b": torch.tensor(0.5), "c": (np.float32(0.25), None), "d": np.bool_(True)}
    assert oa.sweep(lambda n: figures, {"n": [0]}).rows == [
        {"n": 0, "a": [0.0, 1.0], "b": 0.5, "c": [0.25, None], "d": True}
    ]


def test_threads_end_in_any_order_and_rows_stay_in_the_grids():
    def slow(tau, target):
        time.sleep(0.02 * random.Random(tau + target).random())
        return distance(tau, target)

    with ThreadPoolExecutor(4) as executor:
        assert oa.sweep(slow, GRID, executor=executor).rows == WANTED


def test_processes_give_the_same_rows_and_errors(tmp_path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        assert oa.sweep(distance, GRID, executor=executor, cache=tmp_path / "a.jsonl").rows == WANTED
        with pytest.warns(RuntimeWarning, match="1 runs of the sweep failed"):
            found = oa.sweep(distance, {"tau": [-1.0, 1.0], "target": [0.0]}, executor=executor)
        assert found.rows[0]["error"] == "ValueError: a negative step"
        with pytest.raises(ValueError, match="a negative step"):
            oa.sweep(distance, {"tau": [-1.0], "target": [0.0]}, executor=executor, on_error="raise")


def test_what_is_in_the_cache_is_not_run_again(tmp_path):
    path = tmp_path / "folder" / "cache.jsonl"
    first, second = Counted(), Counted()
    rows = oa.sweep(first, GRID, cache=path).rows
    assert len(path.read_text().splitlines()) == len(first.calls) == 6
    assert oa.sweep(second, GRID, cache=path).rows == rows == WANTED
    assert second.calls == []
    grown = oa.sweep(second, GRID | {"tau": [np.float32(0.5), 2, 0.1]}, cache=path)
    assert second.calls == [{"tau": 2, "target": 0.0}, {"tau": 2, "target": 1.0}]
    assert grown.column("tau").tolist() == [0.5, 0.5, 2, 2, 0.1, 0.1]


@pytest.mark.parametrize("together", [(), "tau"])
def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, together):
    def run(tau, target):
        return [distance(t, target) for t in tau] if together else distance(tau, target)

    stopped = Counted(run, stop=({"tau": 0.5, "target": 1.0}, {"tau": [0.1, 0.5, 0.9], "target": 1.0}))
    with pytest.raises(KeyboardInterrupt):
        oa.sweep(stopped, GRID, together=together, cache=tmp_path / "cache.jsonl")
    rest = Counted(run)
    assert oa.sweep(rest, GRID, together=together, cache=tmp_path / "cache.jsonl").rows == WANTED
    assert rest.calls[0] == stopped.calls[-1]
    assert len(stopped.calls) - 1 + len(rest.calls) == (2 if together else 6)


def test_an_interrupted_parallel_sweep_keeps_what_has_ended_and_cancels_what_has_not_begun(tmp_path):
    run = Counted(stop=({"tau": 0.5, "target": 0.0},))
    with ThreadPoolExecutor(1) as executor:
        executor.submit(time.sleep, 0.1)  # so that all calls wait when the first one starts
        with pytest.raises(KeyboardInterrupt):
            oa.sweep(run, GRID, executor=executor, cache=tmp_path / "cache.jsonl")
    done = [json.loads(line)["configuration"] for line in (tmp_path / "cache.jsonl").read_text().splitlines()]
    assert done[:2] == [{"tau": 0.1, "target": 0.0}, {"tau": 0.1, "target": 1.0}]
    rest = Counted()
    assert oa.sweep(rest, GRID, cache=tmp_path / "cache.jsonl").rows == WANTED
    assert len(rest.calls) == 6 - len(done)


def test_only_the_missing_part_of_a_batch_runs(tmp_path):
    run = Counted(lambda tau, target: [distance(t, target) for t in tau])
    oa.sweep(run, {"tau": [0.5], "target": [1.0]}, together="tau", cache=tmp_path / "cache.jsonl")
    assert oa.sweep(run, GRID, together="tau", cache=tmp_path / "cache.jsonl").rows == WANTED
    assert run.calls[1:] == [{"tau": [0.1, 0.5, 0.9], "target": 0.0}, {"tau": [0.1, 0.9], "target": 1.0}]


@pytest.mark.parametrize("cut", [1, 5, 40, 1000])
def test_a_broken_last_line_is_run_again(tmp_path, cut):
    path = tmp_path / "cache.jsonl"
    oa.sweep(distance, GRID, cache=path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole[: -min(cut, len(lines[-1]) - 1)])
    run = Counted()
    assert oa.sweep(run, GRID, cache=path).rows == WANTED
    assert len(run.calls) == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["print(1)", "print(1)\n", '{"a": 1}\n', '{"configuration": 3}\n{"b": 1}\n'])
def test_another_file_is_not_taken_for_a_cache_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ParameterError, match=r"line \d of .*notes.txt"):
        oa.sweep(distance, GRID, cache=path)
    assert path.read_text() == content


def test_a_run_that_raises_does_not_stop_the_others_and_runs_again(tmp_path):
    grid, path = {"tau": [1.0, -1.0, 2.0], "target": [0.0]}, tmp_path / "cache.jsonl"
    with pytest.warns(RuntimeWarning, match="a negative step"):
        found = oa.sweep(distance, grid, cache=path)
    assert found.rows[1] == {"tau": -1.0, "target": 0.0, "error": "ValueError: a negative step"}
    assert found.failed.rows == [found.rows[1]]
    assert "1 failed" in repr(found)
    mended = Counted(lambda tau, target: {"loss": 0.0})
    with pytest.warns(RuntimeWarning, match="failed"):
        assert oa.sweep(mended, grid, cache=path, retry_failed=False).rows == found.rows
    assert oa.sweep(mended, grid, cache=path).column("loss").tolist() == [1.0, 0.0, 4.0]
    assert mended.calls == [{"tau": -1.0, "target": 0.0}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        oa.sweep(mended, grid, cache=path)


def test_a_batch_that_raises_is_recorded_for_all_of_it():
    def run(tau, target):
        if target:
            raise ArithmeticError("no")
        return [{"loss": t} for t in tau]

    with pytest.warns(RuntimeWarning, match="3 runs"):
        found = oa.sweep(run, GRID, together="tau")
    assert [row.get("error") for row in found] == [None, "ArithmeticError: no"] * 3


def test_errors_may_stop_the_sweep(tmp_path):
    grid, path = {"tau": [1.0, -1.0, 2.0], "target": [0.0]}, tmp_path / "cache.jsonl"
    with pytest.raises(ValueError, match="a negative step"):
        oa.sweep(distance, grid, cache=path, on_error="raise")
    assert len(path.read_text().splitlines()) == 1
    with pytest.raises(ParameterError, match="on_error"):
        oa.sweep(distance, grid, on_error="ignore")


def test_figures_that_are_not_finite_survive_the_cache(tmp_path):
    def run(n):
        return {"loss": [float("nan"), float("inf"), -1.5][n]}

    for _ in range(2):
        found = oa.sweep(run, {"n": range(3)}, cache=tmp_path / "cache.jsonl").column("loss")
        np.testing.assert_array_equal(found, [np.nan, np.inf, -1.5])


def test_a_bar_counts_configurations_and_failures(tmp_path, capsys):
    pytest.importorskip("tqdm")
    grid = {"tau": [1.0, -1.0, 2.0], "target": [0.0]}
    oa.sweep(distance, {"tau": [1.0], "target": [0.0]}, cache=tmp_path / "cache.jsonl")
    with pytest.warns(RuntimeWarning, match="failed"):
        oa.sweep(distance, grid, cache=tmp_path / "cache.jsonl", progress=True)
    shown = capsys.readouterr().err
    assert "1 of 3" in shown
    assert "3 of 3, 1 failed" in shown


def test_runs_executors_and_grids_that_are_none_are_refused(tmp_path):
    with pytest.raises(oa.ParameterError, match="run is a function"):
        oa.sweep(None, {"a": [1]})
    with pytest.raises(oa.ParameterError, match=r"concurrent.futures"):
        oa.sweep(abs, {"a": [1]}, executor=2)
    for grid in (None, 3, "tau"):
        with pytest.raises(oa.ParameterError, match="a grid is a mapping"):
            oa.sweep(abs, grid)
    with ProcessPoolExecutor(1) as executor, pytest.raises(oa.ParameterError, match="top of a module"):
        oa.sweep(lambda a: {"loss": a}, {"a": [1]}, executor=executor, cache=tmp_path / "cache.jsonl")
    assert not (tmp_path / "cache.jsonl").exists()


def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "cache.jsonl"):
        with pytest.raises(oa.ParameterError, match=r"cache of the sweep, .* cannot be used"):
            oa.sweep(lambda a: {"loss": a}, {"a": [1]}, cache=path)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # until Python hands it on


@pytest.fixture
def interruptible():
    """Ctrl-C, where the tests were started in the background, whose processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def solved(a):
    x = oa.Variable(3, name="x")
    plan = oa.fixed_point(x, 0.9999 * x + 1.0, acceleration="none")
    sol = plan.solve(max_iter=60, on_failure="return", callback=lambda _: interrupt() if a == 2 else None)
    return {"iterations": sol.iterations}


def trained(a):
    torch = pytest.importorskip("torch")
    batch = (torch.ones(2, 3), torch.ones(2, 3))
    done = oa.fit(torch.nn.Linear(3, 3), [batch] * 4, callback=lambda _: interrupt() if a == 2 else None)
    return {"steps": done.steps}


def failing(a):
    try:
        return {"loss": a if a != 2 else interrupt()}
    except KeyboardInterrupt:
        raise ValueError("turned into something else") from None


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("run", [solved, trained, failing])
def test_what_ctrl_c_ended_early_is_not_kept(run, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        oa.sweep(run, {"a": [1, 2, 3]}, cache=tmp_path / "cache.jsonl")
    assert signal.getsignal(signal.SIGINT) is before
    kept = [json.loads(line)["configuration"] for line in (tmp_path / "cache.jsonl").read_text().splitlines()]
    assert kept == [{"a": 1}]


@pytest.mark.usefixtures("interruptible")
def test_a_worker_says_that_it_was_interrupted():
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork) as executor, pytest.raises(KeyboardInterrupt):
        oa.sweep(failing, {"a": [2]}, executor=executor)


class Disk(io.FileIO):
    """A file on a disk that has room for some bytes more."""

    room = 0

    def write(self, data):
        if not type(self).room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = super().write(bytes(data)[: type(self).room])
        type(self).room -= count
        return count


def test_a_full_disk_is_told_by_the_name_of_the_cache_and_what_was_written_stays(tmp_path, monkeypatch):
    path = tmp_path / "cache.jsonl"
    oa.sweep(distance, GRID, cache=tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    with monkeypatch.context() as patched:
        patched.setattr(Disk, "room", sum(map(len, lines[:2])) + 20)
        patched.setattr(Path, "open", lambda self, mode: io.BufferedWriter(Disk(self, mode)))
        with pytest.raises(ParameterError, match=r"cache.jsonl, cannot be used: No space left.*make room"):
            oa.sweep(distance, GRID, cache=path)
    assert path.read_bytes() == b"".join(lines[:2]) + lines[2][:20]
    rest = Counted()
    assert oa.sweep(rest, GRID, cache=path).rows == WANTED
    assert len(rest.calls) == 4
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("cache", [3, True, b"runs", ["runs"], "a\0b"])
def test_what_is_no_path_is_no_cache(cache):
    with pytest.raises(ParameterError, match="cache"):
        oa.sweep(distance, GRID, cache=cache)


def test_executors_that_take_no_calls_are_told():
    with pytest.raises(ParameterError, match=r"ThreadPoolExecutor\(4\), but the class"):
        oa.sweep(distance, GRID, executor=ThreadPoolExecutor)
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ParameterError, match=r"takes no calls, cannot schedule.*while it is open"):
        oa.sweep(distance, GRID, executor=executor)


def test_calls_that_an_executor_drops_are_told(tmp_path):
    executor = ThreadPoolExecutor(1)

    def run(tau, target):
        executor.shutdown(wait=False, cancel_futures=True)
        return distance(tau, target)

    executor.submit(time.sleep, 0.1)  # so that all calls wait when the first one starts
    with pytest.raises(ParameterError, match="its waiting calls were cancelled"):
        oa.sweep(run, GRID, executor=executor, cache=tmp_path / "cache.jsonl")
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("kept", [True, False])
def test_a_worker_that_dies_is_told_with_what_it_ran(tmp_path, kept):
    cache = tmp_path / "cache.jsonl" if kept else None
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        advice = "cache.jsonl keeps what has ended" if kept else "cache='runs.jsonl' to keep"
        with pytest.raises(BrokenExecutor, match=rf"died.*about to: \{{'n': 2\}}\. .*{advice}"):
            oa.sweep(dying, {"n": [0, 1, 2, 3]}, executor=executor, cache=cache)
        with pytest.raises(BrokenExecutor, match="took no call"):
            oa.sweep(dying, {"n": [3]}, executor=executor)
    if kept:
        assert [json.loads(line)["outcome"] for line in cache.read_text().splitlines()] == [{"loss": 0}, {"loss": 1}]


def test_arrays_and_tensors_in_a_grid_are_told_apart_by_value(tmp_path):
    torch = pytest.importorskip("torch")
    seen = []

    def run(tau, w):
        seen.append((tau, w))
        return {"loss": tau + float(w.sum())}

    def grid():
        return {"tau": [torch.tensor(0.5), np.array(1.5)], "w": [torch.ones(2), torch.tensor([1.0, 2.0]), np.zeros(2)]}

    rows = oa.sweep(run, grid(), cache=tmp_path / "cache.jsonl").rows
    assert len(seen) == 6 and {type(tau) for tau, _ in seen} == {float}
    again = oa.sweep(run, grid() | {"tau": [0.5, 1.5]}, cache=tmp_path / "cache.jsonl")
    assert len(seen) == 6 and again.column("loss").tolist() == [r["loss"] for r in rows]
    assert len(again.where(w=torch.tensor([1.0, 2.0]))) == 2
    assert oa.sweep(run, {"tau": torch.tensor([0.5, 0.25]), "w": [torch.ones(1)]}).column("tau").tolist() == [0.5, 0.25]
    with pytest.raises(ParameterError, match="twice"):
        oa.sweep(run, {"tau": [1.0], "w": [torch.ones(2), torch.ones(2)]})
