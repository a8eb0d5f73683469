"""Random batches for the battery, and how recipes of each kind take them. The recipes are in `*_cases.py`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import pytree, scoring, types


@pytree.struct
class Data:
    """Everything that a step of any recipe could be given, plus the policy's own statistics."""

    groups: types.Groups
    policy: types.TokenStats | scoring.Scores
    old: types.TokenStats
    ref: types.TokenStats | None
    rewards: jax.Array
    truncated: jax.Array


@dataclasses.dataclass(frozen=True)
class Case:
    """A recipe and how it takes its data."""

    recipe: Any
    credit: Callable[[Any, Data], Any]
    """`online`, `once`, or one of `OFFLINE`."""
    group_size: int = 4
    """Completions of a row."""
    valued: bool = False
    """The model has a critic."""
    flat_groups_rest: bool = True
    """Groups of equal rewards have no gradient (where policy, old and reference are one)."""
    spans_rows: bool = True
    """A group may be cut into rows."""
    divergences: tuple[str, ...] = ()
    """What the model is compared by."""
    masks: tuple[str, ...] = ()
    """What it says of how much tokens count."""
    scores: int = 0
    """Numbers that a reward model says of a token; 0 of a language model."""
    gates: int = 0
    """Numbers that it says of a prompt."""

    def batch(self, data):
        """What `credit` gives for the data."""
        return self.credit(self.recipe, data)


def ref_logps(recipe, data):
    """What the loop would hand to `credit`."""
    return data.ref.logps if recipe.needs_ref and data.ref is not None else None


def once(recipe, data):
    """Credit from rewards, for recipes that take one update per rollout."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated)
    return recipe.credit(rollout, data.rewards, ref_logps(recipe, data))


def distilled(recipe, data):
    """As `looking`, of a recipe whose loss knows no old policy."""
    return look(recipe, data)


def online(recipe, data):
    """Credit from rewards, and the log-probabilities at the start of the update."""
    return dataclasses.replace(once(recipe, data), old_logps=data.old.logps)


def mismatched(recipe, data):
    """As `online`, of a sampler that is not the old policy."""
    rollout = types.Rollout(groups=data.groups, sampler=data.ref, truncated=data.truncated)
    return dataclasses.replace(recipe.credit(rollout, data.rewards), old_logps=data.old.logps)


def beside_greedy(recipe, data):
    """As `once`, the truncated completions being greedy ones."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated, greedy=data.truncated)
    return recipe.credit(rollout, data.rewards, ref_logps(recipe, data))


def branched(recipe, data):
    """As `online`, in trees that branch by the first token, to which it leads, and then by all."""
    words = jnp.where(data.groups.completion_mask, data.groups.completions, 0)
    branches = jnp.stack([words[..., 0] % 2, words[..., 0] % 2 + 2 * jnp.sum(words, axis=-1)], axis=-1)
    edges = jnp.minimum(jnp.zeros_like(words) + jnp.arange(words.shape[-1])[None, None], 1)
    tree = {"branches": branches, "edges": edges}
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated, **tree)
    return dataclasses.replace(recipe.credit(rollout, data.rewards), old_logps=data.old.logps)


def looked_up(data):
    """What a recipe may ask: the policy, its reference, and other models."""

    def other(*_, comparisons=None):
        logps = jnp.where(data.groups.completion_mask, data.old.logps - 0.1, 0)
        divergences = {name: jnp.abs(data.old.logps) / 5 for name in comparisons or {}}
        return types.TokenStats(logps, data.old.entropy, divergences=divergences)

    def costs(_, picked):
        tokens = (x.reshape(len(x), -1) for x in (data.old.logps, data.old.entropy))
        one, other = (jnp.take_along_axis(x, picked.places, 1).ravel() for x in tokens)
        return jnp.abs(one[:, None] - other[None]), jnp.zeros((len(picked.places), one.size, 1))

    fixed = {"teacher": lambda *_: data.ref, "dpo": other, "reverse_dpo": other, "guide": lambda *_: data.old}
    influences = lambda *_: data.old.logps + data.old.entropy  # noqa: E731
    entries = (
        jnp.stack([data.groups.completions] * 2, axis=-1),
        jnp.minimum(jnp.stack([data.old.logps, data.ref.logps], axis=-1), 0) - 1,
    )
    told = {"influences": influences, "costs": costs, "likeliest": lambda *_: entries}
    told |= {"activations": lambda *_: {"stream": (data.old.entropy, data.old.logps)}}
    return types.Lookup(lambda *_: data.policy, lambda *_: data.ref, jax.random.key(0), fixed, **told)


def look(recipe, data):
    """Credit from rewards, of a recipe that may look at the policy and reads two rewards, nothing being remembered."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated)
    second = jnp.sin(3 * data.rewards)
    counts = jnp.round(2 * jnp.abs(second))
    columns = {"first": data.rewards, "second": second, "third": 0 * data.rewards, "count": counts}
    return recipe.credit(rollout, data.rewards, columns, looked_up(data), recipe.init_memory())[0]


def looking(recipe, data):
    """As `look`, and the log-probabilities at the start of the update."""
    return dataclasses.replace(look(recipe, data), old_logps=data.old.logps)


def said(groups, *_):
    """What a model says of any completions: different of each, the same wherever they stand."""
    words = jnp.cumsum(groups.completions, axis=-1).astype(jnp.float32)
    mask = groups.completion_mask.astype(jnp.float32)
    return types.TokenStats(-mask * (1 + jnp.sin(words)), mask)


def answering(recipe, data):
    """As `looking`, with a given answer to every prompt, and a policy that can be asked about any completions."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated)
    ids = data.groups.group_ids[:, None]
    answers = jnp.concatenate([abs(ids) % 5, abs(ids) % 3, jnp.full_like(ids, -1)], axis=1).astype(jnp.float32)
    lookup = types.Lookup(said, lambda *_: data.ref, jax.random.key(0), {"policy": said})
    batch, _ = recipe.credit(rollout, data.rewards, {"answer": answers}, lookup, recipe.init_memory())
    return dataclasses.replace(batch, old_logps=data.old.logps)


def playing(recipe, data):
    """Credit of own completions against an opponent's, who drew the truncated ones; nothing is remembered."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated)
    fixed = {"target": lambda *_: data.ref}
    lookup = types.Lookup(lambda *_: data.policy, lambda *_: data.ref, jax.random.key(0), fixed)
    columns = {"opponent": data.truncated.astype(jnp.float32)}
    return recipe.credit(rollout, data.rewards, columns, lookup, recipe.init_memory())[0]


def focused(recipe, data):
    """As `looking`, with a number of every position."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated)
    lookup = dataclasses.replace(looked_up(data), spreads=lambda *_: jnp.sum(data.old.entropy, axis=1))
    batch, _ = recipe.credit(rollout, data.rewards, {}, lookup, recipe.init_memory())
    return dataclasses.replace(batch, old_logps=data.old.logps)


def segments(groups, rewards):
    """Pairs of tokens, that begin in one of two states and earn something of the reward."""
    shape = (*rewards.shape, 3)
    ids = jnp.where(groups.completion_mask, jnp.arange(groups.completions.shape[-1])[None, None] // 2, -1)
    firsts = [min(2 * k, groups.completions.shape[-1] - 1) for k in range(3)]
    there = jnp.stack([jnp.any(ids == k, axis=-1) for k in range(3)], axis=-1)
    earned = jnp.sin(3 * rewards[..., None] + jnp.arange(3.0)[None, None])
    states = groups.completions[..., jnp.asarray(firsts)] % 2
    return types.Segments(ids, jnp.where(there, earned, jnp.nan), jnp.where(there, states, -1).reshape(shape))


def segmented(recipe, data):
    """As `online`, of completions that have parts."""
    parts = segments(data.groups, data.rewards)
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated, segments=parts)
    return dataclasses.replace(recipe.credit(rollout, data.rewards, ref_logps(recipe, data)), old_logps=data.old.logps)


def demonstrated(recipe, data):
    """As `once`, the truncated completions being given answers."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated, given=data.truncated)
    return recipe.credit(rollout, data.rewards)


def before_pairs(recipe, data):
    """As `once`, the last two completions being a given pair."""
    given = jnp.broadcast_to(jnp.array([False, False, True, True]), data.rewards.shape)
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated, given=given)
    return recipe.credit(rollout, data.rewards, ref_logps(recipe, data))


def offline(recipe, data):
    """Credit from given completions."""
    return recipe.credit(data.groups, ref_logps(recipe, data))


def informed(recipe, data):
    """Credit from given completions, of a recipe that may look at policy and columns, nothing being remembered yet."""
    rewards = data.rewards if data.rewards.shape[1] > 1 else data.rewards[:, 0]
    prompts = jnp.zeros(data.groups.prompts.shape)
    columns = {
        "scores": rewards,
        "win_rates": jnp.sin(rewards) ** 2,
        "log_odds": rewards,
        "desirable": (rewards > 0).astype(jnp.float32),
        "grades": jnp.abs(rewards),
        "winners": rewards,
        "labels": jnp.stack([data.rewards, jnp.sin(3 * data.rewards), -data.rewards], axis=-1),
        "step_labels": jnp.where(data.old.entropy > 1, jnp.exp(jnp.minimum(data.old.logps, 0)), jnp.nan),
        "teacher_ids": jnp.stack([data.groups.completions] * 2, axis=-1).astype(jnp.float32),
        "teacher_log_probs": jnp.minimum(jnp.stack([data.old.logps, data.ref.logps], axis=-1), 0) - 1,
        "agreement": jnp.exp(jnp.minimum(data.old.logps[:, 0, 0], 0)),
        "person": (data.old.logps[:, 0, 0] > -1).astype(jnp.float32),
        "favours": jnp.where(data.old.logps[:, 0, 0] > -1, 1.0, -1.0),
        "differing": (data.old.logps > data.ref.logps).astype(jnp.float32),
        "short_prompt": prompts,
        "better_prompt": jnp.zeros(data.groups.completions.shape),
        "worse_prompt": jnp.zeros(data.groups.completions.shape),
    }
    return recipe.credit(data.groups, columns, looked_up(data), recipe.init_memory())[0]


OFFLINE = (offline, informed, before_pairs)
"""The ways of crediting completions whose places in a row mean something."""


def random(case, *, rows=8, length=5, seed=0, spread=0.3):
    """Random data in which every kind of row occurs: full, short, failed (NaN reward), truncated, of a shared group."""
    shape = (rows, case.group_size, length)
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, shape[:2])
    lengths[0, 0] = length
    mask = np.arange(length) < lengths[..., None]
    base = generator.uniform(-3.0, -0.1, shape)
    rewards = generator.normal(size=shape[:2])
    rewards[-1, 0] = np.nan

    def stats():
        logps = base + spread * generator.normal(size=shape)
        values = floats(mask * generator.normal(size=shape)) if case.valued else None
        divergences = {name: floats(mask * generator.uniform(0, 1, shape)) for name in case.divergences}
        masks = {name: floats(mask * generator.uniform(0, 1, shape)) for name in case.masks}
        more = {"values": values, "divergences": divergences, "masks": masks}
        return types.TokenStats(floats(mask * logps), floats(mask * -base), **more)

    groups = types.Groups(
        prompts=jnp.asarray(np.zeros((rows, 2), np.int32)),
        prompt_lengths=jnp.asarray(np.full(rows, 2, np.int32)),
        completions=jnp.asarray(generator.integers(0, 9, shape)),
        completion_lengths=jnp.asarray(lengths),
        completion_mask=jnp.asarray(mask),
        group_ids=jnp.asarray(np.arange(rows) // min(case.group_size, 2) * 5 + 3),
    )

    def scores():
        tokens = mask[..., None] * spread * 3 * generator.normal(size=(*shape, case.scores))
        return scoring.Scores(floats(tokens), floats(generator.normal(size=(rows, case.gates))) if case.gates else None)

    policy = scores() if case.scores else stats()
    return Data(groups, policy, stats(), stats(), floats(rewards), jnp.asarray(lengths == length))


def floats(x):
    """As float32."""
    return jnp.asarray(np.asarray(x, np.float32))


def change(function, *trees):
    """`jax.tree.map` of a numpy function: nothing is compiled."""
    return jax.tree.map(lambda *xs: jnp.asarray(function(*map(np.asarray, xs))), *trees)
