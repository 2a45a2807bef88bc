"""Operators on which rewrite rules fire, so that every rule is tried on some.

They come from three places: `members` below, a function ``rule_members(rng)`` in any test module of this folder, and
the examples of all operator classes with their grams, cograms, adjoints and conjugates.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from functools import cache

import numpy as np

import opalg as oa
import opalg.operators as ops
import tests.operators
from opalg.operators.algebra import Adjoint, Composed, Conjugated, LinearOperator, Scaled
from opalg.operators.batched import Batched
from opalg.operators.block import BlockDiagonal, BlockMatrix, block, block_diag
from opalg.operators.kronecker import Kronecker, kron
from opalg.operators.low_rank import LowRank
from opalg.operators.multi_convolution import MultiConvolve
from opalg.operators.padding import Pad
from opalg.operators.reductions import CumulativeSum, Sum
from opalg.operators.sampling import Downsample
from opalg.operators.stack import Stacked
from opalg.operators.windows import Crop
from opalg.program.expression import Literal
from opalg.rules import RULES, Rule, Step, rewrite

BROKEN: dict[str, Exception] = {}  # test modules whose ``rule_members`` raise
_PER_RULE = 4  # steps that are kept of each rule


def members(rng: np.random.Generator) -> list[LinearOperator]:
    """Operators for the rules of algebra, blocks, Kronecker products and low rank, left as users wrote them."""
    a, b, c = (ops.Matrix(rng.standard_normal((3, 3))) for _ in range(3))
    z = ops.Matrix(rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)))
    d, e = ops.Diagonal(rng.random(3)), ops.Diagonal(rng.random(3))
    u, v, w = (rng.standard_normal((3, 2)) for _ in range(3))
    lam = oa.Parameter(0.7, name="lambda", nonneg=True)
    two, eye = Literal(2.0), ops.Identity((3,))
    k = ops.Convolve(rng.standard_normal(2), (3,))
    return [
        *_algebra(a, b, c, z, d, e, lam),
        *_conjugates(a, z, d, k),
        Stacked((Stacked((a, b)), c)),
        BlockDiagonal((eye, eye)),
        BlockDiagonal((BlockDiagonal((a, d)), b)),
        BlockMatrix((a, ops.Zero((3,)), ops.Zero((3,)), b), 2),
        block_diag([a, d]) @ ops.vstack([b, c]),
        ops.hstack([a, b]) @ block_diag([d, z]),
        block_diag([a, z]).gram,
        Adjoint(block_diag([a, d])),
        Adjoint(block([[a, d], [None, z]])),
        block([[None, a], [b, None]]) @ (block([[None, c], [d, None]]) @ ops.vstack([a, e])),
        Stacked((Scaled(lam, a), Scaled(lam, b))),
        BlockDiagonal((Scaled(two, a), Scaled(two, d))),
        BlockMatrix((Scaled(two, a), ops.Zero((3,)), Scaled(two, d), Scaled(two, b)), 2),
        Kronecker((Scaled(two, a), b)),
        Kronecker((eye, b)),
        Kronecker((a, Kronecker((b, d)))),
        kron(a, b) @ kron(c, d),
        kron(a, z) @ (kron(z, d) @ kron(d, b)),
        kron(a, eye) @ Batched(b, (3,)),
        kron(a, ops.Identity((3, 3))) @ Batched(kron(b, c), (3,)),
        kron(ops.FFT((3,)), a).gram,
        kron(a, b) + kron(a, c) + d_like(9),
        LowRank(u, v) @ LowRank(w, u),
        LowRank(u[:, :1], v[:, :1]) @ (LowRank(w * 1j, u) @ a),
        LowRank(u) + LowRank(v) + d,
        LowRank(u, v) + LowRank(v, w),
    ]


def d_like(size: int) -> LinearOperator:
    """A diagonal on a square array of so many entries."""
    n = int(size**0.5)
    return ops.Diagonal(np.linspace(1.0, 2.0, size).reshape(n, n))


def _algebra(a, b, c, z, d, e, lam) -> list[LinearOperator]:  # type: ignore[no-untyped-def]
    one, three = Literal(1.0), Literal(3.0)
    return [
        Composed(Scaled(three, a), Composed(b, c)),
        Composed(Composed(a, b), c),
        ops.Added((ops.Added((a, b)), ops.Zero((3,)))),
        Scaled(one, a),
        Scaled(lam, Scaled(three, a)),
        Adjoint(Adjoint(a)),
        Adjoint(Composed(a, z)),
        Adjoint(ops.Added((a, z))),
        Adjoint(Scaled(lam, a)),
        Adjoint(Scaled(Literal(1 - 2j), z)),
        Composed(a, Scaled(Literal(2j), b)),
        Composed(z, Composed(Scaled(Literal(2j), b), c)),
        a + 2.0 * a + lam * a - b,
        a @ b + a @ c,
        b @ a - 2.0 * (c @ a),
        a.H @ d @ a + lam * (a.H @ e @ a) + a.gram,
        a @ b + a,
        3.0 * (a @ d @ b),
        lam * (a.H @ d @ a),
        2.0 * (d @ a @ a.H @ d),
        (ops.vstack([a, b]).H @ ops.vstack([c, z])) @ d,
        ops.DCT((3,)).gram @ a if hasattr(ops, "DCT") else ops.FFT((3,)).gram @ z,
    ]


def transforms(rng: np.random.Generator) -> list[LinearOperator]:
    """Products of operators from different files."""
    shape = (2, 4)
    fft, real = ops.FFT(shape), ops.AsComplex(shape)
    z = ops.Diagonal(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    k, c = (ops.Convolve(rng.standard_normal((2, 2)) * phase, shape) for phase in (1.0, 1 - 2j))
    full, other = (ops.Convolve(rng.standard_normal(2), (3,), "full") for _ in range(2))
    w = ops.Wavelet((8,), "bior2.2", 1)
    sparse = Downsample(shape, (1, 2))
    return [
        ops.InverseRFFT(shape) @ ops.RFFT(shape),
        fft.H @ (z @ (fft @ z)),
        real.H @ (c @ real),
        real.H @ (k @ real),
        Batched(ops.Convolve(rng.standard_normal(2), (4,)), (2,)),
        ops.Convolve(rng.standard_normal(2), (4,), "full") @ full,
        full.H @ other,
        w.dual.H @ w,
        sparse @ k,
        k @ sparse.H,
        MultiConvolve(rng.standard_normal((1, 2, 2)), (4,), "periodic").cogram,
        Pad((5,), 1) @ Pad((3,), 1),
        Crop((5,), 1, 3) @ Pad((3,), 1),
        Crop((3, 4), (1, 0), (3, 2)) @ Crop((4, 5), (1, 1), (4, 5)),
        Sum((3,)) @ Sum((3, 2), -1),
        CumulativeSum((4,)) @ CumulativeSum((4,)).inverse(),
    ]


def _conjugates(a, z, d, k) -> list[LinearOperator]:  # type: ignore[no-untyped-def]
    return [
        Conjugated(a),
        Conjugated(Conjugated(z)),
        Conjugated(Composed(z, a)),
        Conjugated(ops.Added((z, a))),
        Conjugated(Scaled(Literal(1 - 2j), z)),
        Conjugated(Adjoint(z)),
        Conjugated(Stacked((z, d))),
        Conjugated(Batched(z, (2,))),
        Conjugated(ops.RFFT((3,))),
        Conjugated(k),
    ]


def _concrete(cls: type) -> list[type]:
    return [cls, *(c for sub in cls.__subclasses__() for c in _concrete(sub))]


def examples(rng: np.random.Generator) -> list[LinearOperator]:
    """The examples of every operator class, with what is built of them and of two from the same file."""
    files: dict[str, list[LinearOperator]] = {}
    for cls in _concrete(LinearOperator):
        if "examples" in vars(cls) and cls.__module__.startswith("opalg."):
            files.setdefault(cls.__module__, []).extend(cls.examples(rng))  # type: ignore[attr-defined]
    found: list[LinearOperator] = []
    for own in files.values():
        sides = [*own, *(a.H for a in own)]
        found += [p for a in own for p in (a, a.H, a.gram, a.cogram, 2.0 * a, a.gram + 0.5 * a.gram, a.conj())]
        found += [p for a in own for middle in _diagonals(a, rng) if (p := _product(a, middle, a.H)) is not None]
        found += _products(sides)
    return found


def _products(factors: list[LinearOperator]) -> list[LinearOperator]:
    """Products of two operators, at most two of each pair of classes."""
    seen: Counter[tuple[type, ...]] = Counter()
    found = []
    for a in factors:
        for b in factors:
            classes = tuple(type(o) for o in (a, getattr(a, "operator", a), b, getattr(b, "operator", b)))
            made = _product(a, b) if seen[classes] < 2 else None
            if made is not None:
                seen[classes] += 1
                found.append(made)
    return found


def _diagonals(a: LinearOperator, rng: np.random.Generator) -> list[LinearOperator]:
    kept = ops.Mask(rng.random(a.in_shape) < 0.7)
    return [ops.Diagonal(rng.standard_normal(a.in_shape)), ops.Diagonal(rng.random(a.in_shape)), kept]


def _product(*factors: LinearOperator) -> LinearOperator | None:
    """The product of operators; None where they do not meet."""
    out = factors[-1]
    for factor in reversed(factors[:-1]):
        complex_into_real = factor.in_kind == "real" and out.out_dtype == "complex"
        if factor.in_shape != out.out_shape or complex_into_real:
            return None
        out = factor @ out
    return out


def gathered() -> list[LinearOperator]:
    """Members from all three places."""
    found = members(np.random.default_rng(3)) + transforms(np.random.default_rng(3))
    for module in pkgutil.iter_modules(tests.operators.__path__):
        if module.name.startswith("test_"):
            own = getattr(importlib.import_module(f"tests.operators.{module.name}"), "rule_members", None)
            if callable(own):
                try:
                    found += own(np.random.default_rng(3))
                except Exception as problem:  # one module shall not hide the others; a test looks at this
                    BROKEN[module.name] = problem
    return found + examples(np.random.default_rng(3))


@cache
def steps() -> tuple[Step, ...]:
    """A few rewritings by each rule of opalg on operators."""
    kept: dict[str, list[Step]] = {}
    for root in gathered():
        trace: list[Step] = []
        rewrite(root, trace=trace)
        for step in trace:
            of_rule = kept.setdefault(step.rule.name, [])
            if len(of_rule) < _PER_RULE and all(step.before is not known.before for known in of_rule):
                of_rule.append(step)
    return tuple(step for of_rule in kept.values() for step in of_rule)


def operator_rules() -> list[Rule]:
    """The rules of opalg that look at operators."""
    return [r for r in RULES if r.function.__module__.startswith("opalg.") and issubclass(r.on, LinearOperator)]
