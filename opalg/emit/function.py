"""Programs made fast: a graph compiled for one array library, then bound to data and called again and again."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from opalg.arrays.backend import Backend
from opalg.emit.cost import Cost, count
from opalg.emit.dialect import Dialect
from opalg.emit.fuse import schedule
from opalg.emit.generate import Datum, Generator
from opalg.emit.hoist import Hoisting, Shared
from opalg.emit.lower import lower
from opalg.emit.plan import plan_memory
from opalg.emit.source import stand_alone
from opalg.errors import ShapeError
from opalg.leaves import Leaf
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import bind_arguments


def dialect_of(lib: Backend) -> Dialect:
    """The dialect of a backend's library."""
    found: Dialect = importlib.import_module(f"opalg.emit.{lib.name}_dialect").DIALECT
    return found


class Function:
    """A program compiled for one array library, device and precision.

    Parameters
    ----------
    outputs : sequence of Expression
        What to compute; any expressions, also inputs, leaves and repetitions.
    inputs : sequence of Input
        What it is computed from: arrays or scalars of role ``"state"``, and scalars of role ``"control"``.
    lib : Backend
        Where to compute.
    name : str
        The name of the generated function.
    fuse : bool
        Whether the library's own compiler makes one kernel of each sweep; Torch's takes seconds when a step is first
        called. On NumPy sweeps run block by block in the cache anyway.
    lean : bool
        Whether little memory matters more than few calls of the interpreter.

    Attributes
    ----------
    cost : Cost
        The work of one call, counted from the program.

    Raises
    ------
    ParameterError
        Where the outputs use an input that is not among ``inputs``.
    """

    def __init__(
        self,
        outputs: Sequence[Expression],
        inputs: Sequence[Input],
        lib: Backend,
        name: str = "step",
        fuse: bool = False,
        lean: bool = False,
    ) -> None:
        self.inputs, self.lib, self.fuse = tuple(inputs), lib, fuse
        self.states = tuple(i for i in inputs if i.role == "state")
        self.dialect = dialect_of(lib)
        self.outputs = tuple(lower(outputs, lib, self.dialect.blocked))
        self.hoisting = Hoisting(self.outputs, self.inputs)
        steps = schedule(self.hoisting.nodes, self.outputs, self.dialect.blocked, lib.precision == "float32", lean)
        plan = plan_memory(steps, self.outputs, self.dialect.in_place)
        generator = Generator(steps, plan, self.outputs, self.inputs, lib, self.dialect, name)
        self.generated = generator.run()
        self.name = generator.name
        self.cost: Cost = count(steps, plan, self.outputs, lib)
        self._names: dict[str, Any] | None = None
        self._code = compile(self.generated.text, f"<opalg {self.name}>", "exec")

    @property
    def source(self) -> str:
        """The generated step as readable text that needs the array library only."""
        return stand_alone(self.generated, self.dialect, self.lib)

    def bind(
        self,
        bindings: Mapping[Any, Any] | None = None,
        controls: Mapping[Input, float] | None = None,
        shared: Shared | None = None,
    ) -> BoundFunction:
        """The function with data: everything that no state moves is computed here, once.

        Parameters
        ----------
        bindings : mapping from Leaf to array
            Values of leaves; a leaf left out has its own value.
        controls : mapping from Input to float
            Values of the control inputs.
        shared : mutable mapping, optional
            Arrays that other functions with the same bindings computed; it is extended. With weak values it holds no
            array longer than they do.

        Raises
        ------
        ShapeError
            Where a leaf is bound to an array of another shape.
        ParameterError
            Where a control has no value, or is unknown.
        """
        return BoundFunction(self, bindings or {}, controls or {}, shared)

    def load(self) -> dict[str, Any]:
        """The names that the generated text defines."""
        if self._names is None:  # the text holds no state, so one evaluation of it serves every binding
            names = {**self.dialect.namespace(self.lib), **self.generated.functions}
            exec(self._code, names)
            if self.fuse:
                names[self.name] = self.dialect.fused(names[self.name])
            self._names = names
        return self._names


class BoundFunction:
    """A compiled program with its data and buffers; not to be called from two threads at once.

    Attributes
    ----------
    data : tuple
        The hoisted data that the generated step receives.
    cost : Cost
        The work of one call.
    """

    def __init__(
        self,
        function: Function,
        bindings: Mapping[Any, Any],
        controls: Mapping[Input, float],
        shared: Shared | None = None,
    ) -> None:
        self.function, self.lib, self.cost = function, function.lib, function.cost
        self._values = function.hoisting.bind(bindings, self.lib, shared)
        names = function.load()
        self._step, self._new_buffers = names[function.name], names["new_buffers"]
        self._buffers: tuple[Any, ...] | None = None
        self._scalars = [i for i, e in enumerate(function.states) if e.shape == ()]
        self._count = len(function.states)
        self._bindings = bindings
        self._values.set_controls(controls)
        self._positions = {d.content: i for i, d in enumerate(function.generated.data) if d.sort == "value"}
        self.data: tuple[Any, ...] = tuple(self._datum(d) for d in function.generated.data)

    @property
    def source(self) -> str:
        """The generated step as readable text that needs the array library only."""
        return self.function.source

    def __call__(self, *arrays: Any, out: tuple[Any, ...] | None = None) -> tuple[Any, ...]:
        """Compute the outputs.

        Parameters
        ----------
        *arrays : array or number
            The state inputs in order, of the shapes, kinds and precision that were declared; they are not written to.
        out : tuple of array, optional
            Arrays for the results, one entry per output (scalars: ignored), apart from the inputs.

        Returns
        -------
        tuple
            The results, which share no memory with the inputs; scalars are Python numbers on NumPy and arrays without
            axes elsewhere.
        """
        if len(arrays) != self._count:
            raise ShapeError(f"{self.function.name} takes {self._count} arrays, but was given {len(arrays)}")
        if self._buffers is None:
            self._buffers = self._new_buffers()
        if self._scalars and not self.function.dialect.numbers:
            arrays = self._with_scalars(arrays)
        result: tuple[Any, ...] = self._step(arrays, self.data, self._buffers, out)
        return result

    def set_controls(self, controls: Mapping[Input, float]) -> None:
        """Take new values of some controls and compute again what depends on them, and only that."""
        due = self._values.set_controls(controls)
        if due:
            data = list(self.data)
            for e in due:
                if e in self._positions:
                    data[self._positions[e]] = self._value(e)
            self.data = tuple(data)

    def release(self) -> None:
        """Let go of the buffers; the next call makes new ones."""
        self._buffers = None

    def _with_scalars(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        given = list(arrays)
        for i in self._scalars:
            if not self.lib.owns(given[i]):
                given[i] = self.lib.asarray(given[i], self.function.states[i].kind)
        return tuple(given)

    def _datum(self, datum: Datum) -> Any:
        if datum.sort == "value":
            return self._value(datum.content)
        if datum.sort == "literal":
            return self.lib.asarray(datum.content, datum.kind)
        if datum.sort == "static":
            if isinstance(datum.content, Leaf) and datum.content in self._bindings:
                return self.lib.asarray(self._bindings[datum.content], datum.content.kind)
            return bind_arguments((datum.content,), self.lib)[0]
        return datum.content

    def _value(self, e: Expression) -> Any:
        value = self.lib.asarray(self._values.values[e], e.kind)
        if e.shape == () and self.function.dialect.numbers:
            number = self.lib.item(value)
            return bool(number) if e.kind == "bool" else number
        return value
