"""Bars that hold for every work: adjoints, gradients, libraries, memory of a training step, lines, acceleration."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import opalg as oa
from examples.acceptance.bar import Bar
from examples.acceptance.declarations import declared_lines
from examples.acceptance.memory import peak_bytes
from opalg.operators.circular import BOUNDARIES
from opalg.operators.row_blocks import row_blocks, rows_of
from opalg.testing.catalogue import functional_catalogue, operator_catalogue, shape_for

CAPS = (50, 500)
CG = {"solver": "conjugate_gradients", "tol": 1e-6}
BETWEEN = 275  # halfway: memory that is linear in the cap grows as much before it as behind it
DTYPES = {"float32": ("f4", "c8"), "float64": ("f8", "c16")}


def bars() -> Iterator[Bar]:
    """Measure them."""
    yield from adjoints()
    yield from energies()
    yield from maps()
    yield from implicit_gradients()
    yield from libraries()
    yield from memory()
    yield from declarations()
    yield from acceleration()


# G1: adjoints.


def operators() -> Iterator[oa.LinearOperator]:
    """Small members of every class, convolutions at every boundary, every block of rows, and several at a time."""
    rng = np.random.default_rng(3)
    yield from operator_catalogue()
    yield from (oa.Convolve(rng.standard_normal((3, 2)), (6, 5), boundary) for boundary in BOUNDARIES)
    for operator in operator_catalogue():
        blocks = row_blocks(operator) or ()
        yield from (block.operator for block in blocks)
        yield from (rows_of(operator, numbers) for numbers in subsets(len(blocks), rng))


def subsets(count: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Of so many blocks: all of them backwards, neighbours, and some at random in random order."""
    if count > 1:
        yield list(range(count))[::-1]
        yield [0, 1]
        yield from (rng.permutation(count)[: rng.integers(2, count + 1)].tolist() for _ in range(3))


def adjoints() -> Iterator[Bar]:
    """G1: ``|<A x, y> - <x, A' y>|`` relative to ``|A x| |y| + |x| |A' y|``, the worst of all operators."""
    every = list(operators())
    for precision, most in (("float32", 1e-5), ("float64", 1e-12)):
        found = [(_adjoint_error(operator, precision), repr(operator)) for operator in every]
        worst, name = max(found)
        yield Bar("G1", f"adjoints of {len(every)} operators, {precision}", worst, most=most, note=name[:50])


def _adjoint_error(operator: oa.LinearOperator, precision: str) -> float:
    rng = np.random.default_rng(0)

    def draw(shape: Any, is_complex: bool) -> np.ndarray:
        x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)
        return np.asarray(x, DTYPES[precision][is_complex])

    worst = 0.0
    for kind in ("real", "complex") if operator.in_kind == "any" else (operator.in_kind,):
        x = draw(operator.in_shape, kind == "complex")
        image = np.asarray(operator @ x)
        y = draw(image.shape, image.dtype.kind == "c")
        back = np.asarray(operator.H @ y)
        apart = abs(np.vdot(y, image).real - np.vdot(back, x).real)
        size = np.linalg.norm(image) * np.linalg.norm(y) + np.linalg.norm(x) * np.linalg.norm(back)
        worst = max(worst, float(apart / size) if size > 0 else 0.0)
    return worst


# G2: gradients of energies, and maps that are none.


def energies() -> Iterator[Bar]:
    """G2: gradients against differences of fourth order, and symmetric Hessians, of all differentiable functionals."""
    slopes, bends = [], []
    for functional in functional_catalogue():
        rng = np.random.default_rng(0)
        x, d, e = 0.5 + 0.3 * rng.random((3, *shape_for(functional)))
        d, e = (v / np.linalg.norm(v) for v in (d - d.mean(), e - e.mean()))
        try:
            along = float(np.sum(functional.gradient(x) * d))
            values = [functional.value(x + step * 1e-3 * d) for step in (1, -1, 2, -2)]
            bend = [functional.hessian_vector(x, v) for v in (d, e)]
        except oa.OpalgError:
            continue  # it is not smooth, or not for real arrays
        if not np.all(np.isfinite(values)):
            continue
        a, b, c, f = values
        wanted = (8 * (a - b) - (c - f)) / 12e-3
        slopes.append((abs(along - wanted) / max(abs(wanted), 1e-3 * abs(a), 1e-3), repr(functional)))
        size = np.linalg.norm(bend[0]) + np.linalg.norm(bend[1])
        bends.append((abs(np.sum(bend[0] * e) - np.sum(bend[1] * d)) / max(size, 1e-300), repr(functional)))
    worst, name = max(slopes)
    yield Bar("G2", f"gradients of {len(slopes)} energies", worst, most=1e-6, note=name[:50])
    worst, name = max(bends)
    yield Bar("G2", f"asymmetry of {len(bends)} Hessians", worst, most=1e-10, note=name[:50])


def declared_maps() -> dict[str, oa.MapPlan]:
    """A bilevel map, which is a gradient step, its untied twin and a regularisation by denoising, which are none."""
    rng = np.random.default_rng(1)
    u, b = oa.Variable(6, name="u"), oa.Parameter(rng.standard_normal(6), name="b")
    A, M = oa.Parameter(rng.standard_normal((6, 6)) / 3, name="A"), rng.standard_normal((6, 6)) / 6
    data = 0.5 * oa.sum_squares(u - b)
    tied = oa.fixed_point(u, u - 0.2 * oa.grad(data + oa.pointwise(oa.activation("tanh"), oa.Matrix(A) @ u)))
    denoiser = oa.apply(lambda x: np.tanh(M @ x), u, vjp=lambda x, v: M.T @ (v / np.cosh(M @ x) ** 2))
    return {
        "bilevel": tied,
        "equilibrium": oa.untie(tied, A, name="C", value=rng.standard_normal((6, 6)) / 3),
        "denoising": oa.fixed_point(u, u - 0.2 * (oa.grad(data) + 0.5 * (u - denoiser))),
    }


def maps() -> Iterator[Bar]:
    """G2: the Jacobians of maps that are no gradients are not symmetric, and conjugate gradients refuse them."""
    found = {name: _asymmetry(plan) for name, plan in declared_maps().items()}
    yield Bar("G2", "asymmetry of the bilevel map", found.pop("bilevel"), most=1e-8)
    yield Bar("G2", "asymmetry of equilibrium and denoising maps", min(found.values()), least=1e-3)
    refused = sum(_is_refused(plan) for name, plan in declared_maps().items() if name in found)
    yield Bar("G2", "of these two, refused by conjugate gradients", refused, least=2)


def _asymmetry(plan: oa.MapPlan) -> float:
    x, d, e = np.random.default_rng(2).standard_normal((3, 6))

    def along(v: np.ndarray) -> np.ndarray:
        (ahead,), (behind,) = plan.step((x + 1e-4 * v,)), plan.step((x - 1e-4 * v,))
        return (ahead - behind) / 2e-4

    return float(abs(along(d) @ e - along(e) @ d) / (np.linalg.norm(d) * np.linalg.norm(e)))


def _is_refused(plan: oa.MapPlan) -> bool:
    try:
        plan.solve(tol=1e-8).vjp(np.ones(6), "b", solver="conjugate_gradients")
    except oa.ParameterError as error:
        return "no gradient" in str(error)
    return False


# G3: implicit gradients.


def implicit_gradients() -> Iterator[Bar]:
    """G3: implicit against unrolled to the end, and against central differences, in weights, lambda and data."""
    groups: dict[str, list[Errors]] = {
        "maps": [_errors_of(plan, 300) for plan in declared_maps().values()],
        "energies": [_errors_of(plan, 2000) for plan in declared_energies()],
        "a network in a map": [_network_errors()],
    }
    for name, found in groups.items():
        unrolled = max(e for one in found for e in one[0].values())
        differences = max(e for one in found for e in one[1].values())
        note = ", ".join(dict.fromkeys(n for one in found for n in one[0]))
        yield Bar("G3", f"{name}: implicit against unrolled gradients", unrolled, most=1e-4, note=note)
        yield Bar("G3", f"{name}: implicit gradients against differences", differences, most=1e-4)


Errors = tuple[dict[str, float], dict[str, float]]  # off unrolled ones and off differences, for each parameter


def declared_energies() -> Iterator[Any]:
    """Compiled energies with a weight lambda: smoothed experts behind a matrix of weights, and a ridge beside them."""
    rng = np.random.default_rng(7)
    x, y = oa.Variable(6, name="x"), oa.Parameter(rng.standard_normal(6), name="y")
    lam = oa.Parameter(0.3, name="lam", positive=True)
    D = oa.Parameter(rng.standard_normal((8, 6)) / 3, name="D")
    data = 0.5 * oa.sum_squares(oa.Matrix(np.eye(6) + rng.standard_normal((6, 6)) / 3) @ x - y)
    yield oa.compile(data + lam * oa.log_cosh(oa.Matrix(D) @ x, 0.2))
    yield oa.compile(data + 0.5 * lam * oa.sum_squares(x) + 0.1 * oa.log_cosh(x, 0.2))


def _errors_of(plan: Any, terms: int) -> Errors:
    truth, names = np.random.default_rng(4).standard_normal(6), [p.name for p in plan.parameters]
    how = {"tol": 1e-13, "max_iter": 20000, "on_failure": "return"}
    sol = plan.solve(**how)
    exact = sol.vjp(2 * (sol.x - truth), names)
    by_steps = sol.vjp(2 * (sol.x - truth), names, mode="unroll", terms=terms)
    unrolled, differences = {}, {}
    for parameter in plan.parameters:
        size = np.linalg.norm(exact[parameter])
        unrolled[parameter.name] = float(np.linalg.norm(exact[parameter] - by_steps[parameter]) / size)
        d = np.random.default_rng(5).standard_normal(parameter.shape)
        ends = [plan.solve(params={parameter: parameter.value + s * d}, **how).x for s in (1e-5, -1e-5)]
        slope = float(np.sum((ends[0] - truth) ** 2) - np.sum((ends[1] - truth) ** 2)) / 2e-5
        off = abs(float(np.sum(exact[parameter] * d)) - slope)
        differences[parameter.name] = float(off / max(abs(slope), 1e-3 * size))
    return unrolled, differences


def network_map() -> tuple[torch.nn.Module, oa.MapPlan]:
    """A data term and a small network with a weight, and the network."""
    rng = np.random.default_rng(9)
    torch.manual_seed(9)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6)).double()
    u, b = oa.Variable(6, name="u"), oa.Parameter(rng.standard_normal(6), name="b")
    lam = oa.Parameter(0.3, name="lam", positive=True)
    data = 0.5 * oa.sum_squares(oa.Matrix(np.eye(6) + rng.standard_normal((6, 6)) / 8) @ u - b)
    return net, oa.fixed_point(u, u - 0.3 * (oa.grad(data) + lam * oa.apply(net, u)), backend="torch")


def _network_errors() -> Errors:
    net, plan = network_map()
    truth = torch.as_tensor(np.random.default_rng(4).standard_normal(6))
    how: Any = {"tol": 1e-13, "max_iter": 2000, "on_failure": "return", "networks": [net]}
    found: list[dict[str, torch.Tensor]] = []
    for options in ({}, {"mode": "unroll", "terms": 300}):
        module = plan.as_module(gradient_options=options, **how)
        module.zero_grad()
        (module() - truth).square().sum().backward()
        found.append({n: w.grad.clone() for n, w in module.named_parameters()})
    exact, by_steps = found
    unrolled = {n: float((by_steps[n] - g).norm() / g.norm()) for n, g in exact.items()}
    differences, generator = {}, torch.Generator().manual_seed(5)
    for name, weight in module.named_parameters():
        d = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        values = []
        with torch.no_grad():
            for move in (1e-5, -2e-5, 1e-5):
                weight += move * d
                values.append(float((module() - truth).square().sum()))
        slope = (values[0] - values[1]) / 2e-5
        off = abs(float((exact[name] * d).sum()) - slope)
        differences[name] = off / max(abs(slope), 1e-3 * float(exact[name].norm()))
    return unrolled, differences


# G4: libraries.


def libraries() -> Iterator[Bar]:
    """G4: iterates of NumPy and Torch after equally many iterations."""
    for precision, most in (("float64", 1e-10), ("float32", 1e-4)):
        apart = [_apart(build, precision) for build in _compiled()]
        yield Bar("G4", f"NumPy against Torch after 25 iterations, {precision}", max(apart), most=most)


def _compiled() -> Iterator[Callable[..., Any]]:
    rng = np.random.default_rng(6)
    x, noisy = oa.Variable((12, 12), name="x"), rng.standard_normal((12, 12))
    K = oa.Convolve(np.ones((3, 3)) / 9, x.shape)
    energy = 0.5 * oa.sum_squares(K @ x - noisy) + 0.1 * oa.norm1(oa.Gradient(x.shape) @ x)
    smooth = 0.5 * oa.sum_squares(K @ x - noisy) + oa.pointwise(oa.activation("tanh"), x)
    yield lambda **where: oa.compile(energy, **where)
    yield lambda **where: oa.compile(0.5 * oa.sum_squares(K @ x - noisy) + 0.1 * oa.norm1(x), **where)
    for kind in ("anderson", "nesterov", "none"):
        yield lambda kind=kind, **where: oa.fixed_point(x, x - 0.5 * oa.grad(smooth), acceleration=kind, **where)


def _apart(build: Callable[..., Any], precision: str) -> float:
    found = []
    for library in ("numpy", "torch"):
        plan = build(backend=library, dtype=precision)
        x = plan.solve(tol=0.0, max_iter=25, on_failure="return").x
        found.append(np.asarray(x, dtype=np.float64))
    return float(np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[0]))


# G5: memory of a training step.


def memory() -> Iterator[Bar]:
    """G5: the peak of tensors of one training step, at caps of 50 and 500 iterations that are all made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for solver in ("gmres", "anderson"):
            few, many = (_step_bytes(cap, {"solver": solver, "max_iter": cap, "tol": 1e-6}) for cap in CAPS)
            what = f"peak memory of a step, caps 500 over 50, map, {solver}"
            yield Bar("G5", what, many / few, least=0.95, most=1.05)
        # what is kept for the next step are at most 20 directions, of which a solve that is cut off may have fewer: so
        # both solves are cut off and nothing is kept, or only the forward one is
        for recycle, note in ((False, "caps of both solves, nothing kept"), ("auto", "cap of the forward solve alone")):
            few, many = (
                _step_bytes(cap, {**CG, "recycle": recycle, "max_iter": CAPS[1] if recycle else cap}, compiled=True)
                for cap in CAPS
            )
            what = "peak memory of a step, caps 500 over 50, energy, conjugate gradients"
            yield Bar("G5", what, many / few, least=0.95, most=1.05, note=note)
        few, half, many = (_step_bytes(cap, {"mode": "unroll", "terms": cap}) for cap in (CAPS[0], BETWEEN, CAPS[1]))
    note = f"{(many - few) / (CAPS[1] - CAPS[0]):.0f} bytes for each iteration and {few} at {CAPS[0]}"
    yield Bar("G5", "the same where it is unrolled", many / few, least=8.0, note=note)
    growth = (many - half) / (half - few)
    what = f"unrolled, linear: growth from {BETWEEN} to 500 over that from 50 to {BETWEEN}"
    yield Bar("G5", what, growth, least=0.95, most=1.05)


def _step_bytes(cap: int, gradient_options: dict[str, Any], compiled: bool = False) -> int:
    samples, n, number = 64, 64, torch.float64 if compiled else torch.float32
    torch.manual_seed(0)
    u = oa.Variable((samples, n), name="u", dtype=number)
    f = oa.Parameter(torch.zeros(samples, n, dtype=number), name="f")
    A = oa.Parameter((torch.rand(n, n, dtype=number) * 2 - 1) / n**0.5, name="A")
    # energies end where rounding leaves nothing to do, so one that is compiled is badly conditioned
    seen = torch.logspace(0, -3, n, dtype=number) if compiled else 1.0
    energy = 0.5 * oa.sum_squares(seen * u - f) + 0.5 * oa.pointwise(oa.activation("tanh"), oa.Matrix(A) @ u)
    if compiled:
        plan: Any = oa.compile(energy, backend="torch")
    else:
        plan = oa.fixed_point(u, u - 0.1 * oa.grad(energy), acceleration="none", backend="torch")
    options = {"on_inexact": "return", **gradient_options}
    module = plan.as_module(tol=0.0, max_iter=cap, on_failure="return", gradient_options=options)
    optimiser = torch.optim.SGD([module.A], lr=1e-3)
    data, target = torch.randn(2, samples, n, dtype=number)

    def step() -> None:
        optimiser.zero_grad()
        (module(f=data) - target).square().mean().backward()
        optimiser.step()

    step()  # compiles
    step()  # keeps directions for the next one, where it does
    gc.collect()  # or memory that an earlier step held may be given back in the middle of this one
    found = min(peak_bytes(step) for _ in range(3))  # the profiler is off by a block at times
    assert module.solution.iterations == cap
    return found


# G6: lines.


def declarations() -> Iterator[Bar]:
    """G6: the lines of each declaration; one that is not there has no number, and does not hold."""
    for name, count, note in declared_lines():
        yield Bar("G6", f"lines that declare {name}", count, least=1, most=15, note=note)


# G7: acceleration.


def acceleration() -> Iterator[Bar]:
    """G7: flags change the iterates, and where acceleration does not help the plain map's convergence is left."""
    rng = np.random.default_rng(8)
    x = oa.Variable(20, name="x")
    Q, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    # a map that turns more than it contracts, on which momentum diverges
    plans = {
        k: oa.fixed_point(x, 0.95 * (oa.Matrix(Q) @ x) + np.ones(20), acceleration=k)
        for k in ("none", "anderson", "nesterov")
    }
    early = {k: p.solve(tol=0.0, max_iter=8, on_failure="return").x for k, p in plans.items()}
    for kind in ("anderson", "nesterov"):
        change = np.linalg.norm(early[kind] - early["none"]) / np.linalg.norm(early["none"])
        yield Bar("G7", f"change of iterates by {kind}", float(change), least=1e-3)
        plain, fast = (plans[k].solve(tol=1e-8).iterations for k in ("none", kind))
        yield Bar("G7", f"iterations to 1e-8, {kind} over plain", fast / plain, most=1.5)
