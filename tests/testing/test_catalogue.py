"""Every member of the catalogue: its order, and that the kernels below it do with memory what they say."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit.lower import lower
from opalg.nodes import walk
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import bind_arguments
from opalg.program.linear import Kernel
from opalg.testing.catalogue import functional_catalogue, operator_catalogue
from tests.operators.dense import argument_kinds

LIB = backend("numpy", "float64")


def kernels():
    """Every kernel that a member calls, with the shape and kind of an argument and of its result."""
    found = {}
    for operator in operator_catalogue():
        for kind in argument_kinds(operator):
            for trace, shape, of in (
                (operator.trace, operator.in_shape, kind),
                (operator.trace_adjoint, operator.out_shape, operator.out_kind(kind)),
            ):
                for e in walk(*lower((trace(Input("x", (2, *shape), of)),), LIB)):
                    if isinstance(e, Apply) and e.shape and e.argument.shape:
                        made = e.operator.adjoint_kernel() if e.adjoint else e.operator.kernel()
                        found.setdefault((repr(e.operator), e.adjoint, e.argument.kind), (made, e))
    return found


KERNELS = kernels()


def argument_of(e: Apply) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal(e.argument.shape)
    return x + 1j * x[::-1] if e.argument.kind == "complex" else x


def called(kernel: Kernel, x: np.ndarray, **options: object) -> np.ndarray:
    return kernel.function(LIB, x, *bind_arguments(kernel.arguments, LIB), **options)


@pytest.mark.parametrize(
    ("kernel", "e"), KERNELS.values(), ids=[f"{n}-{k[:70]}" for n, k in enumerate(map(str, KERNELS))]
)
def test_kernels_write_where_they_say(kernel, e):
    x = argument_of(e)
    before = x.copy()
    alone = np.array(called(kernel, x))
    assert np.array_equal(x, before)
    assert alone.shape == e.shape
    if kernel.in_place:
        out = np.full(e.shape, np.nan, dtype=LIB.dtypes[e.kind])
        there = called(kernel, x, out=out)
        assert np.shares_memory(there, out) and np.array_equal(out, alone), f"{kernel.function.__name__} ignores out"
        assert np.array_equal(x, before)
    elif getattr(kernel, "fresh", False) or kernel.transforms:
        assert not np.shares_memory(called(kernel, x), x), f"{kernel.function.__name__} gives a view"


def test_what_is_simplest_comes_first_and_nothing_comes_twice():
    members = operator_catalogue()
    assert len(members) == len(set(members)) > 100
    sizes = [sum(1 for _ in walk(m)) for m in members]
    assert sizes == sorted(sizes)
    assert operator_catalogue() is members
    kinds = {type(m).__name__ for m in members}
    assert {"Convolve", "Gradient", "FFT", "Wavelet", "DenseMatrix"} <= kinds
    assert len(functional_catalogue()) > 10
