"""The options of the command line that name a table."""

import argparse

from jax_logreg.interfaces.assemble import MISSING_POLICIES
from jax_logreg.interfaces.command_options import positive
from jax_logreg.interfaces.readers import EMBEDDED, load_embedded, read_table
from jax_logreg.interfaces.sources import MAX_BYTES, ReadProgress
from jax_logreg.interfaces.table import Table, densified

# Options that say how to read a file.
_FILE_OPTIONS = ("target", "missing", "categorical", "drop", "delimiter")


def add_table(fit: argparse.ArgumentParser) -> None:
    """Options that name a table, and say how to read it."""
    fit.add_argument("file", nargs="?", metavar="FILE", help="a table: see the formats below")
    fit.add_argument("--target", metavar="NAME", help="the file's column of classes")
    fit.add_argument("--data", choices=list(EMBEDDED), help="a data set that ships inside")
    fit.add_argument(
        "--missing",
        choices=MISSING_POLICIES,
        default="refuse",
        help="rows with missing values: refuse the file (default), drop them, or fill "
        "numbers with the mean of their column",
    )
    fit.add_argument(
        "--categorical",
        action="append",
        default=[],
        metavar="NAME",
        help="one-hot encode this column, its first category being the reference; may be "
        'repeated; "auto" takes every column that is not numbers',
    )
    fit.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="ignore this column; as often"
    )
    add_delimiter(fit)
    fit.add_argument(
        "--max-gib",
        type=positive,
        default=MAX_BYTES / 2**30,
        metavar="G",
        help="largest table in memory (default %(default)g GiB)",
    )


def add_delimiter(command: argparse.ArgumentParser) -> None:
    """The option of a CSV file alone."""
    command.add_argument(
        "--delimiter", metavar="C", help='of a CSV file (default: by its header); "tab" is one'
    )


def table_of(options: argparse.Namespace, progress: ReadProgress) -> Table:
    """The table that the options of :func:`add_table` name.

    Args:
        options: those of the command.
        progress: called with the share of a file that has been read.

    Raises:
        ValueError: if they contradict one another, or the file cannot be used.
        OSError: if it cannot be read.
    """
    if options.file is None:
        given = [
            name for name in _FILE_OPTIONS if getattr(options, name) not in (None, [], "refuse")
        ]
        if given:
            raise ValueError(
                f"--{given[0]} goes with a file: jax-logreg fit FILE --{given[0]} …, not with "
                "a data set that ships inside."
            )
        return load_embedded(options.data or "breast-cancer")
    if options.data is not None:
        raise ValueError(f"give either a file or --data, not both ({options.file!r}).")
    max_bytes = int(options.max_gib * 2**30)
    table = read_table(
        options.file,
        options.target,
        missing=options.missing,
        categorical="auto" if options.categorical == ["auto"] else options.categorical,
        drop=options.drop,
        delimiter=delimiter(options),
        max_bytes=max_bytes,
        progress=progress,
    )
    return densified(table, max_bytes)


def delimiter(options: argparse.Namespace) -> str | None:
    """The delimiter of a CSV file, if one is given; "tab" is easier to type."""
    return "\t" if options.delimiter == "tab" else options.delimiter
