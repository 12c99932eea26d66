"""Every form of a product says what the plain one says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jax_sparse

from jax_logreg import sparse_features
from jax_logreg.objective.dense_features import as_features
from jax_logreg.objective.sparse_features import SparseFeatures


def table(kind, rng):
    """Sparse tables of every awkward kind."""
    if kind == "empty":
        return scipy.sparse.csr_array((5, 3))
    X = scipy.sparse.random(700, 40, 0.05, random_state=rng).tolil()
    if kind == "heavy":  # a full column, longer than one piece; a full row; an empty one
        X[:, 3], X[5], X[7] = 1.0, 2.0, 0.0
    return X.tocsr()


@pytest.mark.parametrize("kind", ["empty", "plain", "heavy"])
def test_sparse_products_are_the_dense_ones(kind, x64):
    rng = np.random.default_rng(0)
    given = table(kind, rng)
    X, D = sparse_features(given), given.toarray()
    n, p = D.shape
    for shape in ((), (3,)):
        beta, r = rng.normal(size=(p, *shape)), rng.normal(size=(n, *shape))
        np.testing.assert_allclose(X.matvec(beta), D @ beta, atol=1e-12)
        np.testing.assert_allclose(X.rmatvec(r), D.T @ r, atol=1e-12)
        np.testing.assert_allclose(X.column_squares(r), (D**2).T @ r, atol=1e-12)
    np.testing.assert_allclose(X.row_squares(), (D**2).sum(axis=1), atol=1e-12)


def test_repeated_entries_are_summed_and_the_given_matrix_is_left_alone(x64):
    given = scipy.sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2)).tocsr()
    X = sparse_features(given)
    np.testing.assert_array_equal(X.matvec(jnp.eye(2)), [[0, 3], [4, 0]])
    assert given.nnz == 3 or given.has_canonical_format


@pytest.mark.parametrize("make", [jax_sparse.BCOO.fromdense, jax_sparse.BCSR.fromdense])
def test_the_sparse_arrays_of_jax_are_read(make, x64):
    D = np.array([[0.0, 2, 0], [1, 0, 3]])
    X = sparse_features(make(jnp.asarray(D)))
    assert isinstance(X, SparseFeatures)
    np.testing.assert_array_equal(X.matvec(jnp.eye(3)), D)


@pytest.mark.parametrize(("n", "p"), [(30, 4), (9000, 3), (9001, 70), (8192, 70)])
def test_a_gram_matrix_by_blocks_is_the_plain_one(n, p, x64):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(n, p)), rng.normal(size=n)
    plain = (X * w[:, None]).T @ X
    size = np.abs(X.T) @ np.abs(w[:, None] * X)
    exact, rough = as_features(X).gram(w), as_features(X).gram(w, jnp.float32)
    assert np.all(np.abs(exact - plain) <= n * 1e-16 * size)
    assert rough.dtype == jnp.float32
    assert np.all(np.abs(rough - plain) <= n * 6e-8 * size)


@pytest.mark.parametrize("n", [8192, 8209])  # the second is prime
def test_a_backward_product_by_blocks_is_the_plain_one(n, x64):
    rng = np.random.default_rng(0)
    X, r = rng.normal(size=(n, 3)), rng.normal(size=n)
    np.testing.assert_allclose(as_features(X).rmatvec(r), X.T @ r, atol=1e-10)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-12), (np.float32, 1e-3)])
@pytest.mark.parametrize("n", [40, 1600, 1621])  # one part, sixteen of 100 rows, prime
@pytest.mark.parametrize("K", [3, 10, 16])  # ten classes are multiplied as sixteen
def test_products_of_classes_are_the_plain_ones(n, K, dtype, atol, x64):
    rng = np.random.default_rng(0)
    X, B, R = (rng.normal(size=size).astype(dtype) for size in ((n, 5), (5, K), (n, K)))
    features = as_features(X)
    forward, backward = features.matvec(jnp.asarray(B)), features.rmatvec(jnp.asarray(R))
    np.testing.assert_allclose(forward, X @ B, atol=atol)
    np.testing.assert_allclose(backward, X.T @ R, atol=atol)
    assert forward.dtype == backward.dtype == dtype


def test_products_of_sparse_features_are_differentiable(x64):
    D = np.array([[0.0, 2, 0], [1, 0, 3]])
    X = sparse_features(scipy.sparse.csr_array(D))
    np.testing.assert_allclose(jax.jacobian(X.matvec)(jnp.ones(3)), D)
    np.testing.assert_allclose(jax.jacfwd(X.rmatvec)(jnp.ones(2)), D.T)


def test_products_are_in_full_precision_unless_the_user_asks_otherwise():
    """On a GPU the default keeps three digits; JAX's own switch turns ours."""

    def program():
        return str(
            jax.make_jaxpr(lambda X, b: as_features(X).matvec(b))(jnp.ones((3, 2)), jnp.ones(2))
        )

    assert "HIGHEST" in program()
    with jax.default_matmul_precision("tensorfloat32"):
        assert "HIGHEST" not in program()
