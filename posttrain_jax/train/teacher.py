"""A teacher that runs once over all data: what it writes, or its likeliest entries of every token (`data.entries`)."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
from jaxtyping import Array, Key

from posttrain_jax import types
from posttrain_jax.data import batch, encode, entries, iterate, prompts
from posttrain_jax.models import language_model, likeliest, platform, tokenizer
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import capacity, checks, reference, rows


def write(
    teacher: reference.Fixed,
    words: tokenizer.Tokenizer,
    data: Sequence[prompts.PromptRow],
    pad: prompts.Pad,
    sampling: sample.Sampling,
    key: Key[Array, ""],
    *,
    count: int,
    batch_size: int,
) -> list[encode.TokenRow]:
    """`count` completions of each prompt, sampled by the teacher: rows of one completion each, for SFT.

    Maximum likelihood of a teacher's samples is distillation of sequences. Those that ran into the length limit are
    there as they are: nothing ends them.

    Args:
        teacher: on a mesh of its own.
        words: the student's tokenizer.
        data: prompts.
        pad: makes batches of them.
        sampling: of the teacher.
        key: of what is drawn; each completion depends on it, on its prompt and on its number alone.
        count: of each prompt.
        batch_size: prompts that are answered at a time.

    Raises:
        ValueError: the teacher has another tokenizer, says no words, knows too few positions, or runs in several
            processes.

    Source: Kim and Rush 2016 (arXiv:1606.07947), with samples in the place of the mode.
    """
    model = _alone(teacher, words)
    draw = capacity.checked("sampling", generate.make_generate(model, sampling, count))
    found = []
    for one in iterate.one_pass(data, pad, batch_size=batch_size):
        checks.positions(one.prompts.shape[1], sampling.max_new_tokens, model.config.max_position)
        asked = (rows.to_devices(model.row_sharding, x) for x in (one.prompts, one.prompt_lengths, one.group_ids))
        drawn = rows.to_host(draw(teacher.params, *asked, key).groups)
        for own, completions, lengths in zip(one.rows, drawn.completions, drawn.completion_lengths, strict=False):
            for ids, length in zip(completions, lengths, strict=True):
                found.append(dataclasses.replace(own.tokens, completions=(ids[:length],)))
    return found


def _alone(teacher: reference.Fixed, words: tokenizer.Tokenizer) -> language_model.LanguageModel:
    words.check_same(teacher.tokenizer)
    model = teacher.model
    if not isinstance(model, language_model.LanguageModel):
        raise ValueError(f"a {type(model).__name__} has no distribution over words: take a language model as teacher.")
    if jax.process_count() > 1:
        raise ValueError(
            f"{jax.process_count()} processes would each run the teacher over all data: take a single one."
        )
    return model


def store(
    teacher: reference.Fixed,
    words: tokenizer.Tokenizer,
    data: Sequence[encode.TokenRow],
    pad: batch.Pad,
    folder: pathlib.Path,
    *,
    count: int,
    batch_size: int,
    temperature: float = 1.0,
) -> None:
    """Write the `count` likeliest entries of every completion token of `data` into `folder`.

    Args:
        teacher: on a mesh of its own.
        words: the student's tokenizer, which `data` were encoded with.
        data: token rows, all of `pad.group_size` completions.
        pad: makes batches of them.
        folder: what it held of another teacher is lost.
        count: k. Each entry takes 8 bytes.
        batch_size: rows that are scored at a time.
        temperature: divides the teacher's logits; the student's are to be divided by the same.

    Raises:
        ValueError: the teacher has another tokenizer, says no words, knows too few positions, or runs in several
            processes; or the folder cannot be written to, or has no room.
    """
    model = _alone(teacher, words)
    checks.writable(folder)

    def score(params, groups: types.Groups):
        return likeliest.of_tokens(model.logits(params, groups), count, model.layout, temperature=temperature)

    compiled = platform.jit(model.mesh, out_shardings=model.row_sharding)(score)
    compiled = capacity.checked("the teacher's pass", compiled)
    writer = entries.Writer(folder, data, count)
    for one in iterate.one_pass(data, pad, batch_size=batch_size):
        checks.positions(one.prompts.shape[1], one.completions.shape[2], model.config.max_position)
        groups = one.to_device(lambda x: rows.to_devices(model.row_sharding, x))
        ids, log_probs = rows.to_host(compiled(teacher.params, groups))
        for row, length in enumerate(one.completion_lengths):
            for member in range(one.completions.shape[1] if one.group_ids[row] >= 0 else 0):
                here = (row, member, slice(int(length[member])))
                writer.append(ids[here], log_probs[here])
    writer.finish(temperature=temperature)
