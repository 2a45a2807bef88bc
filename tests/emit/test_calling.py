"""One-off calls."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit import call, calling
from opalg.program.expression import Input, Literal, square, total


def test_results_are_arrays_apart_from_the_inputs() -> None:
    x, t = Input("x", (4,)), Input("t", (), "real", "control")
    lib = backend("numpy", "float32")
    a = np.arange(4, dtype="f")
    same, scaled, summed, literal = call([x, t * x, total(square(x)), Literal(0.0)], [x, t], [a, 2.0], lib)
    assert not np.shares_memory(same, a)
    np.testing.assert_array_equal(scaled, 2 * a)
    assert summed.shape == () and summed.dtype == np.float32 and float(summed) == 14.0
    assert float(literal) == 0.0
    np.testing.assert_array_equal(call([t * x], [x, t], [a, 3.0], lib)[0], 3 * a)
    np.testing.assert_array_equal(scaled, 2 * a)


def test_compiled_functions_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "_KEPT", 3)
    lib = backend("numpy")
    programs = [(Input(f"x{i}", (3,)), float(i)) for i in range(6)]
    for x, factor in programs:
        np.testing.assert_allclose(call([x * factor + 1.0], [x], [np.ones(3)], lib)[0], factor + 1.0)
    assert len(calling._cache) <= 3
    made = {id(bound) for bound, _ in calling._cache.values()}
    x, factor = programs[-1]
    call([x * factor + 1.0], [x], [np.ones(3)], lib)
    assert {id(bound) for bound, _ in calling._cache.values()} == made


def test_precisions_do_not_share_a_function() -> None:
    x = Input("x", (3,))
    assert call([x * 2.0], [x], [np.ones(3, "f")], backend("numpy", "float32"))[0].dtype == np.float32
    assert call([x * 2.0], [x], [np.ones(3)], backend("numpy", "float64"))[0].dtype == np.float64


def test_threads_may_call_the_same_program() -> None:
    x, t = Input("x", (200, 200)), Input("t", (), "real", "control")
    lib = backend("numpy")
    wrong: list[float] = []

    def work(value: float) -> None:
        a = np.full((200, 200), value)
        for _ in range(30):
            (got,) = call([square(x * t + 1.0) - 1.0], [x, t], [a, value], lib)
            if not np.allclose(got, (value * value + 1) ** 2 - 1):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
