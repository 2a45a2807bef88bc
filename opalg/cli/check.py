"""``opalg check MODULE[:OBJECT]``: test an operator, a functional, an energy, or all that a module holds."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from opalg.cli.command import Command, whole
from opalg.cli.objects import LoadError, load, load_module
from opalg.errors import ParameterError
from opalg.testing import Report, check, collected
from opalg.testing.collecting import is_checkable


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "object",
        metavar="MODULE[:OBJECT]",
        help="such as mymodule:A or folder/file.py:f; without an object, all that the module or package holds",
    )
    parser.add_argument(
        "--shape", type=_sizes, metavar="N,M", help="arrays to try a functional on (default: what it names, else 3,4)"
    )
    parser.add_argument(
        "--library",
        choices=("numpy", "torch", "cupy"),
        default="numpy",
        help="arrays to try operators and functionals on",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of the random arrays (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Print the report on what the arguments name; 0 where everything holds."""
    return _run_object(options) if ":" in options.object else _run_module(options)


def _run_object(options: argparse.Namespace) -> int:
    found = load(options.object)
    if isinstance(found, type) or (callable(found) and not _is_checkable(found)):
        found = _made(found, options.object)
    report = _checked(found, options.object, options)
    print(report)
    return 0 if report else 1


def _run_module(options: argparse.Namespace) -> int:
    """One line for each object of a module, the reports of those that fail, and how long it took."""
    things = collected(load_module(options.object))
    if not things:
        raise ParameterError(
            f"{options.object} holds no operator, functional or energy under a public name; mark functions that make "
            f"one with @oa.testing.checked"
        )
    begin, failed = time.perf_counter(), 0
    for thing in things:
        start = time.perf_counter()
        report = _checked(thing.value, thing.name, options)
        failed += not report
        spent = time.perf_counter() - start
        print(f"{'ok    ' if report else 'FAILED'} {spent:7.2f} s  {thing.name}: {_short(report.subject)}", flush=True)
        if not report:
            print("\n".join("    " + line for line in str(report).splitlines()[1:]))
    spent = time.perf_counter() - begin
    print(f"\n{len(things)} checked, {failed or 'none'} failed, in {spent:.1f} s")
    return 1 if failed else 0


def _short(text: str, most: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _made(factory: Any, name: str) -> Any:
    """What a user's function or class returns."""
    try:
        return factory()
    except Exception as problem:
        raise LoadError(f"{name}() fails: {type(problem).__name__}: {problem}") from problem


def _is_checkable(found: Any) -> bool:
    return is_checkable(found) or any(hasattr(found, name) for name in ("in_shape", "shape", "value"))


def _checked(found: Any, name: str, options: argparse.Namespace) -> Report:
    rng = np.random.default_rng(options.seed)
    try:
        return check(found, rng, shape=options.shape, library=options.library)
    except ParameterError as problem:
        raise ParameterError(f"{name}: {problem}") from None


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(whole(1)(part) for part in text.split(","))


CHECK = Command(
    "check",
    "test operators, functionals and energies of your own",
    "Try everything that an operator promises (adjoint, linearity, facts, norm), that a functional promises (gradient, "
    "prox, conjugate, facts), or an energy: its parts, and the gradients of its solution. Of a module or package, try "
    "every operator, functional and energy that it holds. Exit code 1 where something fails.",
    arguments,
    run,
)
