"""What a run refuses before its first update, each with a sentence that says what to do."""

import math
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from posttrain_jax import masked, types
from posttrain_jax.data import prompts
from posttrain_jax.rewards import pool
from posttrain_jax.rewards import sample as samples
from posttrain_jax.rollout import sample
from posttrain_jax.train import process

MEDIAN_NATS = 0.02
"""Half of all tokens must have a sampler and a trainer log-probability closer than this."""
FAR_SHARE = 0.15
"""At most this share of tokens may have a ratio off by more than 10 %; deep bfloat16 models reach half of it."""


GIB = 2**30


def writable(folder: pathlib.Path) -> bool:
    """A run's folder can be made and written to; whether it had to be made."""
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise ValueError(
            f"the folder {folder} cannot be written to ({error.strerror}): give another one, or mend its permissions."
        ) from error
    return made


def disk(folder: pathlib.Path, state: PyTree[jax.ShapeDtypeStruct | Array], count: int) -> None:
    """The disk has room for `count` checkpoints of `state`."""
    needed = count * sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = "a checkpoint takes" if count == 1 else f"{count} checkpoints take"
        raise ValueError(
            f"{what} {needed / GIB:.3g} GiB and the disk of {folder} has {free / GIB:.3g} GiB free: make room, give a"
            " folder on another disk, or keep fewer checkpoints."
        )


def readable(rewards: pool.RewardPool | None, row: prompts.PromptRow, group_size: int) -> None:
    """The rewards find in the examples what they read; an empty completion is scored to see it."""
    if rewards is None:
        return
    nothing = samples.Sample(row.text, "", row.example, completion_tokens=0, truncated=False)
    error = rewards.score([[nothing] * group_size]).report.first_error or ""
    before, name, missing = error.partition(f"{samples.MissingFieldError.__name__}: ")
    if name:
        raise ValueError(
            f"the reward {before.split(':')[0]} cannot be computed: {missing}. Give it the name of one of these, or add"
            " the field to the data."
        )


def batch(first: Any, micro_batches: int, row_shards: int) -> None:
    """The rows of a batch can be shared by the devices, and cut into micro-batches there."""
    rows = len(first.prompts) * jax.process_count()
    if rows % row_shards:
        raise ValueError(
            f"a batch of {rows} rows cannot be shared by {row_shards} row shards (data x fsdp): use a multiple of"
            f" {row_shards} rows, or a mesh with fewer shards of rows."
        )
    if rows % (micro_batches * row_shards):
        raise ValueError(
            f"a batch of {rows} rows does not split into {micro_batches} micro-batches on {row_shards} row shards"
            f" (data x fsdp): use a multiple of {micro_batches * row_shards} rows, or fewer micro-batches."
        )


def fit(wanted: PyTree[jax.ShapeDtypeStruct], params: PyTree[Array | np.ndarray]) -> None:
    """The parameters are those of the model, and lie on its devices."""
    here = {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in jax.tree.leaves_with_path(params)}
    there = {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in jax.tree.leaves_with_path(wanted)}
    faults = [f"{name} is missing" for name in there if name not in here]
    faults += [f"{name} is unexpected" for name in here if name not in there]
    for name, x in here.items():
        like = there.get(name)
        if like is not None and x.shape != like.shape:
            faults.append(f"{name} has shape {x.shape} where the model has {like.shape}")
        elif like is not None and isinstance(x, jax.Array) and x.sharding.device_set != like.sharding.device_set:
            faults.append(f"{name} lies on {len(x.sharding.device_set)} other devices than the mesh's")
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ValueError(
            f"the parameters do not fit the model: {'; '.join(faults[:3])}{more}: give those that this model drew or"
            " loaded, or `model.adapt` of them where it has adapters."
        )


def positions(prompt: int, completion: int, longest: int) -> None:
    """The model, or that of several with the fewest, knows as many positions as prompt and completion have tokens."""
    if prompt + completion > longest:
        raise ValueError(
            f"prompts of {prompt} and completions of {completion} tokens exceed the {longest} positions that the model"
            " was made for: lower the limits, or raise max_position_embeddings in its config.json."
        )


def sampling(settings: sample.Sampling) -> None:
    """Completions must be able to end, and must have a probability that moves with the parameters."""
    if not settings.stop_ids:
        raise ValueError(
            "sampling has no stop id, so no completion could end before the length limit: give the EOS id."
        )
    if settings.temperature <= 0:
        raise ValueError(
            f"temperature={settings.temperature} samples greedily, where a group learns nothing: use 1, or above 0."
        )


def double_bos(prompts: Int[np.ndarray, "P S"], bos_id: int | None) -> None:
    """Exactly one BOS begins a prompt."""
    if bos_id is not None and prompts.shape[1] > 1 and bool(np.any(np.all(prompts[:, :2] == bos_id, axis=1))):
        raise ValueError(
            f"a prompt begins with two BOS tokens (id {bos_id}): drop the one in the text or chat template."
        )


def counted_rows(mask: Bool[np.ndarray, "P G T"], group_ids: Int[np.ndarray, "P"]) -> None:
    """Every row but those that fill the batch up (id -1) has tokens to learn from."""
    empty = group_ids[(group_ids >= 0) & ~mask.any(axis=(1, 2))]
    if empty.size:
        raise ValueError(
            f"{empty.size} rows of the first batch, data row {empty[0]} among them, have no token to learn from:"
            " look at their completions and at the chat template."
        )


def parameters(params: PyTree[Array]) -> None:
    """Every number is finite. All of them are read, so this is asked where something has gone wrong."""
    for path, x in jax.tree.leaves_with_path(params):
        if not all(np.isfinite(np.asarray(shard.data)).all() for shard in x.addressable_shards):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ValueError(f"the parameter {name} holds NaN or infinite numbers: start from another checkpoint.")


def agreement(
    sampler: types.TokenStats, policy: types.TokenStats, mask: Bool[Array, "P G T"], params: PyTree[Array]
) -> None:
    """Sampler and trainer must mean the same distribution; where they do not, `params` may be to blame."""
    median, share = map(float, _disagreement(sampler.logps, policy.logps, mask))
    if not (median <= MEDIAN_NATS and share <= FAR_SHARE):
        with process.as_one():
            parameters(params)
        raise ValueError(
            f"sampler and trainer disagree on the sampled tokens (median {median:.3g} nats, {share:.0%} of the ratios"
            " off by more than 10 %): give both the same temperature, precision and weights."
        )


@jax.jit
def _disagreement(
    sampler: Float[Array, "P G T"], policy: Float[Array, "P G T"], mask: Bool[Array, "P G T"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Median difference in nats, and the share of ratios that are off by more than 10 %."""
    far = jnp.abs(sampler - policy)
    return jnp.nanmedian(jnp.where(mask, far, jnp.nan)), masked.mean((far > np.log(1.1)).astype(jnp.float32), mask)


def starts_at_reference(policy: Float[Array, "P G T"], ref: Float[Array, "P G T"], mask: Bool[Array, "P G T"]) -> None:
    """Before the first update the divergence from the reference is 0 (and the loss of DPO is ln 2)."""
    largest = float(_largest(policy, ref, mask))
    if not largest <= 1e-4:
        raise ValueError(
            f"policy and reference differ by up to {largest:.3g} nats before the first update: start the run with the"
            " reference's parameters (adapters that are already trained: merge them into the base)."
        )


@jax.jit
def _largest(policy: Float[Array, "P G T"], ref: Float[Array, "P G T"], mask: Bool[Array, "P G T"]) -> Float[Array, ""]:
    return jnp.max(jnp.where(mask, jnp.abs(policy - ref), 0))


def rewards(values: Float[Array, "P G"]) -> None:
    """Some rewards of the first batch are finite, and they are not all the same."""
    count, mean, variance = map(float, _moments(values))
    if not count:
        raise ValueError("no completion of the first batch could be scored: run the reward on one example by hand.")
    if variance == 0:
        raise ValueError(
            f"all {count:.0f} rewards of the first batch are {mean:g}, from"
            " which nothing can be learned: use an easier task, more prompts, a shaped reward, or (in code)"
            " Online(refuse_equal_rewards=False)."
        )


@jax.jit
def _moments(values: Float[Array, "P G"]) -> tuple[Int[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Of the finite ones: their number, mean and variance."""
    scored = jnp.isfinite(values)
    return jnp.sum(scored), masked.mean(values, scored), masked.variance(values, scored)


def counted(mask: Bool[Array, "P G T"]) -> None:
    """Some token of the first batch counts: of comparisons, some two completions of a prompt have other rewards."""
    if not _some(mask):
        raise ValueError(
            f"no completion of the first batch, {mask.shape[1]} of each prompt, is compared with another, from which"
            " nothing can be learned: draw at least two of each, and see that their rewards differ."
        )


def advantages(values: Float[Array, "P G T"], truncated: Bool[Array, "P G"]) -> None:
    """Some token of the first batch is to be made likelier or less likely."""
    if _some(values):
        return
    said = f"all advantages of the first batch are 0 with a group_size of {values.shape[1]}"
    if cut := int(jnp.sum(truncated)):
        said += f", and {cut} of {truncated.size} completions were cut at max_new_tokens, which a recipe may leave out"
    raise ValueError(
        f"{said}, from which nothing can be learned: compare at least two completions of a prompt, use more prompts"
        + (", or allow more new tokens." if cut else ".")
    )


@jax.jit
def _some(values: Float[Array, "P G T"] | Bool[Array, "P G T"]) -> Bool[Array, ""]:
    return jnp.any(values)
