"""Trained reward models as rewards: tokens in, numbers out, on the devices where the policy is."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PyTree

from posttrain_jax import types
from posttrain_jax.models import classifier, platform, pretrained, scalar_model
from posttrain_jax.models import tokenizer as tokenizers
from posttrain_jax.rewards import pool
from posttrain_jax.rewards import sample as samples
from posttrain_jax.train import checks, referee, rereading

Steps = Callable[[Float[Array, "P G T"], types.Groups], tuple[Float[Array, "P G"], Float[Array, "P G S"]]]
"""From numbers after every token to one reward of a completion, and one of each of its steps: `losses.step.Read`."""

Compare = Callable[[Float[Array, "P G d"], Float[Array, "P k"] | None], Float[Array, "P G G"]]
"""From the numbers of each completion, and of a gate, to the probability that one beats another."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """A reward model, or an ensemble of one architecture, that scores the policy's completions."""

    model: scalar_model.ScalarModel
    """On the policy's mesh."""
    members: tuple[PyTree, ...]
    """Parameters of each. The numbers that a wide head says are members as well."""
    tokenizer: tokenizers.Tokenizer
    """That the reward model was trained with: the policy's, or another one beside `reading`."""
    reduce: Callable[[Float[Array, "P G k"]], Float[Array, "P G"]]
    """From all members' numbers to the reward: `losses.ensemble.mean`, `worst_case`, ... Each number, if there are
    several (attributes, groups of people), is a column besides: `judge/0`, `judge/1`, ..."""
    weight: float = 1.0
    """By which the reward is multiplied before it joins the others."""
    steps: Steps | None = None
    """How a process reward model is read: its steps are the column `judge_steps` [P, G, S]. None reads the end."""
    compare: Compare | None = None
    """How its numbers compare completions: `GeneralPreference(...).wins`. The column `wins`; its mean is the reward."""
    reading: rereading.Reading | None = None
    """How it reads the policy's text in its own tokens; None where it reads the policy's tokens."""

    def __post_init__(self) -> None:
        """Refuse to ask nobody."""
        if not self.members:
            raise ValueError("a judge without members says nothing: give the parameters of at least one reward model.")
        if self.steps is not None and self.compare is not None:
            raise ValueError("a judge looks at steps or compares completions: leave steps or compare out.")

    def __repr__(self) -> str:
        """What a run is compared by when it goes on, maybe on another mesh."""
        told = f"{self.model.config}, size={self.model.size}, members={len(self.members)}"
        told += "".join(
            f", {name}={x}" for name in ("steps", "compare", "reading") if (x := vars(self)[name]) is not None
        )
        return f"Judge({told}, reduce={self.reduce}, weight={self.weight})"


def load(
    folder: str,
    like: pretrained.Pretrained,
    reduce: Callable[[Float[Array, "P G k"]], Float[Array, "P G"]],
    reading: rereading.Reading,
) -> Judge:
    """The reward model of a Hugging Face folder or hub name, on the devices of the policy `like`, whose text it reads.

    Its numbers are reduced as in `Judge`.
    """
    found = classifier.load(folder, like.model.compute, like.model.mesh)
    return Judge(found.model, (found.params,), found.tokenizer, reduce, reading=reading)


AnyJudge = Judge | referee.Referee
"""Who rewards beside rewards of text."""


class Verdict(NamedTuple):
    """What a judge says."""

    rewards: Float[Array, "P G"]
    steps: Float[Array, "P G S"] | None
    """NaN where there is no step; None of a judge that does not look at steps."""
    wins: Float[Array, "P G G"] | None = None
    """NaN where one cannot be read; None of a judge that does not compare."""
    each: Float[Array, "P G k"] | None = None
    """All numbers, where there are several and they are of whole completions."""


class Read(NamedTuple):
    """What a judge is given to read, on the devices."""

    groups: types.Groups
    known: Bool[Array, "P G"] | None
    """Which completions it can read; None where it can read all."""


def make_score(judge: Judge) -> Callable[[tuple[PyTree, ...], Read], Verdict]:
    """`score(members, read) -> verdict`, jitted: each member reads a row's prompt once."""

    def score(members: tuple[PyTree, ...], read: Read) -> Verdict:
        groups, steps, wins, each = read.groups, None, None, None
        if judge.compare is not None:
            said = [judge.compare(*judge.model.ends(params, groups)) for params in members]
            wins = _paired(_reduced(judge, jnp.stack(said, axis=-1)), read.known)
            others = jnp.where(jnp.eye(wins.shape[1], dtype=bool)[None], jnp.nan, wins)
            rewards = jnp.nanmean(others, axis=2)
        elif judge.steps is None:
            numbers = jnp.concatenate([judge.model.rewards(params, groups) for params in members], axis=-1)
            rewards, each = judge.reduce(numbers), numbers if numbers.shape[-1] > 1 else None
        else:
            logits = [judge.model.token_scores(params, groups) for params in members]
            by_member = jnp.moveaxis(jnp.concatenate(logits, axis=-1), -1, 0)
            whole, parts = zip(*(judge.steps(one, groups) for one in by_member), strict=True)
            rewards, steps = judge.reduce(jnp.stack(whole, axis=-1)), _reduced(judge, jnp.stack(parts, axis=-1))
        return only(read.known, Verdict(rewards, steps, wins, each))

    return platform.jit(judge.model.mesh, out_shardings=judge.model.row_sharding)(score)


def _reduced(judge: Judge, said: Float[Array, "P G n k"]) -> Float[Array, "P G n"]:
    rows, group, count, members = said.shape
    return judge.reduce(said.reshape(rows, group * count, members)).reshape(rows, group, count)


def _paired(wins: Float[Array, "P G G"], known: Bool[Array, "P G"] | None) -> Float[Array, "P G G"]:
    return wins if known is None else jnp.where(known[:, :, None] & known[:, None], wins, jnp.nan)


def only(known: Bool[Array, "P G"] | None, said: Verdict) -> Verdict:
    """NaN of completions that are not known; comparisons are NaN there already."""
    if known is None:
        return said
    each = None if said.each is None else jnp.where(known[..., None], said.each, jnp.nan)
    return said._replace(rewards=jnp.where(known, said.rewards, jnp.nan), each=each)


def to_read(
    judge: Judge,
    rollout: types.Rollout,
    texts: Sequence[Sequence[samples.Sample]],
    shape: tuple[int, int],
    put: Callable[[np.ndarray], Array],
) -> Read:
    """What the judge reads of a rollout: its tokens, or its text in the judge's own.

    Args:
        judge: who reads.
        rollout: on the devices.
        texts: the same as text, of this process.
        shape: its own [P, G].
        put: from rows of this process to an array on the devices.
    """
    if judge.reading is None:
        return Read(rollout.groups, None)
    found = judge.reading(texts, judge.tokenizer, shape)
    return Read(found.groups.to_device(put), put(found.known))


def someone(rewards: pool.RewardPool | None, judge: AnyJudge | None, needed: bool) -> None:
    """Refuse a run that nobody rewards, unless rewards may all be the same: they are then all 0."""
    if needed and rewards is None and judge is None:
        raise ValueError(
            "nobody rewards the completions: give rewards of text, a judge, or both, or, where the recipe needs none,"
            " Online(refuse_equal_rewards=False)."
        )


def check(judge: AnyJudge | None, words: tokenizers.Tokenizer, mesh: Mesh, widths: tuple[int, int]) -> None:
    """Refuse a judge that would read the policy's tokens as others, or that knows too few positions.

    Args:
        judge: None is fine.
        words: the policy's tokenizer.
        mesh: the policy's.
        widths: tokens of prompts and of completions.

    Raises:
        ValueError: tokens or chat template are not the policy's, it lies on another mesh, or texts are too long.
    """
    if not isinstance(judge, Judge):
        return
    if judge.reading is None:
        _check_same(words, judge.tokenizer)
    else:
        widths = judge.reading.limits.prompt, judge.reading.limits.completion
    checks.positions(*widths, judge.model.config.max_position)
    if judge.model.mesh != mesh:
        raise ValueError("the reward model lies on another mesh than the policy: build it on the policy's.")


def _check_same(words: tokenizers.Tokenizer, others: tokenizers.Tokenizer) -> None:
    own, other = words.pretrained.get_vocab(), others.pretrained.get_vocab()
    differing = sorted(token for token in own | other if own.get(token) != other.get(token))
    if differing:
        raise ValueError(
            f"the reward model has another tokenizer than the policy: {len(differing)} tokens, {differing[0]!r} among"
            " them, are not the same in both; give the judge a reading, which turns text into its own tokens."
        )
    if words.pretrained.chat_template != others.pretrained.chat_template:
        raise ValueError(
            "the reward model's chat template is not the policy's: it would read conversations in a form that it has"
            " not seen; give the judge a reading, which asks it in its own template."
        )
