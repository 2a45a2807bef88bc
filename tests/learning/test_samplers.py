"""Samplers draw every block equally often, and say by how much they reduce the variance."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from opalg.learning.samplers import Stratified, WithoutReplacement, WithReplacement

COUNT = 12
SAMPLERS = [WithReplacement(4), WithoutReplacement(4), Stratified(4), Stratified(3, 6)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_every_block_is_drawn_equally_often(sampler):
    rng = np.random.default_rng(0)
    drawn = np.concatenate([sampler.draw(rng, COUNT) for _ in range(3000)])
    share = np.bincount(drawn, minlength=COUNT) / len(drawn)
    np.testing.assert_allclose(share, 1 / COUNT, atol=5 * np.sqrt(1 / COUNT / len(drawn)))
    assert len(sampler.draw(rng, COUNT)) == sampler.check(COUNT)


@pytest.mark.parametrize("sampler", [WithReplacement(4), WithoutReplacement(4), WithoutReplacement(COUNT)], ids=repr)
def test_the_variance_is_what_the_factor_says(sampler):
    rng = np.random.default_rng(1)
    values = rng.normal(size=COUNT)
    means = [values[sampler.draw(rng, COUNT)].mean() for _ in range(20_000)]
    expected = values.var() * sampler.variance_factor(COUNT)
    np.testing.assert_allclose(np.var(means), expected, rtol=0.05, atol=1e-30)
    np.testing.assert_allclose(np.mean(means), values.mean(), atol=5 * np.sqrt(expected / 20_000) + 1e-12)


def test_strata_repeat_the_same_places():
    drawn = Stratified(3, 6).draw(np.random.default_rng(0), COUNT).reshape(3, 2)
    np.testing.assert_array_equal(drawn - drawn[0], [[0, 0], [4, 4], [8, 8]])


def test_different_blocks_are_different():
    rng = np.random.default_rng(2)
    for _ in range(50):
        drawn = WithoutReplacement(5).draw(rng, COUNT)
        assert len(set(drawn.tolist())) == 5


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (WithoutReplacement(13), "13 different blocks"),
        (WithReplacement(0), "positive integer"),
        (Stratified(5), "do not divide into 5"),
        (Stratified(3, 7), "a multiple of 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(sampler, words):
    with pytest.raises(ParameterError, match=words):
        sampler.check(COUNT)


@pytest.mark.parametrize("sampler", [*SAMPLERS, WithoutReplacement(COUNT), Stratified(3, COUNT)], ids=repr)
def test_covariances_are_those_of_the_draws(sampler):
    rng = np.random.default_rng(5)
    counts = np.array([np.bincount(sampler.draw(rng, COUNT), minlength=COUNT) for _ in range(20_000)])
    measured = np.cov(counts.T, bias=True) * (COUNT / sampler.check(COUNT)) ** 2
    np.testing.assert_allclose(sampler.covariance(COUNT), measured, atol=0.12)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_draws_are_made_of_whole_bundles(sampler):
    rng, bundles = np.random.default_rng(6), sampler.bundles(COUNT)
    assert sorted(i for bundle in bundles for i in bundle) == list(range(COUNT))
    for _ in range(20):
        counts = np.bincount(sampler.draw(rng, COUNT), minlength=COUNT)
        assert all(len(set(counts[list(bundle)])) == 1 for bundle in bundles)


class Own(oa.samplers.Sampler):
    def __init__(self, drawn):
        self.drawn = drawn

    def draw(self, rng, count):
        return self.drawn

    def check(self, count):
        return 2


@pytest.mark.parametrize("drawn", [[0, 99], [-1, 0], [0], [0, 1, 2], [0.0, 1.0], [[0, 1]]])
def test_samplers_that_draw_what_is_no_block_are_refused(drawn):
    x = oa.Variable(3, name="x")
    rows = oa.vstack([oa.Matrix(np.eye(3)) for _ in range(4)])
    plan = oa.fixed_point(x, x - 0.1 * oa.grad(0.5 * oa.sum_squares(rows @ x - np.ones(12))))
    with pytest.raises(oa.ParameterError, match="Own must draw 2 numbers from 0 to 3"):
        oa.online(plan, sampler=Own(drawn)).solve(max_iter=3)
    assert oa.online(plan, sampler=Own([0, 1])).solve(max_iter=3).iterations == 3


def test_messages_say_what_would_do():
    with pytest.raises(oa.ParameterError, match="into 1, 2, 3, 4, 6, 12"):
        oa.samplers.Stratified(5).check(12)
    with pytest.raises(oa.ParameterError, match="WithReplacement"):
        oa.samplers.WithoutReplacement(13).check(12)
