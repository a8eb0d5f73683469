"""Steps of `policy_arena`: of any recipe that `run_online` takes."""

import dataclasses
import functools

import arena_rollout
import digit_policy
import jax
import jax.numpy as jnp
import optax

from posttrain_jax import types
from posttrain_jax.losses import focus
from posttrain_jax.recipes import nested
from posttrain_jax.train import held

QUICK = {"xla_backend_optimization_level": 1}
"""Compiles three times faster than the default, and what it compiles is as fast here."""


def influences(params, groups, sources):
    """How much learning each token would raise sum(sources * logps) of its row, through all parameters."""

    def one(row, weights):
        says = lambda p: digit_policy.stats(p, jax.tree.map(lambda x: x[None], row)).logps[0]  # noqa: E731
        upward = jax.grad(lambda p: jnp.sum(weights * says(p)))(params)
        return jax.jvp(says, (params,), (upward,))[1]

    return jax.vmap(one)(groups, sources)


def spreads(params, groups, spread):
    """How far the distributions of a row lie apart at each place."""
    return focus.over_vocabulary(spread, digit_policy.log_probs(params, groups)[0], groups.completion_mask)


def compared(params, known, groups, kept_ids=None, comparisons=None):
    """What a model says of completions, and its exact divergences from others."""
    said, mask = digit_policy.log_probs(params, groups)[0], groups.completion_mask

    def from_others(one):
        logits = [share * digit_policy.log_probs(known[name], groups)[0] for name, share in one.logits.items()]
        return jnp.where(mask, one.divergence.terms(said, jax.nn.log_softmax(sum(logits))).sum(-1), 0)

    found = {name: from_others(one) for name, one in (comparisons or {}).items()}
    return dataclasses.replace(digit_policy.stats(params, groups), divergences=found)


def step(entry: arena_rollout.Entry, adam: optax.GradientTransformation, sizes: tuple[int, int], known, state, key):
    """One rollout and the updates on it, as `run_online` does them."""
    keys = jax.random.split(key)
    found, columns, tokens = arena_rollout.collect(entry.recipe, sizes, state[0], keys[0])
    return learn(entry, adam, known, state, found, columns, keys[1]), tokens


def learn(entry: arena_rollout.Entry, adam: optax.GradientTransformation, known, state, found, columns, key):
    """The updates on a rollout."""
    (params, moments, memory), recipe = state, entry.recipe
    others = {name: functools.partial(compared, one, known) for name, one in known.items()}

    def credited(params):
        policy = functools.partial(digit_policy.stats, params)
        asked = {"influences": functools.partial(influences, params), "spreads": functools.partial(spreads, params)}
        lookup = types.Lookup(policy, others["ref"], key, fixed=others | {"policy": policy}, **asked)
        batch, after = nested.credit(recipe, found, columns["right"], columns, lookup, memory)
        return dataclasses.replace(batch, old_logps=found.sampler.logps if entry.updates > 1 else None), after

    def update(carry, _):
        params, moments = carry
        batch = credited(params)[0] if held.follows(recipe) else first
        gradient = jax.grad(lambda p: recipe.loss(digit_policy.stats(p, found.groups), batch)[0])(params)
        change, moments = adam.update(gradient, moments, params)
        return (optax.apply_updates(params, change), moments), None

    first, after = credited(params)
    (params, moments), _ = jax.lax.scan(update, (params, moments), length=entry.updates)
    return params, moments, after
