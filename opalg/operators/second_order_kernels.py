"""Second differences as plain functions of arrays, written straight into their components."""

from __future__ import annotations

from typing import Any

from opalg.operators.difference import _add_step_up, _step_down, _step_up, adjoint_difference, difference

ROOT = 2.0**0.5  # a mixed component stands for two equal entries of a symmetric matrix


def laplacian(lib: Any, x: Any, axes: Any, boundary: str, out: Any = None) -> Any:
    """The sum of second differences along some axes."""
    out = lib.multiply(x, -2.0 * len(axes), out=lib.empty_like(x, tuple(x.shape), out=out))
    for axis in axes:
        add_neighbours(lib, x, axis, boundary, out)
    return out


def add_neighbours(lib: Any, x: Any, axis: int, boundary: str, out: Any) -> Any:
    """Add the entries before and after each one to ``out``."""
    n = x.shape[axis]
    first, last = range_of(axis, 0, 1), range_of(axis, n - 1, n)
    head, tail = range_of(axis, 0, n - 1), range_of(axis, 1, n)
    lib.add(out[head], x[tail], out=out[head])
    lib.add(out[tail], x[head], out=out[tail])
    if boundary != "dirichlet":
        before, after = (last, first) if boundary == "periodic" else (first, last)
        lib.add(out[first], x[before], out=out[first])
        lib.add(out[last], x[after], out=out[last])
    return out


def hessian(
    lib: Any, x: Any, axes: Any, pairs: Any, ndim: int, boundary: str, scratch: Any = None, out: Any = None
) -> Any:
    """All second differences; the mixed ones are forward differences of forward differences."""
    split = x.ndim - ndim
    out = lib.empty_like(x, (*x.shape[:split], len(pairs), *x.shape[split:]), out=out)
    (room,) = scratch or (lib.empty_like(x, tuple(x.shape)),)
    for index, (j, k) in enumerate(pairs):
        part = out[component(index, ndim)]
        if j == k:
            lib.multiply(x, -2.0, out=part)
            add_neighbours(lib, x, axes[j], boundary, part)
        else:
            _step_down(lib, x, axes[k], boundary, room)
            _step_down(lib, room, axes[j], boundary, part)
            lib.multiply(part, ROOT, out=part)
    return out


def adjoint_hessian(
    lib: Any, x: Any, axes: Any, pairs: Any, ndim: int, boundary: str, scratch: Any = None, out: Any = None
) -> Any:
    """The adjoint of `hessian`: second differences are their own, the others go back step by step."""
    split = x.ndim - ndim - 1
    shape = (*x.shape[:split], *x.shape[split + 1 :])
    out = lib.empty_like(x, shape, out=out)
    (room,) = scratch or (lib.empty_like(x, shape),)
    for index, (j, k) in enumerate(pairs):
        part = x[component(index, ndim)]
        if index == 0:
            lib.multiply(part, -2.0, out=out)
        elif j == k:
            lib.multiply(part, -2.0, out=room)
            lib.add(out, room, out=out)
        if j == k:
            add_neighbours(lib, part, axes[j], boundary, out)
        else:
            _step_up(lib, part, axes[j], boundary, room)
            lib.multiply(room, ROOT, out=room)
            _add_step_up(lib, room, axes[k], boundary, out)
    return out


def symmetrized_gradient(
    lib: Any, x: Any, axes: Any, pairs: Any, ndim: int, boundary: str, scratch: Any = None, out: Any = None
) -> Any:
    """Backward differences of a field, averaged with their mirror images."""
    split = x.ndim - ndim - 1
    out = lib.empty_like(x, (*x.shape[:split], len(pairs), *x.shape[split + 1 :]), out=out)
    (room,) = scratch or (lib.empty_like(x, (*x.shape[:split], *x.shape[split + 1 :])),)
    for index, (j, k) in enumerate(pairs):
        part = out[component(index, ndim)]
        difference(lib, x[component(k, ndim)], axes[j], "backward", boundary, out=part)
        if j != k:
            difference(lib, x[component(j, ndim)], axes[k], "backward", boundary, out=room)
            lib.add(part, room, out=part)
            lib.multiply(part, 0.5 * ROOT, out=part)
    return out


def adjoint_symmetrized_gradient(
    lib: Any, x: Any, axes: Any, pairs: Any, ndim: int, boundary: str, scratch: Any = None, out: Any = None
) -> Any:
    """The adjoint of `symmetrized_gradient`: each component goes back to the one or two it was made of."""
    split = x.ndim - ndim - 1
    out = lib.empty_like(x, (*x.shape[:split], len(axes), *x.shape[split + 1 :]), out=out)
    (room,) = scratch or (lib.empty_like(x, (*x.shape[:split], *x.shape[split + 1 :])),)
    for index, (j, k) in enumerate(pairs):
        if j == k:
            part = x[component(index, ndim)]
            adjoint_difference(lib, part, axes[j], "backward", boundary, out=out[component(j, ndim)])
    for index, (j, k) in enumerate(pairs):
        for target, axis in ((k, axes[j]), (j, axes[k])) if j != k else ():
            goal = out[component(target, ndim)]
            adjoint_difference(lib, x[component(index, ndim)], axis, "backward", boundary, out=room)
            lib.multiply(room, 0.5 * ROOT, out=room)
            lib.add(goal, room, out=goal)
    return out


def component(index: int, ndim: int) -> Any:
    """The index of one component, on the axis in front of the last ``ndim``."""
    return (..., index, *(slice(None),) * (ndim))


def range_of(axis: int, start: int, stop: int) -> Any:
    """The index of a range along a negative axis."""
    return (..., slice(start, stop), *(slice(None),) * (-1 - axis))
