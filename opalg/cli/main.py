"""The command ``opalg``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import opalg
from opalg.cli.check import CHECK
from opalg.cli.command import Command, Parser, UsageError
from opalg.cli.demo import DEMO
from opalg.cli.explain import EXPLAIN
from opalg.cli.info import INFO
from opalg.errors import OpalgError

COMMANDS: tuple[Command, ...] = (DEMO, EXPLAIN, CHECK, INFO)
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def parser() -> Parser:
    """The parser of the whole command line."""
    top = Parser(
        prog="opalg",
        description="Declare an energy from linear operators, compile it to a solver, differentiate its solution.",
        epilog="Start with `opalg demo`: it restores a blurred photograph and shows every step.",
    )
    top.add_argument("--version", action="version", version=f"opalg {opalg.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.summary, description=command.description)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the name of the program; by default those of the process.

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted. A failure is one sentence on stderr.
    """
    top = parser()
    try:
        arguments = top.parse_args(argv)
        if arguments.command is None:
            top.print_help()
            return 0
        return int(arguments.run(arguments))
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except UsageError as problem:
        return _say(problem, MISUSED)
    except OpalgError as problem:
        return _say(f"opalg: {problem}", FAILED)
    except BrokenPipeError:
        # The reader has gone; what Python flushes on its way out must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        return _say(f"opalg: {problem.strerror or problem}{where}", FAILED)
    except KeyboardInterrupt:
        return _say("opalg: interrupted; nothing more was done", INTERRUPTED)


def _say(message: object, code: int) -> int:
    print(message, file=sys.stderr)
    return code
