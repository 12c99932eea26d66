"""What the commands share: how one is told of, and numbers as options."""

import argparse
import math
from collections.abc import Callable
from typing import Any


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Tell the command line of a command; its options are for the caller to add."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _number(text: str, least: float, allow_least: bool, kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and (value > least or (allow_least and value == least)):
        return value
    raise argparse.ArgumentTypeError(f"must be a {kind}, but it is {text!r}")


def nonnegative(text: str) -> float:
    """A finite number of at least 0."""
    return _number(text, 0, True, "number of at least 0")


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, 0, False, "number above 0")


def count(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, but it is {text!r}")
    return int(text)
