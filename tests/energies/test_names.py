"""Names tell variables and parameters apart, in energies and in maps."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.energies.names import check_names

x, twin = oa.Variable(3, name="x"), oa.Variable(3, name="x")
lam, other = oa.Parameter(2.0, name="lambda", nonneg=True), oa.Parameter(1.0, name="lambda", nonneg=True)


def test_energies_refuse_two_of_one_name():
    energy = oa.sum_squares(x - np.ones(3))
    with pytest.raises(oa.ParameterError, match="two variables of the energy are called 'x'"):
        oa.compile(energy + oa.sum_squares(twin))
    with pytest.raises(oa.ParameterError, match="two parameters of the energy are called 'lambda'"):
        oa.compile(lam * energy + other * oa.norm1(x))


def test_maps_refuse_two_of_one_name():
    with pytest.raises(oa.ParameterError, match="two parameters of the map are called 'lambda'"):
        oa.fixed_point(x, 0.1 * lam * x + 0.1 * other * x)
    with pytest.raises(oa.ParameterError, match="two variables of the map are called 'x'"):
        oa.fixed_point({x: 0.5 * twin, twin: 0.5 * x})


def test_what_has_no_name_or_is_of_another_kind_does_not_clash():
    check_names([oa.Variable(3), oa.Variable(3)], [])
    check_names([x], [oa.Parameter(1.0, name="x")])
