"""Logistic (sigmoid) and softmax regression in JAX, every derivative written by hand
and proved against autodiff.

The package is layered: a folder imports only itself and the folders above it.

    programs/     compiled once, kept      in memory and on disk
    objective/    what is minimised        model, losses, penalties, layout of theta
    derivatives/  its derivatives, twice   by hand, by autodiff, and what a solver may ask
    audit/        any function's, proved   check_derivatives, its report and diagnosis
    solvers/      one step                 Newton, L-BFGS, Newton-CG, gradient descent, Optax
    fitting/      many steps, one answer   fit, fit_many, minimize, the certificate
    inference/    what the answer means    standard errors, tests, intervals, separation
    interfaces/   ways in and out          scikit-learn, the command line, files, plots

To follow one fit, read in this order: objective/objective.py, derivatives/analytic.py,
solvers/base.py, solvers/newton.py, fitting/loop.py, fitting/certificate.py, fitting/fit.py.
"""

import ast
import importlib.util
import pathlib
import typing

from jax_logreg.interfaces.version import __version__ as __version__

# Modules that need an extra: "import *" leaves them out where that is not installed.
_EXTRAS = {"estimator": "sklearn", "plots": "matplotlib"}


def _public_names() -> dict[str, str]:
    """Name ↦ module, read from the stub: type checkers and the package share one table."""
    stub = pathlib.Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    imports = (node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def _is_installed(extra: str | None) -> bool:
    return extra is None or importlib.util.find_spec(extra) is not None


_MODULE_OF = _public_names()
__all__ = sorted(
    name
    for name, module in _MODULE_OF.items()
    if name != "__version__" and _is_installed(_EXTRAS.get(module.rpartition(".")[2]))
)


# A module is loaded when the first of its names is used: a fit need not wait for inference,
# audit or plots, each of which takes as long to load as a fit takes to compile.
def __getattr__(name: str) -> typing.Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'jax_logreg' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(_MODULE_OF)
