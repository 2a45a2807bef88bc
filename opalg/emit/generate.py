"""Code generation: the planned steps of a program as the text of a Python function.

No name that a user gave to data gets into the text. All names in it are opalg's own: ``x0`` inputs, ``c0`` hoisted
data, ``b0`` planned buffers, ``f0`` fresh arrays, ``s0`` scalars, ``o0`` results, and the functions of kernels under
names that were checked to be identifiers.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from opalg.arrays.backend import Backend
from opalg.arrays.stacked import stacked_product
from opalg.emit.dialect import Dialect, Operand
from opalg.emit.fuse import Barrier, Scalar, Schedule, Sweep, arguments_of, is_view
from opalg.emit.lifetimes import with_ends
from opalg.emit.plan import Plan, boxes_of, gathers, kernel_of, may_share
from opalg.nodes import Node
from opalg.program.expression import (
    Apply,
    Broadcast,
    Call,
    Expression,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
)
from opalg.program.text import neutral_names, neutral_text

_RESERVED = {
    *("np", "xp", "torch", "cupy", "scipy", "SimpleNamespace", "lib", "dtypes", "device", "inf", "nan"),
    *("step", "inputs", "data", "buffers", "out", "scalar", "quotient", "choose"),
    *("copy", "zeros_like", "kind_of", "asarray", "put"),
}


@dataclass
class Datum:
    """Something that the generated step is handed: ``sort`` is "value", "literal", "static" or "function"."""

    sort: str
    content: Any
    kind: str = "real"

    def comment(self, names: Mapping[Any, str]) -> str:
        """What it is, on one line, with the given names of leaves."""
        if self.sort == "value":
            shape = f"shape {self.content.shape}" if self.content.shape else "a number"
            return f"{neutral_text(self.content, names)} ({shape})"
        if self.sort == "literal":
            return f"the number {self.content!r}"
        label = names.get(self.content) if isinstance(self.content, Node) else None
        label = label or type(self.content).__name__
        return f"{label}, an argument of a kernel" if self.sort == "static" else f"the function {label}"


@dataclass
class Generated:
    """The text of a step and what it needs.

    Attributes
    ----------
    text : str
        Functions ``new_buffers()``, ``new_results()`` and ``step(inputs, data, buffers, out)``.
    data : list of Datum
        The hoisted data, in the order of the step's argument.
    functions : dict from str to callable
        The kernel functions that the text calls, by name.
    """

    text: str
    data: list[Datum]
    functions: dict[str, Callable[..., Any]]


@dataclass
class _Scope:
    """Statements of one sweep: where operands are read inside a loop over blocks."""

    sweep: Sweep
    inside: bool = False
    slices: dict[str, str] = field(default_factory=dict)
    ragged: bool = False


class Generator:
    """Writes the text of one program."""

    def __init__(
        self,
        schedule: Schedule,
        plan: Plan,
        outputs: Sequence[Expression],
        inputs: Sequence[Input],
        lib: Backend,
        dialect: Dialect,
        name: str = "step",
    ) -> None:
        self.schedule, self.plan, self.outputs = schedule, plan, outputs
        self.inputs = {e: f"x{i}" for i, e in enumerate(e for e in inputs if e.role == "state")}
        self.lib, self.dialect = lib, dialect
        self.name = name if name.isidentifier() and not keyword.iskeyword(name) and name not in _RESERVED else "step"
        self.data: list[Datum] = []
        self.data_names: dict[Any, str] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.lines: list[str] = []
        self.written: dict[str, bool] = {f"o{part.output}": False for part in plan.parts.values()}

    def run(self) -> Generated:
        """Generate the text."""
        for step in self.schedule.steps:
            if isinstance(step, Scalar):
                self._scalar(step.node)
            elif isinstance(step, Barrier):
                self._barrier(step.node)
            else:
                self._sweep(step)
        results = self._results()
        self.lines = with_ends(self.lines, results)
        return Generated("\n".join([*self._head(), *self.lines, *results, ""]), self.data, self.functions)

    # Names.

    def datum(self, sort: str, content: Any, kind: str = "real") -> str:
        """The name of a hoisted value, a literal array, a static argument or an opaque function."""
        key: tuple[Any, ...] = (sort, content if isinstance(content, Expression) else id(content), kind)
        if sort == "literal":
            key = (sort, _number(content), kind)
        if key not in self.data_names:
            self.data_names[key] = f"c{len(self.data)}"
            self.data.append(Datum(sort, content, kind))
        return self.data_names[key]

    def name_of(self, e: Expression) -> str:
        """The variable that holds an expression."""
        if e in self.inputs:
            return self.inputs[e]
        if e not in self.schedule.moving:
            return self.datum("literal", e.value, e.kind) if isinstance(e, Literal) else self.datum("value", e, e.kind)
        return self.plan.places[e].name

    def _operands(self, n: Expression, scope: _Scope | None) -> list[Operand]:
        arguments = arguments_of(n)
        function = n.function if isinstance(n, Pointwise) else "copy"
        shown = [Operand(_number(a.value), a.kind, a.value) if isinstance(a, Literal) else None for a in arguments]
        known = [s or Operand("", a.kind) for s, a in zip(shown, arguments, strict=True)]
        values = known[1:] if function == "where" else known
        kind = "complex" if any(o.kind == "complex" for o in values) else "real"
        out = []
        for i, (a, number) in enumerate(zip(arguments, shown, strict=True)):
            if number is None:
                out.append(Operand(self._read(a, scope), a.kind))
            elif self.dialect.takes_number(function, i, known):
                out.append(number)
            else:
                wanted = "bool" if number.kind == "bool" else kind
                out.append(Operand(self.datum("literal", number.value, wanted), wanted))
        return out

    def _read(self, a: Expression, scope: _Scope | None) -> str:
        root = a if scope is None else self.schedule.root(a)
        text = self._local(self.name_of(root), root, scope)
        return text if root is a else self.dialect.part(a.function, text)  # type: ignore[attr-defined]

    def _local(self, name: str, e: Expression, scope: _Scope | None) -> str:
        """The name of an array inside a loop over blocks: a slice of it where the block axis cuts through."""
        if scope is None or not scope.inside or not scope.sweep.has_axis(e):
            return name
        axis = scope.sweep.axis
        assert axis is not None
        lead = ":, " * (e.ndim + axis)
        place = self.plan.places.get(e)
        if place is None or place.whole:
            scope.slices[name + "_"] = f"{name}[{lead}i:j]"
        elif scope.ragged:
            scope.slices[name + "_"] = f"{name}[{lead}:j - i]"
        else:
            return name
        return name + "_"

    # Statements.

    def _scalar(self, n: Expression) -> None:
        assert isinstance(n, Pointwise)
        self.lines.append(self.dialect.scalar(n.function, self._operands(n, None), n.kind, self.name_of(n)))

    def _sweep(self, sweep: Sweep) -> None:
        scope = _Scope(sweep)
        for n in sweep.before:
            self.lines += self._fused(n, scope)
        if sweep.axis is None:
            for n in sweep.body:
                self.lines += self._fused(n, scope)
            return
        size = sweep.shape[sweep.axis]
        scope.inside, scope.ragged = True, size % sweep.step != 0
        body = [line for n in sweep.body for line in self._fused(n, scope)]
        for n in sweep.body:
            if gathers(sweep, n, self.schedule):
                start = self.dialect.gather_start(n.function, n.kind)  # type: ignore[attr-defined]
                self.lines.append(f"{self.name_of(n)}{'[...]' if n.shape else ''} = {start}")
        stop = f"min(i + {sweep.step}, {size})" if scope.ragged else f"i + {sweep.step}"
        cuts = [f"{local} = {text}" for local, text in scope.slices.items()]
        self.lines.append(f"for i in range(0, {size}, {sweep.step}):")
        self.lines += ["    " + line for line in [f"j = {stop}", *cuts, *body]]

    def _fused(self, n: Expression, scope: _Scope) -> list[str]:
        if isinstance(n, Reduce):
            return self._reduction(n, scope)
        out = self._local(self.name_of(n), n, scope)
        widened = _widened(n) if self.dialect.in_place else None
        if widened is not None:
            copied = self.dialect.pointwise("copy", [Operand(self._read(widened, scope), widened.kind)], n.kind, out)
            return self._made(out, copied)
        operands = self._operands(n, scope)
        if isinstance(n, Broadcast):
            return self._made(out, self.dialect.repeat(operands[0], n.shape, n.kind, out))
        assert isinstance(n, Pointwise)
        if is_view(n):
            part = Operand(self.dialect.part(n.function, operands[0].text), n.kind)
            return self._made(out, self.dialect.pointwise("copy", [part], n.kind, out))
        return self._made(out, self.dialect.pointwise(n.function, operands, n.kind, out))

    def _made(self, out: str, lines: list[str]) -> list[str]:
        """Statements that fill ``out``; where a call fills a result first, and can, it makes the array as well."""
        if not self.dialect.makes_results or out[0] != "o" or out in self.written:
            return lines
        self.written[out] = whole = len(lines) == 1 and lines[0].endswith(f", out={out})")
        return [f"{out} = {lines[0]}"] if whole else lines

    def _reduction(self, n: Reduce, scope: _Scope) -> list[str]:
        a = self._read(n.argument, scope)
        name = self.name_of(n)
        gathered = scope.inside and gathers(scope.sweep, n, self.schedule)
        if n.axes is None:
            if gathered:
                return [self.dialect.gather_scalar(n.function, name, a, n.kind)]
            return [f"{name} = {self.dialect.reduce_all(n.function, a, n.kind)}"]
        axes = tuple(sorted(axis % n.argument.ndim for axis in n.axes))
        if gathered:
            spare = self.plan.spare[n].name
            lines = self.dialect.reduce(n.function, a, axes, n.keepdims, spare, (0,) * n.argument.ndim)
            return [*lines, self.dialect.gather_array(n.function, name, spare)]
        out = self._local(name, n, scope)
        return self._made(out, self.dialect.reduce(n.function, a, axes, n.keepdims, out, n.argument.shape))

    def _whole(self, a: Expression) -> str:
        """The text of an argument of a barrier, always an array."""
        name = self.name_of(a)
        wrap = self.dialect.numbers and a.shape == () and not isinstance(a, Literal)
        return f'lib.asarray({name}, "{a.kind}")' if wrap else name

    def _barrier(self, n: Expression) -> None:
        name = self.name_of(n)
        place = self.plan.places[n]
        planned = self.dialect.in_place and place.name[0] in "bop"
        out = f", out={name}" if planned else ""
        if isinstance(n, Apply):
            text = self._kernel_call(n, out)
        elif isinstance(n, Product):
            text = self._product(n, out)
        elif isinstance(n, Call):
            arguments = ", ".join(["lib", *(self._whole(a) for a in n.arguments)])
            text = f"{self.datum('function', n.function)}.evaluate({arguments})"
        elif isinstance(n, Join):
            self.lines += self._join(n, name)
            return
        else:
            assert isinstance(n, Reduce)
            assert n.axes is not None
            axes = tuple(sorted(axis % n.argument.ndim for axis in n.axes))
            reduced = self.dialect.reduce(n.function, self._whole(n.argument), axes, n.keepdims, name, n.argument.shape)
            self.lines += self._made(name, reduced)
            return
        if planned and name[0] == "o":
            self.written.setdefault(name, True)
        self.lines.append(f"{name} = {self.dialect.left_scalar(text, n.kind) if n.shape == () else text}")

    def _join(self, n: Join, name: str) -> list[str]:
        """Lay arrays end to end; those that were computed where they belong stay there."""
        parts = self.plan.parts
        if not any(a in parts for a in n.arguments):
            return self._made(name, [self.dialect.join([self._whole(a) for a in n.arguments], n.axis % n.ndim, name)])
        lines: list[str] = []
        for a, box in zip(n.arguments, boxes_of(n), strict=True):
            if a not in parts:
                lines += self.dialect.pointwise("copy", [Operand(self._whole(a), a.kind)], n.kind, name + box)
        return lines

    def _kernel_call(self, n: Apply, out: str) -> str:
        kernel = kernel_of(n)
        arguments = ["lib", self._whole(n.argument), *(self._static(a) for a in kernel.arguments)]
        lent = [place.name for place in self.plan.scratch.get(n, ())]
        scratch = f", scratch={_tuple(lent)}" if lent else ""
        return f"{self._function(kernel.function)}({', '.join(arguments)}{scratch}{out})"

    def _static(self, argument: Any) -> str:
        return _plain(argument) or self.datum("static", argument)

    def _function(self, function: Callable[..., Any]) -> str:
        name = getattr(function, "__name__", "")
        top = getattr(function, "__qualname__", "") == name
        if not (top and name.isascii() and name.isidentifier()) or keyword.iskeyword(name) or _is_ours(name):
            name = "kernel"
        base, count = name, 1
        while name == self.name or self.functions.get(name, function) is not function:
            count += 1
            name = f"{base}_{count}"
        self.functions[name] = function
        return name

    def _product(self, n: Product, out: str) -> str:
        left, right = self._whole(n.left), self._whole(n.right)
        if n.stack:
            return f"{self._function(stacked_product)}(lib, {n.form!r}, {left}, {right}{out})"
        if n.form == "xyT":
            rows, columns = n.left.shape[-1], n.right.shape[-1]
            left = f"lib.xp.reshape({left}, (-1, {rows})).T" if n.left.ndim != 2 else f"{left}.T"
            right = f"lib.xp.reshape({right}, (-1, {columns}))" if n.right.ndim != 2 else right
            return f"lib.matmul({left}, {right}{out})"
        straight = n.form == "Mx"
        if n.right.ndim == 1:
            return f"lib.matmul({left if straight else left + '.T'}, {right}{out})"
        return f"lib.matmul({right}, {left + '.T' if straight else left}{out})"

    # Head and results.

    def _head(self) -> list[str]:
        """The two functions that allocate, and the first lines of the step."""
        buffers = [f"lib.empty({shape}, {kind!r})" for shape, kind in self.plan.buffers]
        given = [
            i for i, o in enumerate(self.outputs) if self.dialect.in_place and o.shape and not self._hands_over(o, i)
        ]
        made = [i for i in given if self.dialect.makes_results and self.written.get(f"o{i}")]
        results = [
            f"lib.empty({o.shape}, {o.kind!r})" if i in given and i not in made else "None"
            for i, o in enumerate(self.outputs)
        ]
        names = neutral_names(*self.outputs)
        body = [f"# {name}: state {i}, shape {e.shape}" for i, (e, name) in enumerate(self.inputs.items())]
        body += _unpacked(list(self.inputs.values()), "inputs")
        body += [f"# c{i}: {d.comment(names)}" for i, d in enumerate(self.data)]
        body += _unpacked([f"c{i}" for i in range(len(self.data))], "data")
        body += _unpacked([f"b{i}" for i in range(len(buffers))], "buffers")
        if given and made == given:
            body += [f"o{i} = None if out is None else out[{i}]" for i in given]
        elif given:
            body += ["if out is None:", "    out = new_results()", *(f"o{i} = out[{i}]" for i in given)]
        body += [f"{part.name} = o{part.output}{part.box}" for part in self.plan.parts.values()]
        for e, name in self.inputs.items():
            entered = self.dialect.entered_scalar(name, e.kind) if e.shape == () else None
            body += [entered] if entered else []
        self.lines = ["    " + line for line in self.lines]
        lines = ["def new_buffers():", f"    return {_listed(buffers)}", "", ""]
        lines += ["def new_results():", f"    return {_listed(results)}", "", ""]
        return [*lines, f"def {self.name}(inputs, data, buffers, out=None):", *("    " + line for line in body)]

    def _hands_over(self, output: Expression, i: int) -> bool:
        """Whether a fresh array that the program computed is itself the result."""
        if output not in self.plan.places or output in self.outputs[:i]:
            return False
        return self.plan.places[output].name[0] == "f" and not may_share(output)

    def _results(self) -> list[str]:
        lines: list[str] = []
        names: list[str] = []
        for i, output in enumerate(self.outputs):
            name = self.name_of(output)
            if output.shape == ():
                fresh = output in self.plan.places and output not in self.outputs[:i] and not is_view(output)
                fresh = fresh and not (isinstance(output, (Apply, Call)) and may_share(output))
                text = name if fresh else self.dialect.copied(name, scalar=True)
                if self.dialect.numbers and isinstance(output, Literal):
                    text = repr(output.value)
                names.append(text)
            elif name == f"o{i}":
                names.append(name)
            elif not self.dialect.in_place:
                names.append(self._copy_out(output, name, i, lines))
            elif self._hands_over(output, i):
                lines.append(f"o{i} = {name} if out is None or out[{i}] is None else lib.copy({name}, out=out[{i}])")
                names.append(f"o{i}")
            else:
                lines += self._made(f"o{i}", [f"lib.copy({name}, out=o{i})"])
                names.append(f"o{i}")
        return ["    " + line for line in [*lines, f"return {_tuple(names)}"]]

    def _copy_out(self, output: Expression, name: str, i: int, lines: list[str]) -> str:
        computed = output in self.plan.places and not (isinstance(output, (Apply, Call)) and may_share(output))
        fresh = name if computed and output not in self.outputs[:i] else f"lib.copy({name})"
        lines.append(f"o{i} = {fresh} if out is None or out[{i}] is None else lib.copy({name}, out=out[{i}])")
        return f"o{i}"


def _widened(n: Expression) -> Expression | None:
    """The real array that a product with the complex number 1 is made of; None for anything else."""
    if isinstance(n, Pointwise) and n.function == "multiply" and n.kind == "complex":
        one, other = n.arguments if isinstance(n.arguments[0], Literal) else n.arguments[::-1]
        if isinstance(one, Literal) and one.value == 1 and other.kind == "real" and other.shape == n.shape:
            return other
    return None


def _unpacked(names: list[str], whole: str) -> list[str]:
    return [f"{', '.join(names)}{',' if len(names) == 1 else ''} = {whole}"] if names else []


def _listed(texts: Sequence[str]) -> str:
    """A tuple over several lines where one would be long."""
    line = _tuple(texts)
    if len(line) <= 100:
        return line
    return "(\n" + "".join(f"        {text},\n" for text in texts) + "    )"


def _tuple(texts: Sequence[str]) -> str:
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def _is_ours(name: str) -> bool:
    """Whether a name is one that generated code uses itself."""
    return name in _RESERVED or (name[:1] in "xcbfspovk" and name[1:].rstrip("_").isdigit()) or name.startswith("new_")


def _number(value: Any) -> str:
    text = repr(value)
    if isinstance(value, complex) and not (isfinite(value.real) and isfinite(value.imag)):
        return f"complex({value.real!r}, {value.imag!r})"
    return f"({text})" if text.startswith("-") else text


def _plain(argument: Any) -> str | None:
    """The text of a static argument made of numbers, short strings and tuples; None for anything else."""
    if argument is None or type(argument) in (bool, int):
        return repr(argument)
    if type(argument) is float:
        return repr(argument) if isfinite(argument) else None
    if type(argument) is str:
        return repr(argument) if len(argument) <= 60 else None
    if type(argument) is tuple and len(argument) <= 16:
        parts = [_plain(a) for a in argument]
        return None if any(p is None for p in parts) else _tuple([p for p in parts if p is not None])
    return None
