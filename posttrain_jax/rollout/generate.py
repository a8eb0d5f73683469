"""Generate completions: each prompt encoded once for its whole group, one token at a time until all have stopped."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, Key, PyTree

from posttrain_jax import arrangement, types
from posttrain_jax.models import actor_critic, platform
from posttrain_jax.rollout import sample

Generate = Callable[
    [PyTree, Int[Array, "P S"], Int[Array, "P"], Int[Array, "P"], Key[Array, ""]],
    types.Rollout,
]


class Part(NamedTuple):
    """A model whose logits are sampled from, and by how much they are multiplied."""

    model: actor_critic.Policy
    coefficient: float


def make_generate(
    model: actor_critic.Policy,
    sampling: sample.Sampling,
    group_size: int,
    arranged: arrangement.Arrangement = arrangement.ALONE,
) -> Generate:
    """Compile `generate(params, prompts, prompt_lengths, group_ids, key) -> Rollout`.

    Completion g of a prompt is drawn with a key made of `key`, the prompt's group id and g, so that it depends on
    nothing else: not on the batch, the number of devices, nor a restart. (In float32 up to rounding ties; in bfloat16
    only within one compiled program.) Where several rows share an id, g counts on from row to row, so that no
    completion is drawn twice. Give each step its own `key`.

    In a tree of completions (`arranged`) the shared tokens of a branch are those that its first completion drew.

    Raises:
        ValueError: `group_size` is below 1 or does not fit `arranged`, or a stop id is outside the vocabulary.
    """
    plain = _plain({"": Part(model, 1.0)}, sampling, group_size, arranged)

    def generate(params, prompts, prompt_lengths, group_ids, key):
        return plain({"": params}, prompts, prompt_lengths, group_ids, key)

    return platform.jit(model.mesh, out_shardings=model.row_sharding)(generate)


def make_mixed(
    parts: Mapping[str, Part],
    sampling: sample.Sampling,
    group_size: int,
    arranged: arrangement.Arrangement = arrangement.ALONE,
) -> Generate:
    """As `make_generate`, from several models at once: tokens of softmax(sum_k c_k logits_k / temperature).

    Coefficients that sum to 1 are a geometric mixture, token by token; a single one below 1 is a higher temperature.
    The models may differ in all but vocabulary and mesh. `generate` takes their parameters by the same names; the
    statistics are of the mixture. With a guest (`arranged`), one of two models draws each token, and the statistics are
    of that mixture, of probabilities; its entropy is not computed (NaN).

    Raises:
        ValueError: as `make_generate`, or the vocabularies differ.
    """
    model, plain = next(iter(parts.values())).model, _plain(parts, sampling, group_size, arranged)
    return platform.jit(model.mesh, out_shardings=model.row_sharding)(plain)


def _plain(
    parts: Mapping[str, Part], sampling: sample.Sampling, group_size: int, arranged: arrangement.Arrangement
) -> Generate:
    """`make_mixed`, not compiled."""
    vocab, *others = sorted({part.model.config.vocab_size for part in parts.values()})
    if others:
        raise ValueError(f"models of {vocab} and {others[0]} tokens share no logits: mix models of one vocabulary.")
    check(sampling, group_size, vocab)
    arranged.check(group_size, sampling.max_new_tokens)

    def generate(params, prompts, prompt_lengths, group_ids, key):
        guest, _ = arranged.guest or (None, 0)
        ready = {name: one.model.for_sampling(params[name]) for name, one in parts.items()}
        samplers = [_Sampler(*ready[name], one.coefficient, name == guest) for name, one in parts.items()]
        keys = sample_keys(key, group_ids, group_size)
        tokens, stats, kept = _decode(samplers, prompts, prompt_lengths, keys, sampling, arranged)
        lengths, truncated = _lengths(tokens, sampling.stop_ids)
        mask = jnp.arange(sampling.max_new_tokens)[None, None] < lengths[..., None]
        groups = types.Groups(
            prompts=prompts,
            prompt_lengths=prompt_lengths,
            completions=jnp.where(mask, tokens, sampling.pad_id),
            completion_lengths=lengths,
            completion_mask=mask,
            group_ids=group_ids,
        )
        if arranged.guest is not None:
            stats = _of_either(parts, params, groups, sampling, arranged)
        stats = jax.tree.map(lambda x: jnp.where(mask, x, 0), stats)
        kept = None if kept is None else jnp.where(mask[..., None], kept, -1)
        rollout = types.Rollout(groups=groups, sampler=stats, truncated=truncated, kept_ids=kept)
        return _told(rollout, arranged)

    return generate


def check(sampling: sample.Sampling, group_size: int, vocab: int) -> None:
    """Refuse what cannot be drawn: no completion, or a stop id outside the vocabulary."""
    if group_size < 1:
        raise ValueError(f"group_size is {group_size}: a prompt needs at least one completion.")
    if any(not 0 <= stop < vocab for stop in sampling.stop_ids):
        raise ValueError(
            f"a stop id of {sampling.stop_ids} is outside the vocabulary of {vocab}: it could never be drawn."
        )


def sample_keys(key: Key[Array, ""], group_ids: Int[Array, "P"], group_size: int) -> Key[Array, "P G"]:
    """The key of each completion: (key, group id, number in the group); further rows of one id count on."""
    of_group = jax.vmap(jax.random.fold_in, (None, 0))(key, group_ids)
    same = group_ids[:, None] == group_ids[None, :]
    earlier = jnp.sum(jnp.tril(same, -1), axis=1, dtype=jnp.int32)
    numbers = earlier[:, None] * group_size + jnp.arange(group_size, dtype=jnp.int32)[None]
    of_row = jax.vmap(jax.random.fold_in, (None, 0))
    return jax.vmap(of_row)(of_group, numbers)


def _told(rollout: types.Rollout, arranged: arrangement.Arrangement) -> types.Rollout:
    """The rollout, saying how it was arranged."""
    rows, group, length = rollout.groups.completions.shape

    def everywhere(x, *shape):
        return jnp.broadcast_to(jnp.asarray(x), (rows, group, *shape))

    if arranged.greedy:
        rollout = dataclasses.replace(rollout, greedy=everywhere(arranged.likeliest(group)))
    if arranged.splits:
        # Rows have trees of their own, also where they share an id.
        names = jnp.asarray(arranged.branches(group))[None] + group * jnp.arange(rows)[:, None, None]
        edges = everywhere(arranged.edges(length), length)
        rollout = dataclasses.replace(rollout, branches=names.astype(jnp.int32), edges=edges.astype(jnp.int32))
    return rollout


def beside(own: types.Rollout, other: types.Rollout) -> types.Rollout:
    """One group of both, the prompts being the same: completions, their statistics, and where they were cut."""

    def drawn(one: types.Rollout) -> tuple:
        groups = one.groups
        return groups.completions, groups.completion_lengths, groups.completion_mask, one.sampler, one.truncated

    joined = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), drawn(own), drawn(other))
    completions, lengths, mask, stats, truncated = joined
    groups = dataclasses.replace(own.groups, completions=completions, completion_lengths=lengths, completion_mask=mask)
    return types.Rollout(groups=groups, sampler=stats, truncated=truncated)


class _Sampler(NamedTuple):
    """A model made ready for sampling."""

    model: actor_critic.Policy
    params: PyTree
    coefficient: float
    guest: bool
    """Whether it draws in the other's place."""


def _of_either(parts, params, groups, sampling, arranged) -> types.TokenStats:
    """log((1 - a) pi + a guest) of the tokens drawn."""
    role, share = arranged.guest
    mixed = jnp.full(groups.completions.shape, -jnp.inf)
    for name, one in parts.items():
        stats = one.model.token_stats(params[name], groups, temperature=sampling.temperature)
        mixed = jnp.logaddexp(mixed, stats.logps + jnp.log(share if name == role else 1 - share))
    return types.TokenStats(mixed, jnp.full_like(mixed, jnp.nan))


def _decode(samplers, prompts, prompt_lengths, keys, sampling, arranged):
    """All T tokens (those behind a stop are noise), their statistics, and the kept ids, each `[P, G, T, ...]`."""
    rows, group, length = *keys.shape, sampling.max_new_tokens
    caches, lasts = zip(*(one.model.encode(one.params, prompts, prompt_lengths) for one in samplers), strict=True)
    # A weighted sum of logits is the product of the hidden states side by side with the heads one below the other.
    head = _joined([one.model.head_weight(one.params) for one in samplers], axis=0)
    place = {"mesh": samplers[0].model.mesh, "rules": samplers[0].model.rules}
    greedy = jnp.asarray(arranged.likeliest(group)) if arranged.greedy else None
    leaders = jnp.asarray(arranged.leaders(group, length))

    coins = jax.vmap(jax.vmap(lambda key: jax.random.split(key)[1]))(keys)

    def draw(hidden, t) -> sample.Draw:
        scaled = [x if one.coefficient == 1 else one.coefficient * x for one, x in zip(samplers, hidden, strict=True)]
        if arranged.guest is not None:
            coin = jax.vmap(jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, t))))(coins)[..., None]
            turn = coin < arranged.guest[1]
            scaled = [jnp.where(turn == one.guest, x, 0) for one, x in zip(samplers, scaled, strict=True)]
        drawn = sample.draw(_joined(scaled, -1), head, keys, t, sampling=sampling, greedy=greedy, **place)
        return jax.tree.map(lambda x: jnp.take(x, leaders[t], axis=1), drawn) if arranged.splits else drawn

    def unfinished(carry):
        t, _, _, _, stopped = carry
        return (t < length - 1) & ~jnp.all(stopped)

    def step(carry):
        t, hidden, own, drawn, stopped = carry
        token = draw(hidden, t)
        drawn = jax.tree.map(lambda all_, one: lax.dynamic_update_index_in_dim(all_, one, t, 0), drawn, token)
        moved = [
            one.model.extend(one.params, cache, token.tokens[..., None], mine, t)
            for one, cache, mine in zip(samplers, caches, own, strict=True)
        ]
        hidden, own = [x[:, :, 0] for x, _ in moved], [mine for _, mine in moved]
        return t + 1, hidden, own, drawn, stopped | stops(token.tokens, sampling.stop_ids)

    hidden = [jnp.broadcast_to(last[:, None], (rows, group, last.shape[-1])) for last in lasts]
    own = [one.model.own_cache(rows, group, length) for one in samplers]
    room = jax.tree.map(lambda x: jnp.zeros((length, *x.shape), x.dtype), jax.eval_shape(draw, hidden, jnp.int32(0)))
    start = (jnp.int32(0), hidden, own, room, jnp.zeros((rows, group), bool))
    _, hidden, _, drawn, _ = lax.while_loop(unfinished, step, start)
    # The last token needs no hidden state behind it: drawn outside the loop. (If all stopped early it is noise.)
    final = draw(hidden, jnp.int32(length - 1))
    drawn = jax.tree.map(lambda all_, one: jnp.moveaxis(all_.at[length - 1].set(one), 0, 2), drawn, final)
    return drawn.tokens, types.TokenStats(logps=drawn.logps, entropy=drawn.entropy), drawn.kept_ids


def _joined(parts: list[Array], axis: int) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=axis)


def stops(tokens: Int[Array, "..."], stop_ids: tuple[int, ...]) -> Bool[Array, "..."]:
    """Which tokens are one of the stop ids."""
    found = jnp.zeros(tokens.shape, bool)
    for stop in stop_ids:
        found |= tokens == stop
    return found


def _lengths(tokens: Int[Array, "P G T"], stop_ids: tuple[int, ...]) -> tuple[Int[Array, "P G"], Bool[Array, "P G"]]:
    """Tokens up to and including the first stop, and whether there was none."""
    found = stops(tokens, stop_ids)
    stopped = jnp.any(found, axis=-1)
    lengths = jnp.where(stopped, jnp.argmax(found, axis=-1) + 1, tokens.shape[-1])
    return lengths.astype(jnp.int32), ~stopped
