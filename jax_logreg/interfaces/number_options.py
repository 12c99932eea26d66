"""Numbers on the command line."""

import argparse
import math


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
