"""The arguments of a gradient, checked at the border."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from opalg.arrays import Backend, library_name, precision_of
from opalg.errors import DtypeError, InexactSolutionError, ParameterError, ShapeError
from opalg.implicit.flags import DEMOTED, FORWARD_NOT_CONVERGED, NO_INFLUENCE, UNUSED_PARAMETER
from opalg.implicit.gradients import Gradients
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.precision import PRECISIONS
from opalg.implicit.programs import Arrays, is_zero
from opalg.implicit.recycling import Recycling
from opalg.leaves import Parameter, check_finite
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem
from opalg.nodes import walk
from opalg.program.expression import Expression
from opalg.program.network_weights import NetworkWeights, is_module, is_weight, tensors_of
from opalg.solving.solution import Solution, warn_caller
from opalg.solving.status import Status

ON_INEXACT = ("raise", "warn", "return", "polish")
MODES = ("exact", "jacobian_free", "phantom", "neumann", "unroll")
SOLVERS = ("auto", "conjugate_gradients", "minres", "gmres", "anderson")
WITHOUT_INFLUENCE = ("x0", "step")  # the solution of an equation depends neither on where nor on how it was sought
TOL = {"float64": 1e-10, "float32": 1e-5}
CURVED_TOL = {"float64": 1e-6, "float32": 1e-4}
ROUNDED_TOL = 1e-8  # leaves the digits of single precision up to a condition of some hundreds
PRODUCTS = 2000
CHEAP = 1e7  # entries times iterations of a forward solve that may go on without being asked
FLOOR = 1e-4  # a certificate below this, where only rounding stopped the solve, is as good as a default tolerance


@dataclass(frozen=True)
class Options:
    """The options of a gradient; see `Solution.vjp`."""

    tol: float | None = None
    max_iter: int | None = None
    mode: str = "exact"
    on_inexact: str = "raise"
    refine: bool | str = "auto"
    estimate: bool | str = True
    start: Gradients | None = None
    recycle: bool | str = "auto"
    per_sample: bool | int = False
    solver: str = "auto"
    debug: bool = False
    terms: int | None = None
    damping: float | None = None
    accuracy_wanted: float | None = None
    precision: str = "auto"
    working: str = "float64"  # the precision that this came to
    rounded: bool = False  # whether the result is rounded to less than that

    def accuracy(self, curved: bool) -> Accuracy:
        """What the adjoint solve has to reach; by default less where curvatures of split terms make it costly."""
        usual = (CURVED_TOL if curved else TOL)[self.working]
        tol = max(usual, ROUNDED_TOL if self.rounded else 0.0) if self.tol is None else self.tol
        return Accuracy(tol, PRODUCTS if self.max_iter is None else self.max_iter)

    def settles(self, work: float) -> bool:
        """Whether the forward solve may go on where its active set has not settled; ``work`` is what it did so far."""
        if self.refine == "auto" and self.on_inexact in ("raise", "warn"):
            return work <= CHEAP
        return self.on_inexact == "polish" or (self.refine is True and self.on_inexact != "return")

    def start_for(self, system: str) -> Any:
        """The state to start the adjoint solve from, where an earlier one belongs to the same system."""
        earlier = None if self.start is None else self.start.adjoint
        fits = earlier is not None and earlier.system == system and precision_of(earlier.state) == self.working
        return earlier.state if earlier is not None and fits else None

    def recycling_for(self, system: str) -> Recycling:
        """What the earlier solve of the same system left besides its state, and whether this one leaves something."""
        fits = self.start_for(system) is not None and self.start is not None and self.start.adjoint is not None
        return Recycling(self.start.adjoint.pairs if fits else None, self.recycle)  # type: ignore[union-attr]


FORWARD = ("tol", "max_iter", "on_inexact", "refine", "solver", "debug", "precision")  # of changes of a solution


def options_of(given: Mapping[str, Any], lib: Backend, taken: Sequence[str] | None = None) -> Options:
    """Options from keywords; raises ParameterError for what is unknown, not taken here, or makes no sense."""
    known = [f.name for f in fields(Options) if f.name not in ("working", "rounded", "accuracy_wanted")] + ["accuracy"]
    known = known if taken is None else list(taken)
    for name in given:
        if name not in known:
            raise ParameterError(f"{name!r} is no option here; there are {', '.join(sorted(known))}")
    renamed = {("accuracy_wanted" if n == "accuracy" else n): v for n, v in given.items()}
    options = Options(**renamed, working=lib.precision)
    _check(options)
    return options


def _check(options: Options) -> None:
    for name, value, allowed in (
        ("on_inexact", options.on_inexact, ON_INEXACT),
        ("mode", options.mode, MODES),
        ("solver", options.solver, SOLVERS),
        ("precision", options.precision, PRECISIONS),
    ):
        if value not in allowed:
            raise ParameterError(f"{name} must be one of {allowed}, not {value!r}")
    if options.refine not in (True, False, "auto"):
        raise ParameterError(f"refine must be True, False or 'auto', not {options.refine!r}")
    if options.recycle not in (True, False, "auto"):
        raise ParameterError(f"recycle must be True, False or 'auto', not {options.recycle!r}")
    if options.estimate not in (True, False, "bound"):
        raise ParameterError(f"estimate must be True, False or 'bound', not {options.estimate!r}")
    if options.tol is not None and not (_is_number(options.tol) and 0 <= options.tol < 1):
        raise ParameterError(f"tol must be a number in [0, 1), not {options.tol!r}")
    if isinstance(options.per_sample, str) or not (_is_number(options.per_sample) and int(options.per_sample) >= 0):
        raise ParameterError(f"per_sample must be True, False or a number of axes, not {options.per_sample!r}")
    if options.damping is not None and not _is_number(options.damping):
        raise ParameterError(f"damping must be a number, not {options.damping!r}")
    if options.mode == "exact" and (options.terms is not None or options.damping is not None):
        raise ParameterError(
            "terms and damping belong to the modes that are not exact; give mode='neumann', for example"
        )
    if options.mode != "exact" and (options.per_sample or options.estimate == "bound"):
        raise ParameterError(f"mode={options.mode!r} has neither gradients for each sample nor bounds")
    for name, count in (("max_iter", options.max_iter), ("terms", options.terms)):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ParameterError(f"{name} must be a positive integer, not {count!r}")
    if options.accuracy_wanted is not None and not (
        _is_number(options.accuracy_wanted) and options.accuracy_wanted > 0
    ):
        raise ParameterError(f"accuracy must be a positive number, not {options.accuracy_wanted!r}")
    if options.start is not None and not isinstance(options.start, Gradients):
        raise ParameterError(f"start takes earlier Gradients, not {type(options.start).__name__}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


@dataclass(frozen=True)
class Request:
    """What a gradient is wanted in.

    Attributes
    ----------
    leaves : list of Leaf
        Those that the solution depends on; the weights of networks are one vector among them.
    zeros : dict
        Exact zeros for those it does not depend on.
    flags : tuple of str
    weights : NetworkWeights or None
        The weights of networks that are wanted.
    beside : tuple
        Weights among them that were not asked for, but move as well.
    """

    leaves: list[Any]
    zeros: dict[Any, Any]
    flags: tuple[str, ...]
    weights: NetworkWeights | None = None
    beside: tuple[Any, ...] = ()

    def named(self, arrays: Sequence[Any]) -> dict[Any, Any]:
        """Arrays in the order of the leaves by what was asked for: parameters, and weights one by one."""
        out: dict[Any, Any] = {}
        for leaf, array in zip(self.leaves, arrays, strict=True):
            if self.weights is not None and leaf is self.weights.leaf:
                found = self.weights.split(array)
                out.update({t: g for t, g in found.items() if not any(t is b for b in self.beside)})
            else:
                out[leaf] = array
        return out

    def enter(self, expressions: Sequence[Expression]) -> list[Expression]:
        """The expressions with the weights of networks as a leaf, where they are wanted."""
        return list(expressions) if self.weights is None else self.weights.enter(expressions)


def networks_in(keys: Any) -> list[Any]:
    """The networks and weights of networks among what is asked for."""
    keys = keys if isinstance(keys, (tuple, list)) else [keys]
    return [k for k in keys if is_module(k) or is_weight(k)]


def request_of(
    wrt: Any,
    lowering: Lowering,
    lib: Backend,
    cache: dict[Any, Any],
    problem: Problem | None = None,
    beside: Sequence[Any] = (),
) -> Request:
    """The parameters meant, by themselves or by name, and weights of networks by module or by tensor.

    ``beside`` are networks that enter without being asked for: two requests about one equation must name the same.
    """
    used = _parameters(lowering, problem, cache)
    names = {p.name: p for p in used if p.name}
    leaves: list[Any] = []
    zeros: dict[Any, Any] = {}
    flags: list[str] = []
    networks = []
    for key in wrt if isinstance(wrt, (tuple, list)) else [wrt]:
        leaf = names.get(key, key) if isinstance(key, str) else key
        if isinstance(leaf, str) and leaf in WITHOUT_INFLUENCE:
            flags.append(NO_INFLUENCE)
            zeros[leaf] = lib.zeros(first_shape(lowering) if leaf == "x0" else ())
        elif is_module(leaf) or is_weight(leaf):
            networks.append(leaf)
        elif not isinstance(leaf, Parameter):
            known = ", ".join(p.label for p in used) or "none"
            raise ParameterError(
                f"wrt takes Parameters of the energy ({known}), or networks and their weights; {key!r} is neither. "
                f"Declare it with oa.Parameter(value)"
            )
        elif leaf in used:
            leaves.append(leaf)
        else:
            flags.append(UNUSED_PARAMETER)
            zeros[leaf] = lib.zeros(leaf.shape, leaf.kind)
    extra = [b for b in beside if not any(b is n for n in networks)]
    asked = _weights_of(networks, lowering, cache) if networks and extra else None
    everything = sorted([*networks, *extra], key=id) if extra or beside else networks
    weights = _weights_of(everything, lowering, cache) if everything else None
    unasked: tuple[Any, ...] = ()
    if weights is not None and extra:
        kept = [] if asked is None else asked.tensors
        unasked = tuple(t for t in weights.tensors if not any(t is k for k in kept))
    if weights is not None and weights.used:
        leaves.append(weights.leaf)
    elif weights is not None:
        flags.append(UNUSED_PARAMETER)
        zeros.update({t: lib.zeros(tuple(t.shape)) for t in weights.tensors})
        weights = None
    return Request(leaves, zeros, tuple(dict.fromkeys(flags)), weights, unasked)


def _parameters(lowering: Lowering, problem: Problem | None, cache: dict[Any, Any]) -> list[Parameter]:
    """The parameters of a plan; looked for once, since a training step would spend much of its time on that."""
    key = ("parameters", problem is not None)
    if key not in cache:
        nodes = [*lowering.step, *lowering.readout.values()]
        if problem is not None:
            nodes.append(problem.energy.constant)
        used = [n for n in walk(*nodes) if isinstance(n, Parameter)]
        if problem is not None:
            used += [n for n in problem.energy.leaves if isinstance(n, Parameter) and n not in used]
        cache[key] = used
    found: list[Parameter] = cache[key]
    return found


def _weights_of(networks: list[Any], lowering: Lowering, cache: dict[Any, Any]) -> NetworkWeights:
    """The weights as one leaf, the same for every gradient of a plan, so that compiled pieces serve again."""
    tensors = [t for n in networks for t in tensors_of(n)]
    key = ("weights", tuple(id(n) for n in networks), tuple(id(t) for t in tensors))
    if key not in cache:
        found = NetworkWeights(networks, [*lowering.step, *lowering.readout.values()])
        cache[key] = (found, networks, tensors)  # which keeps them alive, and so their identities
    weights: NetworkWeights = cache[key][0]
    return weights


def first_shape(lowering: Lowering) -> tuple[int, ...]:
    """The shape of the first variable."""
    return next(iter(lowering.readout)).shape


def directions_of(
    directions: Mapping[Any, Any],
    lowering: Lowering,
    lib: Backend,
    cache: dict[Any, Any],
    beside: Sequence[Any] = (),
) -> tuple[Request, Arrays]:
    """Parameters and the directions along which they move; those without influence are left out."""
    if not isinstance(directions, Mapping):
        raise ParameterError("directions are a mapping from Parameter (or its name) to array, {lam: 1.0}")
    request = request_of(tuple(directions), lowering, lib, cache, beside=beside)
    names = [k if isinstance(k, str) else getattr(k, "name", None) for k in directions]
    twice = next((n for n in names if n is not None and names.count(n) > 1), None)
    if twice is not None:
        raise ParameterError(f"directions name {twice!r} twice, by its name and by itself")
    by_leaf = {(next((p for p in request.leaves if p.name == k), k) if isinstance(k, str) else k): d
               for k, d in directions.items()}  # fmt: skip
    arrays = []
    for leaf in request.leaves:
        if request.weights is not None and leaf is request.weights.leaf:
            moved = {k: d for k, d in by_leaf.items() if is_weight(k)}
            arrays.append(lib.asarray(request.weights.join(moved), "real"))
            continue
        array = lib.asarray(by_leaf[leaf], leaf.kind)
        if tuple(array.shape) != leaf.shape:
            raise ShapeError(f"the direction of {leaf.label} has shape {tuple(array.shape)}, not {leaf.shape}")
        check_finite(array, f"the direction of {leaf.label}")
        arrays.append(array)
    return request, arrays


@dataclass(frozen=True)
class Cotangents:
    """The gradient of an outer loss in the variables, as arrays or as a function of them.

    Attributes
    ----------
    solution : Solution
    given : array, mapping or callable
    lib : Backend
        Where gradients are computed.
    plan : Backend
        Where the solution is, and what a function is called with.
    fixed : list of array or None
    """

    solution: Solution
    given: Any
    lib: Backend
    plan: Backend
    fixed: Arrays | None

    @property
    def varies(self) -> bool:
        """Whether it depends on the point."""
        return self.fixed is None

    @property
    def flags(self) -> tuple[str, ...]:
        """``"demoted"`` where the cotangent is more precise than the gradients that are handed out."""
        if self.plan.precision != "float32":
            return ()
        given = self.given(self.solution.x) if self.varies else self.given
        arrays = given.values() if isinstance(given, Mapping) else [given]
        return (DEMOTED,) if any(precision_of(a) == "float64" for a in arrays) else ()

    @property
    def is_zero(self) -> bool:
        """Whether it is exactly zero, wherever it is taken."""
        return self.fixed is not None and is_zero(self.fixed, self.lib)

    def __call__(self, points: Arrays) -> Arrays:
        """The cotangents at a point, one for each variable."""
        if self.fixed is not None:
            return self.fixed
        variables = self.solution.variables
        points = [self.plan.asarray(p, v.kind) for p, v in zip(points, variables, strict=True)]
        x = points[0] if len(points) == 1 else dict(zip(variables, points, strict=True))
        return _arrays(self.solution, self.given(x), self.lib)


def cotangent_of(solution: Solution, cotangent: Any, lib: Backend, plan: Backend) -> Cotangents:
    """The cotangent, checked; raises ShapeError or NonFiniteError for what does not fit."""
    if isinstance(cotangent, Callable) and library_name(cotangent) is None:  # type: ignore[arg-type]
        return Cotangents(solution, cotangent, lib, plan, None)
    return Cotangents(solution, cotangent, lib, plan, _arrays(solution, cotangent, lib))


def _arrays(solution: Solution, cotangent: Any, lib: Backend) -> Arrays:
    given = cotangent if isinstance(cotangent, Mapping) else {solution.variables[0]: cotangent}
    names = {v.name: v for v in solution.variables if v.name}
    given = {(names.get(k, k) if isinstance(k, str) else k): a for k, a in given.items()}
    for key in given:
        if not any(key is v for v in solution.variables):
            raise ParameterError(f"the cotangent names {key!r}; the variables are {solution.variables!r}")
    out = []
    for variable in solution.variables:
        if variable not in given:
            out.append(lib.zeros(variable.shape, variable.kind))
            continue
        if library_name(given[variable]) is None or tuple(given[variable].shape) != variable.shape:
            found = tuple(getattr(given[variable], "shape", ())) or type(given[variable]).__name__
            raise ShapeError(
                f"the cotangent of {variable.label} must be an array of shape {variable.shape}, not {found}"
            )
        if variable.kind == "real" and "complex" in str(given[variable].dtype):
            raise DtypeError(f"{variable.label} is real, but its cotangent is complex; take the real part")
        array = lib.asarray(given[variable], variable.kind)
        check_finite(array, f"the cotangent of {variable.label}")
        out.append(array)
    return out


def forward_flags(solution: Solution, on_inexact: str) -> tuple[str, ...]:
    """What to say of a solution that has not converged: an error, a warning or a flag."""
    at_floor = solution.status is Status.STAGNATED and solution.certificate.relative <= FLOOR
    if solution.status.success or on_inexact == "polish" or at_floor:
        return ()
    text = (
        f"the solution ended with {solution.status.name} ({solution.certificate}), so its gradient would be wrong by "
        f"an unknown amount; solve to the tolerance first, or say on_inexact='polish' to go on from here, or 'warn'"
    )
    if on_inexact == "raise":
        raise InexactSolutionError(text)
    if on_inexact == "warn":
        warn_caller(text)
    return (FORWARD_NOT_CONVERGED,)
