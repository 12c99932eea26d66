"""Logistic (sigmoid) and softmax regression in JAX, every derivative written by hand
and proved against autodiff.

The package is a staircase; a room imports only itself and the rooms above it:

    objective/    what is minimised        model, losses, penalties, objective, geometry
    derivatives/  its slopes, two ways     oracle, analytic, autodiff
    audit/        proof for anyone's slope check, report, diagnose, atlas, texts
    solvers/      one step                 Newton, L-BFGS, Newton-CG, gradient descent, Optax
    fitting/      many steps, one answer   choose, train, driver, verdict, result, fit, batch
    inference/    what the answer means    infer, covariance, delta, separation, influence
    interfaces/   doors outward            scikit-learn, the command line, files, plots

To know the whole, read in this order: objective/objective.py,
derivatives/analytic.py, solvers/base.py, fitting/driver.py.
"""

import importlib
from itertools import chain
from typing import Any

from jax_logreg.interfaces.version import __version__ as __version__

# Where the public names live. A module is loaded when the first of its names is asked for: who
# fits need not wait for what infers, audits or draws. ``__init__.pyi`` tells type checkers.
_HOMES = {
    "objective.losses": "binary_cross_entropy categorical_cross_entropy log_likelihood",
    "objective.model": "logit logits odds predict_class probability sigmoid softmax",
    "objective.objective": "make_objective",
    "objective.penalties": "ElasticNet Firth L2",
    "objective.sparse_features": "sparse_features SparseFeatures",
    "audit.check": "assert_derivatives check_derivatives",
    "audit.report": "DerivativeReport",
    "solvers.base": "Solver",
    "solvers.gradient_descent": "BacktrackingGradientDescent GradientDescent",
    "solvers.lbfgs": "LBFGS",
    "solvers.newton": "Newton",
    "solvers.newton_cg": "NewtonCG",
    "solvers.optax_adapter": "Minibatch Optax",
    "solvers.proximal_newton": "ProximalNewton",
    "fitting.fit": "fit",
    "fitting.batch": "fit_many",
    "fitting.result": "FitError FitResult Status",
    "inference.calibration": "calibration roc",
    "inference.delta": "delta Derived marginal_effects predict_interval",
    "inference.infer": "infer",
    "inference.inference": "Inference",
    "inference.influence": "Influence influence",
    "inference.profile": "profile_interval profile_test",
    "inference.restrictions": "restriction_test",
    "inference.score_test": "score_test",
    "inference.separation": "diagnose_separation Separation",
    "interfaces.exports": "export_onnx export_stablehlo",
    "interfaces.model": "Model",
    "interfaces.model_files": "load save",
    "interfaces.model_json": "from_json to_json",
}
# These need scikit-learn, or load matplotlib or pyarrow: "import *" works without them.
_APART = {
    "interfaces.estimator": "LogisticRegression SeparationWarning",
    "interfaces.estimator_messages": "RankWarning",
    "interfaces.model_plots": "plot_coefficients plot_confusion plot_decision_regions",
    "interfaces.plots": "plot_inference plot_reports plot_training",
    "interfaces.readers": "load_embedded read_table",
}
_HOME_OF = {
    name: f"jax_logreg.{home}"
    for home, names in chain(_HOMES.items(), _APART.items())
    for name in names.split()
}

__all__ = sorted(" ".join(_HOMES.values()).split())


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'jax_logreg' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
