"""What must hold of any inference, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import matrix, mp

from jax_logreg import (
    L2,
    ElasticNet,
    Firth,
    FitError,
    delta,
    fit,
    hypothesis_test,
    infer,
    influence,
    marginal_effects,
    predict_interval,
    profile_interval,
)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    return X, (X @ [1.0, -0.5] + rng.logistic(size=60) > 0).astype(float)


def test_fifty_digits_agree_where_the_information_is_nearly_singular(x64):
    """Condition 1e10: a Cholesky factor of the information would leave six digits."""
    rng = np.random.default_rng(3)
    base = rng.normal(size=(50, 2))
    X = np.column_stack([base, base[:, 0] + 3e-5 * rng.normal(size=50)])
    y = (base[:, 1] + rng.logistic(size=50) > 0).astype(float)
    found = infer(fit(X, y, solver="newton"), X, y)
    estimate, error, condition = fifty_digits(X, y)
    assert condition > 1e9
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-8)
    np.testing.assert_allclose(found.estimate, estimate, atol=1e-8 * np.max(error))


def fifty_digits(X, y):
    """Newton in fifty digits: estimates, standard errors, the condition of the information."""
    with mp.workdps(50):
        Z = matrix(np.column_stack([X, np.ones(len(X))]).tolist())
        theta = matrix(Z.cols, 1)
        for _ in range(60):
            mu = [1 / (1 + mp.exp(-eta)) for eta in Z * theta]
            slope = Z.T * matrix([float(label) - m for label, m in zip(y, mu, strict=True)])
            D = mp.diag([m * (1 - m) for m in mu])
            H = Z.T * D * Z
            step = mp.lu_solve(H, slope)
            theta += step
            if mp.norm(step) < mp.mpf(10) ** -40:
                break
        inverse = H**-1
        condition = float(mp.mnorm(H, 1) * mp.mnorm(inverse, 1))
        errors = [float(mp.sqrt(inverse[j, j])) for j in range(Z.cols)]
        return [float(t) for t in theta], errors, condition


def test_a_weight_is_that_many_rows(rows, x64):
    X, y = rows
    counts = 1 + np.arange(60) % 3
    repeated = np.repeat(np.arange(60), counts)
    for kind in ("observed", "HC1"):
        a = infer(fit(X, y, sample_weight=counts), X, y, sample_weight=counts, covariance=kind)
        b = infer(fit(X[repeated], y[repeated]), X[repeated], y[repeated], covariance=kind)
        np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-9)
        for name, value in a.statistics().items():
            np.testing.assert_allclose(value, b.statistics()[name], rtol=1e-9, err_msg=name)


def test_hc1_is_hc0_with_the_correction_for_small_samples(rows, x64):
    """n / (n − P), as in R's sandwich; statsmodels' Logit leaves it out."""
    X, y = rows
    zero, one = (infer(fit(X, y), X, y, covariance=kind).covariance for kind in ("HC0", "HC1"))
    np.testing.assert_allclose(one, zero * 60 / 57, rtol=1e-12)


def test_two_classes_of_softmax_are_the_sigmoid(rows, x64):
    X, y = rows
    a = infer(fit(X, y), X, y)
    b = infer(fit(X, y, num_classes=2), X, y)
    np.testing.assert_allclose(a.estimate, b.estimate, atol=1e-9)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-9)
    assert b.names == ["1: x0", "1: x1", "1: intercept"]


def test_another_reference_is_another_view_of_the_same(x64):
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(80, 1)), np.arange(80) % 3
    result = fit(X, y)
    zero, two = (infer(result, X, y, reference=k) for k in (0, 2))
    # γ against 2 from γ against 0, feature by feature: (−γ₂, γ₁ − γ₂)
    change = np.kron(np.eye(2), [[0.0, -1.0], [1.0, -1.0]])
    np.testing.assert_allclose(two.estimate, change @ zero.estimate, atol=1e-9)
    np.testing.assert_allclose(two.covariance, change @ zero.covariance @ change.T, rtol=1e-8)
    np.testing.assert_allclose(two.log_likelihood, zero.log_likelihood)


def test_a_ridge_penalty_counts_as_information(rows, model, x64):
    """Written out: (J + S)⁻¹, and (J + S)⁻¹ J (J + S)⁻¹ for the estimator's own spread."""
    X, y = rows
    y = y if model == "sigmoid" else (y + np.arange(60) % 2).astype(int)
    penalty = L2(0.1, np.array([1.0, 3.0]))
    result = fit(X, y, penalty=penalty)
    observed = infer(result, X, y, penalty=penalty)
    spread = infer(result, X, y, penalty=penalty, covariance="frequentist")
    Z = np.column_stack([X, np.ones(60)])
    S = np.diag([6.0, 18.0, 0.0])
    if model == "sigmoid":
        D = observed.fit.curvature
        J = (Z * D[:, None]).T @ Z
    else:
        mu = observed.fit.curvature[:, 1:]
        W = np.einsum("nc,cd->ncd", mu, np.eye(2)) - mu[:, :, None] * mu[:, None, :]
        J = np.einsum("nj,ncd,nk->jckd", Z, W, Z).reshape(6, 6)
        S = np.kron(S, np.eye(2) - 1 / 3)
    A = np.linalg.inv(J + S)
    np.testing.assert_allclose(observed.covariance, A, rtol=1e-8)
    np.testing.assert_allclose(spread.covariance, A @ J @ A, rtol=1e-8)
    np.testing.assert_allclose(observed.degrees_of_freedom, np.trace(A @ J), rtol=1e-9)


def test_what_the_data_do_not_tell_has_no_standard_error(rows, x64):
    X, y = rows
    twice = np.column_stack([X, 2 * X[:, 0]])
    found, plain = infer(fit(twice, y), twice, y), infer(fit(X, y), X, y)
    assert found.rank == 3
    np.testing.assert_array_equal(np.isnan(found.standard_error), [True, False, True, False])
    np.testing.assert_allclose(found.standard_error[[1, 3]], plain.standard_error[1:], rtol=1e-9)
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood)
    assert "not estimable" in found.summary()
    # The sum that the data do tell.
    told = delta(found, lambda coef, b: coef[0] + 2 * coef[2])
    np.testing.assert_allclose(told.standard_error, plain.standard_error[0], rtol=1e-9)
    with pytest.raises(ValueError, match="cannot be estimated"):
        hypothesis_test(found, [1.0, 0, 0, 0], method="wald")


def test_any_function_of_the_coefficients_has_a_standard_error(rows, x64):
    """A ratio, by Fieller's derivative written out."""
    X, y = rows
    found = infer(fit(X, y), X, y)
    ratio = delta(found, lambda coef, b: coef[0] / coef[1])
    a, b, _ = found.estimate
    slope = np.array([1 / b, -a / b**2, 0])
    np.testing.assert_allclose(ratio.estimate, a / b)
    np.testing.assert_allclose(ratio.standard_error, np.sqrt(slope @ found.covariance @ slope))


def test_intervals_of_probabilities_stay_within_zero_and_one(x64):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 3
    found = infer(fit(X, y), X, y)
    mean, ends = predict_interval(found, np.vstack([X, [[40.0, 40.0]]]))
    np.testing.assert_allclose(mean.sum(axis=1), 1)
    assert np.all((ends[..., 0] <= mean) & (mean <= ends[..., 1]))
    assert np.all((ends >= 0) & (ends <= 1))


def test_intervals_of_classes_are_made_of_finite_numbers(x64):
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.random.default_rng(1).integers(0, 3, 60)
    found = infer(fit(X, y), X, y)
    with jax.debug_infs(True):
        mean, ends = predict_interval(found, X[:5])
    assert np.all((ends[..., 0] < mean) & (mean < ends[..., 1]))


def test_nested_models_are_compared(rows, x64):
    X, y = rows
    large, small = infer(fit(X, y), X, y), infer(fit(X[:, :1], y), X[:, :1], y)
    test = large.likelihood_ratio_test(small)
    np.testing.assert_allclose(test.statistic, 2 * (large.log_likelihood - small.log_likelihood))
    assert test.degrees_of_freedom == 1
    whole = hypothesis_test(large)  # of all slopes: that against the intercept alone
    np.testing.assert_allclose(whole, large.likelihood_ratio_test(), rtol=1e-9)
    with pytest.raises(ValueError, match="fewer parameters"):
        small.likelihood_ratio_test(large)


def test_a_fit_in_float32_is_taken_to_the_last_digit(rows):
    """A loose answer in, the same inference out."""
    X, y = rows
    rough = fit(jnp.asarray(X, jnp.float32), y)
    import jax

    with jax.enable_x64(True):
        exact = fit(X, y, tol=1e-12)
    a, b = infer(rough, X, y), infer(exact, X, y)
    assert a.estimate.dtype == np.float64
    np.testing.assert_allclose(a.estimate, b.estimate, rtol=1e-9)
    np.testing.assert_allclose(a.standard_error, b.standard_error, rtol=1e-9)


def test_the_table_fits_a_terminal(rows, x64):
    X, y = rows
    names = ["dose", "a covariate whose name is far too long for a table"]
    text = infer(fit(X, y), X, y, feature_names=names).summary()
    assert max(map(len, text.splitlines())) <= 80
    assert "dose" in text
    assert "…" in text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"covariance": "HC2"}, "covariance.*'HC2'"),
        ({"covariance": "clustered"}, "groups"),
        ({"covariance": "clustered", "groups": [1] * 60}, "one group"),
        ({"covariance": "clustered", "groups": [1, 2]}, r"groups.*\(60,\)"),
        ({"feature_names": ["a"]}, "feature_names.*2"),
        ({"fit_intercept": False}, "intercept"),
    ],
)
def test_bad_input_is_refused_by_name(options, named, rows, x64):
    X, y = rows
    result = fit(X, y)
    with pytest.raises(ValueError, match=named):
        infer(result, X, y, **options)


def test_a_penalty_with_an_l1_part_is_refused(rows, x64):
    X, y = rows
    with pytest.raises(ValueError, match=r"penalty is ElasticNet.*no standard errors"):
        infer(fit(X, y), X, y, penalty=ElasticNet(0.1))


def test_another_table_is_refused(rows, x64):
    X, y = rows
    with pytest.raises(ValueError, match="X has 1 columns"):
        infer(fit(X, y), X[:, :1], y)


def test_no_standard_errors_where_there_is_no_answer(x64):
    X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 0, 0, 1, 1, 1])
    with pytest.raises(FitError, match="SEPARATED"):
        infer(fit(X, y), X, y)


@pytest.mark.parametrize(
    ("fitted_with", "told"),
    [
        ({"penalty": L2(0.1)}, {}),
        ({"penalty": Firth()}, {}),
        ({"fit_intercept": False}, {}),
        ({"sample_weight": 1.0 + np.arange(60) % 3}, {}),
        ({}, {"penalty": L2(0.1)}),
    ],
)
def test_a_result_of_another_problem_is_refused(fitted_with, told, rows, x64):
    """Newton's steps would turn it into an answer that nobody asked for."""
    X, y = rows
    with pytest.raises(ValueError, match="no fit of these data"):
        infer(fit(X, y, **fitted_with), X, y, **told)


def test_more_combinations_than_clusters_have_no_test(rows, x64):
    X, y = rows
    found = infer(fit(X, y), X, y, covariance="clustered", groups=np.arange(60) % 2)
    with pytest.raises(ValueError, match="singular"):
        hypothesis_test(found, method="wald")


def test_nested_models_share_rows_and_have_no_penalty(rows, x64):
    X, y = rows
    large = infer(fit(X, y), X, y)
    small = X[:, :1]
    penalised = infer(fit(small, y, penalty=L2(0.5)), small, y, penalty=L2(0.5))
    with pytest.raises(ValueError, match="penalty"):
        large.likelihood_ratio_test(penalised)
    with pytest.raises(ValueError, match="same labels"):
        large.likelihood_ratio_test(infer(fit(small, 1 - y), small, 1 - y))


def test_clusters_without_weight_do_not_count(rows, x64):
    X, y = rows
    weight, groups = (np.arange(60) < 40).astype(float), np.arange(60) // 4
    whole = infer(
        fit(X, y, sample_weight=weight), X, y,
        sample_weight=weight, covariance="clustered", groups=groups,
    )  # fmt: skip
    part = infer(fit(X[:40], y[:40]), X[:40], y[:40], covariance="clustered", groups=groups[:40])
    np.testing.assert_allclose(whole.covariance, part.covariance, rtol=1e-9)


def test_a_fit_in_place_of_its_inference_is_refused(rows, x64):
    X, y = rows
    result = fit(X, y)
    doors = (
        hypothesis_test, profile_interval, influence, marginal_effects,
        lambda fitted: delta(fitted, lambda coef, b: b), lambda fitted: predict_interval(fitted, X),
    )  # fmt: skip
    for door in doors:
        with pytest.raises(ValueError, match=r"what infer returned, but it is a FitResult: give"):
            door(result)
    with pytest.raises(ValueError, match=r"level must lie between"):
        infer(result, X, y).summary("a")
    inference = infer(result, X, y)
    only = profile_interval(inference, parameters="x0")
    np.testing.assert_array_equal(only, profile_interval(inference, parameters=["x0"]))
    with pytest.raises(ValueError, match="parameters must be names"):
        profile_interval(inference, parameters=3)
    with pytest.raises(ValueError, match="g must be a function"):
        delta(inference, 3)
    for names in ("ab", 3):
        with pytest.raises(ValueError, match="feature_names must be a list of names"):
            infer(result, X, y, feature_names=names)
    with pytest.raises(ValueError, match="covariance must be one of"):
        infer(result, X, y, covariance=["HC0"])


def test_a_summary_in_odds_ratios(rows, x64):
    X, y = rows
    inference = infer(fit(X, y), X, y, feature_names=["age", "dose"])
    ratio, error = inference.odds_ratio, inference.odds_ratio * inference.standard_error
    ends, plain = np.exp(inference.confidence_interval(0.9)), inference.summary(0.9).splitlines()
    lines = inference.summary(0.9, odds_ratios=True).splitlines()
    assert lines[:5] == plain[:5]
    assert "odds ratio" in lines[6]
    for i, name in enumerate(inference.names):
        line = next(line for line in lines if line.startswith(name))
        z, p = next(line for line in plain if line.startswith(name)).split()[3:5]
        assert line.split()[3:5] == [z, p]
        numbers = [float(cell) for cell in line.split()[1:]]
        np.testing.assert_allclose(
            [*numbers[:2], *numbers[-2:]], [ratio[i], error[i], *ends[i]], atol=6e-5
        )
    assert max(map(len, lines)) <= 80
    with pytest.raises(ValueError, match="odds_ratios must be True or False"):
        inference.summary(odds_ratios="yes")


def test_names_must_differ(rows, x64):
    X, y = rows
    with pytest.raises(ValueError, match="differ"):
        infer(fit(X, y), X, y, feature_names=["a", "a"])
    named = infer(fit(X, y), X, y, feature_names=["a", "intercept"])
    assert named.names == ["a", "intercept", "(intercept)"]
    with pytest.raises(ValueError, match=r"result must be what fit returned.*infer\(\) itself"):
        infer(named, X, y)


def pairs(num_pairs=60):
    """A feature, dummies of pairs of rows of unlike labels, and the labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_pairs, 2)) + np.array([0.0, 0.8])
    dummies = np.repeat(np.eye(num_pairs), 2, axis=0)[:, 1:]
    return x, np.column_stack([x.reshape(-1), dummies]), np.tile([0.0, 1.0], num_pairs)


@pytest.mark.parametrize("unit", [1, 0.01, -5])
def test_dummies_of_pairs_double_a_slope_and_are_warned_of(unit, x64):
    """Andersen (1973): twice the conditional estimate, which the warning tells how to get."""
    x, X, y = pairs()
    X[:, 1:] = unit * X[:, 1:] + 3
    with pytest.warns(UserWarning, match=r"59 columns are dummies.*fit_intercept=False"):
        found = infer(fit(X, y), X, y)
    conditional = fit(np.diff(x), np.ones(60), fit_intercept=False)
    np.testing.assert_allclose(found.estimate[0], 2 * conditional.coef[0], rtol=1e-6)
    assert "incidental" in found.notes[-1]
    assert "incidental" in found.summary()


def test_dummies_without_harm_are_no_reason_to_warn(x64):
    """Groups of many rows, also by their weights; few groups; a penalty; rare dummies."""
    _, X, y = pairs()
    for rows, options in (
        (slice(None), {"sample_weight": np.full(120, 6.0)}),
        (slice(None), {"penalty": Firth()}),
        (slice(60, 78), {}),
    ):
        columns = np.flatnonzero(np.ptp(X[rows], axis=0) > 0)[:-1]
        table = X[rows][:, columns]
        assert infer(fit(table, y[rows], **options), table, y[rows], **options).notes == []
    rng = np.random.default_rng(1)
    rare = np.vstack([np.repeat(np.eye(12), 3, axis=0), np.zeros((500, 12))])
    labels = np.append(np.tile([0, 1, 1], 12), rng.integers(2, size=500))
    assert infer(fit(rare, labels), rare, labels).notes == []


def test_hc3_sums_the_changes_without_each_row(model, x64):
    rng = np.random.default_rng(0)
    X, K = rng.normal(size=(60, 2)), 2 if model == "sigmoid" else 3
    y = np.argmax(X @ rng.normal(size=(2, K)) + rng.gumbel(size=(60, K)), axis=1)
    found = infer(fit(X, y, tol=1e-8), X, y, covariance="HC3")
    change = influence(found).one_step
    np.testing.assert_allclose(found.covariance, change.T @ change, rtol=1e-9, atol=1e-14)


def test_hc3_needs_every_row_to_have_company(x64):
    X, y = np.zeros((20, 1)), (np.arange(20) % 2).astype(float)
    X[3] = 1
    with pytest.raises(ValueError, match="row 3 alone"):
        infer(fit(X, y, penalty=Firth()), X, y, penalty=Firth(), covariance="HC3")


def test_two_ways_that_are_one_are_one_way(rows, x64):
    X, y = rows
    way = np.arange(60) // 5
    one = infer(fit(X, y), X, y, covariance="clustered", groups=way)
    for groups in (way[:, None], np.column_stack([way, way])):
        two = infer(fit(X, y), X, y, covariance="clustered", groups=groups)
        np.testing.assert_allclose(two.covariance, one.covariance, rtol=1e-9)
    labels = np.array([["a", "b"][i % 2] for i in range(60)])
    mixed = np.column_stack([way.astype(object), labels])
    assert np.all(
        np.isfinite(infer(fit(X, y), X, y, covariance="clustered", groups=mixed).standard_error)
    )
    for groups in (np.column_stack([way, np.ones(60)]), np.ones((60, 2, 2)), way[:7]):
        with pytest.raises(ValueError, match="groups"):
            infer(fit(X, y), X, y, covariance="clustered", groups=groups)


def test_two_ways_have_a_covariance_even_where_the_difference_is_none(x64):
    """Few groups of either kind: V₁ + V₂ − V₁₂ is indefinite, and has no root."""
    rng = np.random.default_rng(2)
    X, groups = rng.normal(size=(30, 3)), rng.integers(3, size=(30, 2))
    y = (rng.uniform(size=30) < 0.5).astype(float)
    found = infer(fit(X, y), X, y, covariance="clustered", groups=groups)
    assert np.all(np.linalg.eigvalsh(found.covariance) > -1e-12)
    scaled = infer(fit(X * 100, y), X * 100, y, covariance="clustered", groups=groups)
    np.testing.assert_allclose(scaled.standard_error[:3] * 100, found.standard_error[:3], rtol=1e-6)


def test_the_corrected_criterion_for_small_samples(rows, x64):
    X, y = rows
    found = infer(fit(X, y), X, y)
    np.testing.assert_allclose(found.aicc, found.aic + 24 / 56)
    few = infer(fit(X[:4], [0, 1, 0, 1], penalty=Firth()), X[:4], [0, 1, 0, 1], penalty=Firth())
    assert few.aicc == np.inf


@pytest.mark.parametrize("classes", [2, 3])
def test_intervals_of_columns_in_another_order_are_refused(classes, x64):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(1)
    X = pandas.DataFrame(rng.normal(size=(60, 2)), columns=["dose", "age"])
    y = np.arange(60) % classes
    inference = infer(fit(X, y), X, y)
    assert inference.features == ["dose", "age"]
    mean, _ = predict_interval(inference, X)
    np.testing.assert_array_equal(predict_interval(inference, X.to_numpy())[0], mean)
    with pytest.raises(ValueError, match="another order"):
        predict_interval(inference, X[["age", "dose"]])
