"""What is found in a module to check, and how each thing is checked."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import opalg as oa
import opalg.operators.difference
from opalg.errors import ParameterError
from opalg.testing import check, check_energy, checked, collected


def module(**names):
    made = ModuleType("things")
    vars(made).update(names)
    return made


def names(made):
    return [thing.name for thing in collected(made)]


def test_objects_lists_and_mappings_are_found():
    A, f = oa.Gradient((3, 2)), oa.functionals.Norm1()
    x = oa.Variable((3, 2))
    E = oa.sum_squares(x)
    found = names(module(A=A, f=f, E=E, several=[2.0 * A, 7, (3,)], named={"a": A.gram, "b": "b"}, _own=-A, x=x, n=3))
    assert found == ["A", "f", "E", "several[0]", "named['a']"]
    assert names(module(A=A, same=A, p=oa.Parameter(1.0), c=np.ones((2, 2)), cls=oa.Gradient)) == ["A"]


def test_operators_of_other_libraries_are_found():
    L = scipy.sparse.linalg.aslinearoperator(np.ones((2, 3)))
    assert names(module(L=L, data=scipy.sparse.eye_array(3), np=np)) == ["L"]


def test_marked_functions_are_called():
    @checked
    def one():
        return oa.Identity((3,))

    @checked
    def several():
        return [oa.Identity((4,)), oa.functionals.Norm1()]

    @checked
    def nothing():
        return 3

    assert names(module(one=one, several=several)) == ["one()", "several()[0]", "several()[1]"]
    with pytest.raises(ParameterError, match=r"nothing\(\) is marked"):
        collected(module(nothing=nothing))


def test_examples_of_the_classes_of_a_module_are_found():
    found = names(opalg.operators.difference)
    assert "Gradient.examples[0]" in found and not any("Identity" in name for name in found)


def test_a_package_is_searched_with_all_its_modules():
    found = names(opalg.operators)
    assert any(name.startswith("difference.Gradient") for name in found)
    assert len(found) > 100 and len(set(found)) == len(found)


class Functional:
    """A functional of a user's own, by protocol."""

    def value(self, v):
        return float(np.sum(v**2))

    def gradient(self, v):
        return v


def test_each_thing_is_checked_by_what_it_is():
    x = oa.Variable((3,))
    assert "adjoint" in check(oa.Identity((3,))).checked
    assert check(Functional()).failed("gradient")
    assert names(module(f=Functional())) == ["f"]
    plan = oa.compile(oa.sum_squares(x - np.ones(3)) + oa.Parameter(0.5, name="w") * oa.sum_squares(x))
    assert check(plan).checked == ("w",)
    assert check(np.eye(3))
    with pytest.raises(ParameterError, match="int is not checked"):
        check(3)


def test_the_parts_of_an_energy_are_checked():
    wrong = oa.FunctionOperator(lambda v: v, lambda v: 2 * v, in_shape=(3,), name="wrong")
    x = oa.Variable((3,))
    report = check_energy(oa.norm1(x) + oa.sum_squares(wrong @ x))
    assert report.failed("term 1, operator: adjoint") and not report.failed("term 0, functional: prox")
    assert report.errors["term 1, operator: adjoint"] > 0.4
    weight = oa.Parameter(0.5, name="w", positive=True)
    assert "gradient: w" in check_energy(oa.sum_squares(x - np.ones(3)) + weight * oa.sum_squares(x)).checked
    refused = check_energy(weight * oa.norm1(x) - oa.sum_squares(x))
    assert any("were not tried" in note for note in refused.notes)
    with pytest.raises(ParameterError, match="takes an energy"):
        check_energy(oa.Identity((3,)))
