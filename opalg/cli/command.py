"""What a command is, and how arguments are read and refused."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn


class UsageError(Exception):
    """Arguments that make no sense; the message is one sentence for the user."""


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` where argparse would print the usage."""
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


@dataclass(frozen=True)
class Command:
    """A command of ``opalg``.

    Attributes
    ----------
    name : str
    summary : str
        One line for ``opalg --help``.
    description : str
        What ``opalg NAME --help`` says first.
    arguments : callable
        Adds the arguments to a parser.
    run : callable
        Takes the parsed arguments; returns the exit code.
    """

    name: str
    summary: str
    description: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def positive(text: str) -> float:
    """A positive finite number."""
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def nonnegative(text: str) -> float:
    """A nonnegative finite number."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def whole(lowest: int) -> Callable[[str], int]:
    """A reader of whole numbers that are not below a limit."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{value} is below {lowest}")
        return value

    return read


def add_placement(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """The options that say where to compute."""
    parser.add_argument(
        "--backend", choices=("numpy", "torch", "cupy"), default=defaults.get("backend"), help="array library"
    )
    parser.add_argument("--device", metavar="NAME", help="the library's device, such as cuda")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default=defaults.get("dtype"), help="working precision"
    )


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value
