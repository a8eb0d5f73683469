"""The parts of a loop whose completions the student samples and nobody rewards: a teacher says what is learned."""

from collections.abc import Mapping
from typing import Any

import optax

from posttrain_jax import GKD, OnPolicy
from posttrain_jax.data import encode, iterate, prompts
from posttrain_jax.losses import adaptive, generator
from posttrain_jax.models import pretrained
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import online, reference

Divergence = generator.ForwardKL | generator.ReverseKL | generator.GeneralizedJS | adaptive.AKL


def parts(
    start: pretrained.Pretrained,
    recipe: GKD,
    optimizer: optax.GradientTransformation,
    c: Any,
    fixed: Mapping[str, reference.Fixed],
) -> online.Online:
    """`recipe` on own completions; `c` says sizes and data, as `distill.Config` does."""
    if c.stored_entries:
        raise ValueError("a stored teacher has not seen the student's own completions: leave one of the two out.")
    words = start.tokenizer
    rows, _ = prompts.encode(c.source.read(), c.read.prompt, words, encode.Limits(c.max_prompt, c.max_completion))
    pad = prompts.Pad([c.max_prompt], words.pad_id)
    return online.Online(
        model=start.model,
        recipe=OnPolicy(recipe),
        optimizer=optimizer,
        tokenizer=words,
        data=iterate.Batches(rows, pad, batch_size=c.batch_size, seed=c.plan.seed),
        rewards=pool.RewardPool(combine.WeightedRewards({"none": (1.0, lambda _: 0.0)}), workers=0, timeout_s=1.0),
        sampling=sample.Sampling(c.max_completion, words.stop_ids, pad_id=words.pad_id),
        group_size=c.own_completions,
        refuse_equal_rewards=False,
        fixed=fixed,
    )
