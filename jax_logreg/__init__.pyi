"""The public names and their modules. ``__init__.py`` reads this file and loads each on use."""

from jax_logreg.audit.check import assert_derivatives as assert_derivatives
from jax_logreg.audit.check import check_derivatives as check_derivatives
from jax_logreg.fitting.batch import fit_many as fit_many
from jax_logreg.fitting.fit import fit as fit
from jax_logreg.fitting.result import FitError as FitError
from jax_logreg.fitting.result import FitResult as FitResult
from jax_logreg.fitting.result import Status as Status
from jax_logreg.inference.calibration import calibration as calibration
from jax_logreg.inference.delta import delta as delta
from jax_logreg.inference.delta import marginal_effects as marginal_effects
from jax_logreg.inference.delta import predict_interval as predict_interval
from jax_logreg.inference.hypothesis_tests import hypothesis_test as hypothesis_test
from jax_logreg.inference.hypothesis_tests import profile_interval as profile_interval
from jax_logreg.inference.infer import infer as infer
from jax_logreg.inference.influence import influence as influence
from jax_logreg.inference.separation import diagnose_separation as diagnose_separation
from jax_logreg.interfaces.classifier_plots import plot_coefficients as plot_coefficients
from jax_logreg.interfaces.classifier_plots import plot_confusion as plot_confusion
from jax_logreg.interfaces.classifier_plots import plot_decision_regions as plot_decision_regions
from jax_logreg.interfaces.classifier_plots import roc as roc
from jax_logreg.interfaces.estimator import FitWarning as FitWarning
from jax_logreg.interfaces.estimator import LogisticRegression as LogisticRegression
from jax_logreg.interfaces.model import Model as Model
from jax_logreg.interfaces.plots import plot_inference as plot_inference
from jax_logreg.interfaces.plots import plot_reports as plot_reports
from jax_logreg.interfaces.plots import plot_training as plot_training
from jax_logreg.interfaces.tables import load_embedded as load_embedded
from jax_logreg.interfaces.tables import read_table as read_table
from jax_logreg.interfaces.version import __version__ as __version__
from jax_logreg.objective.losses import binary_cross_entropy as binary_cross_entropy
from jax_logreg.objective.losses import categorical_cross_entropy as categorical_cross_entropy
from jax_logreg.objective.losses import log_likelihood as log_likelihood
from jax_logreg.objective.model import logit as logit
from jax_logreg.objective.model import logits as logits
from jax_logreg.objective.model import odds as odds
from jax_logreg.objective.model import predict_class as predict_class
from jax_logreg.objective.model import probability as probability
from jax_logreg.objective.model import sigmoid as sigmoid
from jax_logreg.objective.model import softmax as softmax
from jax_logreg.objective.objective import make_objective as make_objective
from jax_logreg.objective.penalties import L2 as L2
from jax_logreg.objective.penalties import ElasticNet as ElasticNet
from jax_logreg.objective.penalties import Firth as Firth
from jax_logreg.objective.sparse_features import sparse_features as sparse_features
from jax_logreg.solvers.base import Solver as Solver
from jax_logreg.solvers.gradient_descent import (
    BacktrackingGradientDescent as BacktrackingGradientDescent,
)
from jax_logreg.solvers.gradient_descent import GradientDescent as GradientDescent
from jax_logreg.solvers.lbfgs import LBFGS as LBFGS
from jax_logreg.solvers.newton import Newton as Newton
from jax_logreg.solvers.newton_cg import NewtonCG as NewtonCG
from jax_logreg.solvers.optax_adapter import Minibatch as Minibatch
from jax_logreg.solvers.optax_adapter import Optax as Optax
from jax_logreg.solvers.proximal_newton import ProximalNewton as ProximalNewton
