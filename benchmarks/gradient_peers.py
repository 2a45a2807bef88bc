"""The other libraries of `gradients.py`, each at its default settings and at tight ones, and plain unrolling on Torch.

Everything runs in double precision, JAX too, and Torch on one thread, which is fastest at these sizes; what a library
compiles is compiled before the clock starts. JAXopt gives no separate backward pass: its backward time is that of value
and gradient less that of the solve. DeepInverse runs its `PGD` and `GD` with ``DEQ`` on closures for the operator, and
keeps the weight in single precision.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gradient_cases import Arrays, Problem, spectrum

NAMES = {"jaxopt": "JAXopt", "torchdeq": "torchdeq", "deepinv": "DeepInverse", "torch": "plain unrolling"}


@dataclass
class Found:
    """Gradients, seconds forward and backward, and counts of iterations or products where they are known."""

    gradients: Arrays
    forward: float
    backward: float
    steps: int | None = None
    products: int | None = None
    note: str = ""


Runner = Callable[[], Found]


def load(name: str) -> Any:
    """A library that need not be here."""
    return importlib.import_module(name)


def importable() -> tuple[list[str], dict[str, str]]:
    """The libraries that are here, and for the others why they are not."""
    here, missing = [], {}
    for name in NAMES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(name)
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}"
        else:
            here.append(name)
    if "torch" in here:
        load("torch").set_num_threads(1)
    if "jaxopt" in here:
        load("jax").config.update("jax_enable_x64", True)
    return here, missing


# Torch: one way to time all of it.


def tensors(problem: Problem, names: tuple[str, ...]) -> dict[str, Any]:
    """Leaves that ask for gradients."""
    import torch

    return {n: torch.tensor(problem.data[n], dtype=torch.float64, requires_grad=True) for n in names}


def by_torch(problem: Problem, leaves: dict[str, Any], solve: Callable[[], Any], counts: Callable[[], Any]) -> Found:
    """Solve, then let Torch differentiate ``|x - truth|^2 / 2``."""
    import torch

    truth = torch.tensor(problem.truth)
    start = time.perf_counter()
    x = solve()
    loss = 0.5 * ((x.reshape(truth.shape) - truth) ** 2).sum()
    middle = time.perf_counter()
    loss.backward()
    stop = time.perf_counter()
    gradients = {n: t.grad.detach().numpy().astype(float).reshape(np.shape(t.detach())) for n, t in leaves.items()}
    if "log lam" in problem.reference:
        gradients["log lam"] = float(problem.data["lam"]) * gradients.pop("lam")
    return Found(gradients, middle - start, stop - middle, *counts())


def unknown() -> tuple[None, None]:
    """Counts that a library does not tell."""
    return None, None


# The maps whose fixed points are the solutions, on Torch.


def ista(leaves: dict[str, Any]) -> Callable[[Any], Any]:
    """One step of proximal gradients for the lasso, on rows; the designs have norm one."""
    import torch

    A, y, lam = leaves["A"], leaves["y"], leaves["lam"]

    def step(z: Any) -> Any:
        v = z - (z @ A.T - y) @ A
        return torch.sign(v) * torch.clamp(torch.abs(v) - lam, min=0.0)

    return step


def blur(problem: Problem) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The periodic blur and its adjoint on Torch."""
    import torch

    size = problem.truth.shape[0]
    factor = torch.tensor(spectrum(problem.data["kernel"], size))
    back = torch.conj(factor).resolve_conj()

    def apply(by: Any, x: Any) -> Any:
        return torch.fft.irfft2(by * torch.fft.rfft2(x), s=(size, size))

    return partial(apply, factor), partial(apply, back)


def slopes(x: Any) -> Any:
    """Periodic forward differences on Torch."""
    import torch

    return torch.stack([torch.roll(x, -1, -2) - x, torch.roll(x, -1, -1) - x])


def slopes_adjoint(p: Any) -> Any:
    """The adjoint of `slopes`."""
    import torch

    return torch.roll(p[0], 1, -2) - p[0] + torch.roll(p[1], 1, -1) - p[1]


def smoothness(problem: Problem) -> float:
    """A bound on the curvature of the smoothed energy."""
    return 1.0 + 8.0 * float(problem.data["lam"] / problem.data["eps"])


def descent(problem: Problem, leaves: dict[str, Any]) -> Callable[[Any], Any]:
    """One gradient step on the smoothed energy."""
    import torch

    K, Kt = blur(problem)
    y, lam, eps, step = leaves["y"], leaves["lam"], float(problem.data["eps"]), 1.0 / smoothness(problem)

    def move(x: Any) -> Any:
        d = slopes(x)
        return x - step * (Kt(K(x) - y) + lam * slopes_adjoint(d / torch.sqrt(d * d + eps * eps)))

    return move


def denoiser(problem: Problem) -> Callable[[Any], Any]:
    """The two-layer convolutional network on Torch."""
    import torch
    import torch.nn.functional as functional

    first, second = (torch.tensor(problem.data[n].copy()) for n in ("first", "second"))

    def apply(x: Any) -> Any:
        shape = x.shape
        h = functional.pad(x.reshape(-1, 1, *shape[-2:]), (1, 1, 1, 1), mode="circular")
        h = torch.tanh(functional.conv2d(h, first))
        return functional.conv2d(functional.pad(h, (1, 1, 1, 1), mode="circular"), second).reshape(shape)

    return apply


def network_map(problem: Problem, leaves: dict[str, Any]) -> Callable[[Any], Any]:
    """The map of the tanh network, or of the regularisation by denoising."""
    import torch

    if "W" in leaves:
        return lambda z: torch.tanh(z @ leaves["W"].T + leaves["b"])
    mask, clean = torch.tensor(problem.data["mask"]), denoiser(problem)
    return lambda x: x - 0.7 * (mask * (x - leaves["y"]) + leaves["lam"] * (x - clean(x)))


@dataclass(frozen=True)
class Map:
    """A fixed-point map on Torch: which leaves it has, how it is built, where it starts."""

    names: tuple[str, ...]
    build: Callable[[Problem, dict[str, Any]], Callable[[Any], Any]]

    def start(self, problem: Problem) -> Any:
        """Zeros with a batch axis in front."""
        import torch

        return torch.zeros((1, *problem.truth.shape), dtype=torch.float64)


MAPS = {
    "lasso": Map(("lam", "y", "A"), lambda problem, leaves: ista(leaves)),
    "smooth": Map(("lam", "y"), descent),
    "tanh": Map(("b", "W"), network_map),
    "red": Map(("lam", "y"), network_map),
}


# torchdeq.


def torchdeq_runner(problem: Problem, kind: str, **settings: Any) -> Found:
    """`torchdeq.get_deq` on the map."""
    torchdeq = load("torchdeq")
    leaves = tensors(problem, MAPS[kind].names)
    step, counted = MAPS[kind].build(problem, leaves), {"backward": 0}
    deq = torchdeq.get_deq(**settings)
    info: dict[str, Any] = {}

    def write(found: dict[str, Any]) -> None:
        counted["backward"] = int(found["nstep"].max())

    def solve() -> Any:
        out, found = deq(step, MAPS[kind].start(problem), backward_writer=write)
        info.update(found)
        return out[-1]

    return by_torch(problem, leaves, solve, lambda: (int(info["nstep"].max()), counted["backward"]))


# DeepInverse.


def deepinv_runner(problem: Problem, kind: str, tight: int = 0) -> Found:
    """`deepinv.optim.PGD` for the lasso and `deepinv.optim.GD` for the smooth energy, both with ``DEQ``."""
    deepinv = load("deepinv")
    import torch

    names = MAPS[kind].names
    leaves = tensors(problem, names)
    weight = float(problem.data["lam"])
    if kind == "lasso":
        A = leaves["A"]
        physics = deepinv.physics.LinearPhysics(A=lambda x, **_: x @ A.T, A_adjoint=lambda y, **_: y @ A)
        build: Any = deepinv.optim.PGD
        prior: Any = deepinv.optim.L1Prior()
        step, data = 1.0, leaves["y"]
    else:
        K, Kt = blur(problem)
        eps = float(problem.data["eps"])

        def potential(x: Any, *_: Any) -> Any:
            d = slopes(x)
            return (torch.sqrt(d * d + eps * eps) - eps).sum(dim=(0, *range(2, d.ndim)))

        physics = deepinv.physics.LinearPhysics(A=lambda x, **_: K(x), A_adjoint=lambda y, **_: Kt(y))
        build, prior = deepinv.optim.GD, deepinv.optim.Prior(g=potential)
        prior.explicit_prior = True
        step, data = 1.0 / smoothness(problem), leaves["y"]
    options: dict[str, Any] = {"DEQ": True}
    if tight:
        options = {"max_iter": tight, "thres_conv": 1e-12, "early_stop": True}
        options["DEQ"] = deepinv.optim.DEQConfig(max_iter_backward=tight)
    model = build(
        data_fidelity=deepinv.optim.L2(),
        prior=prior,
        lambda_reg=weight,
        stepsize=step,
        trainable_params=["lambda"],
        **options,
    )
    leaves["lam"] = model.params_algo["lambda"][0]
    return by_torch(problem, leaves, lambda: model(data[None], physics), unknown)


# Plain unrolling.


def unrolled(problem: Problem, kind: str, iterations: int, momentum: bool) -> Found:
    """Torch differentiates through every iteration."""
    leaves = tensors(problem, MAPS[kind].names)
    step = MAPS[kind].build(problem, leaves)

    def solve() -> Any:
        x = z = MAPS[kind].start(problem)
        t = 1.0
        for _ in range(iterations):
            fresh, following = step(z), 0.5 * (1.0 + (1.0 + 4.0 * t * t) ** 0.5)
            z = fresh + (t - 1.0) / following * (fresh - x) if momentum else fresh
            x, t = fresh, following
        return x

    return by_torch(problem, leaves, solve, lambda: (iterations, iterations))


def unrolled_primal_dual(problem: Problem, isotropic: bool, iterations: int) -> Found:
    """Condat and Vu's iteration (2013) for TV deblurring, differentiated by Torch."""
    import torch

    leaves = tensors(problem, ("lam", "y"))
    K, Kt = blur(problem)
    tau, sigma = 0.9, 0.07  # 1 / tau - 8 sigma >= 1 / 2
    lam, y = leaves["lam"], leaves["y"]

    def clip(p: Any) -> Any:
        if isotropic:
            return p / torch.clamp(torch.sqrt((p * p).sum(0) + 1e-300) / lam, min=1.0)
        return torch.maximum(torch.minimum(p, lam), -lam)

    def solve() -> Any:
        x = torch.zeros(problem.truth.shape, dtype=torch.float64)
        p = torch.zeros((2, *problem.truth.shape), dtype=torch.float64)
        for _ in range(iterations):
            fresh = x - tau * (Kt(K(x) - y) + slopes_adjoint(p))
            p, x = clip(p + sigma * slopes(2 * fresh - x)), fresh
        return x

    return by_torch(problem, leaves, solve, lambda: (iterations, iterations))


# JAXopt.


def jaxopt_runner(problem: Problem, kind: str, tight: int = 0) -> Runner:
    """A solver of JAXopt with implicit differentiation; compiled once, timed in each call."""
    jax, jnp = load("jax"), load("jax.numpy")
    solver, names, arguments = JAXOPT[kind](problem, tight)
    truth = jnp.asarray(problem.truth)
    theta = tuple(jnp.asarray(problem.data[n]) for n in names)

    def solve(*values: Any) -> Any:
        return solver.run(jnp.zeros_like(truth), *arguments(*values))

    def loss(*values: Any) -> Any:
        return 0.5 * jnp.sum((solve(*values).params - truth) ** 2)

    forward = jax.jit(lambda *values: (solve(*values).params, solve(*values).state.iter_num))
    both = jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(names)))))
    jax.block_until_ready((forward(*theta), both(*theta)))

    def run() -> Found:
        start = time.perf_counter()
        _, steps = jax.block_until_ready(forward(*theta))
        middle = time.perf_counter()
        _, slope = jax.block_until_ready(both(*theta))
        stop = time.perf_counter()
        gradients = {n: np.asarray(g) for n, g in zip(names, slope, strict=True)}
        if "log lam" in problem.reference:
            gradients["log lam"] = float(problem.data["lam"]) * gradients.pop("lam")
        return Found(gradients, middle - start, max(stop - middle - (middle - start), 0.0), int(steps))

    return run


def tight_options(tight: int) -> dict[str, Any]:
    """Options of a solver of JAXopt: none, or tolerances of 1e-12 forward and backward."""
    solve = partial(load("jaxopt").linear_solve.solve_normal_cg, tol=1e-12, maxiter=tight)
    return {"tol": 1e-12, "maxiter": tight, "implicit_diff_solve": solve} if tight else {}


def jaxopt_lasso(problem: Problem, tight: int) -> Any:
    """`jaxopt.ProximalGradient` with `prox_lasso`."""
    jnp, jaxopt = load("jax.numpy"), load("jaxopt")

    def energy(x: Any, A: Any, y: Any) -> Any:
        return 0.5 * jnp.sum((A @ x - y) ** 2)

    solver = jaxopt.ProximalGradient(fun=energy, prox=jaxopt.prox.prox_lasso, **tight_options(tight))
    return solver, ("lam", "y", "A"), lambda lam, y, A: (lam, A, y)


def jaxopt_smooth(problem: Problem, tight: int) -> Any:
    """`jaxopt.LBFGS`."""
    jnp, jaxopt = load("jax.numpy"), load("jaxopt")
    size, eps = problem.truth.shape[0], float(problem.data["eps"])
    factor = jnp.asarray(spectrum(problem.data["kernel"], size))

    def energy(x: Any, lam: Any, y: Any) -> Any:
        residual = jnp.fft.irfft2(factor * jnp.fft.rfft2(x), s=(size, size)) - y
        d = jnp.stack([jnp.roll(x, -1, 0) - x, jnp.roll(x, -1, 1) - x])
        return 0.5 * jnp.sum(residual**2) + lam * jnp.sum(jnp.sqrt(d * d + eps * eps) - eps)

    return jaxopt.LBFGS(fun=energy, **tight_options(tight)), ("lam", "y"), lambda lam, y: (lam, y)


def jaxopt_tanh(problem: Problem, tight: int) -> Any:
    """`jaxopt.FixedPointIteration`."""
    jnp, jaxopt = load("jax.numpy"), load("jaxopt")
    solver = jaxopt.FixedPointIteration(lambda x, b, W: jnp.tanh(W @ x + b), **tight_options(tight))
    return solver, ("b", "W"), lambda b, W: (b, W)


JAXOPT: dict[str, Callable[[Problem, int], Any]] = {
    "lasso": jaxopt_lasso,
    "smooth": jaxopt_smooth,
    "tanh": jaxopt_tanh,
}

TIGHT = {"lasso": 20_000, "smooth": 3000, "tanh": 5000, "red": 2000}
LENGTHS = {"lasso": (100, 1000), "smooth": (100, 1000), "tanh": (100,), "red": (100,)}


def peers_of(problem: Problem, kind: str, here: list[str], quick: bool) -> dict[str, Runner]:
    """Every library that can do this problem, by a name that tells its settings."""
    most = TIGHT[kind] // (4 if quick else 1)
    runners: dict[str, Runner] = {}
    if "jaxopt" in here and kind in JAXOPT:
        runners["JAXopt, defaults"] = jaxopt_runner(problem, kind)
        runners["JAXopt, tight"] = jaxopt_runner(problem, kind, most)
    if "torchdeq" in here:
        runners["torchdeq, defaults (1 step)"] = lambda: torchdeq_runner(problem, kind)
        runners["torchdeq, ift=True"] = lambda: torchdeq_runner(problem, kind, ift=True)
        tight = {"f_max_iter": most, "b_max_iter": most, "f_tol": 1e-12, "b_tol": 1e-12}
        runners["torchdeq, ift=True, tight"] = lambda: torchdeq_runner(problem, kind, ift=True, **tight)
    if "deepinv" in here and kind in ("lasso", "smooth"):
        runners["DeepInverse, DEQ=True"] = lambda: deepinv_runner(problem, kind)
        runners["DeepInverse, DEQ, tight"] = lambda: deepinv_runner(problem, kind, most)
    if "torch" in here:
        for count in LENGTHS[kind]:
            runners[f"unrolled, {count} steps"] = partial(unrolled, problem, kind, count, False)
            if kind in ("lasso", "smooth"):
                runners[f"unrolled, {count} accelerated"] = partial(unrolled, problem, kind, count, True)
    return runners
