"""What a method is: a judgement whether it fits an energy, and a lowering of the energy to the step language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.methods.problem import Problem
from opalg.operators.algebra import LinearOperator
from opalg.program.expression import Expression, Input, Literal


@dataclass(frozen=True)
class Fit:
    """A method's judgement of an energy.

    Attributes
    ----------
    fits : bool
        Whether the method applies.
    reason : str
        One sentence: why it fits, or what is missing and what to do about it.
    preference : float
        Among those that fit, the compiler takes the largest.
    """

    fits: bool
    reason: str
    preference: float = 0.0


def refuse(reason: str) -> Fit:
    """The method does not apply."""
    return Fit(False, reason)


@dataclass(frozen=True)
class LineSearch:
    """The pieces of a line search, as formulas at any point.

    Attributes
    ----------
    test : str
        What accepts a step: ``"gradient"`` or ``"value"``.
    steps : tuple of Input
        The step for each state: a control, or a state with one entry for each sample.
    trial : callable
        ``(state, slopes, steps) -> following state``, the step along given slopes.
    value : callable or None
        ``state -> (f, sum of magnitudes of its terms)``, for the test by values.
    slopes_at_zero : tuple of Expression
        The slopes where the state is zero, to which residuals are relative.
    has_prox : bool
        Whether slopes need not vanish at a solution.
    guesses : bool
        Whether the first step is a guess, which the curvature along a first trial improves.
    """

    test: str
    steps: tuple[Input, ...]
    trial: Callable[..., list[Expression]]
    value: Callable[[tuple[Expression, ...]], tuple[Expression, Expression]] | None
    slopes_at_zero: tuple[Expression, ...]
    has_prox: bool
    guesses: bool


@dataclass(frozen=True)
class Lowering:
    """An energy lowered to one fixed-point map ``z+ = T(z)`` with a read-out ``x = R(z)``.

    Attributes
    ----------
    state : tuple of Input
        The state ``z``.
    step : tuple of Expression
        ``T(z)``, one expression per state input.
    readout : dict from Variable to Expression
        ``R(z)``.
    start : dict from Input to (dict -> Expression)
        For each state input, its start as a function of the variables' start.
    controls : dict from Input to Expression
        Scalars that the loop may change, with the formula of their start value.
    duals : dict from Term to Expression
        Dual candidates that the state offers to a duality gap, already in the conjugate's domain.
    arguments : dict from Term to (Expression, Expression)
        For each term that is split off: where its prox is taken, and the penalty ``s`` of the prox of ``f / s`` there.
    iteration : str
        How the fixed point is sought: ``"once"``, ``"picard"``, ``"nesterov"``, ``"anderson"`` or
        ``"backtracking"``.
    residual : Expression or None
        Squared norm of what must vanish, where the method knows better than ``|T(z) - z|``.
    scale : Expression or None
        The squared norm that the residual is relative to.
    step_size : Input or None
        The control that is the step size of a proximal gradient map.
    backtrack : bool
        Whether the step has no certified bound and must be found by backtracking.
    smooth_value, smooth_gradient : callable or None
        Value and gradient of the smooth terms at a state, for backtracking.
    search : LineSearch or None
        The pieces of the line search of a ``"backtracking"`` iteration.
    balance : tuple of (Input, Expression, Expression)
        Controls to be balanced: control, squared primal residual, squared dual residual.
    rescale : callable or None
        ``(control, factor) -> state expressions`` that keep the dual variables when a control changes.
    imbalance : float
        The factor between the two residuals up to which a balance is left alone.
    epsilon : Input or None
        A control that is the spacing of 1 at the working precision, where the step asks for it.
    positive : tuple of (Expression, Expression, str)
        What must be positive beyond rounding for the method to work: an eigenvalue, the size of the largest, and words.
    needs : tuple of (Expression, str)
        A number that must be positive at the values of a solve, and the sentence for where it is not.
    sample_axes : int
        How many leading axes of every state count samples that are solved for one by one.
    notes : tuple of str
        Sentences for ``explain()``.
    """

    state: tuple[Input, ...]
    step: tuple[Expression, ...]
    readout: dict[Variable, Expression]
    start: dict[Input, Callable[[dict[Variable, Expression]], Expression]]
    controls: dict[Input, Expression] = field(default_factory=dict)
    duals: dict[Term, Expression] = field(default_factory=dict)
    arguments: dict[Term, tuple[Expression, Expression]] = field(default_factory=dict)
    iteration: str = "picard"
    residual: Expression | None = None
    scale: Expression | None = None
    step_size: Input | None = None
    backtrack: bool = False
    smooth_value: Callable[[tuple[Expression, ...]], Expression] | None = None
    smooth_gradient: Callable[[tuple[Expression, ...]], list[Expression]] | None = None
    search: LineSearch | None = None
    balance: tuple[tuple[Input, Expression, Expression], ...] = ()
    rescale: Callable[[Input, Expression], tuple[Expression, ...]] | None = None
    imbalance: float = 20.0
    epsilon: Input | None = None
    positive: tuple[tuple[Expression, Expression, str], ...] = ()
    needs: tuple[tuple[Expression, str], ...] = ()
    sample_axes: int = 0
    notes: tuple[str, ...] = ()


class Method:
    """One algorithm: `fit` judges, `lower` builds the map. A subclass with a ``name`` is found by the compiler.

    The names in ``options`` are keywords that `opalg.compile` takes for it. ``prox`` stands for smooth terms that the
    method takes by their prox, which a problem holds as ``apart``; the others are fields of the method.
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()

    def fit(self, problem: Problem) -> Fit:
        """Whether this method applies, and why."""
        raise NotImplementedError

    def lower(self, problem: Problem) -> Lowering:
        """The energy as a fixed-point map; only called where `fit` said yes."""
        raise NotImplementedError


def must_exceed_rounding(operator: LinearOperator, words: str) -> tuple[tuple[Expression, Expression, str], ...]:
    """The condition that an operator can be inverted, as `Lowering.positive` takes it; empty where nothing is known."""
    lowest, norm = operator.facts.lowest, operator.facts.norm
    if lowest is None:
        return ()
    return ((lowest, Literal(0.0) if norm is None else norm.expression, words),)


def state_inputs(variables: tuple[Variable, ...], prefix: str = "x") -> tuple[Input, ...]:
    """One state input per variable."""
    return tuple(
        Input(f"{prefix}{i}" if len(variables) > 1 else prefix, v.shape, v.kind) for i, v in enumerate(variables)
    )


def starts_at(variable: Variable) -> Callable[[dict[Variable, Expression]], Expression]:
    """The start of a state that is a variable itself."""
    return lambda point: point[variable]
