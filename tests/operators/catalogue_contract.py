"""What every operator of the catalogue promises, checked against an oracle that is no part of opalg."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import opalg as oa

MODES = {"periodic": "wrap", "zero": "constant", "reflect": "reflect", "symmetric": "symmetric", "edge": "edge"}
LIGHTS = np.array([[0.11, -0.2], [-0.05, 0.23], [0.2, 0.1]])
OPTICS = {"wavelength": 0.5, "aperture": 0.4, "pixel": 0.55, "index": 1.33}


@dataclass(frozen=True)
class Case:
    """An operator, made when needed, and what it should do to one array; ``exact`` where its norm is promised exact."""

    name: str
    make: Callable[[], Any]
    oracle: Callable[[np.ndarray], Any]
    exact: bool = False
    accuracy: float = 1e-10


class Table(dict[str, Case]):
    """The cases of a file by their names, ``class_variant``."""

    def add(
        self, name: str, make: Callable[[], Any], oracle: Callable[[np.ndarray], Any], exact: bool = False, **more: Any
    ) -> None:
        """Add a case to the table."""
        assert name not in self, name
        self[name] = Case(name, make, oracle, exact, **more)

    @property
    def one_of_each(self) -> dict[str, Case]:
        """A case of each class."""
        return {this.name: this for this in {name.split("_")[0]: this for name, this in self.items()}.values()}

    @property
    def families(self) -> dict[str, Case]:
        """A case of each class and first word of its variant."""
        return {this.name: this for this in {tuple(name.split("_")[:2]): this for name, this in self.items()}.values()}


class Random:
    """Random data, the same ones in every run of a file."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        """Random real data."""
        return self.rng.standard_normal(shape)

    def complex_normal(self, *shape: int) -> np.ndarray:
        """Random complex data."""
        return self.rng.standard_normal(shape) + 1j * self.rng.standard_normal(shape)


@functools.cache
def member(this: Case) -> Any:
    """The operator of a case, made once."""
    return this.make()


def kinds(operator: Any) -> tuple[str, ...]:
    """The kinds of arrays that an operator is meant for."""
    return ("real", "complex") if operator.in_dtype is None else (operator.in_dtype,)


def sample(shape: Any, kind: str, seed: int = 3) -> np.ndarray:
    """A random array of a kind."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


def units(shape: Any, kind: str) -> np.ndarray:
    """The unit arrays of a shape, and for complex ones those times i."""
    size = int(np.prod(shape))
    eye = np.eye(size).reshape(size, *shape)
    return np.concatenate([eye + 0j, 1j * eye]) if kind == "complex" else eye


def embedded(results: Any) -> np.ndarray:
    """The real matrix whose columns are results, complex ones as real above imaginary parts."""
    flat = np.asarray(results).reshape(len(results), -1)
    return np.concatenate([flat.real, flat.imag], 1).T if np.iscomplexobj(flat) else flat.T


@functools.cache
def expected(this: Case, kind: str) -> tuple[np.ndarray, str]:
    """The embedded matrix of the oracle, and the kind of its results."""
    columns = np.stack([np.asarray(this.oracle(x)) for x in units(member(this).in_shape, kind)])
    return embedded(columns), "complex" if np.iscomplexobj(columns) else "real"


def matrix(operator: Any, kind: str) -> np.ndarray:
    """The embedded matrix of an operator."""
    return embedded(operator @ units(operator.in_shape, kind))


def close(found: np.ndarray, wanted: np.ndarray, accuracy: float) -> None:
    """Equal relative to the largest entry."""
    scale = max(1e-300, float(np.abs(wanted).max(initial=0.0)), 1e-2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=accuracy * scale)


class Contract:
    """The tests of all cases; a file of the catalogue has a subclass with its own table."""

    cases: ClassVar[Table]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give a test all cases, one of each family, or one of each class, as its argument says."""
        chosen = {"every": self.cases, "typical": self.cases.families, "single": self.cases.one_of_each}
        for argument in chosen.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(argument, chosen[argument].values(), ids=list(chosen[argument]))

    def test_values_and_norm(self, every: Case) -> None:
        """Shapes, values on batches, dtypes; no bound is too small, exact ones are the norm, promised ones say so."""
        operator = member(every)
        for kind in kinds(operator):
            batch = sample((2, 3, *operator.in_shape), kind)
            wanted = np.stack([np.stack([np.asarray(every.oracle(x)) for x in row]) for row in batch])
            found = operator @ batch
            assert isinstance(found, np.ndarray)
            assert found.shape == wanted.shape == (2, 3, *operator.out_shape)
            assert found.dtype == (np.complex128 if np.iscomplexobj(wanted) else np.float64)
            close(found, wanted, every.accuracy)
        if every.name == "function":  # nothing is known of its norm
            with pytest.raises(oa.UnsupportedError):
                operator.norm_bound()
            return
        bound = operator.norm_bound()
        norm = np.linalg.norm(expected(every, kinds(operator)[-1])[0], 2)
        assert float(bound) == bound.value >= norm * (1 - 1e-9) - 1e-12
        if bound.certainty == "exact":
            assert bound.value == pytest.approx(norm, rel=1e-7, abs=1e-12)
        if every.exact:
            assert bound.certainty == "exact"

    def test_adjoint_and_facts(self, every: Case) -> None:
        """The adjoint is the transposed dense matrix, complex numbers counting as pairs; facts are true."""
        operator = member(every)
        kind = kinds(operator)[-1]
        dense, out = expected(every, kind)
        adjoint = operator.H
        assert adjoint.in_shape == operator.out_shape and adjoint.out_shape == operator.in_shape
        close(matrix(adjoint, out), dense.T, every.accuracy)
        facts = operator.facts
        if facts.gram_scale is not None:
            close(dense.T @ dense, np.sum(dense[:, 0] ** 2) * np.eye(dense.shape[1]), every.accuracy)
        if facts.cogram_scale is not None:
            close(dense @ dense.T, np.sum(dense[0] ** 2) * np.eye(dense.shape[0]), every.accuracy)
        if facts.self_adjoint is oa.YES:
            close(dense, dense.T, every.accuracy)
        if facts.positive is oa.YES:
            assert np.linalg.eigvalsh(dense).min() >= -every.accuracy

    def test_precision_and_memory(self, typical: Case) -> None:
        """Single precision stays; any layout will do; arguments stay as they are, and results are no views of them."""
        operator = member(typical)
        kind = kinds(operator)[-1]
        batch = sample((3, *operator.in_shape), kind)
        wanted = np.stack([np.asarray(typical.oracle(x)) for x in batch])
        turned = np.asfortranarray(batch[::-1])
        turned.setflags(write=False)
        found = operator @ turned[::-1]
        close(found, wanted, typical.accuracy)
        assert not np.shares_memory(found, turned)
        close(operator @ batch[1], wanted[1], typical.accuracy)
        single = operator @ batch.astype(np.complex64 if kind == "complex" else np.float32)
        assert single.dtype == (np.complex64 if np.iscomplexobj(wanted) else np.float32)
        close(single, wanted, 2e-5)

    def test_derived_operators(self, typical: Case) -> None:
        """Transpose, conjugate, gram, cogram and dense matrix."""
        operator = member(typical)
        kind = kinds(operator)[-1]
        dense, out = expected(typical, kind)
        x, y = sample(operator.in_shape, kind), sample(operator.out_shape, out)
        real_x, real_y = embedded(x[None]), embedded(y[None])
        close(embedded(np.conj(operator.T @ y)[None]), dense.T @ embedded(np.conj(y)[None]), typical.accuracy)
        close(operator.conj() @ x, np.conj(np.asarray(typical.oracle(np.conj(x)))), typical.accuracy)
        gram = operator.gram if typical.name in self.cases.one_of_each else operator.gram.simplify()
        close(embedded((gram @ x)[None]), dense.T @ (dense @ real_x), typical.accuracy)
        close(embedded((operator.cogram.simplify() @ y)[None]), dense @ (dense.T @ real_y), typical.accuracy)
        arrays = units(operator.in_shape, "real").astype(complex if operator.in_dtype == "complex" else float)
        found = operator.to_dense()
        assert found.dtype in (np.float64, np.complex128)
        close(found, np.stack([np.asarray(typical.oracle(e)).ravel() for e in arrays], 1), typical.accuracy)
        dense, out = expected(typical, kinds(operator)[0])
        if kinds(operator) == ("real", "complex") and out == "real":  # else only the complex adjoint counts
            close(matrix(operator.H, "real"), dense.T, typical.accuracy)

    def test_inverses(self, typical: Case) -> None:
        """An inverse that is offered undoes the operator; a pseudo-inverse is that of Moore and Penrose."""
        operator, accuracy = member(typical), 1e3 * typical.accuracy
        for offered in ("inverse", "pinv"):
            try:
                undo = getattr(operator, offered)()
            except oa.UnsupportedError:
                continue
            kind = kinds(operator)[-1]
            dense, out = expected(typical, kind)
            if offered == "inverse":
                close(matrix(undo, out) @ dense, np.eye(dense.shape[1]), accuracy)
            else:
                close(matrix(undo, out), np.linalg.pinv(dense), accuracy)

    def test_empty_batches(self, single: Case) -> None:
        """No arrays in, none out."""
        operator = member(single)
        x = sample((0, *operator.in_shape), kinds(operator)[-1])
        y = operator @ x
        assert y.shape == (0, *operator.out_shape)
        assert (operator.H @ y).shape == x.shape

    def test_wrong_arrays_are_refused(self, single: Case) -> None:
        """Another shape is a ShapeError that says both shapes; complex where real belongs and integers a DtypeError."""
        operator = member(single)
        for refused, shape in ((operator, operator.in_shape), (operator.H, operator.out_shape)):
            for wrong in {(*shape[:-1], shape[-1] + 1), (shape[0] + 1, *shape[1:]), shape[1:]} if shape else ():
                with pytest.raises(oa.ShapeError) as caught:
                    refused @ np.ones(wrong)
                assert str(wrong) in str(caught.value) and str(shape) in str(caught.value)
            with pytest.raises(oa.DtypeError, match="int64"):
                refused @ np.ones(shape, np.int64)
        if operator.in_dtype == "real":
            with pytest.raises(oa.DtypeError, match="complex"):
                operator @ np.ones(operator.in_shape, complex)
