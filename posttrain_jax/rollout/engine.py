"""The compiled stages of a dialogue: every completion stands at a place of its own, its cache stays on the devices.

    state = begin(params, prompts, prompt_lengths, group_ids, key)
    state = speak(params, state, output, output_lengths, going)        # once for each turn
    rollout = finish(state, prompts, prompt_lengths, group_ids, told)

Tokens go in as they came out: what the policy drew is never decoded and encoded again, and only tool output is new. All
shapes are fixed, so that each stage is compiled once.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from posttrain_jax import pytree, types
from posttrain_jax.models import actor_critic, kv_cache, platform, sharding
from posttrain_jax.rollout import generate, sample


@pytree.struct
class Written:
    """What stands in the completions so far."""

    tokens: Int[Array, "P G T"]
    drawn: Bool[Array, "P G T"]
    """True on tokens that the policy chose."""
    sampler: types.TokenStats
    """Of these; 0 elsewhere."""
    kept_ids: Int[Array, "P G T K"] | None
    """Of these, where sampling is truncated; -1 elsewhere."""
    lengths: Int[Array, "P G"]
    stopped: Bool[Array, "P G"]
    """Whether the last token of the policy is a stop id: it ended its turn, and did not run out of room."""
    hidden: Float[Array, "P G D"]
    """What the next token is drawn from."""
    keys: Key[Array, "P G"]
    """Of each completion, as in `generate`."""


class State(NamedTuple):
    """Of a batch of dialogues, between two turns."""

    prompt: tuple[Float[Array, "L P K S hd"], Float[Array, "L P K S hd"]]
    """Keys and values."""
    own: kv_cache.OwnCache
    prompt_lengths: Int[Array, "P"]
    written: Written


class Told(NamedTuple):
    """What the host knows of the completions when they are done; `ids`, `rewards` and `states` are of `Segments`."""

    ids: Int[Array, "P G T"]
    rewards: Float[Array, "P G S"]
    states: Int[Array, "P G S"]
    truncated: Bool[Array, "P G"]
    counts: Mapping[str, Float[Array, "P G"]]


class Engine(NamedTuple):
    """The stages, compiled."""

    begin: Callable[..., State]
    speak: Callable[..., State]
    finish: Callable[..., types.Rollout]


def make_engine(
    model: actor_critic.Policy,
    sampling: sample.Sampling,
    group_size: int,
    output_tokens: int,
    turn_tokens: int | None = None,
) -> Engine:
    """Compile the stages.

    Args:
        model: whose tokens are drawn.
        sampling: its stop ids end turns, its `max_new_tokens` are of all turns and all tool output together.
        group_size: completions of a prompt.
        output_tokens: the most that the environment says between two turns (W): `output` is `[P, G, W]`.
        turn_tokens: the most that the policy says in a turn, which then ends without a stop id; None has no such limit.

    Raises:
        ValueError: as `generate.make_generate`; a size is below 1.
    """
    generate.check(sampling, group_size, model.config.vocab_size)
    if output_tokens < 1:
        raise ValueError(f"output_tokens={output_tokens} leaves the environment no word: allow it some tokens.")
    rows = model.row_sharding
    cut = NamedSharding(model.mesh, kv_cache.lies(sharding.SAMPLING_RULES))
    lie: Any = State(cut, cut, rows, rows)  # type: ignore[arg-type]

    def begin(params, prompts, prompt_lengths, group_ids, key):
        sampler, weights = model.for_sampling(params)
        prompt, last = sampler.encode(weights, prompts, prompt_lengths)
        count, length = len(group_ids), sampling.max_new_tokens
        hidden = jnp.broadcast_to(last[:, None], (count, group_size, last.shape[-1]))
        keys = generate.sample_keys(key, group_ids, group_size)
        draw = _drawing(sampler, weights, sampling)
        one = jax.eval_shape(draw, hidden, keys, jnp.zeros((count, group_size), jnp.int32))
        kept = None if one.kept_ids is None else jnp.full((count, group_size, length, one.kept_ids.shape[-1]), -1)
        written = _nothing(hidden, keys, kept, length, sampling.pad_id)
        # room for a whole block of output that begins behind the last token
        own = sampler.own_cache(count, group_size, length + output_tokens)
        return State((prompt.keys, prompt.values), own, prompt.lengths, written)

    def speak(params, state, output, output_lengths, going):
        sampler, weights = model.for_sampling(params)
        prompt = kv_cache.PromptCache(state.prompt[0], state.prompt[1], state.prompt_lengths)
        listen = _listening(sampler, weights, prompt)
        silent = lambda own, written, *_: (own, written)  # noqa: E731
        before = state.own, state.written, output, output_lengths
        own, written = lax.cond(jnp.any(output_lengths > 0), listen, silent, *before)
        own, written = _decode(sampler, weights, prompt, own, written, going, sampling, turn_tokens)
        return state._replace(own=own, written=written)

    return Engine(
        platform.jit(model.mesh, out_shardings=lie)(begin),
        platform.jit(model.mesh, out_shardings=lie, donate_argnums=(1,))(speak),
        platform.jit(model.mesh, out_shardings=rows)(_finish),
    )


def _nothing(hidden, keys, kept_ids, length: int, pad_id: int) -> Written:
    """Before the first turn."""
    stats = jnp.zeros((*keys.shape, length), jnp.float32)
    return Written(
        tokens=jnp.full(stats.shape, pad_id, jnp.int32),
        drawn=jnp.zeros(stats.shape, bool),
        sampler=types.TokenStats(logps=stats, entropy=stats),
        kept_ids=kept_ids,
        lengths=jnp.zeros(keys.shape, jnp.int32),
        stopped=jnp.zeros(keys.shape, bool),
        hidden=hidden,
        keys=keys,
    )


def _drawing(sampler, weights: PyTree, sampling: sample.Sampling) -> Callable[..., sample.Draw]:
    head = sampler.head_weight(weights)

    def draw(hidden, keys, t):
        return sample.draw(hidden, head, keys, t, sampling=sampling, mesh=sampler.mesh, rules=sampler.rules)

    return draw


def _listening(sampler, weights: PyTree, prompt: kv_cache.PromptCache):
    """Run the output of the environment, a block at each completion's place, behind what stands there."""

    def listen(own, written, output, lengths):
        states, own = sampler.extend(weights, prompt, output, own, written.lengths)
        last = jnp.take_along_axis(states, jnp.maximum(lengths - 1, 0)[..., None, None], axis=2)[:, :, 0]
        offset = jnp.arange(written.tokens.shape[-1])[None, None] - written.lengths[..., None]
        said = jnp.take_along_axis(output, jnp.clip(offset, 0, output.shape[-1] - 1), axis=2)
        return own, dataclasses.replace(
            written,
            tokens=jnp.where((offset >= 0) & (offset < lengths[..., None]), said, written.tokens),
            lengths=written.lengths + lengths,
            hidden=jnp.where(lengths[..., None] > 0, last, written.hidden),
        )

    return listen


def _decode(sampler, weights, prompt, own, written: Written, going, sampling: sample.Sampling, turn_tokens: int | None):
    """Token by token until every completion that goes on has ended its turn or has no room left."""
    draw, length = _drawing(sampler, weights, sampling), sampling.max_new_tokens
    ends = length if turn_tokens is None else jnp.minimum(length, written.lengths + turn_tokens)

    def step(carry):
        own, written, going = carry
        # Where a completion waits, what is written into the cache lies behind its end, and is written over later.
        token = draw(written.hidden, written.keys, written.lengths)
        states, own = sampler.extend(weights, prompt, token.tokens[..., None], own, written.lengths)
        stops = generate.stops(token.tokens, sampling.stop_ids)
        written = _put(written, token, states[:, :, 0], stops, going)
        return own, written, going & ~stops & (written.lengths < ends)

    start = (own, written, going & (written.lengths < length))
    own, written, _ = lax.while_loop(lambda carry: jnp.any(carry[2]), step, start)
    return own, written


def _put(written: Written, token: sample.Draw, hidden, stops, going) -> Written:
    """One more token of the completions that go on."""
    here = jnp.arange(written.tokens.shape[-1])[None, None] == written.lengths[..., None]
    here &= going[..., None]

    def put(room, new):
        return jnp.where(here, new[..., None], room)

    kept = written.kept_ids
    if kept is not None and token.kept_ids is not None:
        kept = jnp.where(here[..., None], token.kept_ids[:, :, None], kept)
    stats = types.TokenStats(put(written.sampler.logps, token.logps), put(written.sampler.entropy, token.entropy))
    return dataclasses.replace(
        written,
        tokens=put(written.tokens, token.tokens),
        drawn=written.drawn | here,
        sampler=stats,
        kept_ids=kept,
        lengths=written.lengths + going.astype(jnp.int32),
        stopped=jnp.where(going, stops, written.stopped),
        hidden=jnp.where(going[..., None], hidden, written.hidden),
    )


def _finish(state: State, prompts, prompt_lengths, group_ids, told: Told) -> types.Rollout:
    written = state.written
    groups = types.Groups(
        prompts=prompts,
        prompt_lengths=prompt_lengths,
        completions=written.tokens,
        completion_lengths=written.lengths,
        completion_mask=written.drawn,
        group_ids=group_ids,
    )
    return types.Rollout(
        groups=groups,
        sampler=written.sampler,
        truncated=told.truncated,
        kept_ids=written.kept_ids,
        segments=types.Segments(told.ids, told.rewards, told.states),
        counts=told.counts,
    )
