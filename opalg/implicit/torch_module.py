"""Plans as Torch modules: forward solves, backward differentiates implicitly."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain, count
from keyword import iskeyword
from typing import Any, NoReturn

import torch

from opalg.errors import DeviceError, DtypeError, ParameterError, UnsupportedError
from opalg.implicit.arguments import options_of
from opalg.implicit.gradients import Gradients
from opalg.implicit.torch_call import SolverCall
from opalg.implicit.torch_domains import constrain
from opalg.implicit.torch_functions import Ask, Solve
from opalg.implicit.torch_networks import Networks
from opalg.implicit.torch_starts import read, written
from opalg.leaves import Held
from opalg.solving.solution import Solution

FORWARD_ONLY = ("params",)  # what a module gives to a solve itself
BACKWARD_ONLY = ("start", "per_sample")  # and to a gradient


class SolverModule(torch.nn.Module):
    """A plan as a ``torch.nn.Module`` whose parameters are the energy's; those that are held are buffers.

    Calling it solves; the result is differentiable in the module's parameters, in tensors that are given for parameters
    by name, and in the weights of networks that the energy calls. Backward is one implicit solve, and no graph of the
    iterations is kept.

    Parameters
    ----------
    plan : Plan or MapPlan
        Compiled for Torch.
    gradient_options : mapping, optional
        Options of ``Solution.vjp`` for every backward pass: ``tol``, ``max_iter``, ``on_inexact``, ...
    warm_start : bool
        Whether to start each solve, and its adjoint solve, from the last ones; for training on the same data again and
        again. ``forget()`` drops them.
    positive : {"exp", "softplus", "clamp"} or mapping from name to one of them, optional
        Writes parameters that were declared positive or nonnegative (or those named) as that function of free numbers,
        by Torch's parametrisations, so that no step of an optimiser leaves their domain.
    networks : sequence of torch.nn.Module
        Networks that functions in the energy call and that are to be trained; ``()`` for none. Modules that terms hold
        themselves always are.
    **options
        Options of ``plan.solve`` for every forward pass; ``x0`` may be a function of the values of all parameters by
        name, such as ``lambda y, **_: A.fbp(y)``.

    Attributes
    ----------
    solution : Solution or None
        Of the last call.
    gradients : Gradients or None
        Of the last backward pass, with its flags and its error estimate.
    networks : torch.nn.ModuleList
        The networks of the energy.

    Raises
    ------
    DeviceError
        Where the plan does not run on Torch.
    ParameterError
        For an unknown option.

    Notes
    -----
    Second derivatives (``create_graph=True``) take further implicit solves; third ones are refused. ``torch.func``
    works: ``grad``, ``vjp``, ``jvp``, ``jacrev``, ``jacfwd``, ``hessian``, ``functional_call``, and ``vmap``, which
    solves one sample after another. ``torch.compile`` breaks its graph at the solve, and under autocast solves stay in
    the precision of the plan, which halves are cast to.

    Networks compute by what they are in evaluation mode: `train` leaves their mode as it is. Deep copies have weights
    of their own, which they lend to the networks of the one plan; copies that work in several threads take turns.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> x, y = oa.Variable(2, name="x"), oa.Parameter(torch.tensor([3.0, -1.0]), name="y")
    >>> net = oa.compile(0.5 * oa.sum_squares(x - y)).as_module()
    >>> (net() ** 2).sum().backward()
    >>> net.y.grad.tolist()
    [6.0, -2.0]
    """

    def __init__(
        self,
        plan: Any,
        *,
        gradient_options: Mapping[str, Any] | None = None,
        warm_start: bool = False,
        positive: Any = None,
        networks: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(warm_start, bool):
            raise ParameterError(f"warm_start must be True or False, not {warm_start!r}")
        if plan.backend.name != "torch":
            raise DeviceError(
                f"this plan runs on {plan.backend.name}; compile it with backend='torch' to use it as a module"
            )
        self.plan, self.options = plan, _solve_options(plan, options)
        self.gradient_options = _gradient_options(plan, gradient_options or {})
        self.warm_start = warm_start
        self.solution: Solution | None = None
        self.gradients: Gradients | None = None
        self._inner = Networks(plan, networks)
        self.networks = torch.nn.ModuleList(self._inner.modules)
        self._names: list[str] = []
        for index, parameter in enumerate(plan.parameters):
            name = self._free_name(parameter.name or "", index)
            self._names.append(name)
            value = plan.backend.asarray(parameter.value, parameter.kind).clone()
            if isinstance(parameter, Held):
                self.register_buffer(name, value)
            else:
                self.register_parameter(name, torch.nn.Parameter(value))
        constrain(self, dict(zip(self._names, plan.parameters, strict=True)), positive)

    def forward(self, **given: Any) -> Any:
        """The solution at the module's parameters, some of them replaced by tensors given by name.

        Parameters
        ----------
        **given : tensor
            Values of parameters, by name.

        Returns
        -------
        tensor, or dict from Variable to tensor where there are several variables
            The `Solution` itself is kept in ``module.solution``.

        Raises
        ------
        ParameterError
            For an unknown name, and for values outside the domain of a parameter.
        DtypeError, DeviceError, ShapeError
            For tensors that do not fit the plan.
        """
        if torch.compiler.is_compiling():
            return _outside_of_graphs(self, given)
        return self._solve(given)

    def _free_name(self, name: str, index: int) -> str:
        """An attribute name for a parameter: its own where that is free and no word of Python's, else a number."""
        others = {p.name for p in self.plan.parameters} - {name}
        name = f"{name}_" if iskeyword(name) else name
        tried = [name] if name.isidentifier() else []
        numbered = (f"parameter{index}{'_' * n}" for n in count())
        reserved = {"parametrizations", *others}
        return next(n for n in chain(tried, numbered) if not hasattr(self, n) and n not in reserved)

    def _solve(self, given: Mapping[str, Any]) -> Any:
        tensors = [self._tensor(n, t) for n, t in self._own_and(given).items()]
        self._inner.refresh()  # as layers may have changed since the last call
        weights = dict(self.networks.named_parameters())
        call = SolverCall(self, tuple(weights), dict(self.networks.named_buffers()))
        points = Solve.apply(Ask(call), *tensors, *weights.values())
        return points[0] if len(points) == 1 else dict(zip(self.plan.variables, points, strict=True))

    def _own_and(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of all parameters by name."""
        known = {n: n for n in self._names}
        known |= {p.name: n for p, n in zip(self.plan.parameters, self._names, strict=True) if p.name}
        unknown = [key for key in given if key not in known]
        if unknown:
            raise ParameterError(
                f"{unknown[0]!r} is not a parameter of this module; there are {', '.join(self._names)}"
            )
        replaced = {known[key]: tensor for key, tensor in given.items()}
        return {n: replaced[n] if n in replaced else getattr(self, n) for n in self._names}

    def _tensor(self, name: str, value: Any) -> torch.Tensor:
        """A value as a tensor that the plan computes with; halves are cast as autocast does, doubles are not."""
        lib = self.plan.backend
        if not isinstance(value, torch.Tensor):
            try:
                value = torch.as_tensor(value, dtype=lib.dtypes["complex" if isinstance(value, complex) else "real"])
            except (TypeError, ValueError, RuntimeError) as error:
                raise ParameterError(f"{name} takes a tensor or a number, not {value!r}") from error
        if value.device.type != lib.device.type or lib.device.index not in (None, value.device.index):
            raise DeviceError(
                f"{name} lives on {value.device}, but this plan was compiled for {lib.device}; compile it with "
                f"device={str(value.device)!r}, or move the tensor with .to({str(lib.device)!r})"
            )
        if value.is_floating_point() or value.is_complex():
            bits = torch.finfo(value.dtype).bits
            if bits > torch.finfo(lib.dtypes["real"]).bits:
                raise DtypeError(
                    f"{name} is {str(value.dtype).rpartition('.')[2]}, but this plan computes in {lib.precision}; "
                    f"compile it with dtype='float64', or convert the tensor with .to({lib.dtypes['real']})"
                )
            value = value.to(lib.dtypes["complex" if value.is_complex() else "real"])
        return value

    def values(self) -> dict[str, torch.Tensor]:
        """The values of all parameters now by their names in the plan, as ``plan.solve(params=...)`` takes them."""
        found = {n: getattr(self, n).detach() for n in self._names}
        return {p.name or n: found[n] for p, n in zip(self.plan.parameters, self._names, strict=True)}

    def forget(self) -> None:
        """Drop the last solution and gradients, from which a warm start would begin."""
        self.solution = self.gradients = None

    def start_state(self) -> dict[str, Any]:
        """What the next warm start begins from, as tensors, numbers and texts; for checkpoints."""
        return written(self.solution, self.gradients) if self.warm_start else {}

    def set_start_state(self, state: Mapping[str, Any]) -> None:
        """Let the next warm start begin where `start_state` was."""
        self.solution, self.gradients = read(state, self.plan)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Solves in between that neither begin at the last solution nor leave one, or random numbers drawn, behind."""
        before = (self.warm_start, self.solution, self.gradients)
        solves = getattr(self.plan, "solves", None)
        self.warm_start = False
        try:
            yield
        finally:
            self.warm_start, self.solution, self.gradients = before
            if solves is not None:
                self.plan.restart(solves)

    def train(self, mode: bool = True) -> SolverModule:
        """Set the mode of this module; networks of the energy keep theirs, since a solve needs one function."""
        before = [(m, m.training) for m in self.networks.modules()]
        super().train(mode)
        for module, was in before:
            module.training = was
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SolverModule:
        """Parameters and networks of its own; the compiled plan is shared."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for shared in (self.plan, self._inner, self.solution, self.gradients):
            memo[id(shared)] = shared
        twin.__dict__.update({k: deepcopy(v, memo) for k, v in self.__dict__.items()})
        return twin

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise UnsupportedError(
            "a solver module cannot be pickled, since it holds generated code; save module.state_dict(), and load it "
            "into oa.compile(energy, backend='torch').as_module()"
        )

    def extra_repr(self) -> str:
        """The plan, in Torch's representation of modules."""
        return repr(self.plan)


def _solve_options(plan: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    known = [n for n in inspect.signature(plan.solve).parameters if n not in FORWARD_ONLY]
    own = ["gradient_options", "networks", "positive", "warm_start"]
    for name in options:
        if name not in known:
            raise ParameterError(f"{name!r} is no option of a module; there are {', '.join(sorted([*known, *own]))}")
    return dict(options)


def _gradient_options(plan: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise ParameterError(f"gradient_options is a mapping, such as {{'tol': 1e-6}}, not {options!r}")
    options_of(options, plan.backend)
    for name in BACKWARD_ONLY:
        if name in options:
            raise ParameterError(f"gradient_options of a module take no {name!r}; a warm start is warm_start=True")
    return dict(options)


# What torch.compile meets, and then leaves alone; importing its machinery here would cost seconds.
_outside_of_graphs = torch._disable_dynamo(SolverModule._solve)
