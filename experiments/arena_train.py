"""Training of `policy_arena`, for all learning rates and seeds at once."""

import functools

import arena
import arena_rollout
import digit_policy
import jax
import jax.numpy as jnp
import optax

from posttrain_jax import ValuePretraining
from posttrain_jax.recipes import nested


def with_critic(entry: arena_rollout.Entry, known, sizes: tuple[int, int], rate, key):
    """The start, after the critic alone has learned, the policy being held still; and the tokens drawn for that."""
    alone = arena_rollout.Entry(ValuePretraining(), entry.updates)
    kinds = {name: "critic" if name in digit_policy.CRITIC else "policy" for name in known["ref"]}
    adam = optax.multi_transform({"critic": optax.adam(rate), "policy": optax.set_to_zero()}, kinds)
    state, keys = (known["ref"], adam.init(known["ref"]), ()), jax.random.split(key, entry.critic)
    state, tokens = jax.lax.scan(functools.partial(arena.step, alone, adam, sizes, known), state, keys)
    return state[0], tokens.sum()


def train(entry: arena_rollout.Entry, known, keys, rates, sizes: tuple[int, int, int]):
    """Parameters [rate, seed, ten steps] on the way, and the tokens drawn in these ten.

    Args:
        known: parameters of the models that recipes may ask, by role: "ref", from which all start, and "dpo".
        keys: of the seeds.
        rates: of Adam.
        sizes: steps, prompts of a step, completions of a prompt.
    """
    memory = nested.init_memory(entry.recipe)

    def one(rate, key):
        adam, before = optax.adam(rate), jax.random.fold_in(key, 0)
        start, spent = with_critic(entry, known, sizes[1:], rate, before) if entry.critic else (known["ref"], 0)

        def ten(state, keys):
            state, tokens = jax.lax.scan(functools.partial(arena.step, entry, adam, sizes[1:], known), state, keys)
            return state, (state[0], tokens.sum())

        keys = jax.random.split(key, (sizes[0] // 10, 10))
        found, tokens = jax.lax.scan(ten, (start, adam.init(start), memory), keys)[1]
        return found, tokens.at[0].add(spent)

    both = jax.vmap(jax.vmap(one, (None, 0)), (0, None))
    return jax.jit(both, compiler_options=arena.QUICK)(jnp.asarray(rates), keys)
