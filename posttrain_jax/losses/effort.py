"""How much a completion wavers (windows of high entropy), and what that is worth by how hard its prompt is.

Source: Chen et al. 2025 (ARES, arXiv:2510.08457), as in the authors' code; its equations were not seen.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked, pytree

MARGINS = (0.15, 0.25, 0.35)
"""f of easy, medium and hard prompts: the margin is max(1, f max(target, 1))."""
BENDS = (2.0, 3.0, 4.0)
"""k, likewise: where the Huber form turns straight."""
SOFTNESSES = (2.0, 2.5, 3.0)
"""tmp, likewise: of the sigmoid."""
SCALES = (1.0, 1.0, 1.2)
"""s, likewise: the cap is alpha s."""


def ahead(entropy: Float[Array, "P G T"], mask: Bool[Array, "P G T"], *, width: int) -> Float[Array, "P G T"]:
    """Mean entropy of the `width` tokens behind each one; NaN where fewer than that are left."""
    sums = jnp.zeros_like(entropy)
    whole = mask
    for step in range(1, width + 1):
        shift = ((0, 0), (0, 0), (0, step))
        sums += jnp.pad(jnp.where(mask, entropy, 0), shift)[:, :, step:]
        whole &= jnp.pad(mask, shift)[:, :, step:]
    return jnp.where(whole, sums / width, jnp.nan)


def threshold(windows: Float[Array, "P G T"]) -> Float[Array, ""]:
    """Median over completions of the 95th percentile of their windows; NaN where there is no window."""
    high = jax.vmap(lambda row: masked.quantile(row, ~jnp.isnan(row), 0.95))
    rows = windows.reshape(-1, windows.shape[-1])
    some = jnp.any(~jnp.isnan(rows), axis=-1)
    middle = masked.quantile(high(rows), some, 0.5)
    return jnp.where(jnp.any(some), middle, jnp.nan)


def bucket(rates: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0 of easy prompts (accuracy 2/3 or more), 1 of medium ones (1/3 or more), 2 of hard ones."""
    return jnp.where(rates >= 2 / 3, 0.0, jnp.where(rates >= 1 / 3, 1.0, 2.0))


def worth(
    counts: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    correct: Bool[Array, "*shape"],
    buckets: Float[Array, "*shape"],
    alphas: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """What is added to the accuracy of a completion with so many windows of high entropy.

    With d = n - n*, margin m, cap c, H = x^2 / 2k below k and x - k/2 above, of max(x, 0), S the sigmoid of x / tmp:
    easy and right -min(c, c H(d - m) / (m + k)), medium and right the same of |d|, hard and right c S(d + m) above -m
    and -min(c, c H(-d - m) / 2 (m + k)) below, wrong c S(max(d - m, 0)) times 0.6, 0.8 and 1.

    Args:
        counts: n.
        targets: n*, the mean count of the bucket.
        correct: whether the answer is right.
        buckets: `bucket`.
        alphas: strength of the bucket.
    """
    m, k, softness, scale = (_of(table, buckets) for table in (MARGINS, BENDS, SOFTNESSES, SCALES))
    margin, cap, gap = jnp.maximum(1, m * jnp.maximum(targets, 1)), alphas * scale, counts - targets

    def fine(x, share):
        x = jnp.maximum(x, 0)
        bent = jnp.where(x <= k, x**2 / (2 * k), x - k / 2)
        return -jnp.minimum(cap, share * bent / (margin + k) * cap)

    def soft(x):
        return cap * jax.nn.sigmoid(x / softness)

    hard = jnp.where(gap >= -margin, soft(gap + margin), fine(-gap - margin, 0.5))
    right = jnp.where(
        buckets == 0, fine(gap - margin, 1.0), jnp.where(buckets == 1, fine(abs(gap) - margin, 1.0), hard)
    )
    return jnp.where(correct, right, _of((0.6, 0.8, 1.0), buckets) * soft(jnp.maximum(gap - margin, 0)))


@pytree.struct
class Memory:
    """What is remembered: of all completions, and of easy, medium and hard prompts."""

    tau: Float[Array, ""]
    """The entropy from which a window is high; infinite before the first step."""
    alpha: Float[Array, "3"]
    """Strength of the effort's worth."""
    beta: Float[Array, "3"]
    """Weight of the divergence."""
    kl: Float[Array, "3"]
    """Its moving mean; NaN where no prompt was seen."""
    error: Float[Array, "3"]
    """The moving mean of its relative distance from the aim."""
    steps: Float[Array, ""]
    """Done so far."""


def none() -> Memory:
    """Before the first step."""
    zero, three = jnp.float32(0), jnp.zeros(3, jnp.float32)
    return Memory(zero + jnp.inf, three + 0.5, three + 1, three + jnp.nan, three, zero)


def follow(tau: Float[Array, ""], now: Float[Array, ""]) -> Float[Array, ""]:
    """0.99 tau + 0.01 of what is seen now; that alone at first, and nothing new where it is NaN."""
    return jnp.where(jnp.isnan(now), tau, jnp.where(jnp.isinf(tau), now, 0.99 * tau + 0.01 * now))


def by_bucket(x: Float[Array, "P G"], buckets: Float[Array, "P G"], counted: Bool[Array, "P G"]) -> Float[Array, "3"]:
    """Means over the completions of each bucket; NaN of an empty one."""
    sides = [counted & (buckets == number) for number in range(3)]
    return jnp.stack([jnp.where(jnp.any(side), masked.mean(x, side), jnp.nan) for side in sides])


def move(
    memory: Memory, tau: Float[Array, ""], counts: Float[Array, "3"], kl: Float[Array, "3"], *, aim: float
) -> Memory:
    """The memory after a step.

    alpha moves by 0.05 (mean count - target), the other way on hard prompts, within 0 and 2. Every 100 steps beta is
    multiplied by exp(0.05 clip(error, -0.2, 0.2)) where the moving KL is 2 % or more from the aim, within 1e-4 and 100.

    Args:
        memory: before the step.
        tau: of the step.
        counts: mean count of each bucket, NaN of an empty one.
        kl: mean divergence of each bucket, likewise.
        aim: of the divergence.
    """
    drift = jnp.nan_to_num(counts - jnp.round(counts)) * jnp.asarray([1.0, 1.0, -1.0])
    moving = jnp.where(jnp.isnan(memory.kl), kl, jnp.where(jnp.isnan(kl), memory.kl, 0.97 * memory.kl + 0.03 * kl))
    off = jnp.nan_to_num(moving / aim - 1)
    due = (jnp.abs(off) >= 0.02) & (memory.steps % 100 == 0) & ~jnp.isnan(moving)
    error = jnp.where(due, 0.03 * off + 0.97 * memory.error, memory.error)
    beta = jnp.clip(memory.beta * jnp.exp(0.05 * jnp.clip(error, -0.2, 0.2)), 1e-4, 1e2)
    return Memory(
        tau=tau,
        alpha=jnp.clip(memory.alpha + 0.05 * drift, 0, 2),
        beta=jnp.where(due, beta, memory.beta),
        kl=moving,
        error=error,
        steps=memory.steps + 1,
    )


def _of(table: tuple[float, ...], buckets: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.asarray(table, jnp.float32)[buckets.astype(jnp.int32)]
