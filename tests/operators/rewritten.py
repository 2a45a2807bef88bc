"""Rewriting under test: which rules fired, and that the operator stayed what it was."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.rules import rewrite
from tests.operators.dense import argument_kinds, real_matrix


def rewritten(operator: Any, *names: str) -> Any:
    """The operator rewritten, after checking that these rules fired and that the matrix did not change."""
    steps: list[Any] = []
    simple = rewrite(operator, trace=steps)
    fired = {step.rule.name for step in steps}
    assert set(names) <= fired, f"{operator!r} -> {simple!r} fired only {sorted(fired)}"
    assert (simple.in_shape, simple.out_shape) == (operator.in_shape, operator.out_shape)
    assert rewrite(simple) is simple
    for kind in argument_kinds(operator):
        before, after = real_matrix(operator, kind), real_matrix(simple, kind)
        rows = min(len(before), len(after))  # zeros may lose their imaginary part
        assert np.allclose(before[:rows], after[:rows], rtol=0, atol=1e-12)
        assert not np.any(before[rows:]) and not np.any(after[rows:])
    return simple
