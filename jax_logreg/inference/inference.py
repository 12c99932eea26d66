r"""Estimates with their standard errors and confidence intervals, and statistics of the fit.

The log-likelihood is :math:`\sum_i w_i \log p(y_i)`, without the penalty; the deviance is
twice its distance from that of the labels themselves, which is zero for labels 0 and 1.

Counts, s of m, enter as the label s/m with weight m. Programs for binomial counts then add the
constant :math:`\sum_i \log\binom{m_i}{s_i}`, which no estimate and no test depends on, and count
rows in the BIC; here an observation is one of the m.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import gammaincc, ndtr, ndtri, xlogy

from jax_logreg.fitting.fit import fit as run_fit
from jax_logreg.fitting.validation import check_flag
from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.information import Information, row_norms
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.programs.compiled import Compiled
from jax_logreg.programs.jax_settings import in_float64

if TYPE_CHECKING:
    import pandas


class ChiSquaredTest(NamedTuple):
    """The result of a χ² test.

    Attributes:
        statistic: the test statistic.
        degrees_of_freedom: of the χ² distribution under the null hypothesis.
        p_value: the probability of a larger statistic under the null hypothesis.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float


def chi_squared(statistic: float, degrees_of_freedom: int) -> ChiSquaredTest:
    """The test of a statistic that has a χ² distribution under the null hypothesis.

    >>> round(chi_squared(3.841458820694124, 1).p_value, 6)
    0.05
    """
    p = float(gammaincc(degrees_of_freedom / 2, max(statistic, 0.0) / 2))
    return ChiSquaredTest(float(statistic), degrees_of_freedom, p)


# The printed table: columns in all and of a parameter's name, and notes on collinear columns.
_TABLE_WIDTH = 80
_NAME_WIDTH = 22
_MAX_NOTES = 5
# Dummies of so few rows bias the other coefficients by a tenth and more, where they are so many
# and hold half of all rows.
_FEW_ROWS = 10
_MANY_DUMMIES = 10
# Rows that show most columns to be no dummies.
_FIRST_ROWS = 1000


_INCIDENTAL = (
    f"{{count}} columns are dummies of fewer than {_FEW_ROWS} rows each. So many parameters of so "
    "few rows (incidental parameters) bias the other coefficients away from zero, by a factor of "
    "2 where each group has two rows, and their standard errors do not show it. Fit pairs of "
    "unlike labels by the differences of their features (label 1 minus label 0, y = 1, "
    "fit_intercept=False), or leave the dummies out and pass covariance='clustered'."
)


def check_inference(inference: Any) -> None:
    """Refuse what ``infer`` has not returned, such as a fit."""
    if not isinstance(inference, Inference):
        raise ValueError(
            f"inference must be what infer returned, but it is a {type(inference).__name__}: give "
            "infer(result, X, y), or estimator.infer()."
        )


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1)."""
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, but it is {level!r}.")


@dataclass(frozen=True)
class Inference:
    """The estimates of a fit with their uncertainty, as :func:`infer` returns them.

    All arrays are NumPy's, float64, of length P: the coefficients and then the intercept; for
    softmax the contrasts of each class with the reference, feature by feature. An entry is NaN
    if the parameter is not estimable, because columns of X depend on one another.

    Attributes:
        names: of the parameters.
        scaled_root: C with CCᵀ the covariance of the parameters of ``fit``, whose columns are
            scaled; of minimum norm where not all are estimable.
        covariance_kind: "observed" and so on, as in ``inference/covariance.py``.
        dependent: for each combination of parameters that is not estimable the columns, by
            name, that depend on one another; a column of zeros is a set of its own.
        degrees_of_freedom: of the fit; less than P under a penalty.
        fit: the data and the parameters.
        information: the observed information, of the same parameters.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> inference = lr.infer(lr.fit(X, y), X, y, feature_names=["dose"])
    >>> inference.odds_ratio.round(3).tolist(), inference.p_value.round(3).tolist()
    ([1.961, 0.186], [0.273, 0.349])
    >>> inference.confidence_interval(0.9)[0].round(3).tolist()
    [-0.336, 1.684]
    >>> round(inference.aic, 3), round(inference.mcfadden_r2, 3)
    (10.773, 0.186)
    """

    names: list[str]
    scaled_root: np.ndarray = field(repr=False)
    covariance_kind: str
    dependent: list[list[str]]
    degrees_of_freedom: float
    fit: FitContext = field(repr=False)
    information: Information = field(repr=False)

    @property
    def features(self) -> list[str]:
        """The names of the columns of X."""
        p, c = self.fit.objective.X.shape[1], self.fit.num_contrasts
        names = self.names[: p * c : c]
        # Of softmax they are "class: feature".
        return names if self.fit.reference is None else [n.split(": ", 1)[1] for n in names]

    @cached_property
    def estimate(self) -> np.ndarray:
        """γ, (P,)."""
        return self.fit.to_original(self.fit.contrasts(self.fit.theta))

    @cached_property
    def covariance_root(self) -> np.ndarray:
        """C with CCᵀ the covariance of the estimates, (P, m)."""
        return self.fit.to_original(self.scaled_root)

    @cached_property
    def is_estimable(self) -> np.ndarray:
        """Which parameters are estimable, (P,)."""
        return self.information.estimable(self.fit.to_scaled(np.eye(len(self.names))))

    @property
    def rank(self) -> int:
        """The number of estimable linear combinations of the parameters."""
        return self.information.rank

    @property
    def covariance(self) -> np.ndarray:
        """Of the estimates, (P, P); NaN for parameters that are not estimable.

        Raises:
            ValueError: where a variance leaves float64's range; its root does not.
        """
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            covariance = self.covariance_root @ self.covariance_root.T
        kept = np.isfinite(covariance).all(axis=1) & (np.diag(covariance) >= np.finfo(float).tiny)
        if len(lost := np.flatnonzero((self.standard_error > 0) & ~kept)):
            raise ValueError(
                f"the variance of {self.names[lost[0]]} leaves float64's range: use "
                "standard_error, or give its column in other units."
            )
        return np.where(self.is_estimable[:, None] & self.is_estimable, covariance, np.nan)

    @property
    def standard_error(self) -> np.ndarray:
        """The root of the covariance's diagonal; NaN for parameters that are not estimable."""
        return np.where(self.is_estimable, row_norms(self.covariance_root), np.nan)

    @property
    def z(self) -> np.ndarray:
        """The estimates in units of their standard errors."""
        return self.estimate / self.standard_error

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided p-values of the hypotheses that a parameter is zero."""
        return 2 * ndtr(-np.abs(self.z))

    def confidence_interval(self, level: float = 0.95) -> np.ndarray:
        """Wald's intervals, estimate ∓ quantile · standard error.

        Args:
            level: of confidence.

        Returns:
            The ends, (P, 2).

        Raises:
            ValueError: for a level outside (0, 1).
        """
        check_level(level)
        half = -ndtri((1 - level) / 2) * self.standard_error
        return np.column_stack([self.estimate - half, self.estimate + half])

    @property
    def odds_ratio(self) -> np.ndarray:
        """exp(γ): the factor of the odds for one more unit of the feature."""
        return np.exp(self.estimate)

    @property
    def num_observations(self) -> float:
        """Σw."""
        return self.fit.num_observations

    @cached_property
    def log_likelihood(self) -> float:
        """At the optimum, in nats, without the penalty."""
        return -float(self.fit.weight @ self.fit.row_losses)

    @cached_property
    def saturated_log_likelihood(self) -> float:
        """That of probabilities equal to the labels: zero unless labels are soft."""
        return float(self.fit.weight @ saturated_rows(self.fit))

    @cached_property
    def null_log_likelihood(self) -> float:
        """That of the model with an intercept alone, or with no parameter if none was fitted.

        The offset stays. Without one the probabilities are the frequencies of the classes.
        """
        F, weight = self.fit.objective, self.fit.weight
        if F.offset is None and F.fit_intercept:
            counts = weight @ label_probabilities(self.fit)
            return float(np.sum(xlogy(counts, counts / self.num_observations)))
        with in_float64():
            if not F.fit_intercept:
                logits = np.zeros(F.y.shape) if F.offset is None else F.offset
                return -float(weight @ np.asarray(_losses(logits, F.y)))
            constant = run_fit(
                np.ones((F.X.shape[0], 1)), F.y, offset=F.offset, sample_weight=weight,
                fit_intercept=False, solver="newton",
            ).raise_if_failed()  # fmt: skip
            return -self.num_observations * float(constant.objective)

    @property
    def deviance(self) -> float:
        """Twice the difference between the saturated log-likelihood and that of the fit."""
        return 2 * (self.saturated_log_likelihood - self.log_likelihood)

    @property
    def null_deviance(self) -> float:
        """The deviance of an intercept alone."""
        return 2 * (self.saturated_log_likelihood - self.null_log_likelihood)

    @property
    def aic(self) -> float:
        """Akaike's criterion, −2 log L + 2 degrees of freedom."""
        return -2 * self.log_likelihood + 2 * self.degrees_of_freedom

    @property
    def aicc(self) -> float:
        """Akaike's criterion with the correction of Hurvich and Tsai (1989) for small samples,
        AIC + 2k(k + 1)/(n − k − 1), k the degrees of freedom; infinite from k = n − 1 on."""
        k, n = self.degrees_of_freedom, self.num_observations
        return self.aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf

    @property
    def bic(self) -> float:
        """Schwarz's criterion, −2 log L + log(Σw) degrees of freedom."""
        return -2 * self.log_likelihood + np.log(self.num_observations) * self.degrees_of_freedom

    @property
    def mcfadden_r2(self) -> float:
        """1 − log L / log L of an intercept alone."""
        return 1 - self.log_likelihood / self.null_log_likelihood

    @cached_property
    def num_incidental(self) -> int:
        """How many columns are dummies of few rows each, if those are enough to bias the other
        coefficients of a fit without a penalty; else 0."""
        return 0 if self.fit.is_penalised else _num_incidental(self.fit)

    @property
    def notes(self) -> list[str]:
        """What else a reader of the estimates must know, in sentences."""
        notes = [] if np.all(self.is_estimable) else _collinearity_notes(self.dependent)
        return notes + [_INCIDENTAL.format(count=self.num_incidental)] * bool(self.num_incidental)

    def likelihood_ratio_test(self, smaller: "Inference | None" = None) -> ChiSquaredTest:
        """The likelihood-ratio test of a model that is nested in this one.

        Args:
            smaller: the inference of a fit to the same labels with fewer features; by
                default the model with an intercept alone.

        Returns:
            The χ² test, with the difference of the ranks as degrees of freedom.

        Raises:
            ValueError: where this model is not the larger one, or a penalty was used.
        """
        if self.fit.is_penalised or (smaller is not None and smaller.fit.is_penalised):
            raise ValueError("a likelihood ratio needs fits without a penalty.")
        if smaller is None:
            null_rank = self.fit.num_contrasts if self.fit.objective.fit_intercept else 0
            if self.rank <= null_rank:
                raise ValueError("the fit has no more parameters than an intercept alone.")
            return chi_squared(self.null_deviance - self.deviance, self.rank - null_rank)
        if not self.fit.has_observations_of(smaller.fit) or smaller.rank >= self.rank:
            raise ValueError(
                "smaller must be fitted to the same labels, weights and offset, with fewer "
                "parameters."
            )
        return chi_squared(smaller.deviance - self.deviance, self.rank - smaller.rank)

    def as_dict(self, level: float = 0.95) -> list[dict[str, Any]]:
        """A record for each parameter, in plain Python numbers: for JSON, pandas, polars."""
        low, high = self.confidence_interval(level).T
        columns = {
            "estimate": self.estimate,
            "standard_error": self.standard_error,
            "z": self.z,
            "p_value": self.p_value,
            "low": low,
            "high": high,
        }
        return [
            {"name": name} | {column: float(values[i]) for column, values in columns.items()}
            for i, name in enumerate(self.names)
        ]

    def to_dataframe(self, level: float = 0.95) -> "pandas.DataFrame":
        """The records of ``as_dict`` as a pandas table, indexed by parameter name.

        Raises:
            ImportError: where pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_dataframe needs pandas: pip install pandas. as_dict() gives the same records "
                "without it."
            ) from error
        return pandas.DataFrame(self.as_dict(level)).set_index("name")

    def statistics(self) -> dict[str, float]:
        """The statistics of the fit as a whole, in plain Python numbers."""
        names = (
            "num_observations", "degrees_of_freedom", "log_likelihood", "null_log_likelihood",
            "deviance", "null_deviance", "aic", "bic", "mcfadden_r2",
        )  # fmt: skip
        return {name: float(getattr(self, name)) for name in names}

    def summary(self, level: float = 0.95, *, odds_ratios: bool = False) -> str:
        """The usual regression table, at most 80 columns wide.

        Args:
            level: of the intervals.
            odds_ratios: whether to print exp(γ), its standard error exp(γ) · s by the delta
                method, and the exponentials of the interval's ends, which is no longer symmetric;
                z and p stay those of γ. For the intercept they are the odds at X = 0.
        """
        check_level(level)
        estimate = "odds ratio" if check_flag("odds_ratios", odds_ratios) else "estimate"
        rule, double = "-" * _TABLE_WIDTH, "=" * _TABLE_WIDTH
        low, high = (f"{100 * end:.4g} %" for end in ((1 - level) / 2, (1 + level) / 2))
        head = (
            f"{'':{_NAME_WIDTH}} {estimate:>10} {'std. error':>10} {'z':>8} {'P > |z|':>8} "
            f"{low:>8} {high:>8}"
        )
        lines = [double, *_statistic_lines(self), rule, head, rule]
        records = self.as_dict(level)
        if odds_ratios:
            records = [_exponentiated(record) for record in records]
        lines += [*map(_parameter_line, records), double]
        lines += [line for note in self.notes for line in textwrap.wrap(note, _TABLE_WIDTH)]
        return "\n".join(lines)


_losses = Compiled(cross_entropy)


def saturated_rows(fit: FitContext) -> np.ndarray:
    """The log-likelihood of each row under probabilities equal to its label, (n,)."""
    y = label_probabilities(fit)
    return xlogy(y, y).sum(axis=1)


def label_probabilities(fit: FitContext) -> np.ndarray:
    """The labels as probabilities of every class, (n, K)."""
    y = np.asarray(fit.objective.y)
    return y if y.ndim == 2 else np.column_stack([1 - y, y])


def _collinearity_notes(dependent: Sequence[Sequence[str]]) -> list[str]:
    notes = ["nan: not estimable, because columns of X depend on one another."]
    for names in dependent[:_MAX_NOTES]:
        notes.append(
            f"{', '.join(names[:-1])} and {names[-1]} depend on one another."
            if len(names) > 1
            else f"{names[0]} is zero in every row that counts."
        )
    if len(dependent) > _MAX_NOTES:
        notes.append(f"… and {len(dependent) - _MAX_NOTES} more such sets.")
    return notes


def _num_incidental(fit: FitContext) -> int:
    """How many columns are dummies of few rows each, in whatever units; 0 unless they are many
    and hold half of the rows."""
    counted = fit.weight > 0
    X, weight = fit.features, fit.weight[counted]
    X = X if counted.all() else X[counted]
    first = X[:_FIRST_ROWS]  # rule most columns out before the others are read
    candidates = np.all((first == first.min(axis=0)) | (first == first.max(axis=0)), axis=0)
    X = X[:, candidates]
    smallest, largest = X.min(axis=0), X.max(axis=0)
    low = smallest == X
    is_dummy = np.all(low | (largest == X), axis=0)
    size = weight @ low
    is_rare_low = size < weight.sum() / 2
    size = np.where(is_rare_low, size, weight.sum() - size)
    few = is_dummy & (size > 0) & (size < _FEW_ROWS)
    held = np.any((low == is_rare_low)[:, few], axis=1)
    return int(few.sum()) if few.sum() >= _MANY_DUMMIES and 2 * held @ weight >= weight.sum() else 0


def _statistic_lines(inference: Inference) -> list[str]:
    cells = [
        ("observations", f"{inference.num_observations:.12g}"),
        ("log-likelihood", f"{inference.log_likelihood:.4f}"),
        ("degrees of freedom", f"{inference.degrees_of_freedom:.4g}"),
        ("without features", f"{inference.null_log_likelihood:.4f}"),
        ("McFadden's R²", f"{inference.mcfadden_r2:.4f}"),
        ("AIC", f"{inference.aic:.4f}"),
        ("standard errors", inference.covariance_kind),
        ("BIC", f"{inference.bic:.4f}"),
    ]
    halves = [f"{name + ':':20}{value:>18}" for name, value in cells]
    return [f"{left}    {right}" for left, right in zip(halves[::2], halves[1::2], strict=True)]


def _exponentiated(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of log-odds in odds ratios."""
    with np.errstate(over="ignore"):
        exp = {key: float(np.exp(record[key])) for key in ("estimate", "low", "high")}
        return {**record, **exp, "standard_error": exp["estimate"] * record["standard_error"]}


def _parameter_line(record: Mapping[str, Any]) -> str:
    p = record["p_value"]
    p_value = "< 0.0001" if p < 1e-4 else f"{p:.4f}"
    return (
        f"{_shorten(record['name']):{_NAME_WIDTH}} {_number(record['estimate'], 10)} "
        f"{_number(record['standard_error'], 10)} {_number(record['z'], 8)} {p_value:>8} "
        f"{_number(record['low'], 8)} {_number(record['high'], 8)}"
    )


def _shorten(name: str) -> str:
    """The name, cut in the middle if it is too long."""
    if len(name) <= _NAME_WIDTH:
        return name
    half = (_NAME_WIDTH - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _number(x: float, width: int) -> str:
    """Four decimals if there is room, else as many digits as fit."""
    for text in (f"{x:.4f}", *(f"{x:.{digits}g}" for digits in range(width, 0, -1))):
        if len(text) <= width and (float(text) != 0 or x == 0):
            return f"{text:>{width}}"
    return f"{x:.0e}".rjust(width)
