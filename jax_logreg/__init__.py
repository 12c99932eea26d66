"""Logistic (sigmoid) and softmax regression in JAX, every derivative written by hand
and proved against autodiff.

The package is a staircase; a room imports only itself and the rooms above it:

    objective/    what is minimised        model, losses, penalties, objective, geometry
    derivatives/  its slopes, two ways     oracle, analytic, autodiff
    audit/        proof for anyone's slope check, report, diagnose, atlas, texts
    solvers/      one step                 Newton, L-BFGS, Newton-CG, gradient descent, Optax
    fitting/      many steps, one answer   choose, train, driver, verdict, result, fit, many
    interfaces/   doors outward            the command line, files, plots

To know the whole, read in this order: objective/objective.py,
derivatives/analytic.py, solvers/base.py, fitting/driver.py.
"""

from jax_logreg.audit.check import assert_derivatives, check_derivatives
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.many import fit_many
from jax_logreg.fitting.result import FitError, FitResult, Status
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
from jax_logreg.objective.penalties import L2
from jax_logreg.objective.sparse import SparseFeatures, sparse_features
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import BacktrackingGradientDescent, GradientDescent
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.newton_cg import NewtonCG
from jax_logreg.solvers.optax_adapter import Minibatch, Optax

__version__ = "0.1.0"

__all__ = [
    "L2",
    "LBFGS",
    "BacktrackingGradientDescent",
    "DerivativeReport",
    "FitError",
    "FitResult",
    "GradientDescent",
    "Minibatch",
    "Newton",
    "NewtonCG",
    "Optax",
    "Solver",
    "SparseFeatures",
    "Status",
    "assert_derivatives",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "check_derivatives",
    "fit",
    "fit_many",
    "log_likelihood",
    "logit",
    "logits",
    "make_objective",
    "odds",
    "predict_class",
    "probability",
    "sigmoid",
    "softmax",
    "sparse_features",
]
