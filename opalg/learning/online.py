"""Online solves: every iteration looks at some blocks of the measurements only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from numbers import Integral
from typing import Any

import numpy as np

from opalg.compiler.arguments import kept, limits_of
from opalg.compiler.explain import Explanation
from opalg.compiler.map_outcomes import measured
from opalg.compiler.map_plan import MapPlan
from opalg.energies.data_blocks import DataBlocks, data_blocks
from opalg.energies.energy import EnergyExpression
from opalg.errors import NonFiniteError, ParameterError, UnsupportedError
from opalg.iterations import Iteration, Momentum, Picard, VectorSpace
from opalg.iterations.vectors import norm
from opalg.learning.drift import Drift
from opalg.learning.online_gradients import OnlineDifferentiator
from opalg.learning.online_watch import Counting, Watched
from opalg.learning.profiles import Profile, profile
from opalg.learning.sampled_map import SampledMap
from opalg.learning.samplers import Sampler, WithoutReplacement, drawn_by
from opalg.learning.sampling_variance import SamplingVariance, sampling_variance
from opalg.solving.loop import Info, Measurement, run
from opalg.solving.solution import Solution, deliver, warn_caller
from opalg.solving.status import Status

ITERATIONS = 100  # by default; a random map has no residual that would say when to stop
BACKWARD = ("online", "full")
RANDOM = 2.0  # growth of a residual that may be chance
NEVER = -1.0  # a tolerance that no residual meets: one draw may leave the point as it is, far from the solution


@dataclass(frozen=True, repr=False)
class OnlinePlan:
    """A map whose data term is estimated from some blocks of the measurements; made by `opalg.online`.

    Attributes
    ----------
    full : MapPlan
        The map with all measurements.
    pieces : DataBlocks
    sampler : Sampler
    backward : str
        ``"online"`` or ``"full"``: what the backward pass looks at.
    seed : int
        Every solve draws blocks from a stream of its own, made of the seed and the number of the solve; forward and
        backward streams are independent.
    """

    full: MapPlan
    pieces: DataBlocks
    sampler: Sampler
    backward: str
    seed: int
    _cache: dict[Any, Any] = field(default_factory=dict)
    _solves: list[int] = field(default_factory=lambda: [0])

    @property
    def variables(self) -> tuple[Any, ...]:
        """The variable, as a tuple of one."""
        return self.full.variables

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The parameters of the map."""
        return self.full.parameters

    @property
    def lowering(self) -> Any:
        """The full map in the step language."""
        return self.full.lowering

    @property
    def backend(self) -> Any:
        """Where it runs."""
        return self.full.backend

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return self.pieces.count

    @property
    def drawn(self) -> int:
        """How many blocks an iteration looks at."""
        return self.sampler.check(self.count)

    @property
    def is_full(self) -> bool:
        """Whether every iteration looks at all of them, so that nothing is random."""
        return (
            self.drawn == self.count
            and self.sampler.variance_factor(self.count) in (0.0, 1.0 / self.count)
            and (sorted(drawn_by(self.sampler, np.random.default_rng(0), self.count)) == list(range(self.count)))
        )

    @property
    def solves(self) -> int:
        """The number of solves made so far."""
        return self._solves[0]

    def restart(self, solves: int = 0) -> None:
        """Set the number of solves made so far, which the next streams of random numbers follow from.

        Raises
        ------
        ParameterError
            For what is no nonnegative integer.
        """
        if isinstance(solves, bool) or not isinstance(solves, Integral) or solves < 0:
            raise ParameterError(f"restart takes the number of solves made so far, 0 for none, not {solves!r}")
        self._solves[0] = int(solves)

    def solve(
        self,
        x0: Any = None,
        *,
        params: Mapping[Any, Any] | None = None,
        tol: float | None = None,
        max_iter: int | None = None,
        time_limit: float | None = None,
        callback: Callable[[Info], Any] | None = None,
        progress: bool = False,
        on_failure: str | None = None,
    ) -> Solution:
        """Make ``max_iter`` iterations, each with blocks of its own.

        Parameters
        ----------
        x0, params, time_limit, callback, progress, on_failure
            As for ``MapPlan.solve``; a callback is called after every iteration.
        tol : float, optional
            On the residual of the full map, ``|T(x) - x| / |x|``; by default all iterations are made. One draw may
            leave any point as it is, so the residual that an iteration samples is no proof: where it is as small as
            ``tol``, the map is evaluated with all blocks, and the solve ends where that residual is as small, too.
        max_iter : int, optional
            How many iterations; 100 by default. With all blocks in every iteration the full map is solved.

        Returns
        -------
        Solution
            With ``Status.SAMPLED`` after all iterations, and a certificate that is the residual of the last draw; with
            ``Status.CONVERGED_RESIDUAL_ONLY`` and the residual of the full map where that met ``tol``. Where iterates
            went on moving, ``message`` says so, and a warning unless ``on_failure`` is ``"return"``.

        Raises
        ------
        NonFiniteError
            Where the map gives NaN or infinity.
        DivergedError
            Where the iterates grow beyond all reason.
        """
        self._solves[0] += 1
        if self.is_full:
            return self.full.solve(
                x0,
                params=params,
                tol=tol,
                max_iter=max_iter,
                time_limit=time_limit,
                callback=callback,
                progress=progress,
                on_failure=on_failure,
            )
        limits = limits_of(0.0 if tol is None else tol, ITERATIONS if max_iter is None else max_iter, time_limit, 1)
        limits.tol = NEVER if tol is None else limits.tol
        limits.look_at_start, limits.follow = False, callback is not None
        limits.watch_growth = limits.watch_standstill = False  # what single draws find says neither
        binding, lib, space = self.full.bind(kept(params)), self.backend, self.full.space
        sampled = SampledMap(self.variables[0], self.pieces, binding, self._cache)
        forward, backward = self._streams()
        iteration, drift = self._iteration(sampled, space, forward), Drift(lib, limits.max_iter)
        iteration.start(space.pack(list(self.full.initial_state(x0))))

        def whole(flat: Any) -> Measurement:
            residual = norm(lib.subtract(space.view(binding.step(*space.unpack(flat))), flat), lib)
            return measured(residual, flat, lib)

        def measure(flat: Any) -> Measurement:
            if not isfinite(iteration.residual):  # no draw was looked at
                return whole(flat)
            found = measured(iteration.residual, flat, lib)
            return whole(flat) if found.certificate.relative <= limits.tol else found

        bar = Counting(limits.max_iter, "online") if progress else None
        outcome = run(Watched(iteration, drift), measure, limits, keep=lib.copy, callback=callback, progress=bar)
        if outcome.measurement is None:
            raise NonFiniteError(
                "the map is not finite at the start; check x0 and the data for NaN, infinity and overflow"
            )
        points = tuple(lib.copy(p) for p in space.unpack(outcome.state))
        sampled_all = outcome.status is Status.MAX_ITER and outcome.iterations > 0
        status = Status.SAMPLED if sampled_all else outcome.status
        relative = outcome.measurement.certificate.relative
        solution = Solution(
            variables=self.variables,
            points=points,
            status=status,
            value=None,
            certificate=outcome.measurement.certificate,
            evaluate_residual=lambda: relative,
            iterations=outcome.iterations,
            seconds=outcome.history.rows[-1].seconds,
            history=outcome.history,
            error_bound=None,
            method="online",
            backend=repr(lib),
            state=points,
            differentiator=OnlineDifferentiator(self, sampled, binding, backward, outcome.iterations),
            message="" if outcome.status.success else outcome.message or self._advice(iteration, drift),
        )
        if solution.status.success and solution.message and on_failure != "return":
            warn_caller(f"online: {solution.message}")
        return deliver(solution, on_failure)

    def _advice(self, iteration: Iteration, drift: Drift) -> str:
        """What to say about a run that does not settle; with momentum, about one that has not yet."""
        restarts = iteration.restarts if isinstance(iteration, Momentum) else None
        moved, grown = drift.moves(steady=restarts is None), drift.grown()
        if moved is None and grown is not None:
            return (
                f"the iterates run away: their steps are {grown:.2g} times as long as at the start, so the map does "
                f"not contract; shorten its step (a block alone may bend more than the mean of all), draw more blocks, "
                f"or normalise the spectra of its network"
            )
        if moved is None:
            return ""
        text = f"the iterates have not settled: in the last quarter they moved on by {moved:.2g} of their size"
        if restarts is None:
            return (
                f"{text}, hardly less than before, so the map may not contract: shorten its step, normalise the "
                f"spectra of its network, or make fewer iterations"
            )
        again = f" (momentum began again {restarts} times)" if restarts else ""
        return f"{text}{again}; raise max_iter, or take acceleration='none', which random maps disturb less"

    def _iteration(self, sampled: SampledMap, space: VectorSpace, rng: np.random.Generator) -> Any:
        def step(flat: Any) -> Any:
            (x,) = space.unpack(flat)
            return space.pack([sampled.step(x, drawn_by(self.sampler, rng, self.count))])

        if self.full.acceleration == "nesterov":
            return Momentum(step, self.backend, growth=RANDOM)
        return Picard(step, self.backend)

    def _streams(self) -> tuple[np.random.Generator, np.random.Generator]:
        """Independent random numbers for the forward and the backward pass of this solve."""
        forward, backward = np.random.SeedSequence(self.seed, spawn_key=(self._solves[0],)).spawn(2)
        return np.random.default_rng(forward), np.random.default_rng(backward)

    def variance(
        self, x: Any, *, params: Mapping[Any, Any] | None = None, cotangent: Any = None, seed: int = 0
    ) -> SamplingVariance:
        """How much an iteration scatters at a point, and the errors that this will leave in the end.

        Parameters
        ----------
        x : array, Solution or mapping
            Where; best near the fixed point.
        params : mapping, optional
            Values of parameters.
        cotangent : array, optional
            Of the adjoint whose errors are predicted too.
        seed : int
            Of the random errors that are followed.

        Returns
        -------
        SamplingVariance

        Raises
        ------
        UnsupportedError
            Where the sampler does not tell the covariances of its draws.

        Notes
        -----
        With ``C`` the covariances of how often blocks are drawn, the variance of the estimate is
        ``sum_ij C_ij <G_i, G_j>``, exactly; it takes the gradients of all blocks one by one. Where errors are small,
        ``e_(k + 1) = J e_k + d_k`` with independent ``d_k``, so that ``E |e|^2`` tends to ``sum_k E |J^k d|^2``: that
        is found by following a few random ``d``. What sampling does to J is left out, so that a few blocks leave
        somewhat more.
        """
        return sampling_variance(self, x, params, cotangent, seed)

    def profile(self, x: Any = None, *, params: Mapping[Any, Any] | None = None, repeats: int = 7) -> Profile:
        """Where the time of an iteration goes, and the memory of its data term; see `opalg.learning.profile`."""
        return profile(self, x, params=params, repeats=repeats)

    def as_module(self, **options: Any) -> Any:
        """A ``torch.nn.Module`` whose parameters are the map's; see ``Plan.as_module``."""
        from opalg.implicit.torch_module import SolverModule

        return SolverModule(self, **options)

    def explain(self) -> Explanation:
        """The full map, and what of it is sampled."""
        text = self.full.explain()
        return Explanation(f"{text}\n\nSampling\n  {self._sampling}")

    @property
    def _sampling(self) -> str:
        mixed = self.full.acceleration == "anderson" and not self.is_full
        plain = "; plain iteration in place of Anderson's" if mixed else ""
        return (
            f"{self.drawn} of {self.count} blocks in each iteration, {self.sampler!r}; backward {self.backward}, "
            f"seed {self.seed}{plain}"
        )

    def __repr__(self) -> str:
        return f"OnlinePlan: {self._sampling}, of {self.full!r}"


def online(
    plan: MapPlan,
    blocks: int | None = None,
    *,
    sampler: Sampler | None = None,
    of: EnergyExpression | None = None,
    backward: str = "online",
    seed: int = 0,
) -> OnlinePlan:
    """Estimate the data term of a map from some blocks of the measurements, fresh ones in every iteration.

    Parameters
    ----------
    plan : MapPlan
        Of one variable, with the data term's gradient made by `opalg.grad`: ``x - tau * (oa.grad(data) + R(x))``.
    blocks : int, optional
        How many to draw, without replacement; views, coils or illuminations. Give this or a sampler.
    sampler : Sampler, optional
        How they are drawn: ``oa.samplers.WithReplacement(w)``, ``WithoutReplacement(w)`` or ``Stratified(strata, w)``.
    of : Energy or Term, optional
        The data term, where the map has several whose operators have blocks of rows; or a sum of terms, which then are
        the blocks.
    backward : {"online", "full"}
        Whether the backward pass draws blocks of its own, independent of the forward ones, or looks at all.
    seed : int
        Of the random numbers.

    Returns
    -------
    OnlinePlan
        Solved, differentiated and turned into a Torch module like the plan. Where all blocks are drawn it is the plan.

    Raises
    ------
    ParameterError
        Where there is no such data term, or the sampler cannot draw as many blocks.
    UnsupportedError
        For several variables, and for functionals that are no sum over the blocks.

    Notes
    -----
    ``(b / w) sum_i G_i`` over the w blocks drawn is an unbiased estimate of the sum over all b, with a variance that
    falls as ``1 / w``, and where blocks are drawn without replacement by ``(b - w) / (b - 1)`` more. Errors of x and of
    the adjoint then settle at a level that falls likewise (Liu et al. 2022, online deep equilibrium learning). Anderson
    acceleration mixes up different draws, so the plain iteration takes its place; momentum is kept.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((8, 8), name="x")
    >>> A = oa.Radon((8, 8), np.linspace(0, np.pi, 12, endpoint=False))
    >>> data = 0.5 / 12 * oa.sum_squares(A @ x - (A @ np.ones((8, 8))))
    >>> plan = oa.fixed_point(x, x - 0.2 * oa.grad(data))
    >>> sol = oa.online(plan, 4).solve(max_iter=200)
    >>> sol.status, bool(abs(sol.x - 1).max() < 0.1)
    (SAMPLED, True)
    """
    if not isinstance(plan, MapPlan):
        raise ParameterError(
            f"online takes a plan of a map, made by oa.fixed_point, not {type(plan).__name__}; the map of gradient "
            f"descent is oa.fixed_point(x, x - step * oa.grad(energy))"
        )
    if len(plan.variables) != 1 or plan.sample_axes:
        raise UnsupportedError("online solves take maps of one variable, without sample_axes")
    if isinstance(blocks, Sampler):
        raise ParameterError(f"{blocks!r} is a sampler; write online(plan, sampler={blocks!r})")
    if sampler is not None and not isinstance(sampler, Sampler):
        raise ParameterError(
            f"sampler is one of oa.samplers, such as oa.samplers.WithReplacement(4), not {sampler!r}; a number of "
            f"blocks is written online(plan, 4)"
        )
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ParameterError(f"seed must be a nonnegative integer, not {seed!r}")
    if (blocks is None) == (sampler is None):
        raise ParameterError("online takes the number of blocks, or a sampler; give one of them")
    if backward not in BACKWARD:
        raise ParameterError(f"backward must be one of {BACKWARD}, not {backward!r}")
    chosen = WithoutReplacement(blocks) if sampler is None else sampler  # type: ignore[arg-type]
    pieces = data_blocks(plan.expressions[0], plan.variables[0], of)
    chosen.check(pieces.count)
    return OnlinePlan(plan, pieces.bundled(chosen.bundles(pieces.count)), chosen, backward, int(seed))


__all__ = ["OnlinePlan", "online"]
