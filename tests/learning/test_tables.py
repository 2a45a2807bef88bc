"""Tables as text, Markdown and LaTeX."""

import numpy as np
import pytest

from opalg.errors import ParameterError, ShapeError
from opalg.learning import Table
from opalg.learning.tables import text_of

TABLE = Table(("bar", "measured", "holds"), [("|Ax - y|", 1.2e-9, True), ("loss_100%", 0.5, None)], digits=3)


def test_text_is_aligned():
    assert str(TABLE).splitlines() == [
        "bar        measured  holds",
        "---------  --------  -----",
        "|Ax - y|    1.2e-09  yes",
        "loss_100%     0.500",
    ]


def test_markdown_escapes_its_bars():
    assert TABLE.markdown().splitlines() == [
        "| bar        | measured | holds |",
        "| ---------- | -------: | ----- |",
        "| \\|Ax - y\\| |  1.2e-09 | yes   |",
        "| loss_100%  |    0.500 |       |",
    ]


def test_latex_escapes_what_it_must():
    assert TABLE.latex().splitlines() == [
        r"\begin{tabular}{lrl}",
        r"\hline",
        r"bar                        & measured & holds \\",
        r"\hline",
        r"\textbar{}Ax - y\textbar{} &  1.2e-09 & yes   \\",
        r"loss\_100\%                &    0.500 &       \\",
        r"\hline",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (3, "3"),
        (np.int64(3), "3"),
        (2.0, "2.00"),
        (np.float32(0.5), "0.50"),
        (0.0, "0.00"),
        (0.004, "4.0e-03"),
        (0.006, "0.01"),
        (-1234.5, "-1234.50"),
        (3e9, "3.0e+09"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (np.bool_(False), "no"),
        (None, ""),
        ("x", "x"),
    ],
)
def test_entries(entry, text):
    assert text_of(entry, 2) == text


def test_digits_may_differ_by_column():
    assert str(Table(("a", "b"), [(1.0, 1.0)], digits=(1, 3))).splitlines()[-1].split() == ["1.0", "1.000"]


def test_a_table_of_mappings():
    rows = [{"method": "RED", "psnr": 25.63}, {"method": "BL", "ssim": 0.79}]
    table = Table.of(rows, digits={"psnr": 1})
    assert table.columns == ("method", "psnr", "ssim")
    assert str(table).splitlines()[2:] == ["RED     25.6", "BL            0.7900"]
    assert Table.of(rows, ["ssim", "method"]).rows == ((None, "RED"), (0.79, "BL"))
    with pytest.raises(ParameterError, match="no row has 'snr'"):
        Table.of(rows, ["snr"])


def test_rows_and_digits_fit_the_columns():
    with pytest.raises(ShapeError, match="row 1 of a table has 1 entries"):
        Table(("a", "b"), [(1, 2), (1,)])
    with pytest.raises(ShapeError, match="digits"):
        Table(("a", "b"), [], digits=(1,))


def test_an_empty_table_has_its_heading():
    assert str(Table(("a", "long"), [])).splitlines() == ["a  long", "-  ----"]


@pytest.mark.parametrize("digits", [-1, "2", (1.5,), (True,)])
def test_digits_are_counts(digits):
    with pytest.raises(ParameterError, match="digits"):
        Table(("a",), [(1.5,)], digits=digits)
