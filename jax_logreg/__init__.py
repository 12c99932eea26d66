"""Logistic (sigmoid) and softmax regression in JAX, every derivative written by hand
and proved against autodiff.

The package is a staircase; a room imports only itself and the rooms above it:

    objective/    what is minimised        model, losses, penalties, objective, geometry
    derivatives/  its slopes, two ways     oracle, analytic, autodiff
    audit/        proof for anyone's slope check, report, diagnose, atlas, texts
    solvers/      one step                 Newton, L-BFGS, Newton-CG, gradient descent, Optax
    fitting/      many steps, one answer   choose, train, driver, verdict, result, fit, many
    inference/    what the answer means    infer, covariance, delta, separation, influence
    interfaces/   doors outward            scikit-learn, the command line, files, plots

To know the whole, read in this order: objective/objective.py,
derivatives/analytic.py, solvers/base.py, fitting/driver.py.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jax_logreg.audit.check import assert_derivatives, check_derivatives
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.many import fit_many
from jax_logreg.fitting.result import FitError, FitResult, Status
from jax_logreg.inference.calibration import calibration, roc
from jax_logreg.inference.delta import Derived, delta, marginal_effects, predict_interval
from jax_logreg.inference.infer import infer
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.influence import Influence, influence
from jax_logreg.inference.profile import profile_interval, profile_test
from jax_logreg.inference.restrictions import restriction_test
from jax_logreg.inference.score_test import score_test
from jax_logreg.inference.separation import Separation, diagnose_separation
from jax_logreg.interfaces.exports import export_onnx, export_stablehlo
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.model_files import load, save
from jax_logreg.interfaces.model_json import from_json, to_json
from jax_logreg.interfaces.version import __version__ as __version__
from jax_logreg.objective.losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    log_likelihood,
)
from jax_logreg.objective.model import (
    logit,
    logits,
    odds,
    predict_class,
    probability,
    sigmoid,
    softmax,
)
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.penalties import L2, ElasticNet, Firth
from jax_logreg.objective.sparse import SparseFeatures, sparse_features
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import BacktrackingGradientDescent, GradientDescent
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.newton_cg import NewtonCG
from jax_logreg.solvers.optax_adapter import Minibatch, Optax
from jax_logreg.solvers.proximal_newton import ProximalNewton

if TYPE_CHECKING:
    from jax_logreg.interfaces.estimator import LogisticRegression as LogisticRegression
    from jax_logreg.interfaces.estimator import SeparationWarning as SeparationWarning
    from jax_logreg.interfaces.estimator_messages import RankWarning as RankWarning
    from jax_logreg.interfaces.model_plots import plot_coefficients as plot_coefficients
    from jax_logreg.interfaces.model_plots import plot_confusion as plot_confusion
    from jax_logreg.interfaces.model_plots import plot_decision_regions as plot_decision_regions
    from jax_logreg.interfaces.plots import plot_inference as plot_inference
    from jax_logreg.interfaces.plots import plot_reports as plot_reports
    from jax_logreg.interfaces.plots import plot_training as plot_training
    from jax_logreg.interfaces.readers import load_embedded as load_embedded
    from jax_logreg.interfaces.readers import read_table as read_table

__all__ = [
    "L2",
    "LBFGS",
    "BacktrackingGradientDescent",
    "DerivativeReport",
    "Derived",
    "ElasticNet",
    "Firth",
    "FitError",
    "FitResult",
    "GradientDescent",
    "Inference",
    "Influence",
    "Minibatch",
    "Model",
    "Newton",
    "NewtonCG",
    "Optax",
    "ProximalNewton",
    "Separation",
    "Solver",
    "SparseFeatures",
    "Status",
    "assert_derivatives",
    "binary_cross_entropy",
    "calibration",
    "categorical_cross_entropy",
    "check_derivatives",
    "delta",
    "diagnose_separation",
    "export_onnx",
    "export_stablehlo",
    "fit",
    "fit_many",
    "from_json",
    "infer",
    "influence",
    "load",
    "log_likelihood",
    "logit",
    "logits",
    "make_objective",
    "marginal_effects",
    "odds",
    "predict_class",
    "predict_interval",
    "probability",
    "profile_interval",
    "profile_test",
    "restriction_test",
    "roc",
    "save",
    "score_test",
    "sigmoid",
    "softmax",
    "sparse_features",
    "to_json",
]

# What needs scikit-learn, or would load matplotlib or pyarrow, is loaded when it is first
# asked for. It is not in __all__, so that "import *" works without them.
_LAZY = {
    "LogisticRegression": "jax_logreg.interfaces.estimator",
    "RankWarning": "jax_logreg.interfaces.estimator_messages",
    "SeparationWarning": "jax_logreg.interfaces.estimator",
    "plot_coefficients": "jax_logreg.interfaces.model_plots",
    "plot_confusion": "jax_logreg.interfaces.model_plots",
    "plot_decision_regions": "jax_logreg.interfaces.model_plots",
    "plot_inference": "jax_logreg.interfaces.plots",
    "plot_reports": "jax_logreg.interfaces.plots",
    "plot_training": "jax_logreg.interfaces.plots",
    "load_embedded": "jax_logreg.interfaces.readers",
    "read_table": "jax_logreg.interfaces.readers",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'jax_logreg' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
