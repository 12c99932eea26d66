"""``jax-logreg check``: the audit of a user's formulas, or of this project's own."""

import argparse
import sys
from pathlib import Path

import jax

from jax_logreg.audit.report import DerivativeReport
from jax_logreg.interfaces.check_report import print_own_check
from jax_logreg.interfaces.console import Progress, require_rich
from jax_logreg.interfaces.files import as_json
from jax_logreg.interfaces.formula_file import run_formula_file
from jax_logreg.interfaces.plot_style import check_plot_path, save_figure
from jax_logreg.interfaces.plots import plot_reports
from jax_logreg.interfaces.self_check import check_own_formulas, own_report

SUMMARY = """\
Compare derivatives written by hand with autodiff, and say what is wrong with
them. Without a file: every formula of the two texts that this project follows,
and every derivative of this project in both precisions, on its two data sets.
A misprint that comes out wrong as expected is no failure."""

EXAMPLES = """\
a file of formulas defines
  value(theta, *args)     a number (or an array, with a jacobian)
  at                      a point theta: an array, or a dict or list of them
and any of
  gradient(theta, *args)  hessian(theta, *args)  jacobian(theta, *args)
  hvp(theta, v, *args)    the Hessian times v
and, if it likes,
  args = (X, y)           what the functions take beside theta
  names = ["age", ...]    what the entries of theta are called
  numpy = True            the derivatives are given NumPy arrays, not JAX's
A suffix makes another group: value_softmax, gradient_softmax, at_softmax, ...
Arrays that the file makes are float64 unless it says otherwise.
THE FILE IS RUN: name only files that you would run with python.

examples:
  jax-logreg check                               this project's own formulas
  jax-logreg check my_formulas.py                your formulas
  jax-logreg check my_formulas.py --plot my.png  with a picture of the errors
  jax-logreg check my_formulas.py --json         for machines

exit status: 0 when all is right, 1 when a derivative is wrong or a verdict is
not the expected one, 2 for a file that cannot be used.
"""


def run_check(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: file, json, plot and seed.

    Returns:
        The exit status, 0 or 1.

    Raises:
        ValueError: in one line, for a file that cannot be used.
        OSError: the same.
    """
    plot = None if options.plot is None else check_plot_path(options.plot)
    if options.file is None:
        return _run_own_check(options, plot)
    return _run_file_check(options, plot)


def _run_own_check(options: argparse.Namespace, plot: Path | None) -> int:
    if not options.json:
        require_rich()
    progress = Progress()
    with progress.shown():
        checks = check_own_formulas(options.seed, progress.report())
    sound = all(check.sound for check in checks)
    if options.json:
        found = [check.as_dict() for check in checks]
        print(as_json({"seed": options.seed, "tables": found, "ok": sound}))
    else:
        print_own_check(checks)
    if plot is not None:
        _draw({"this project, breast cancer": own_report(options.seed)}, plot)
    return 0 if sound else 1


def _run_file_check(options: argparse.Namespace, plot: Path | None) -> int:
    progress = Progress()
    report = progress.report()
    reports, places = {}, {}
    with (
        jax.enable_x64(True),
        run_formula_file(Path(options.file)) as groups,
        progress.shown(),
    ):
        for group in groups:
            report(f"audit of {group.name}")
            reports[group.name], places[group.name] = group.audit(options.seed), group.where
    ok = all(report.ok for report in reports.values())
    if options.json:
        found = {name: report.as_dict() for name, report in reports.items()}
        file = {"file": options.file, "seed": options.seed, "groups": found, "ok": ok}
        print(as_json(file))
    else:
        _print_reports(reports, places)
    if plot is not None:
        _draw(reports, plot)
    return 0 if ok else 1


def _print_reports(reports: dict[str, DerivativeReport], places: dict[str, str]) -> None:
    for name, report in reports.items():
        print(f"{name} ({places[name]})\n{report}\n")
    wrong = [name for name, report in reports.items() if not report.ok]
    if len(reports) > 1:
        verdict = f"wrong: {', '.join(wrong)}" if wrong else "all right"
        print(f"{len(reports)} groups, {verdict}")


def _draw(reports: dict[str, DerivativeReport], plot: Path) -> None:
    save_figure(plot_reports(reports), plot)
    print(f"wrote {plot}", file=sys.stderr)
