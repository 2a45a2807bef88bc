"""Ascent over spheres around samples."""

from __future__ import annotations

import pytest

from opalg.errors import ParameterError

torch = pytest.importorskip("torch")

from opalg.learning.batches import Batch  # noqa: E402
from opalg.learning.inner_maximum import InnerMaximum  # noqa: E402
from opalg.learning.penalties import Lipschitz  # noqa: E402

SCALES = torch.tensor([0.1, 0.2, 1.5, 0.3], dtype=torch.float64)


def stretched(x, d):
    """Largest along the third axis."""
    return (SCALES * d).square().sum(dim=1)


def test_the_maximum_of_a_quadratic_is_at_its_longest_axis():
    found = InnerMaximum(stretched, radius=0.5).maximise(torch.zeros(3, 4, dtype=torch.float64), steps=60)
    expected = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64).expand(3, 4)
    torch.testing.assert_close(found.abs(), expected, atol=1e-6, rtol=0)  # a root mean square of 0.5 in 4 entries


def test_displacements_keep_to_the_sphere_and_carry_no_graph():
    found = InnerMaximum(stretched, radius=0.3, steps=2).maximise(torch.zeros(2, 4, dtype=torch.float64))
    torch.testing.assert_close(found.square().mean(dim=1).sqrt(), torch.full((2,), 0.3, dtype=torch.float64))
    assert not found.requires_grad


def test_samples_with_an_index_go_on_where_they_were():
    inner, x = InnerMaximum(stretched, steps=1), torch.zeros(2, 4, dtype=torch.float64)
    indices = torch.tensor([7, 3])
    first = inner.maximise(x, indices)
    again = inner.maximise(x, indices.flip(0), steps=0)
    torch.testing.assert_close(again, first.flip(0))
    values = [float(stretched(x, inner.maximise(x, indices)).min()) for _ in range(30)]
    assert values[-1] > values[0] and values[-1] == pytest.approx(4 * 0.09 * 1.5**2, rel=1e-3)


def test_samples_without_an_index_are_forgotten():
    inner, x = InnerMaximum(stretched, steps=0), torch.zeros(1, 4, dtype=torch.float64)
    assert not torch.equal(inner.maximise(x), inner.maximise(x))
    assert inner.state_dict()["kept"] == {}


def test_another_objective_may_be_given_for_a_call():
    inner, x = InnerMaximum(stretched), torch.zeros(1, 4, dtype=torch.float64)
    found = inner.maximise(x, steps=60, objective=lambda x, d: (d * SCALES.flip(0)).square().sum(dim=1))
    assert float(found[0, 1].abs()) == pytest.approx(0.6, abs=1e-6)


def jagged(x, d):
    """Many narrow peaks, of other heights for each sample: steps of a fixed length leap across them."""
    return torch.sin(40.0 * d).abs().sum(dim=1) * (1.0 + x[:, 0].abs()) - (d - 0.3 * x).abs().sum(dim=1)


def values_after(steps, rate=1.5, seed=0):
    x = torch.linspace(-1.0, 1.0, 20, dtype=torch.float64).reshape(5, 4)
    return jagged(x, InnerMaximum(jagged, rate=rate, seed=seed).maximise(x, steps=steps))


@pytest.mark.parametrize("rate", [0.05, 0.5, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_more_steps_never_find_less(rate, seed):
    found = torch.stack([values_after(steps, rate, seed) for steps in range(25)])
    assert (found[1:] >= found[:-1] - 1e-13).all()
    assert (found[-1] > found[0] + 0.1).all()


def test_more_calls_never_find_less():
    x, indices = torch.linspace(-1.0, 1.0, 20, dtype=torch.float64).reshape(5, 4), torch.arange(5)
    inner = InnerMaximum(jagged, steps=1, rate=1.5)
    found = torch.stack([jagged(x, inner.maximise(x, indices)) for _ in range(40)])
    assert (found[1:] >= found[:-1] - 1e-13).all()
    assert (found[-1] > found[0] + 0.1).all()


def test_a_step_that_fails_in_one_sample_shortens_only_its_own():
    """Along a circle the first sample has its maximum just beside its start; the second rises for long."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    inner = InnerMaximum(lambda x, d: -(d[:, 0] - 0.1).square() * x[:, 0] + d[:, 1] * x[:, 1], steps=1, rate=1.0)
    start = inner.maximise(x, torch.tensor([0, 1]), steps=0)
    start[0] = torch.tensor([0.11, 0.4099], dtype=torch.float64)
    start[1] = torch.tensor([0.3, -0.3], dtype=torch.float64)
    inner.load_state_dict({**inner.state_dict(), "kept": dict(enumerate(start))})
    found = inner.maximise(x, torch.tensor([0, 1]))
    assert torch.equal(found[0], start[0]) and found[1, 1] > -0.1
    assert inner.state_dict()["rates"] == {0: 0.5, 1: 1.0}
    for _ in range(20):
        found = inner.maximise(x, torch.tensor([0, 1]))
    assert float(found[0, 0]) == pytest.approx(0.1, abs=2e-3) and float(found[1, 1]) == pytest.approx(0.3 * 2**0.5)


def test_what_is_not_a_number_is_never_the_best():
    def hole(x, d):
        return torch.where(d[:, 0] > 0.2, torch.nan, d[:, 0])

    found = InnerMaximum(hole, steps=30).maximise(torch.zeros(6, 3, dtype=torch.float64))
    values = hole(found, found)
    assert values.isfinite().sum() >= 4 and (values[values.isfinite()] > 0.15).all()


def test_a_state_without_lengths_of_steps_goes_on():
    inner, x = InnerMaximum(stretched, steps=1), torch.zeros(2, 4, dtype=torch.float64)
    inner.maximise(x, torch.tensor([0, 1]))
    state = inner.state_dict()
    del state["rates"]
    other = InnerMaximum(stretched, steps=1)
    other.load_state_dict(state)
    assert torch.equal(
        other.maximise(x, torch.tensor([0, 1]), steps=0), inner.maximise(x, torch.tensor([0, 1]), steps=0)
    )


def test_a_state_goes_on_to_the_same_bits():
    x, indices = torch.zeros(2, 4, dtype=torch.float64), torch.tensor([0, 1])
    one, other = InnerMaximum(stretched, steps=1), InnerMaximum(stretched, steps=1, seed=5)
    one.maximise(x, indices)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.maximise(x, indices), other.maximise(x, indices))
    assert torch.equal(one.maximise(x), other.maximise(x))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"radius": 0.0}, {"rate": -1.0}, {"steps": -1}, {"steps": True}, {"steps": 1.5}),
        *({"radius": float("nan")}, {"radius": float("inf")}, {"rate": float("inf")}, {"rate": "x"}, {"seed": "x"}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ParameterError):
        InnerMaximum(stretched, **wrong)


def test_a_penalty_evaluates_its_map_once_at_the_samples_of_an_ascent():
    calls = []

    def counted(x):
        calls.append(x.shape)
        return SCALES * x

    x = torch.ones(2, 4, dtype=torch.float64)
    Lipschitz(counted, steps=5).value(Batch({}, x), None)
    assert len(calls) == 1 + 6 + 2  # at the samples, in the ascent and at its end, and both again with a graph


def test_a_penalty_is_taken_around_outputs_where_that_is_asked_for():
    near, far = torch.zeros(3, 4, dtype=torch.float64), torch.full((3, 4), 5.0, dtype=torch.float64)
    for at, expected in (("target", 1.0), ("output", 4.0)):
        bent = lambda x: torch.where(x.mean(dim=1, keepdim=True) > 2.0, 4.0 * x, x)  # noqa: E731
        found = Lipschitz(bent, bound=0.0, radius=0.01, at=at).value(Batch({}, near), far)
        assert float(found) == pytest.approx(3 * expected)


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor, lambda own: torch.tensor(own).numpy()])
def test_indices_may_be_a_list(kind):
    x = torch.zeros(2, 4, dtype=torch.float64)
    one, other = InnerMaximum(stretched, steps=1), InnerMaximum(stretched, steps=1)
    for _ in range(3):
        assert torch.equal(one.maximise(x, kind([7, 3])), other.maximise(x, torch.tensor([7, 3])))
    assert list(one.state_dict()["kept"]) == [7, 3]


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([1], r"for each of the 2 samples, but the indices are 1; .*torch\.arange\(2\)"),
        (torch.arange(3), "2 samples, but the indices are 3"),
        ([], "2 samples, but the indices are 0"),
        (torch.tensor(3), "2 samples, but the indices are tensor"),
        (7, "2 samples, but the indices are 7"),
        ([0, 1.5], r"integers, one for each sample, but there is 1\.5"),
        ([True, False], "there is True"),
        ([[0], [1]], r"there is \[0\]"),
    ],
)
def test_indices_of_other_samples_are_refused(indices, said):
    inner, x = InnerMaximum(stretched, steps=1), torch.zeros(2, 4, dtype=torch.float64)
    before = inner.state_dict()["random"].clone()
    with pytest.raises(ParameterError, match=said):
        inner.maximise(x, indices)
    assert inner.state_dict()["kept"] == {} and torch.equal(inner.state_dict()["random"], before)


def test_samples_and_steps_that_are_none_are_refused():
    inner = InnerMaximum(stretched)
    with pytest.raises(ParameterError, match=r"torch\.as_tensor"):
        inner.maximise([[1.0, 2.0]])
    with pytest.raises(ParameterError, match="steps"):
        inner.maximise(torch.zeros(2, 4), steps=1.5)
