"""Choosing from what a sweep found, and tables of it."""

import csv

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from opalg.learning import Sweep

ROWS = [
    {"task": "denoise", "tau": 0.1, "loss": 0.3, "curve": [0.9, 0.3]},
    {"task": "denoise", "tau": 0.9, "loss": 0.2, "curve": [0.9, 0.2]},
    {"task": "blur", "tau": 0.1, "loss": float("nan"), "curve": [0.9]},
    {"task": "blur", "tau": 0.9, "error": "ValueError: no"},
    {"task": "mask", "tau": 0.1, "loss": 0.5, "curve": [0.9, 0.5]},
    {"task": "mask", "tau": 0.9, "loss": 0.6, "curve": [0.9, 0.6]},
]


@pytest.fixture
def found():
    return Sweep(ROWS, ("task", "tau"))


def test_columns(found):
    np.testing.assert_array_equal(found.column("loss"), [0.3, 0.2, np.nan, np.nan, 0.5, 0.6])
    assert found.column("loss").dtype == float
    assert found.column("task").tolist() == ["denoise"] * 2 + ["blur"] * 2 + ["mask"] * 2
    assert found.column("curve")[0] == [0.9, 0.3] and found.column("curve")[3] is None
    assert found.column("error").tolist() == [None] * 3 + ["ValueError: no"] + [None] * 2
    assert found.figures == ("loss", "curve")
    with pytest.raises(ParameterError, match=r"no 'los'; it has 'task', 'tau', 'loss'"):
        found.column("los")


def test_lists_of_one_length_stay_lists_in_a_column():
    assert Sweep([{"n": 0, "c": [1, 2]}, {"n": 1, "c": [3, 4]}], ["n"]).column("c").tolist() == [[1, 2], [3, 4]]


def test_conditions(found):
    assert found.where(task="mask", tau=0.9).rows == [ROWS[5]]
    assert found.where(task=["mask", "blur"], tau=0.1).rows == [ROWS[2], ROWS[4]]
    assert found.where(tau=lambda t: t > 0.5, task="denoise").rows == [ROWS[1]]
    assert len(found.where(error=None)) == 5
    assert found.where(tau=np.float64(0.1)).rows == ROWS[::2]
    with pytest.raises(ParameterError, match="'method'"):
        found.where(method="BL")


def test_a_list_is_a_value_too():
    sizes = Sweep([{"size": [3, 3]}, {"size": [5, 5]}], ["size"])
    assert sizes.where(size=[3, 3]).rows == [{"size": [3, 3]}]
    assert sizes.where(size=(5, 5)).rows == [{"size": [5, 5]}]


def test_the_best_of_all_and_of_groups(found):
    assert found.best("loss").rows == [ROWS[1]]
    assert found.best("loss", largest=True).rows == [ROWS[5]]
    assert found.best("loss", by="task").rows == [ROWS[1], ROWS[4]]  # no figure of blur is finite
    assert found.best("loss", by=("task", "tau")).rows == [ROWS[i] for i in (0, 1, 4, 5)]
    with pytest.raises(ParameterError, match="'psnr'"):
        found.best("psnr")


def test_a_file_of_comma_separated_values(found, tmp_path):
    with found.to_csv(tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["task", "tau", "loss", "curve", "error"]
    assert rows[1]["loss"] == "0.2" and rows[3]["loss"] == "" and rows[3]["error"] == "ValueError: no"


def test_a_table_of_single_runs(found):
    table = found.table("loss", rows="task", columns="tau", digits=2)
    assert table.columns == ("task", "tau 0.1", "tau 0.9")
    assert table.rows[0] == ("denoise", 0.3, 0.2)
    assert table.rows[1][2] is None
    assert str(table).splitlines()[2] == "denoise     0.30     0.20"


def test_a_table_of_several_runs_needs_to_know_what_becomes_of_them(found):
    with pytest.raises(ParameterError, match="reduce='min'"):
        found.table("loss", rows="task")
    assert found.table("loss", rows="task", reduce="min").rows == (("denoise", 0.2), ("blur", None), ("mask", 0.5))
    assert [row[1] for row in found.table("loss", rows="task", reduce="count").rows] == [2, 0, 2]
    assert found.table("loss", rows="task", reduce=max).rows[2] == ("mask", 0.6)
    assert found.table("loss", rows=(), reduce="median").rows == ((pytest.approx(0.4),),)
    with pytest.raises(ParameterError, match="'best'"):
        found.table("loss", rows="task", reduce="best")


@pytest.mark.parametrize(("name", "wanted"), [("mean", 2.0), ("median", 1.0), ("std", np.std([1, 1, 4])), ("max", 4.0)])
def test_reductions(name, wanted):
    runs = Sweep([{"seed": i, "loss": v} for i, v in enumerate([1.0, 1.0, 4.0])], ["seed"])
    assert runs.table("loss", rows=(), reduce=name).rows == ((pytest.approx(wanted),),)


def test_several_figures_stand_side_by_side():
    runs = [{"method": m, "beta": b, "psnr": 26.0 + b, "ssim": 0.7} for m in ("RED", "BL") for b in (1, 3)]
    sweep = Sweep(runs, ["method", "beta"])
    table = sweep.table(("psnr", "ssim"), rows=("method", "beta"), digits={"psnr": 2, "ssim": 3})
    assert str(table).splitlines() == [
        "method  beta   psnr   ssim",
        "------  ----  -----  -----",
        "RED        1  27.00  0.700",
        "RED        3  29.00  0.700",
        "BL         1  27.00  0.700",
        "BL         3  29.00  0.700",
    ]
    assert sweep.table(("psnr", "ssim"), rows="method", columns="beta").columns == (
        *("method", "beta 1, psnr", "beta 1, ssim", "beta 3, psnr", "beta 3, ssim"),
    )


def test_groups_keep_the_order_of_the_grid(found):
    assert [shared for shared, _ in found.groups("task")] == [{"task": t} for t in ("denoise", "blur", "mask")]
    assert [len(runs) for _, runs in found.groups(("task", "tau"))] == [1] * 6
    assert [shared for shared, _ in found.groups(())] == [{}]


def test_names_are_exported():
    assert oa.learning.Sweep is Sweep
    assert isinstance(oa.sweep(lambda n: {"m": n}, {"n": [1]}), Sweep)


def test_the_best_of_curves_is_refused_and_not_empty():
    found = Sweep([{"n": 0, "curve": [3.0, 1.0], "loss": 1.0}, {"n": 1, "curve": None, "loss": 2.0}], ["n"])
    with pytest.raises(ParameterError, match=r"'curve' holds list.*a number is needed"):
        found.best("curve")
    assert found.best("loss").rows[0]["n"] == 0


def test_tables_go_into_folders_that_are_made(tmp_path):
    path = Sweep([{"n": 0, "loss": 1.0}], ["n"]).to_csv(tmp_path / "new" / "sweep.csv")
    assert path.read_text().splitlines() == ["n,loss", "0,1.0"]


def test_a_figure_that_no_run_reached_says_why():
    found = Sweep([{"n": 0, "error": "ValueError: no data"}, {"n": 1, "error": "ValueError: no data"}], ["n"])
    for look in (found.column, found.best, lambda name: found.table(name, rows="n")):
        with pytest.raises(ParameterError, match="2 of 2 runs failed, the first with ValueError: no data"):
            look("loss")


@pytest.mark.parametrize("reduce", ["min", "count", max])
def test_a_table_of_reduced_curves_is_refused_and_not_empty(found, reduce):
    with pytest.raises(ParameterError, match=r"'curve' holds list.*a number is needed"):
        found.table("curve", rows="task", reduce=reduce)
    with pytest.raises(ParameterError, match=r"'task' holds str"):
        found.table(("loss", "task"), rows="tau", reduce=reduce)
    assert found.table("curve", rows=("task", "tau")).rows[0][2] == [0.9, 0.3]
