"""A user's file of formulas: ``value``, its derivatives and a point, found by name."""

import ast
import contextlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.report import DerivativeReport

DERIVATIVES = ("gradient", "hessian", "hvp", "jacobian")
_FUNCTION = re.compile(rf"(value|{'|'.join(DERIVATIVES)})((?:_\w+)?)")
_LONGEST_MESSAGE = 200


class Group(NamedTuple):
    """A value and its derivatives, as one suffix names them.

    Attributes:
        suffix: "" or "_softmax" and the like.
        where: file and line of the value, for messages.
        functions: "value" and at least one derivative.
        options: at, and whichever of args, names, numpy are given.
    """

    suffix: str
    where: str
    functions: dict[str, Callable[..., Any]]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """What the value is called in the file."""
        return f"value{self.suffix}"

    def audit(self, seed: int) -> DerivativeReport:
        """Hold the group's derivatives against its value.

        Raises:
            ValueError: with the line, where the group makes no sense.
        """
        arguments: dict[str, Any] = {**self.functions, **self.options, "seed": seed}
        try:
            return check_derivatives(**arguments)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[Group]]:
    """Run a file and hand out its groups, in the file's order.

    While this lasts the file's folder is on the import path, as it is for a script, and
    whatever the file prints goes to the error stream.

    Args:
        path: a Python file.

    Raises:
        ValueError: naming the line, for a file that does not run or lacks a part.
        OSError: if it cannot be read.
    """
    source = path.read_bytes()
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    module = ModuleType(f"formulas_of_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    try:
        with contextlib.redirect_stdout(sys.stderr):
            _run(source, path, module)
            yield _groups(vars(module), _lines_of_names(source), path)
    finally:
        del sys.modules[module.__name__]
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _run(source: bytes, path: Path, module: ModuleType) -> None:
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        line = _line_of(error, path)
        at = "" if line is None else f", line {line}"
        raise ValueError(f"{path}{at}: {_in_short(error)}") from error


def _line_of(error: BaseException, path: Path) -> int | None:
    """The last line of the file that was on the way to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None


def _in_short(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    words = " ".join(text.split())[:_LONGEST_MESSAGE]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _lines_of_names(source: bytes) -> dict[str, int]:
    """Where each name that the file itself defines is bound last."""
    lines: dict[str, int] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            lines[statement.name] = statement.lineno
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                lines[node.id] = node.lineno
    return lines


def _groups(names: dict[str, Any], lines: dict[str, int], path: Path) -> list[Group]:
    found: dict[str, dict[str, Callable[..., Any]]] = {}
    for name, thing in names.items():
        match = _FUNCTION.fullmatch(name)
        meant = name in lines or not _is_of_a_library(thing)
        if match and callable(thing) and meant:
            found.setdefault(match[2], {})[match[1]] = thing
    if not found:
        raise ValueError(f"{path} defines no value: write value(θ), its gradient(θ), and at = …")
    groups = [_group(suffix, found[suffix], names, lines, path) for suffix in found]
    return sorted(groups, key=lambda group: lines.get(group.name, 0))


def _group(
    suffix: str,
    functions: dict[str, Callable[..., Any]],
    names: dict[str, Any],
    lines: dict[str, int],
    path: Path,
) -> Group:
    first = f"{'value' if 'value' in functions else next(iter(functions))}{suffix}"
    where = f"{path}, line {lines[first]}" if first in lines else str(path)
    if "value" not in functions:
        raise ValueError(f"{where}: {first} has no value{suffix} to be the derivative of.")
    if len(functions) == 1:
        wanted = ", ".join(f"{name}{suffix}" for name in DERIVATIVES)
        raise ValueError(f"{where}: {first} has no derivative; define one of {wanted}.")
    if f"at{suffix}" not in names:
        raise ValueError(f"{where}: {first} has no point; define at{suffix} = …")
    options = {
        option: names[f"{option}{suffix}"]
        for option in ("at", "args", "names", "numpy")
        if not isinstance(names.get(f"{option}{suffix}"), ModuleType | None)
    }
    return Group(suffix, where, functions, options)


def _is_of_a_library(thing: Any) -> bool:
    """Whether it is a namesake that comes with an import: jax.hessian, numpy.gradient."""
    return (getattr(thing, "__module__", None) or "").split(".")[0] in ("jax", "numpy")
