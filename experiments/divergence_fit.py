"""What each divergence makes of a reference with two modes: one bell fitted to it, exactly, by gradient descent.

    python experiments/divergence_fit.py

Claim: where the trained side comes first, the reverse KL settles on one mode and the forward KL covers both; the rest
lie between. Writes docs/images/divergences.png and prints D and the share of the fitted mass on the smaller mode. CPU,
seconds, no randomness.
"""

import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from posttrain_jax.losses import divergence, generator, power, skew, variation

PLACES = jnp.linspace(-6, 6, 121)
EVERY = {
    "reverse KL": generator.ReverseKL(),
    "skewed KL (0.1)": skew.SkewedKL(0.1),
    "chi² + KL": power.ChiSquaredKL(),
    "chi²": power.ChiSquared(),
    "Jensen-Shannon": generator.jensen_shannon(),
    "squared Hellinger": power.SquaredHellinger(),
    "total variation": variation.TotalVariation(),
    "skewed reverse KL (0.1)": skew.SkewedReverseKL(0.1),
    "forward KL": generator.ForwardKL(),
    "Neyman": power.Neyman(),
}


def bell(mean, log_width):
    return jax.nn.log_softmax(-(((PLACES - mean) / jnp.exp(log_width)) ** 2) / 2)


TARGET = jnp.logaddexp(jnp.log(0.65) + bell(-2.0, -0.5), jnp.log(0.35) + bell(2.0, -0.5))


def fit(one):
    """The best of descents from three bells."""

    def value(x):
        return divergence.exact(one, bell(x[0], x[1]), TARGET)

    def descend(x):
        step = jax.value_and_grad(value)
        x = jax.lax.fori_loop(0, 4000, lambda _, x: x - 0.02 * jnp.clip(step(x)[1], -1, 1), x)
        return x, value(x)

    ends, values = jax.vmap(descend)(jnp.asarray([[-2.0, -0.5], [0.0, 0.7], [2.0, -0.5]]))
    return ends[jnp.argmin(values)], jnp.min(values)


def main() -> None:
    """Fit, draw, print."""
    figure, axes = plt.subplots(2, 5, figsize=(11, 4), sharex=True, sharey=True, layout="constrained")
    for (name, one), axis in zip(EVERY.items(), axes.flat, strict=True):
        found, value = jax.jit(fit, static_argnums=0)(one)
        probs = jnp.exp(bell(*found))
        print(f"{name}: D = {value:.3f}, mass on the smaller mode {probs[PLACES > 0].sum():.2f}")
        axis.fill_between(PLACES, jnp.exp(TARGET), color="0.85")
        axis.plot(PLACES, probs, color="C0")
        axis.set_title(name, fontsize=9)
        axis.set_yticks([])
    figure.savefig(pathlib.Path(__file__).parents[1] / "docs" / "images" / "divergences.png", dpi=80)


if __name__ == "__main__":
    main()
