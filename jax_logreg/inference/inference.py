"""What is known about the estimates: their spread, tests of them, and the fit as a whole."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincc, ndtr, ndtri

from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.information import Information, triangle
from jax_logreg.inference.summary import summarise

if TYPE_CHECKING:
    import pandas


class ChiSquaredTest(NamedTuple):
    """A χ² test.

    Attributes:
        statistic: its value.
        degrees_of_freedom: of the χ² distribution under the null hypothesis.
        p_value: how often chance alone exceeds the statistic.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float


def chi_squared(statistic: float, degrees_of_freedom: int) -> ChiSquaredTest:
    """The test whose statistic has a χ² distribution.

    >>> round(chi_squared(3.841458820694124, 1).p_value, 6)
    0.05
    """
    p = float(gammaincc(degrees_of_freedom / 2, max(statistic, 0.0) / 2))
    return ChiSquaredTest(float(statistic), degrees_of_freedom, p)


# Below this share of the largest singular value a covariance has lost its rank.
_SINGULAR = 1e-8


def check_level(level: float) -> None:
    """Refuse a level of confidence out of (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, but it is {level!r}.")


@dataclass(frozen=True)
class Inference:
    """Estimates with their uncertainty; build it with :func:`infer`.

    All arrays are NumPy's, float64, of length P: the coefficients and then the intercept;
    for softmax feature by feature, the contrasts of each class with the reference.

    Attributes:
        names: of the parameters.
        estimate: γ.
        covariance_root: C with CCᵀ the covariance, of minimum norm where the data do not
            tell all parameters.
        covariance_kind: "observed" and so on.
        rank: how many combinations of parameters the data tell.
        dependent: sets of columns that depend on one another, by name, for each combination
            that the data do not tell; a column of zeros is a set of its own.
        degrees_of_freedom: of the fit; less than P under a penalty.
        num_observations: Σw.
        log_likelihood: at the optimum, without the penalty.
        null_log_likelihood: of an intercept alone.
        saturated_log_likelihood: of the labels themselves; zero unless they are soft.
        fit: the data and the parameters.
        information: the observed information.
    """

    names: list[str]
    estimate: np.ndarray
    covariance_root: np.ndarray = field(repr=False)
    covariance_kind: str
    rank: int
    dependent: list[list[str]]
    degrees_of_freedom: float
    num_observations: float
    log_likelihood: float
    null_log_likelihood: float
    saturated_log_likelihood: float
    fit: Fitted = field(repr=False)
    information: Information = field(repr=False)

    @property
    def covariance(self) -> np.ndarray:
        """Of the estimates, (P, P); NaN where the data do not tell a parameter."""
        told = self.information.is_estimable
        covariance = self.covariance_root @ self.covariance_root.T
        return np.where(told[:, None] & told, covariance, np.nan)

    @property
    def standard_error(self) -> np.ndarray:
        """NaN where the data do not tell the parameter: columns depend on one another."""
        length = np.linalg.norm(self.covariance_root, axis=1)
        return np.where(self.information.is_estimable, length, np.nan)

    @property
    def z(self) -> np.ndarray:
        """Estimates in standard errors."""
        return self.estimate / self.standard_error

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided, of the hypothesis that the parameter is zero."""
        return 2 * ndtr(-np.abs(self.z))

    def confidence_interval(self, level: float = 0.95) -> np.ndarray:
        """Wald's interval, estimate ∓ quantile · standard error, (P, 2)."""
        check_level(level)
        half = -ndtri((1 - level) / 2) * self.standard_error
        return np.column_stack([self.estimate - half, self.estimate + half])

    @property
    def odds_ratio(self) -> np.ndarray:
        """exp(γ): what one unit of the feature multiplies the odds by."""
        return np.exp(self.estimate)

    @property
    def deviance(self) -> float:
        """Twice what the log-likelihood falls short of that of the labels themselves."""
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
    def bic(self) -> float:
        """Schwarz's criterion, −2 log L + log(Σw) degrees of freedom."""
        return -2 * self.log_likelihood + np.log(self.num_observations) * self.degrees_of_freedom

    @property
    def mcfadden_r2(self) -> float:
        """1 − log L / log L of an intercept alone."""
        return 1 - self.log_likelihood / self.null_log_likelihood

    def wald_test(
        self, combinations: ArrayLike | None = None, value: ArrayLike = 0.0
    ) -> ChiSquaredTest:
        r"""Whether linear combinations of the parameters have given values.

        .. math:: (R\hat\gamma - r)^\top (R\,\mathrm{cov}\,R^\top)^{-1} (R\hat\gamma - r)

        Args:
            combinations: R, (m, P) or (P,); by default every parameter but the intercept.
            value: r, (m,).

        Raises:
            ValueError: where the data do not tell one of the combinations, or they depend
                on one another.
        """
        R, off = self.restrictions(self._slopes() if combinations is None else combinations, value)
        root = R @ self.covariance_root
        scaled = root / np.linalg.norm(root, axis=1, keepdims=True)
        if np.linalg.matrix_rank(scaled, tol=_SINGULAR) < len(R):
            raise ValueError(
                "the covariance of the combinations is singular: leave out those that follow "
                "from others; clusters must be more than combinations."
            )
        white = np.linalg.solve(triangle(root.T).T, off)
        return chi_squared(float(white @ white), len(R))

    def restrictions(
        self, combinations: ArrayLike, value: ArrayLike = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """R, (m, P), and how far the estimates are from it, Rγ − r, (m,), checked.

        Raises:
            ValueError: for another shape, a row of zeros, or one that the data do not tell.
        """
        R = np.atleast_2d(np.asarray(combinations, float))
        if R.shape[1:] != self.estimate.shape:
            raise ValueError(
                f"combinations must have {len(self.estimate)} columns, one a parameter, but "
                f"its shape is {R.shape}."
            )
        if not np.all(np.any(R != 0, axis=1)):
            raise ValueError("combinations holds a row of zeros: leave it out.")
        value = np.asarray(value, float)
        if value.shape not in ((), (len(R),)):
            raise ValueError(
                f"value must be a number or one a combination, {len(R)}, but its shape is "
                f"{value.shape}."
            )
        told = self.information.estimable(R)
        if not np.all(told):
            raise ValueError(
                f"combination {int(np.argmin(told))} cannot be estimated: columns of X depend "
                "on one another."
            )
        return R, R @ self.estimate - value

    def _slopes(self) -> np.ndarray:
        count = self.fit.objective.X.shape[1] * self.fit.num_contrasts
        return np.eye(count, len(self.estimate))

    def likelihood_ratio_test(self, smaller: "Inference | None" = None) -> ChiSquaredTest:
        """Whether a model nested in this one describes the data as well.

        Args:
            smaller: the inference of a fit to the same labels with fewer features; by
                default the model of an intercept alone.

        Raises:
            ValueError: where one is not larger than the other, or a penalty was used.
        """
        if self.fit.is_penalised or (smaller is not None and smaller.fit.is_penalised):
            raise ValueError("a likelihood ratio needs fits without a penalty.")
        if smaller is None:
            fewer = self.fit.num_contrasts if self.fit.objective.fit_intercept else 0
            if self.rank <= fewer:
                raise ValueError("the fit has no more parameters than an intercept alone.")
            return chi_squared(self.null_deviance - self.deviance, self.rank - fewer)
        if not self.fit.has_rows_of(smaller.fit) or smaller.rank >= self.rank:
            raise ValueError(
                "smaller must be fitted to the same labels, weights and offset, with fewer "
                "parameters."
            )
        return chi_squared(smaller.deviance - self.deviance, self.rank - smaller.rank)

    def as_dict(self, level: float = 0.95) -> list[dict[str, Any]]:
        """One record a parameter, in plain Python numbers: for JSON, pandas, polars."""
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
            {"name": name} | {what: float(values[i]) for what, values in columns.items()}
            for i, name in enumerate(self.names)
        ]

    def to_dataframe(self, level: float = 0.95) -> "pandas.DataFrame":
        """The records of ``as_dict`` as a pandas table, one row a parameter, by name.

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
        """The fit as a whole, in plain Python numbers."""
        wanted = (
            "num_observations", "degrees_of_freedom", "log_likelihood", "null_log_likelihood",
            "deviance", "null_deviance", "aic", "bic", "mcfadden_r2",
        )  # fmt: skip
        return {name: float(getattr(self, name)) for name in wanted}

    def summary(self, level: float = 0.95) -> str:
        """The table that statisticians know, at most 80 columns wide."""
        kind = f"{self.covariance_kind} covariance"
        return summarise(self.as_dict(level), self.statistics(), kind, level, self.dependent)
