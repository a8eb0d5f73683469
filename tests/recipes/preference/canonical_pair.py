"""A pair on which many losses were worked out in float64, and a random batch of pairs to compare recipes on.

Chosen: sum -10 over 5 tokens, reference -11. Rejected: -14 over 7, reference -13. So the log-ratios are 1 and -1.
"""

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types


def groups(mask):
    """`Groups` of completions about which nothing but the mask matters."""
    rows = mask.shape[0]
    return types.Groups(
        prompts=jnp.zeros((rows, 1), int),
        prompt_lengths=jnp.ones(rows, int),
        completions=jnp.zeros(mask.shape, int),
        completion_lengths=jnp.sum(mask, axis=-1),
        completion_mask=mask,
        group_ids=jnp.arange(rows),
    )


MASK = jnp.arange(7)[None, None, :] < jnp.array([[[5], [7]]])
GROUPS = groups(MASK)


def spread(chosen, rejected):
    """Log-probabilities [1, 2, 7] with the given sums, every token alike."""
    return jnp.where(MASK, jnp.array([[[chosen / 5], [rejected / 7]]]), 0)


def stats(logps):
    """`TokenStats` about which nothing but log-probabilities matters."""
    return types.TokenStats(logps=logps, entropy=jnp.zeros_like(logps))


def lookup(policy, ref, **fixed):
    """Models that say these log-probabilities of whatever is asked: a policy, a reference and others by role."""
    others = {role: lambda *_, said=said: stats(said) for role, said in fixed.items()}
    return types.Lookup(lambda *_: stats(policy), lambda *_: stats(ref), jax.random.key(0), others)


POLICY = stats(spread(-10, -14))
REF = spread(-11, -13)


def credit(recipe, given, policy, ref, columns=None, **fixed):
    """The batch of a recipe of either kind, with nothing remembered."""
    if isinstance(recipe, types.InformedOffline):
        return recipe.credit(given, columns or {}, lookup(policy, ref, **fixed), recipe.init_memory())[0]
    return recipe.credit(given, ref)


def loss(recipe, policy=POLICY, ref=REF):
    """Loss of the pair, and its metrics."""
    return recipe.loss(policy, credit(recipe, GROUPS, policy.logps, ref))


def step(recipe, policy=POLICY, ref=REF):
    """Loss of the pair, and its gradient by the log-probabilities."""
    value, gradient = jax.value_and_grad(lambda policy: loss(recipe, policy, ref)[0])(policy)
    return value, gradient.logps


def check(recipe, expected, policy=POLICY, ref=REF):
    """The loss of the pair is `expected`."""
    np.testing.assert_allclose(loss(recipe, policy, ref)[0], expected, rtol=2e-6)


def check_at_reference(recipe, expected):
    """The loss is `expected` where the policy is the reference."""
    check(recipe, expected, policy=stats(REF))


_GENERATOR = np.random.default_rng(0)
RANDOM_MASK = jnp.asarray(np.arange(4) < np.array([[[4], [2]], [[1], [3]], [[2], [2]]]))
RANDOM_REF, RANDOM_LOGPS = (
    jnp.asarray(np.where(RANDOM_MASK, _GENERATOR.uniform(-3, -0.1, RANDOM_MASK.shape), 0), jnp.float32)
    for _ in range(2)
)


def random_step(recipe):
    """Loss of the random batch, and its gradient by the log-probabilities."""
    batch = credit(recipe, groups(RANDOM_MASK), RANDOM_LOGPS, RANDOM_REF)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(stats(RANDOM_LOGPS))
    return value, gradient.logps


def check_same(recipe, other, rtol=1e-5, atol=1e-7):
    """Two recipes have the same loss and gradient."""
    for got, expected in zip(random_step(recipe), random_step(other), strict=True):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
