"""Networks and layers whose backward pass is written by hand, in NumPy."""

import numpy as np

from benchmarks.audit_cases.case import MEAN, PENALTY, SIGN, approximate, right, wrong


def relu(x):
    return np.maximum(0, x)


def init(rng, d, h, c):
    return {
        "W1": rng.normal(size=(d, h)) / np.sqrt(d),
        "b1": rng.normal(size=h) * 0.1,
        "W2": rng.normal(size=(h, c)) / np.sqrt(h),
        "b2": rng.normal(size=c) * 0.1,
    }


# ---- a two-layer classifier: relu, softmax --------------------------------------------------


def forward(params, X):
    h = relu(X @ params["W1"] + params["b1"])
    scores = h @ params["W2"] + params["b2"]
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return h, e / e.sum(axis=1, keepdims=True)


def loss(params, X, y, reg=0.0):
    _, probs = forward(params, X)
    data = -np.log(probs[np.arange(len(y)), y]).mean()
    return data + 0.5 * reg * (np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2))


def backward(params, X, y, reg=0.0, use_mask=True):
    grads = {}
    h, dscores = forward(params, X)
    dscores[np.arange(len(y)), y] -= 1
    dscores /= len(y)
    grads["W2"] = h.T @ dscores + reg * params["W2"]
    grads["b2"] = np.sum(dscores, axis=0)
    dh = dscores @ params["W2"].T
    if use_mask:
        dh[h <= 0] = 0
    grads["W1"] = X.T @ dh + reg * params["W1"]
    grads["b1"] = dh.sum(axis=0)
    return grads


def classifier(seed, gradient, reg=0.0):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    return dict(value=loss, gradient=gradient, at=init(rng, 3, 5, 3), args=(X, y, reg), numpy=True)


@right("a ReLU network; its parameters are a dictionary of arrays")
def relu_network(seed):
    return classifier(seed, backward, 0.01)


@wrong(
    "the mask of the ReLU is missing from the backward pass",
    "relu",
    "mask",
    "activation",
    where="W1, b1",
)
def relu_network_no_mask(seed):
    return classifier(seed, lambda p, X, y, reg: backward(p, X, y, reg, use_mask=False))


@wrong("the bias b1 is averaged where it must be summed", *MEAN, where="b1")
def relu_network_bias_mean(seed):
    def gradient(params, X, y, reg):
        grads = backward(params, X, y, reg)
        grads["b1"] = grads["b1"] / X.shape[0]
        return grads

    return classifier(seed, gradient, 0.01)


@wrong(
    "W2 lacks its penalty, and b2's gradient is of the sum, not the mean",
    *PENALTY,
    also=MEAN,
    where="W2, b2",
)
def relu_network_penalty_and_bias(seed):
    def gradient(params, X, y, reg):
        grads = backward(params, X, y, reg)
        _, probs = forward(params, X)
        grads["W2"] = grads["W2"] - reg * params["W2"]
        grads["b2"] = (probs - np.eye(3)[y]).sum(axis=0)
        return grads

    return classifier(seed, gradient, 0.2)


@wrong(
    "W2 has been stepped before the error is carried back through it",
    "updated",
    "stepped",
    where="W1, b1",
)
def relu_network_updated_weight(seed):
    def gradient(params, X, y, reg):
        h, probs = forward(params, X)
        delta = (probs - np.eye(3)[y]) / len(y)
        dW2, db2 = h.T @ delta, delta.sum(0)
        W2 = params["W2"] - 0.5 * dW2
        dh = (delta @ W2.T) * (h > 0)
        return {"W1": X.T @ dh, "b1": dh.sum(0), "W2": dW2, "b2": db2}

    return classifier(seed, gradient)


@approximate("the gradient is made by forward differences with h = 1e-4")
def network_forward_differences(seed):
    def numerical(params, X, y, reg):
        grads = {}
        base = loss(params, X, y, reg)
        for key in params:
            g = np.zeros_like(params[key])
            for idx in np.ndindex(g.shape):
                moved = {k: np.array(v, copy=True) for k, v in params.items()}
                moved[key][idx] += 1e-4
                g[idx] = (loss(moved, X, y, reg) - base) / 1e-4
            grads[key] = g
        return grads

    return classifier(seed, numerical, 0.1)


# ---- regression with saturating units ---------


def regression(seed, act, gradient, value=None):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(16, 2)), rng.normal(size=(16, 1))

    def mse(params):
        a = act(X @ params["W1"] + params["b1"])
        return np.sum((a @ params["W2"] + params["b2"] - y) ** 2) / (2 * len(X))

    at = init(rng, 2, 4, 1)
    return dict(value=value or mse, gradient=lambda p: gradient(p, X, y), at=at, numpy=True)


def logistic(x):
    return 1 / (1 + np.exp(-x))


@wrong(
    "sigmoid' is forgotten in the hidden layer",
    "sigmoid",
    "activation",
    "chain",
    where="W1, b1",
)
def sigmoid_network(seed):
    def gradient(p, X, y):
        A1 = logistic(np.dot(X, p["W1"]) + p["b1"])
        dZ2 = (np.dot(A1, p["W2"]) + p["b2"] - y) / len(X)
        dZ1 = np.dot(dZ2, p["W2"].T)
        return dict(
            W1=np.dot(X.T, dZ1), b1=dZ1.sum(axis=0), W2=np.dot(A1.T, dZ2), b2=dZ2.sum(axis=0)
        )

    return regression(seed, logistic, gradient)


@wrong(
    "1 - z² in place of 1 - tanh(z)²",
    "tanh",
    "activation",
    "1 - z",
    "pre-activation",
    where="W1, b1",
)
def tanh_network(seed):
    def gradient(p, X, y):
        z = X @ p["W1"] + p["b1"]
        d2 = (np.tanh(z) @ p["W2"] + p["b2"] - y) / len(X)
        d1 = d2 @ p["W2"].T * (1 - z**2)
        return {"W1": X.T @ d1, "b1": d1.sum(0), "W2": np.tanh(z).T @ d2, "b2": d2.sum(0)}

    return regression(seed, np.tanh, gradient)


@wrong(
    "tanh' is forgotten, and the output layer's bias has the wrong sign",
    "tanh",
    "activation",
    "chain",
    also=SIGN,
    where="W1, b1; b2",
)
def tanh_network_two(seed):
    def gradient(p, X, y):
        a = np.tanh(X @ p["W1"] + p["b1"])
        error = (y - (a @ p["W2"] + p["b2"])) / len(X)
        back = -error @ p["W2"].T
        return {"W1": X.T @ back, "b1": back.sum(0), "W2": -a.T @ error, "b2": error.sum(0)}

    return regression(seed, np.tanh, gradient)


@wrong(
    "the path of the residual connection around the second layer is forgotten",
    "path",
    "residual",
    "skip",
    "connection",
    "identity",
    where="the first matrix",
)
def residual_block(seed):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))

    def objective(weights):
        A, B = weights
        h = np.tanh(x @ A)
        return 0.5 * np.sum((h + np.tanh(h @ B) - t) ** 2)

    def grads(weights):
        A, B = weights
        h = np.tanh(x @ A)
        u = np.tanh(h @ B)
        du = (h + u - t) * (1 - u * u)
        dh = du @ B.T
        return [x.T @ (dh * (1 - h * h)), h.T @ du]

    at = [rng.normal(size=(3, 3)) * 0.6, rng.normal(size=(3, 3)) * 0.6]
    return dict(value=objective, gradient=grads, at=at, numpy=True)


@wrong(
    "tied weights: the decoder's use of W is forgotten",
    "path",
    "tied",
    "decoder",
    "second use",
    "one of two",
)
def tied_autoencoder(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(15, 4))

    def cost(W):
        return 0.5 * np.mean(np.sum((np.tanh(X @ W) @ W.T - X) ** 2, axis=1))

    def grad(W):
        H = np.tanh(X @ W)
        R = (H @ W.T - X) / len(X)
        return X.T @ (R @ W * (1 - H**2))

    return dict(value=cost, gradient=grad, at=rng.normal(size=(4, 3)) * 0.5, numpy=True)


# ---- sequences ---------


def rnn(seed, steps_back):
    rng = np.random.default_rng(seed)
    xs, target = rng.normal(size=(6, 2)), rng.normal(size=3)

    def run(p):
        hs = [np.zeros(3)]
        for x in xs:
            hs.append(np.tanh(p["Wxh"] @ x + p["Whh"] @ hs[-1] + p["bh"]))
        return hs

    def bptt(p):
        hs = run(p)
        g = {k: np.zeros_like(v) for k, v in p.items()}
        dh = hs[-1] - target
        for t in reversed(range(max(0, len(xs) - steps_back), len(xs))):
            draw = (1 - hs[t + 1] ** 2) * dh
            g["bh"] += draw
            g["Wxh"] += np.outer(draw, xs[t])
            g["Whh"] += np.outer(draw, hs[t])
            dh = p["Whh"].T @ draw
        return g

    at = {k: rng.normal(size=s) * 0.7 for k, s in dict(Wxh=(3, 2), Whh=(3, 3), bh=3).items()}
    return dict(
        value=lambda p: 0.5 * np.sum((run(p)[-1] - target) ** 2), gradient=bptt, at=at, numpy=True
    )


@right("backpropagation through time, summed in place")
def rnn_full(seed):
    return rnn(seed, 6)


@wrong(
    "only the last step of the recurrence is differentiated",
    "time step",
    "through time",
    "last step",
    "recurren",
    "truncat",
    "path",
    "earlier steps",
)
def rnn_truncated(seed):
    return rnn(seed, 1)


@right("a step of an LSTM; its four gates are slices of one matrix")
def lstm_step(seed):
    rng = np.random.default_rng(seed)
    D, H = 2, 2
    x, h0, c0 = rng.normal(size=D), rng.normal(size=H), rng.normal(size=H)
    wh, wc = rng.normal(size=H), rng.normal(size=H)
    z = np.concatenate([h0, x, [1.0]])

    def step(W):
        a = z @ W
        i, f, o = (logistic(a[k * H : (k + 1) * H]) for k in range(3))
        g = np.tanh(a[3 * H :])
        c = f * c0 + i * g
        return i, f, o, g, c, o * np.tanh(c)

    def grad(W):
        i, f, o, g, c, _ = step(W)
        dc = wc + wh * o * (1 - np.tanh(c) ** 2)
        da = np.hstack(
            [
                dc * g * i * (1 - i),
                dc * c0 * f * (1 - f),
                wh * np.tanh(c) * o * (1 - o),
                dc * i * (1 - g**2),
            ]
        )
        return np.outer(z, da)

    def value(W):
        *_, c, h = step(W)
        return wh @ h + wc @ c

    return dict(value=value, gradient=grad, at=rng.normal(size=(D + H + 1, 4 * H)), numpy=True)


def attention(seed, scale_back, transpose_values):
    rng = np.random.default_rng(seed)
    n, d = 4, 3
    dout = rng.normal(size=(n, d))

    def weights(p):
        S = p["Q"] @ p["K"].T / np.sqrt(d)
        A = np.exp(S - S.max(-1, keepdims=True))
        return A / A.sum(-1, keepdims=True)

    def value(p):
        return np.sum(dout * (weights(p) @ p["V"]))

    def grad(p):
        A = weights(p)
        dV = (A.T if transpose_values else A) @ dout
        dA = dout @ p["V"].T
        dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True)) * scale_back
        return {"Q": dS @ p["K"], "K": dS.T @ p["Q"], "V": dV}

    at = {k: rng.normal(size=(n, d)) for k in "QKV"}
    return dict(value=value, gradient=grad, at=at, numpy=True)


@right("scaled dot-product attention")
def attention_right(seed):
    return attention(seed, 1 / np.sqrt(3), True)


@wrong(
    "1/sqrt(d) is missing from the backward pass of the scores",
    "sqrt",
    "√",
    "scaled",
    "scaling",
    "factor",
    "1.73",
    where="Q, K",
)
def attention_scale(seed):
    return attention(seed, 1.0, True)


@wrong(
    "1/sqrt(d) is missing for Q and K, and A is not transposed for V",
    "sqrt",
    "√",
    "scaled",
    "scaling",
    "factor",
    "1.73",
    also=("transpos", ".t"),
    where="Q, K; V",
)
def attention_scale_and_transpose(seed):
    return attention(seed, 1.0, False)


@wrong(
    "the padding mask of the loss is missing from the gradient",
    "mask",
    "padd",
    "weight",
)
def masked_sequence_loss(seed):
    rng = np.random.default_rng(seed)
    X, t = rng.normal(size=(5, 6, 3)), rng.normal(size=(5, 6))
    mask = (np.arange(6)[None] < rng.integers(2, 6, 5)[:, None]).astype(float)

    def value(w, X, t, mask):
        return 0.5 * np.sum(mask * (X @ w - t) ** 2) / mask.sum()

    def grad(w, X, t, mask):
        return np.einsum("bt,btd->d", X @ w - t, X) / mask.sum()

    return dict(value=value, gradient=grad, at=rng.normal(size=3), args=(X, t, mask), numpy=True)


# ---- layers ---------


@right("layer normalisation; x, gamma and beta")
def layer_norm(seed):
    rng = np.random.default_rng(seed)
    dout, eps = rng.normal(size=(3, 5)), 1e-5

    def normalise(x):
        mu, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return (x - mu) / np.sqrt(var + eps), 1 / np.sqrt(var + eps)

    def backward(p):
        xhat, inv = normalise(p["x"])
        dxhat = dout * p["gamma"]
        dx = inv * (
            dxhat - dxhat.mean(1, keepdims=True) - xhat * (dxhat * xhat).mean(1, keepdims=True)
        )
        return {"x": dx, "gamma": (dout * xhat).sum(0), "beta": dout.sum(0)}

    return dict(
        value=lambda p: np.sum(dout * (p["gamma"] * normalise(p["x"])[0] + p["beta"])),
        gradient=backward,
        at={"x": rng.normal(size=(3, 5)), "gamma": rng.normal(size=5), "beta": np.zeros(5)},
        numpy=True,
    )


def batch_norm(seed, grad):
    rng = np.random.default_rng(seed)
    dout = rng.normal(size=(4, 4))

    def xhat(x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

    return dict(
        value=lambda p: np.sum(dout * (xhat(p["x"]) * p["gamma"] + p["beta"])),
        gradient=lambda p: grad(p, xhat(p["x"]), dout),
        at={"x": rng.normal(size=(4, 4)), "gamma": rng.normal(size=4), "beta": rng.normal(size=4)},
        numpy=True,
    )


@wrong(
    "the mean and the variance of the batch are held constant",
    "mean",
    "variance",
    "statistic",
    "constant",
    where="x",
)
def batch_norm_constant_statistics(seed):
    def grad(p, xhat, dout):
        dx = dout * p["gamma"] / np.sqrt(p["x"].var(axis=0) + 1e-5)
        return {"x": dx, "gamma": np.sum(dout * xhat, axis=0), "beta": np.sum(dout, axis=0)}

    return batch_norm(seed, grad)


@wrong(
    "gamma and beta are summed over the features, not over the batch",
    "axis",
    "sum over",
    "summed over",
    where="gamma, beta",
)
def batch_norm_axis(seed):
    def grad(p, xhat, dout):
        N = len(xhat)
        d = dout * p["gamma"]
        inv = 1 / np.sqrt(p["x"].var(axis=0) + 1e-5)
        dx = inv / N * (N * d - d.sum(axis=0) - xhat * (d * xhat).sum(axis=0))
        return {"x": dx, "gamma": np.sum(dout * xhat, axis=1), "beta": np.sum(dout, axis=1)}

    return batch_norm(seed, grad)


@wrong(
    "the kernel's gradient comes out reversed: convolution for correlation",
    "flip",
    "revers",
    "order",
    "permut",
)
def convolution_flipped(seed):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=20), rng.normal(size=16)

    def value(k):
        return 0.5 * np.sum((np.convolve(x, k, mode="valid") - t) ** 2)

    def grad(k):
        r = np.convolve(x, k, mode="valid") - t
        return np.array([np.dot(r, x[i : i + len(r)]) for i in range(len(k))])

    return dict(value=value, gradient=grad, at=rng.normal(size=5), numpy=True)


@right("a convolution of images by loops, and relu")
def convolution_loops(seed):
    rng = np.random.default_rng(seed)
    image, up = rng.normal(size=(5, 5)), rng.normal(size=(3, 3))

    def conv(w, b):
        out = np.zeros((3, 3))
        for i in range(3):
            for j in range(3):
                out[i, j] = np.sum(image[i : i + 3, j : j + 3] * w) + b
        return out

    def grad(p):
        dz = up * (conv(p["w"], p["b"]) > 0)
        dw = np.zeros_like(p["w"])
        for i in range(3):
            for j in range(3):
                dw += dz[i, j] * image[i : i + 3, j : j + 3]
        return {"w": dw, "b": dz.sum()}

    return dict(
        value=lambda p: np.sum(up * relu(conv(p["w"], p["b"]))),
        gradient=grad,
        at={"w": rng.normal(size=(3, 3)), "b": 0.1},
        numpy=True,
    )


@wrong(
    "the Jacobian of the softmax is only diag(p): the outer product is missing",
    "outer",
    "diag",
    "off-diagonal",
)
def softmax_jacobian_diagonal(seed):
    def softmax(z):
        e = np.exp(z - np.max(z))
        return e / np.sum(e)

    at = np.random.default_rng(seed).normal(size=4)
    return dict(
        value=softmax, jacobian=lambda z: np.diag(softmax(z) * (1 - softmax(z))), at=at, numpy=True
    )
