"""How far the head's divergences lie from float64, in float32 and in bfloat16. Prints one JSON line for each.

    python experiments/benchmarks/divergence_precision.py

The same hidden states and weights in each precision, and two models that are `apart` from one another: hidden states of
unit variance, the second's moved by that share of it. `value` is the median over tokens of the relative error of the
divergence, `worst` its largest; `gradient` the relative error of the gradient of the sum by the hidden states, as a
norm. `rounded` compares with float64 on operands that were rounded as the head's are: what is left is arithmetic.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from posttrain_jax import comparison
from posttrain_jax.losses import divergence, generator, power, skew, variation
from posttrain_jax.models import head, sharding

DIVERGENCES = {
    "reverse_kl": generator.ReverseKL(),
    "forward_kl": generator.ForwardKL(),
    "jensen_shannon": generator.jensen_shannon(),
    "skewed_kl": skew.SkewedKL(0.1),
    "chi_squared": power.ChiSquared(),
    "squared_hellinger": power.SquaredHellinger(),
    "total_variation": variation.TotalVariation(),
}


def draw(apart: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hidden states of 64 tokens of both models, 256 wide, and the weight they share: 32,768 entries."""
    random = np.random.default_rng(0)
    hidden, moved = random.normal(size=(2, 1, 1, 64, 256))
    return hidden, hidden + apart * moved, random.normal(size=(256, 32_768)) / 8


def exact(one: comparison.Divergence, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradient in float64, all logits at once."""
    with jax.enable_x64(True):
        hidden, other, weight = (jnp.asarray(x, jnp.float64) for x in arrays)

        def total(hidden):
            values = divergence.exact(one, *(jax.nn.log_softmax(x @ weight) for x in (hidden, other)))
            return values.sum(), values

        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(hidden)
        return np.asarray(values), np.asarray(gradient)


def chunked(one: comparison.Divergence, arrays: list[jax.Array]) -> tuple[np.ndarray, np.ndarray]:
    """The same by the head, in the arrays' precision."""
    hidden, other, weight = arrays
    layout = head.Layout(sharding.make_mesh(), sharding.TRAINING_RULES, 64)
    compared, fixed = {"d": comparison.Comparison(one, {"ref": 1.0})}, {"ref": comparison.Logits(other, weight)}

    def total(hidden):
        mine, ids = comparison.Logits(hidden, weight), jnp.zeros(hidden.shape[:3], int)
        stats = head.token_stats(mine, ids, layout, temperature=1.0, comparisons=compared, fixed=fixed)
        return stats.divergences["d"].sum(), stats.divergences["d"]

    (_, values), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(hidden)
    return np.asarray(values, float), np.asarray(gradient, float)


def main(apart: tuple[float, ...] = (0.02, 0.5)) -> None:
    """All divergences, precisions and distances."""
    for share in apart:
        arrays = draw(share)
        for name, one in DIVERGENCES.items():
            for dtype in (jnp.float32, jnp.bfloat16):
                rounded = [jnp.asarray(x, dtype) for x in arrays]
                values, gradient = chunked(one, rounded)
                line = {"name": name, "apart": share, "dtype": jnp.dtype(dtype).name}
                for prefix, given in (("", list(arrays)), ("rounded_", [np.asarray(x, np.float64) for x in rounded])):
                    wanted, slope = exact(one, given)
                    errors = np.abs(values - wanted) / wanted
                    line |= {prefix + "value": float(np.median(errors)), prefix + "worst": float(errors.max())}
                    line["divergence"] = float(np.median(wanted))
                    line[prefix + "gradient"] = float(np.linalg.norm(gradient - slope) / np.linalg.norm(slope))
                print(json.dumps({k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in line.items()}))


if __name__ == "__main__":
    tyro.cli(main)
