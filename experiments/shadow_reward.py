"""Demonstrations of responses that can be listed, and the alternation of DR-IRL on them: what `dr_irl` trains.

Every prompt is of one of two kinds, and the expert wants something else of each: its policy is the even one tilted by a
reward that is linear in features of the response. It is never told, only demonstrated.
"""

import functools

import enumerable
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from posttrain_jax import RLOO, pytree, types
from posttrain_jax.losses import tilting
from posttrain_jax.recipes.policy import dr_irl

WIDTH = 4
"""Of the features."""


@pytree.struct
class Task:
    """X prompts, Y responses, D demonstrations of each prompt."""

    features: Float[Array, "X Y F"]
    kinds: Int[Array, "X"]
    expert: Float[Array, "X Y"]
    """Its log-probabilities."""
    demonstrations: Int[Array, "X D"]


def task(key: Key[Array, ""], prompts: int, responses: int, count: int, beta: float) -> Task:
    """The expert's reward has features of length 1 and weights of length 1, other ones for each kind."""
    keys = jax.random.split(key, 3)
    unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    features = unit(jax.random.normal(keys[0], (prompts, responses, WIDTH)))
    kinds, wanted = jnp.arange(prompts) % 2, unit(jax.random.normal(keys[1], (2, WIDTH)))
    expert = tilting.tilted(even(features), jnp.einsum("xyf,xf->xy", features, wanted[kinds]), beta)
    drawn = jax.random.categorical(keys[2], expert[:, None], shape=(prompts, count))
    return Task(features, kinds, expert, drawn)


def even(features: Float[Array, "X Y F"]) -> Float[Array, "X Y"]:
    """Log-probabilities of the reference."""
    return jnp.full(features.shape[:2], -jnp.log(features.shape[1]))


def copied(given: Task) -> Float[Array, "X Y"]:
    """Log-probabilities of the demonstrations as often as they came, one more of each response: fine-tuning's."""
    counts = jnp.sum(jax.nn.one_hot(given.demonstrations, given.features.shape[1]), axis=1) + 1
    return jnp.log(counts / jnp.sum(counts, axis=1, keepdims=True))


@functools.partial(jax.jit, static_argnames=("recipe", "shared", "steps", "group"))
def alternate(
    given: Task,
    recipe: RLOO | dr_irl.DRIRL,
    key: Key[Array, ""],
    *,
    shared: bool,
    steps: int,
    group: int = 32,
) -> Float[Array, "X Y"]:
    """Log-probabilities after `steps`, each one of the reward models and one of the policy.

    Reward step, of each kind: minimise r(own response) - r(demonstration) + |w|^2 / 200. Policy step: the recipe on
    that reward, all prompts at once. `shared`: one reward model serves both kinds.
    """
    kinds = jnp.zeros_like(given.kinds) if shared else given.kinds
    falling, start = optax.linear_schedule(0.03, 0.0, steps), even(given.features)
    reward_adam, adam = optax.adam(falling), optax.adam(falling)

    def of(weights: Array, chosen: Array) -> Array:
        """r of responses [X, n], and their features."""
        picked = jnp.take_along_axis(given.features, chosen[..., None], axis=1)
        return jnp.einsum("xnf,xf->xn", picked, weights[kinds], precision="highest"), picked

    def behind(weights: Array, drawn: Array) -> Array:
        gaps = jnp.mean(of(weights, drawn)[0]) - jnp.mean(of(weights, given.demonstrations)[0])
        return gaps + jnp.sum(weights**2) / 200

    def loss(logits: Array, drawn: Array, weights: Array, key: Array) -> Array:
        groups = enumerable.groups_of(jnp.arange(len(drawn)), drawn)
        said, ref = (functools.partial(enumerable.stats, jax.nn.log_softmax(x)) for x in (logits, start))
        rollout = types.Rollout(groups, jax.lax.stop_gradient(said(groups)), jnp.zeros(drawn.shape, bool))
        (rewards, own), (wanted, shown) = of(weights, drawn), of(weights, given.demonstrations)
        if isinstance(recipe, dr_irl.DRIRL):
            near = jnp.mean(jnp.einsum("xnf,xdf->xnd", own, shown), axis=2)
            gaps = jnp.mean(wanted, axis=1, keepdims=True) - rewards
            category = jnp.broadcast_to(kinds[:, None], drawn.shape).astype(jnp.float32)
            columns = {"similarity": near, "gap": gaps, "category": category}
            lookup = types.Lookup(said, lambda x, _: ref(x), key)
            batch, _ = recipe.credit(rollout, rewards, columns, lookup, ())
        else:
            batch = recipe.credit(rollout, rewards, ref(groups).logps)
        return recipe.loss(said(groups), batch)[0]

    def step(carry, key):
        logits, weights, moments, reward_moments = carry
        drawn = jax.random.categorical(key, logits[:, None], shape=(len(logits), group))
        change, reward_moments = reward_adam.update(jax.grad(behind)(weights, drawn), reward_moments)
        weights = optax.apply_updates(weights, change)
        change, moments = adam.update(jax.grad(loss)(logits, drawn, jax.lax.stop_gradient(weights), key), moments)
        return (optax.apply_updates(logits, change), weights, moments, reward_moments), None

    nothing = jnp.zeros((2, WIDTH))
    carry = start, nothing, adam.init(start), reward_adam.init(nothing)
    return jax.nn.log_softmax(jax.lax.scan(step, carry, jax.random.split(key, steps))[0][0])
