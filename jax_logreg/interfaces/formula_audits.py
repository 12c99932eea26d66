"""Audits of formulas: a user's file, run and its functions grouped by suffix, and this
project's own formulas, on its two data sets.
"""

import ast
import contextlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.proof import Comparison, audit_objective
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.audit.text_formulas import TextVerdict, audit_texts
from jax_logreg.derivatives import analytic
from jax_logreg.fitting.column_scaling import standardize
from jax_logreg.interfaces.table_options import EMBEDDED
from jax_logreg.interfaces.tables import Table, load_embedded
from jax_logreg.objective.objective import Objective, make_objective
from jax_logreg.objective.penalties import L2
from jax_logreg.programs.jax_settings import in_float64

DERIVATIVES = ("gradient", "hessian", "hvp", "jacobian")
_OPTIONS = ("at", "args", "names", "numpy")
_FUNCTION = re.compile(rf"(value|{'|'.join(DERIVATIVES)})((?:_\w+)?)")
_LONGEST_MESSAGE = 200

# The audit's arrays grow as n · P², so only the first rows of a large table are audited.
_AUDIT_ROWS = 600
# Strength of the penalty, so that its derivatives are audited too.
_L2 = 0.01


# A user's formulas ---------------------------------------------------------------------------


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


# Own formulas --------------------------------------------------------------------------------

# Called with (activity, steps, loss, gradient norm); without the numbers where there are none.
OnProgress = Callable[..., None]


class OwnCheck(NamedTuple):
    """The audit of this project's formulas on one embedded data set.

    Attributes:
        name: of the data set.
        shape: rows and features.
        num_classes: two for the sigmoid's formulas, more for the softmax's.
        texts: the formulas of the texts.
        audits: dtype name ↦ this project's derivatives.
    """

    name: str
    shape: tuple[int, int]
    num_classes: int
    texts: list[TextVerdict]
    audits: dict[str, list[Comparison]]

    @property
    def sound(self) -> bool:
        """Whether every verdict is the expected one and every derivative agrees."""
        agree = all(c.agrees for audit in self.audits.values() for c in audit)
        return agree and all(verdict.as_expected for verdict in self.texts)

    def as_dict(self) -> dict[str, Any]:
        """In plain numbers and strings."""
        return {
            "data": self.name,
            "texts": [verdict.as_dict() for verdict in self.texts],
            "derivatives": {d: [c._asdict() for c in audit] for d, audit in self.audits.items()},
            "sound": self.sound,
        }


def check_own_formulas(seed: int, progress: OnProgress) -> list[OwnCheck]:
    """Audit the formulas of the texts and this project's derivatives, on both data sets.

    Args:
        seed: of the random points.
        progress: called with what is going on.

    Returns:
        One check for each embedded data set.
    """
    return [_check_table(name, seed, progress) for name in EMBEDDED]


def _check_table(name: str, seed: int, progress: OnProgress) -> OwnCheck:
    progress(f"{name}: formulas of the two texts")
    table = load_embedded(name)
    X = standardize(table.X)[0]
    audits, _ = audit_table(
        X, table, l2=_L2, fit_intercept=True, seed=seed,
        progress=lambda activity: progress(f"{name}: {activity}"),
    )  # fmt: skip
    return OwnCheck(
        name=name,
        shape=(X.shape[0], X.shape[1]),
        num_classes=len(table.class_names),
        texts=audit_texts(X, table.y, seed),
        audits=audits,
    )


def own_report(seed: int) -> DerivativeReport:
    """The full audit of gradient and Hessian by hand, on the first data set."""
    table = load_embedded(next(iter(EMBEDDED)))
    X = standardize(table.X)[0]
    with in_float64():
        F = _objective(X, table, _L2, True)
        return check_derivatives(
            F.value,
            gradient=lambda theta: analytic.gradient(F, theta),
            hessian=lambda theta: analytic.hessian(F, theta),
            at=np.zeros(F.num_parameters),
            seed=seed,
        )


def audit_table(
    X: np.ndarray, table: Table, *, l2: float, fit_intercept: bool, seed: int, progress: OnProgress
) -> tuple[dict[str, list[Comparison]], int]:
    """Every derivative of the objective on a table against autodiff, in both dtypes.

    Args:
        X: the table's columns, scaled or not, (n, p).
        table: labels and classes.
        l2: strength of the penalty.
        fit_intercept: whether the objective has an intercept.
        seed: of the random point.
        progress: called with what is going on.

    Returns:
        Name of the dtype ↦ comparisons, and the number of rows that were used: the first 600.
    """
    audits, X = {}, X[:_AUDIT_ROWS]
    for dtype in ("float64", "float32"):
        progress(f"derivative audit in {dtype}")
        with jax.enable_x64(dtype == "float64"):
            objective = _objective(X.astype(dtype), table, l2, fit_intercept)
            audits[dtype] = audit_objective(objective, jax.random.key(seed))
    return audits, len(X)


def _objective(X: np.ndarray, table: Table, l2: float, fit_intercept: bool) -> Objective:
    """The objective on the first rows of a table, in the dtype of X."""
    y, K = table.y[: len(X)], len(table.class_names)
    labels: Any = jax.nn.one_hot(y, K) if K > 2 else jnp.asarray(y)
    return make_objective(X, labels, L2(l2), fit_intercept=fit_intercept)
