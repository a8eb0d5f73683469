"""A policy that answers from a table: what the tests of selections ask."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.rollout import selection


@dataclasses.dataclass
class Ask:
    """Prompt i gets the rewards of row i; the shuffled pass is the data in order."""

    table: np.ndarray
    rows: int
    step: int = 1
    round: int = 0
    position: int = 0
    asked: list = dataclasses.field(default_factory=list)

    @property
    def group_size(self):
        return self.table.shape[1]

    def fresh(self, count):
        self.position += count
        return np.arange(self.position - count, self.position) % len(self.table)

    def __call__(self, places):
        assert len(places) == self.rows
        self.asked.append(list(places))
        self.round += 1
        return found(self.table, places, self.step)


def found(table, places, step):
    """Completions of two tokens: the prompt's place, and the number in the group."""
    places, group = np.asarray(places), table.shape[1]
    tokens = np.stack(np.broadcast_arrays(places[:, None], np.arange(group)[None]), -1).astype(np.int32)
    shape = tokens.shape
    groups = types.Groups(
        prompts=jnp.asarray(places[:, None], jnp.int32),
        prompt_lengths=jnp.ones(len(places), jnp.int32),
        completions=jnp.asarray(tokens),
        completion_lengths=jnp.full(shape[:2], 2, jnp.int32),
        completion_mask=jnp.ones(shape, bool),
        group_ids=jnp.asarray(places, jnp.int32),
    )
    sampler = types.TokenStats(logps=jnp.full(shape, -float(step)), entropy=jnp.zeros(shape))
    rollout = jax.tree.map(np.asarray, types.Rollout(groups, sampler, jnp.zeros(shape[:2], bool)))
    rewards = table[places].astype(np.float32)
    return selection.Found(rollout, rewards, {"a": rewards}, {}, None, places, np.full(len(places), step, np.int32))
