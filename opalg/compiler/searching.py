"""Line searches of a plan: their compiled programs, and the check that samples may have steps of their own."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.emit import Function
from opalg.errors import ParameterError
from opalg.iterations.backtracking import Backtracking, search_programs
from opalg.methods.method import Lowering

CLOSE = 1e3  # multiples of epsilon that two ways to one step may differ by
SEED = 11


class SearchFunctions:
    """The compiled programs of a line search.

    Parameters
    ----------
    low : Lowering
        Of a ``"backtracking"`` iteration.
    lib : Backend
    fuse : bool
        As for `opalg.emit.Function`.
    """

    def __init__(self, low: Lowering, lib: Backend, fuse: bool = False) -> None:
        assert low.search is not None
        assert low.smooth_gradient is not None
        self.low, self.search, self.checked = low, low.search, False
        programs = search_programs(
            low.state,
            low.sample_axes,
            low.search.steps,
            low.smooth_gradient,
            low.search.trial,
            low.search.value,
            low.search.slopes_at_zero,
        )
        self.functions = [
            Function(outputs, inputs, lib, name, fuse)
            for name, (outputs, inputs) in zip(programs._fields, programs, strict=True)
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes of samples."""
        return self.low.state[0].shape[: self.low.sample_axes]

    def iteration(self, binding: Any, tolerance: float) -> Backtracking:
        """The line search at the values of a binding, not yet started."""
        control = self.low.step_size
        assert control is not None
        first = binding.controls[control]
        programs = [binding.bound(f) for f in self.functions]
        if self.low.sample_axes and not self.checked:
            _check_apart(self, programs, binding)
            self.checked = True
        return Backtracking(
            programs,
            binding.lib,
            None if self.low.sample_axes else control,
            self.shape,
            first,
            test=self.search.test,
            tolerance=tolerance,
            has_prox=self.search.has_prox,
            guesses=self.search.guesses and first == binding.first_control(control),
        )


def _check_apart(functions: SearchFunctions, programs: list[Any], binding: Any) -> None:
    """Raise ParameterError where a step moves a sample by another one, or is not the same for each sample by itself."""
    lib, rng, low = binding.lib, np.random.default_rng(SEED), functions.low
    slope, trial = programs[:2]
    units = [1.0 if s.kind == "real" else 1.0 + 1.0j for s in low.state]
    one, other = (
        tuple(lib.asarray(u * rng.uniform(0.5, 1.5, s.shape), s.kind) for s, u in zip(low.state, units, strict=True))
        for _ in range(2)
    )
    first = np.arange(prod(functions.shape)).reshape(functions.shape) == 0
    masks = [first.reshape(first.shape + (1,) * (s.ndim - first.ndim)) for s in low.state]
    chosen = [lib.asarray(mask.astype(float), "real") > 0.5 for mask in masks]
    mixed = tuple(lib.xp.where(m, b, a) for a, b, m in zip(one, other, chosen, strict=True))
    steps = [lib.asarray(np.full(t.shape, binding.controls[low.step_size]), "real") for t in functions.search.steps]
    slopes, moved = slope(*one), binding.plain_step(*one)
    alike = [_close(a, b, lib) for a, b in zip(moved, trial(*one, *slopes, *steps), strict=True)]
    for before, after in ((slopes, slope(*mixed)), (moved, binding.plain_step(*mixed))):
        alike += [_close(a, b, lib) | mask for a, b, mask in zip(before, after, masks, strict=True)]
    if not all(entries.all() for entries in alike):
        raise ParameterError(
            f"sample_axes={low.sample_axes} gives each sample a step of its own, but the energy mixes samples: a "
            f"change of the first one moves another. Leave sample_axes out, or make operators, norms and networks "
            f"act within a sample: oa.Gradient((8, 8)) @ x for x of shape (5, 8, 8)"
        )


def _close(a: Any, b: Any, lib: Backend) -> np.ndarray:
    """Which entries of two arrays differ by no more than rounding."""
    one, other = np.asarray(lib.to_numpy(a)), np.asarray(lib.to_numpy(b))
    size = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return np.isclose(one, other, rtol=0.0, atol=CLOSE * lib.epsilon * size, equal_nan=True)


__all__ = ["SearchFunctions"]
