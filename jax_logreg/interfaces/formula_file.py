"""A user's file of formulas: run, and its functions grouped by suffix."""

import ast
import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.report import DerivativeReport

DERIVATIVES = ("gradient", "hessian", "hvp", "jacobian")
_OPTIONS = ("at", "args", "names", "numpy")
_FUNCTION = re.compile(rf"(value|{'|'.join(DERIVATIVES)})((?:_\w+)?)")
_LONGEST_MESSAGE = 200


class Group(NamedTuple):
    """A value and its derivatives, which share a suffix.

    Attributes:
        name: of the value: "value", "value_softmax", …
        where: file and line of the value, for messages.
        arguments: of ``check_derivatives``: functions, point and options.
    """

    name: str
    where: str
    arguments: dict[str, Any]

    def audit(self, seed: int) -> DerivativeReport:
        """Compare the group's derivatives with its value.

        Raises:
            ValueError: with file and line, if the arguments make no sense.
        """
        try:
            return check_derivatives(**self.arguments, seed=seed)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error


@contextlib.contextmanager
def run_formula_file(path: Path) -> Iterator[list[Group]]:
    """Run a file and yield its groups, in the file's order.

    Inside the context the file's folder is on the import path, as for a script, its module
    is in ``sys.modules``, where dataclasses look themselves up (``runpy`` would have removed
    it), and whatever the file prints goes to the error stream.

    Args:
        path: a Python file.

    Raises:
        ValueError: naming the line, for a file that does not run or lacks a part.
        OSError: if it cannot be read.
    """
    source, folder = path.read_bytes(), str(path.resolve().parent)
    module = ModuleType(f"formulas_of_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                exec(compile(source, str(path), "exec"), vars(module))
            except (Exception, SystemExit) as error:
                raise ValueError(_place_and_message(error, str(path))) from error
            yield _groups(vars(module), _lines_of_names(source), path)
    finally:
        del sys.modules[module.__name__]
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _place_and_message(error: BaseException, path: str) -> str:
    """File, last line of it in the traceback, kind and message of an error, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    message = " ".join(traceback.format_exception_only(error)[-1].split())
    at = f", line {lines[-1]}" if lines else ""
    return f"{path}{at}: {message[:_LONGEST_MESSAGE]}"


def _lines_of_names(source: bytes) -> dict[str, int]:
    """The line where each name that the file itself defines is bound last."""
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
    found: dict[str, dict[str, Any]] = {}
    for name, item in names.items():
        # Not a namesake that comes with an import: jax.hessian, numpy.gradient.
        library = (getattr(item, "__module__", None) or "").split(".")[0] in ("jax", "numpy")
        match = _FUNCTION.fullmatch(name)
        if match and callable(item) and (name in lines or not library):
            found.setdefault(match[2], {})[match[1]] = item
    if not found:
        raise ValueError(f"{path} defines no value: write value(θ), its gradient(θ), and at = …")
    groups = [_group(suffix, found[suffix], names, lines, path) for suffix in found]
    return sorted(groups, key=lambda group: lines.get(group.name, 0))


def _group(
    suffix: str, functions: dict[str, Any], names: dict[str, Any], lines: dict[str, int], path: Path
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
    options = {option: names.get(f"{option}{suffix}") for option in _OPTIONS}
    given = {k: v for k, v in options.items() if not isinstance(v, ModuleType | None)}
    return Group(first, where, functions | given)
