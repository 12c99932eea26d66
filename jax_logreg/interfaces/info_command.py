"""``jax-logreg info`` and ``export``: what a model file holds, and in other formats."""

import argparse
import sys
from typing import Any

from jax_logreg.interfaces.command_options import add_command
from jax_logreg.interfaces.console import require_rich
from jax_logreg.interfaces.files import check_can_write, open_output
from jax_logreg.interfaces.info_console import print_model
from jax_logreg.interfaces.model import Model

_INFO_EXAMPLES = """\
examples:
  jax-logreg info my.model          classes, how the fit ended, coefficients
  jax-logreg info my.model --json   all of it, every digit, for machines

exit status: 0, or 2 for a file that is damaged or no model.
"""

_EXPORT_EXAMPLES = """\
StableHLO and ONNX take the features, of any number of rows, and give the
probability of every class, in float64; JSON holds the model itself, readable.

examples:
  jax-logreg export my.model --to onnx --out my.onnx
  jax-logreg export my.model --to stablehlo --out my.stablehlo
  jax-logreg export my.model --to json --out -       to the screen

exit status: 0, or 2 for a file that cannot be used.
"""

_FORMATS = ("stablehlo", "onnx", "json")


def add_info(commands: Any) -> None:
    """Tell the command line of ``info``."""
    info = add_command(
        commands,
        "info",
        _run_info,
        summary="show what is in a saved model",
        description="Show what is in a model file.",
        examples=_INFO_EXAMPLES,
    )
    info.add_argument("model", metavar="MODEL", help="what fit --save wrote")
    info.add_argument("--json", action="store_true", help="print one JSON object")


def add_export(commands: Any) -> None:
    """Tell the command line of ``export``."""
    export = add_command(
        commands,
        "export",
        _run_export,
        summary="write a saved model as StableHLO, ONNX or JSON",
        description="Write a saved model in a format that other programs read.",
        examples=_EXPORT_EXAMPLES,
    )
    export.add_argument("model", metavar="MODEL", help="what fit --save wrote")
    export.add_argument("--to", required=True, choices=_FORMATS, help="the format")
    export.add_argument("--out", required=True, metavar="OUT", help="a file, or - for the screen")


def _run_info(options: argparse.Namespace) -> int:
    if not options.json:
        require_rich()
    model = Model.load(options.model)
    if options.json:
        print(model.to_json())
    else:
        print_model(options.model, model)
    return 0


def _run_export(options: argparse.Namespace) -> int:
    if options.out != "-":
        check_can_write(options.out)
    model = Model.load(options.model)
    out = sys.stdout.buffer if options.out == "-" else options.out
    if options.to == "onnx":
        model.export_onnx(out)
    elif options.to == "stablehlo":
        model.export_stablehlo(out)
    else:
        with open_output(out) as stream:
            stream.write(f"{model.to_json()}\n".encode("ascii"))
    return 0
