"""``opalg check MODULE:OBJECT``: test an operator, a functional, or the gradients of an energy."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from opalg.cli.command import Command, whole
from opalg.cli.objects import LoadError, load
from opalg.compiler import MapPlan, Plan
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError
from opalg.testing import Report, check_functional, check_gradient, check_operator


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("object", metavar="MODULE:OBJECT", help="such as mymodule:A or folder/file.py:f")
    parser.add_argument(
        "--shape", type=_sizes, default=(3, 4), metavar="N,M", help="arrays to try a functional on (default: 3,4)"
    )
    parser.add_argument(
        "--library",
        choices=("numpy", "torch", "cupy"),
        default="numpy",
        help="arrays to try operators and functionals on",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of the random arrays (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Print the report on the object that the arguments name; 0 where everything holds."""
    found = load(options.object)
    if isinstance(found, type) or (callable(found) and not _is_checkable(found)):
        found = _made(found, options.object)
    report = _checked(found, options)
    print(report)
    return 0 if report else 1


def _made(factory: Any, name: str) -> Any:
    """What a user's function or class returns."""
    try:
        return factory()
    except Exception as problem:
        raise LoadError(f"{name}() fails: {type(problem).__name__}: {problem}") from problem


def _is_checkable(found: Any) -> bool:
    known = (EnergyExpression, Plan, MapPlan)
    return isinstance(found, known) or hasattr(found, "in_shape") or hasattr(found, "shape") or hasattr(found, "value")


def _checked(found: Any, options: argparse.Namespace) -> Report:
    rng = np.random.default_rng(options.seed)
    if isinstance(found, (EnergyExpression, Plan, MapPlan)):
        return check_gradient(found, rng=rng)
    if hasattr(found, "in_shape") or hasattr(found, "shape"):
        return check_operator(found, rng, library=options.library)
    if hasattr(found, "value"):
        return check_functional(found, options.shape, rng, library=options.library)
    raise ParameterError(
        f"{options.object} is {type(found).__name__}; check takes an operator, a functional, an energy or a plan, or a "
        f"function that returns one"
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(whole(1)(part) for part in text.split(","))


CHECK = Command(
    "check",
    "test an operator, functional or energy of your own",
    "Try everything that an operator promises (adjoint, linearity, facts, norm), that a functional promises (gradient, "
    "prox, conjugate, facts), or the gradients of an energy's solution. Exit code 1 where something fails.",
    arguments,
    run,
)
