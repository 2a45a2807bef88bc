"""``opalg explain MODULE:ENERGY``: what the compiler makes of an energy."""

from __future__ import annotations

import argparse

from opalg.cli.command import Command, add_placement
from opalg.cli.objects import called, load
from opalg.compiler import Plan, compile
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("energy", metavar="MODULE:ENERGY", help="such as mymodule:E or folder/file.py:E")
    parser.add_argument("--method", default="auto", help="the method to compile for (default: the compiler's choice)")
    parser.add_argument("--nonconvex", action="store_true", help="accept an energy that is not known to be convex")
    parser.add_argument("--source", action="store_true", help="print the generated step as well")
    add_placement(parser)


def run(options: argparse.Namespace) -> int:
    """Print the plan of the energy that the arguments name."""
    found = load(options.energy)
    if callable(found) and not isinstance(found, (EnergyExpression, Plan)):
        found = called(found, options.energy)
    if isinstance(found, EnergyExpression):
        found = compile(
            found,
            method=options.method,
            backend=options.backend,
            device=options.device,
            dtype=options.dtype,
            nonconvex=options.nonconvex,
        )
    if not isinstance(found, Plan):
        raise ParameterError(
            f"{options.energy} is {type(found).__name__}; explain takes an energy, a plan, or a function that makes one"
        )
    print(found.explain())
    if options.source:
        print(f"\nSource\n\n{found.source()}")
    return 0


EXPLAIN = Command(
    "explain",
    "print the plan of an energy in your own Python module",
    "Compile an energy and print every stage: rules that fired, facts, methods weighed and why, the step, its cost.",
    arguments,
    run,
)
