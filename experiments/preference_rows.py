"""What the recipes of `preference_frontier` are told of the data, as the columns that they read."""

import dataclasses

import enumerable
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types

Rows = dict[str, Array]


def known(given: enumerable.Problem, rows: Rows) -> Rows:
    """The rows, with true win rates, and the prompts of `asked` for better and worse responses."""
    wins = jnp.take_along_axis(win_rates(given)[rows["prompts"]], rows["responses"], axis=1)
    better, worse = (rows["prompts"] + k * len(given.rewards) for k in (1, 2))
    return rows | {"win_rates": wins, "better_prompt": better, "worse_prompt": worse}


def compared(rows: Rows) -> tuple[types.Groups, Rows]:
    """Completions beside one another, best first; half of them are winners, and every token differs.

    LongPO's short prompt is the prompt itself; T-REG's prompts are one of a row.
    """
    groups, places = enumerable.groups_of(rows["prompts"], rows["responses"]), jnp.arange(rows["responses"].shape[1])
    grades = jnp.broadcast_to(places[::-1], rows["responses"].shape).astype(jnp.float32)
    columns = {"grades": grades, "winners": (grades >= len(places) / 2).astype(jnp.float32), "scores": rows["scores"]}
    columns |= {"differing": jnp.ones(groups.completions.shape), "short_prompt": rows["prompts"][:, None]}
    about = {name: rows[name][:, None, None] for name in ("better_prompt", "worse_prompt")}
    return groups, columns | {name: jnp.broadcast_to(x, groups.completions.shape) for name, x in about.items()}


def judged(rows: Rows) -> tuple[types.Groups, Rows]:
    """Likewise, with the probability that each beats a response of the reference."""
    groups, columns = compared(rows)
    return groups, columns | {"win_rates": rows["win_rates"]}


def apart(rows: Rows) -> tuple[types.Groups, Rows]:
    """Completions in rows of their own, the better half desirable."""
    count, size = rows["responses"].shape
    groups = enumerable.groups_of(jnp.repeat(rows["prompts"], size), rows["responses"].reshape(-1, 1))
    desirable = jnp.broadcast_to(jnp.arange(size) < size // 2, (count, size)).reshape(-1).astype(jnp.float32)
    return dataclasses.replace(groups, group_ids=jnp.arange(count * size)), {"desirable": desirable}


def win_rates(given: enumerable.Problem) -> Float[Array, "X Y"]:
    """The probability that a response beats one of the reference's, before the Bradley-Terry judge."""
    beaten = jax.nn.sigmoid(given.rewards[:, :, None] - given.rewards[:, None])
    return jnp.einsum("xyz,xz->xy", beaten, jnp.exp(given.ref_log_probs))


def asked(given: enumerable.Problem) -> Float[Array, "X3 Y"]:
    """The reference after each prompt, and as if asked for a better and for a worse response: tilted by +- rewards."""
    ref = given.ref_log_probs
    return jnp.concatenate([jax.nn.log_softmax(ref + sign * given.rewards) for sign in (0, 1, -1)])
