"""Random programs that use every kind of node, and primitives for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.program.expression import (
    Apply,
    Expression,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
    broadcast_to,
    square,
    total,
)
from opalg.program.interpreter import evaluate
from opalg.program.linear import Kernel, Linear, Window

REAL_LIBRARIES = ["numpy", "torch", "array_api_strict"]


def running_sum(lib: Any, x: Any, factor: float, out: Any = None) -> Any:
    """x plus a factor times its left neighbour, in place."""
    out = lib.copy(x, out=out)
    lib.add(out[..., 1:], factor * x[..., :-1], out=out[..., 1:])
    return out


def reversed_rows(lib: Any, x: Any, scratch: Any = None, out: Any = None) -> Any:
    """The rows in reverse, by way of scratch that is spoilt first."""
    (room,) = scratch or (lib.empty_like(x, (*x.shape[:-1], x.shape[-1] + 1)),)
    room[...] = float("nan")
    n = x.shape[-1]
    for i in range(n):
        room[..., n - i] = x[..., i]
    return lib.copy(room[..., 1:], out=out)


def forward_rfft(lib: Any, x: Any, out: Any = None) -> Any:
    """A real transform, which returns a fresh array."""
    return lib.rfftn(x, (-2, -1), "ortho")


def backward_rfft(lib: Any, x: Any, sizes: Any, out: Any = None) -> Any:
    """Its inverse."""
    return lib.irfftn(x, sizes, (-2, -1), "ortho")


def first_rows(lib: Any, x: Any, count: int, out: Any = None) -> Any:
    """A kernel that returns a view of its argument."""
    return x[..., :count, :]


def weigh(lib: Any, x: Any, weights: Any, out: Any = None) -> Any:
    """A kernel with an array as static argument."""
    return lib.multiply(x, weights, out=out)


@node
class Neighbours(Linear):
    """x plus a factor times its left neighbour."""

    in_shape: tuple[int, ...]
    factor: float

    @property
    def out_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.in_shape

    def kernel(self) -> Kernel:
        return Kernel(running_sum, (self.factor,))


@node
class Reversed(Linear):
    """The last axis in reverse, with room to work in."""

    in_shape: tuple[int, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.in_shape

    def kernel(self) -> Kernel:
        return Kernel(reversed_rows, scratch=((self.in_shape[0] + 1,),))

    def adjoint_kernel(self) -> Kernel:
        return self.kernel()


@node
class Spectrum(Linear):
    """The real FFT over the last two axes."""

    in_shape: tuple[int, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (*self.in_shape[:-1], self.in_shape[-1] // 2 + 1)

    def kernel(self) -> Kernel:
        return Kernel(forward_rfft, (), in_place=False, transforms=1)

    def out_kind(self, kind: str) -> str:
        return "complex"

    def adjoint_kernel(self) -> Kernel:
        return Kernel(backward_rfft, (self.in_shape,), in_place=False, transforms=1)

    def adjoint_kind(self, kind: str) -> str:
        return "real"


@node
class FirstRows(Linear):
    """The first rows, as a view."""

    in_shape: tuple[int, ...]
    count: int

    @property
    def out_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.count, self.in_shape[1])

    def kernel(self) -> Kernel:
        return Kernel(first_rows, (self.count,), in_place=False)


@node
class Weigh(Linear):
    """Multiplication by an array that the kernel receives."""

    weights: Constant

    @property
    def in_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.weights.shape

    @property
    def out_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.weights.shape

    def kernel(self) -> Kernel:
        return Kernel(weigh, (self.weights,))


class RandomProgram:
    """A random program whose values stay moderate and depend continuously on its inputs."""

    def __init__(self, seed: int, n: int = 13, m: int = 10, steps: int = 30) -> None:
        self.rng = np.random.default_rng(seed)
        self.n, self.m = n, m
        self.control = Input("rho", (), "real", "control")
        shapes = [((2, n, m), "real"), ((1, n, m), "real"), ((n, m), "real"), ((), "real"), ((n, m), "complex")]
        shapes += [((2, n, m), "complex"), ((1, m), "real")]
        self.states = [Input(f"a{i}", s, k) for i, (s, k) in enumerate(shapes)]
        self.weight = Parameter(0.7, name="weight")
        self.image = Constant(self.rng.standard_normal((n, m)), name="image")
        self.matrix = Constant(self.rng.standard_normal((m, m)) / m, name="matrix")
        self.mask = Constant(self.rng.random((n, m)) > 0.4, name="mask")
        self.pool: list[Expression] = [*self.states, self.image, self.weight, self.control, self.mask * self.image]
        self.views = [Pointwise("imag", (self.states[5],)), Pointwise("real", (2.0 * self.states[4],))]
        self.pool += self.views
        for _ in range(steps):
            self.pool.append(self._bounded(self._next()))
        self.inputs = [*self.states, self.control]
        self.outputs = self._outputs()

    def arrays(self, seed: int = 0) -> list[Any]:
        """Random state arrays, exact in float32."""
        rng = np.random.default_rng(seed)
        out = []
        for e in self.states:
            a = rng.standard_normal(e.shape) + (1j * rng.standard_normal(e.shape) if e.kind == "complex" else 0)
            out.append(np.asarray(a).astype("complex64" if e.kind == "complex" else "float32"))
        return out

    def expected(self, arrays: list[Any], rho: float) -> list[np.ndarray]:
        """The outputs by the reference interpreter."""
        lib = backend("numpy", "float64")
        given = {e: lib.asarray(a, e.kind) for e, a in zip(self.states, arrays, strict=True)}
        return [np.asarray(v) for v in evaluate(self.outputs, {**given, self.control: lib.asarray(rho)}, lib)]

    def _outputs(self) -> list[Expression]:
        late = self.pool[-12:]
        chosen = [late[i] for i in self.rng.choice(len(late), 5, replace=False)]
        summary = total(abs(self._pick()))
        moved = Apply(Neighbours((self.m,), 0.5), self.views[1])
        views = [self.views[0], Pointwise("imag", (self._pick("complex"),)), moved]
        repeated = broadcast_to(chosen[1], self._full(chosen[1]))
        return [*chosen, *views, self.states[0], chosen[0], self.image, summary, repeated]

    def _full(self, e: Expression) -> tuple[int, ...]:
        return tuple(np.broadcast_shapes(e.shape, (2, self.n, self.m)))

    def _pick(self, kind: str | None = None, ndim: int = 0) -> Expression:
        fitting = [e for e in self.pool if kind in (None, e.kind) and e.kind != "bool" and e.ndim >= ndim]
        return fitting[int(self.rng.integers(len(fitting)))]

    def _bounded(self, e: Expression) -> Expression:
        return e / (1.0 + abs(e)) if self.rng.random() < 0.7 else Pointwise("multiply", (Literal(0.5), e))

    def _next(self) -> Expression:
        makers = [self._binary, self._binary, self._binary, self._unary, self._unary, self._complex, self._choice]
        makers += [self._reduce, self._reduce, self._apply, self._other]
        return makers[int(self.rng.integers(len(makers)))]()

    def _binary(self) -> Expression:
        a, b = self._pick(), self._pick()
        match int(self.rng.integers(7)):
            case 0:
                return a + b
            case 1:
                return a - b
            case 2:
                return a * b
            case 3:
                return a / (1.5 + abs(b))
            case 4:
                return Pointwise("safe_divide", (a, abs(b) + 0.25))
            case 5:
                return 2.0 - a if self.rng.random() < 0.5 else Literal(0.5 + 1j) * a
        exponent = float(self.rng.choice([2.5, 3.0, 4.0, 1.5, -1.0, -2.0, 0.3]))
        return Pointwise("power", (abs(a) + 0.5, Literal(exponent)))

    def _unary(self) -> Expression:
        a = self._pick("real")
        small = Pointwise("tanh", (a,))
        names = ["negative", "sqrt", "square", "exp", "log", "log1p", "sin", "cos", "tanh", "cosh", "sinh", "atan"]
        name = str(self.rng.choice(names))
        if name in ("sqrt", "log", "log1p"):
            return Pointwise(name, (abs(a) + 0.3,))
        return Pointwise(name, (small if name in ("exp", "cosh", "sinh") else a,))

    def _complex(self) -> Expression:
        z = self._pick("complex")
        name = str(self.rng.choice(["conj", "real", "imag", "abs", "square", "real", "imag"]))
        if name == "imag" and self.rng.random() < 0.2:
            return Pointwise("imag", (self._pick("real"),)) + z
        return Pointwise(name, (z,))

    def _choice(self) -> Expression:
        a, b = self._pick("real"), self._pick("real")
        compare = str(self.rng.choice(["greater", "greater_equal", "less", "less_equal"]))
        condition = Pointwise(compare, (a, b))
        match int(self.rng.integers(6)):
            case 0:
                return Pointwise("where", (condition, a, b))
            case 1:
                return Pointwise("where", (Pointwise("logical_not", (condition,)), a, b))
            case 2:
                positive = tuple(Pointwise("greater", (e, Literal(0.0))) for e in (a, b))
                both = Pointwise("logical_and", positive)
                return Pointwise("where", (both, Pointwise("minimum", (a, b)), Literal(0.0)))
            case 3:
                return Pointwise("sign", (a,)) * a
            case 4:
                z = self._pick("complex")
                return Pointwise("where", (self.mask, z, a))
        name = str(self.rng.choice(["maximum", "minimum"]))
        return Pointwise(name, (a, b if self.rng.random() < 0.6 else Literal(0.1)))

    def _reduce(self) -> Expression:
        a = self._pick(ndim=1)
        size = float(np.prod(a.shape))
        match int(self.rng.integers(6)):
            case 0:
                return total(a) / size
            case 1:
                return Reduce("max", self._pick("real", 1), None)
            case 2 if a.ndim == 3:
                return Reduce("sum", a, (-3,))
            case 3:
                return Reduce("sum", a, (-1,), keepdims=True) / self.m
            case 4 if a.ndim >= 2:
                return Reduce("sum", a, (-2, -1), keepdims=True) / size
            case 5 if a.ndim == 3:
                return Reduce("max", self._pick("real", 3), (-3,), keepdims=True)
        return Reduce("sum", a, (-a.ndim,), keepdims=True) / a.shape[0]

    def _image(self, kind: str | None = None) -> Expression:
        e = self._pick(kind)
        return broadcast_to(e, tuple(np.broadcast_shapes(e.shape, (self.n, self.m))))

    def _apply(self) -> Expression:
        n, m = self.n, self.m
        e = self._image()
        match int(self.rng.integers(6)):
            case 0:
                return Apply(Neighbours((m,), 0.5), e)
            case 1:
                return self._window(e)
            case 2:
                spectrum = Apply(Spectrum((n, m)), self._image("real"))
                return Apply(Spectrum((n, m)), spectrum * 0.5 + Literal(0.1), adjoint=True)
            case 3:
                return Apply(Weigh(self.image), self._image("real"))
            case 4:
                return Apply(FirstRows((n, m), 1), self._image("real")) + self._pick("real")
        return Apply(Neighbours((m,), -0.25), Apply(Neighbours((m,), 0.5), e) * 0.5)

    def _window(self, e: Expression) -> Expression:
        window = Window((self.n, self.m), (1, 2), (self.n - 1, self.m))
        return Apply(window, Apply(window, e) * 2.0, adjoint=True)

    def _other(self) -> Expression:
        n, m = self.n, self.m
        match int(self.rng.integers(6)):
            case 0:
                return Product("Mx", self.matrix, self._image())
            case 1:
                return Product("MTx", self.matrix, self._image())
            case 2:
                outer = Product("xyT", *self._same_shape(self._image(), self._image()))
                return Reduce("sum", outer, (-2,), keepdims=True) / (n * m)
            case 3:
                a, b = self._same_shape(self._image(), self._image())
                return Apply(Window((2 * n, m), (n // 2, 0), (n // 2 + n, m)), Join((a, b), -2))
            case 4:
                return total(square(Reduce("sum", self._image("real"), (-1,)))) / (n * m)
        return broadcast_to(self._image(), (2, n, m)) * 0.5

    def _same_shape(self, a: Expression, b: Expression) -> tuple[Expression, Expression]:
        shape = tuple(np.broadcast_shapes(a.shape, b.shape))
        return broadcast_to(a, shape), broadcast_to(b, shape)


@pytest.fixture(scope="session")
def random_program() -> type[RandomProgram]:
    """The class of random programs."""
    return RandomProgram


@pytest.fixture(scope="session")
def primitives() -> dict[str, Any]:
    """The primitives that tests apply, by name."""
    return {c.__name__: c for c in (Neighbours, Reversed, Spectrum, FirstRows, Weigh)}
