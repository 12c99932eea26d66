"""Quoting: text from files, made fit for an error message of one line."""

from collections.abc import Sequence

_LONGEST_CELL = 40
_MOST_NAMES = 20


def printable(text: str) -> str:
    r"""Text as it is if it is printable, else with escapes.

    >>> printable("age"), printable("a\nb")
    ('age', "'a\\nb'")
    """
    return text if text.isprintable() else repr(text)


def quoted(cell: str) -> str:
    """A cell in quotes, truncated if it is long.

    >>> quoted("abc"), quoted("x" * 100)
    ("'abc'", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'")
    """
    return repr(cell if len(cell) <= _LONGEST_CELL else f"{cell[:_LONGEST_CELL]}…")


def comma_list(names: Sequence[str]) -> str:
    """The first 20 names of a list, separated by commas.

    >>> comma_list(["a", "b"])
    'a, b'
    """
    more = len(names) - _MOST_NAMES
    first = ", ".join(printable(name[: 2 * _LONGEST_CELL]) for name in names[:_MOST_NAMES])
    return f"{first}, … ({more} more)" if more > 0 else first
