"""Held-out accuracy: sample completions of prompts that are not trained on, and average their rewards."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, PyTree

from posttrain_jax import masked, types
from posttrain_jax.data import prompts as prompting
from posttrain_jax.models import language_model, tokenizer
from posttrain_jax.rewards import pool
from posttrain_jax.rollout import generate, record, sample, turn
from posttrain_jax.train import checks, rows, run, text


def make_evaluate(
    model: language_model.LanguageModel,
    words: tokenizer.Tokenizer,
    rewards: pool.RewardPool,
    batches: Sequence[prompting.PromptBatch],
    sampling: sample.Sampling,
    *,
    group_size: int = 1,
    seed: int = 0,
    turns: turn.Turns | None = None,
) -> run.Evaluate:
    """`evaluate(params, step) -> {"reward": ..., "completion_length": ...}`: means over all prompts of `batches`.

    Every call draws with the same keys, so that two of them differ by the parameters alone. With several rewards each
    one's mean stands beside the weighted sum's as `reward/name`. A sample without a score is left out, and the share of
    such samples is reported as `unscored`.

    Args:
        model: of the parameters that will be evaluated.
        words: decodes the completions.
        rewards: scores them.
        batches: rows that only fill a batch up do not count.
        sampling: temperature 1 shows the policy as it acts, 0 its likeliest answer.
        group_size: completions of a prompt.
        seed: of the draws.
        turns: who replies, where completions are dialogues; what the environment counts is then told beside.

    Raises:
        ValueError: prompts and completions exceed the positions of the model.
    """
    widest = max((batch.prompts.shape[1] for batch in batches), default=0)
    checks.positions(widest, sampling.max_new_tokens, model.config.max_position)
    sampler = _sampler(model, sampling, group_size, turns, words)
    counted = () if turns is None else record.COUNTS
    totals = jax.jit(_totals, out_shardings=NamedSharding(model.mesh, Spec()))

    def one(params: PyTree, batch: prompting.PromptBatch) -> np.ndarray:
        prompt, lengths, ids = (_put(model, x) for x in (batch.prompts, batch.prompt_lengths, batch.group_ids))
        examples = [row.example for row in batch.rows]
        here = rows.to_host(sampler(params, prompt, lengths, ids, jax.random.key(seed), examples))
        values = np.full((*here.truncated.shape, len(rewards.names) + 2 + len(counted)), np.nan, np.float32)
        count = len(batch.rows)
        if count:  # of the last batch, a process may hold filling rows alone
            scores = rewards.score(text.decode(batch, here, words, sampling.stop_ids))
            measured = [here.groups.completion_lengths[:count, :, None], scores.rewards[..., None], scores.columns]
            measured += [here.counts[name][:count, :, None] for name in counted]
            values[:count] = np.concatenate(measured, axis=-1)
        return np.asarray(totals(_put(model, values)))

    def evaluate(params: PyTree, step: int) -> dict[str, float]:
        sums, counts = np.sum([one(params, batch) for batch in batches], axis=0)
        means = sums / np.maximum(counts, 1)
        values = {"completion_length": means[0], "reward": means[1], "unscored": 1 - counts[1] / counts[0]}
        values |= dict(zip(counted, means[2 + len(rewards.names) :], strict=True))
        columns = zip(rewards.names, means[2 : 2 + len(rewards.names)], strict=True)
        values |= {f"reward/{name}": mean for name, mean in columns if len(rewards.names) > 1}
        return {name: float(x) for name, x in values.items()}

    return evaluate


def _sampler(
    model: language_model.LanguageModel,
    sampling: sample.Sampling,
    group_size: int,
    turns: turn.Turns | None,
    words: tokenizer.Tokenizer,
) -> Callable[..., types.Rollout]:
    if turns is not None:
        return turn.Conversation(model, sampling, group_size, turns, words)
    whole = generate.make_generate(model, sampling, group_size)
    return lambda params, prompts, lengths, ids, key, examples: whole(params, prompts, lengths, ids, key)


def _put(model: language_model.LanguageModel, x: np.ndarray) -> Array:
    return rows.to_devices(model.row_sharding, x)


def _totals(values: Float[Array, "P G k"]) -> Float[Array, "2 k"]:
    """Sum and count of each column, NaN left out."""
    there = ~jnp.isnan(values)
    return jnp.stack([masked.total(values, there, axis=(0, 1)), jnp.sum(there, axis=(0, 1)).astype(values.dtype)])
