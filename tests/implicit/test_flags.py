"""Flags have one name and one meaning: in the source, and in the manual."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import opalg as oa
from opalg.implicit import flags

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "opalg"
NAMES = {v for n, v in vars(flags).items() if n.isupper() and isinstance(v, str)}
ELSEWHERE = {"singular", "stagnated", "breakdown", "negative_curvature", "nonfinite"}  # outcomes of linear solvers, too


def test_the_manual_says_what_the_module_says() -> None:
    text = (ROOT / "docs" / "gradients.md").read_text()
    table = text[text.index("| flag | what happened |") :]
    rows = [line.strip("| ").split(" | ") for line in table[: table.index("\n\n")].splitlines()[2:]]
    assert {name.strip('`"'): (meaning, advice) for name, meaning, advice in rows} == flags.MEANINGS


def test_every_flag_has_a_meaning() -> None:
    assert NAMES - {flags.NONFINITE} == set(flags.MEANINGS)
    assert set(flags.SERIOUS) | flags.DOUBTS <= set(flags.MEANINGS)


def test_no_flag_is_spelt_out_elsewhere() -> None:
    found = []
    for path in [*(PACKAGE / "implicit").glob("*.py"), *(PACKAGE / "learning").glob("*.py")]:
        if path.name == "flags.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in NAMES - ELSEWHERE:
                found.append(f"{path.name}:{node.lineno} {node.value!r}")
    assert not found


def test_a_proven_gradient_does_not_doubt_the_forward_solve(rng: np.random.Generator) -> None:
    y, x = oa.Parameter(3 * rng.standard_normal(12), name="y"), oa.Variable(8, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(rng.standard_normal((12, 8))) @ x - y) + oa.norm1(x))
    rough = plan.solve(tol=1e-12, max_iter=3, on_failure="return")
    wanted = plan.solve(tol=1e-12).vjp(np.ones(8), y)[y]
    found = rough.vjp(np.ones(8), y, on_inexact="return")
    assert found.proven and flags.FORWARD_NOT_CONVERGED not in found.flags
    assert found.error_kind == "estimated"
    assert found[y] == pytest.approx(wanted, abs=1e-10)
    loose = rough.vjp(np.ones(8), y, on_inexact="return", refine=False)
    assert not loose.proven and flags.FORWARD_NOT_CONVERGED in loose.flags
