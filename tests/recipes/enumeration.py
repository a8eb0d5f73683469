"""An exact oracle: a language so small that all its completions are listed, and a policy that is a table of logits.

`expected_gradient` is the expectation of a recipe's gradient over every group it could sample, to be compared with
`jax.grad` of the objective that the recipe claims, written with `probabilities`.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types

CHEAP = {"xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class Language:
    """Completions of at most `length` tokens; token `stop`, where there is one, ends a completion early."""

    vocabulary: int = 3
    length: int = 2
    stop: int | None = None

    @property
    def prefixes(self):
        """Every prefix after which a token is chosen: one row of the table each."""
        words = (w for n in range(self.length) for w in itertools.product(range(self.vocabulary), repeat=n))
        return [w for w in words if self.stop not in w]

    @property
    def completions(self):
        """Every completion, as tuples of tokens."""
        return [(*w, v) for w in self.prefixes for v in range(self.vocabulary) if self._ends((*w, v))]

    def _ends(self, word):
        return len(word) == self.length or word[-1] == self.stop

    def groups(self, indices):
        """Completions [P, G] given by their number, as `Groups`: every row is a group of its own."""
        words = self.completions
        lengths = np.array([len(w) for w in words])
        tokens = np.array([w + (0,) * (self.length - len(w)) for w in words])
        mask = np.arange(self.length) < lengths[:, None]
        rows = indices.shape[0]
        return types.Groups(
            prompts=jnp.zeros((rows, 1), int),
            prompt_lengths=jnp.ones(rows, int),
            completions=jnp.asarray(tokens)[indices],
            completion_lengths=jnp.asarray(lengths)[indices],
            completion_mask=jnp.asarray(mask)[indices],
            group_ids=jnp.arange(rows),
        )

    def stats(self, table, indices):
        """`TokenStats` of the given completions under the policy with logits `table` [prefix, vocabulary]."""
        log_probs = jax.nn.log_softmax(table)
        row = {w: i for i, w in enumerate(self.prefixes)}
        words = self.completions
        rows = jnp.array([[row[w[:t]] if t < len(w) else 0 for t in range(self.length)] for w in words])
        groups = self.groups(indices)
        at = log_probs[rows[indices]]
        logps = jnp.take_along_axis(at, groups.completions[..., None], axis=-1)[..., 0]
        entropy = -jnp.sum(jnp.exp(at) * at, axis=-1)
        mask = groups.completion_mask
        return types.TokenStats(logps=jnp.where(mask, logps, 0), entropy=jnp.where(mask, entropy, 0))

    @functools.partial(jax.jit, static_argnums=0)
    def log_probs(self, table):
        """Log-probability of every completion."""
        return self.stats(table, jnp.arange(len(self.completions))[None]).logps[0].sum(-1)

    def table(self, log_probs):
        """The table (for a language without stop token) whose completions have the given log-probabilities."""
        probs = dict(zip(self.completions, np.exp(np.asarray(log_probs, np.float64)), strict=True))
        begins = lambda prefix: sum(p for word, p in probs.items() if word[: len(prefix)] == prefix)  # noqa: E731
        rows = [[np.log(begins((*w, v))) for v in range(self.vocabulary)] for w in self.prefixes]
        return jnp.array(rows, jnp.float32)


def expected_gradient(recipe, language, table, rewards, *, group_size=2, ref_table=None, sampler_table=None):
    """Sum over all groups of their probability times the gradient of the loss, on policy but for the sampler."""
    sampler_table = table if sampler_table is None else sampler_table
    count = len(language.completions)
    groups = jnp.array(list(itertools.product(range(count), repeat=group_size)))
    log_probs = jax.lax.stop_gradient(language.log_probs(sampler_table))

    def gradient(indices):
        indices = indices[None]
        rollout = types.Rollout(
            groups=language.groups(indices),
            sampler=language.stats(sampler_table, indices),
            truncated=jnp.zeros(indices.shape, bool),
        )
        ref_logps = None if ref_table is None else language.stats(ref_table, indices).logps
        batch = recipe.credit(rollout, rewards[indices], ref_logps)
        return jax.grad(lambda table: recipe.loss(language.stats(table, indices), batch)[0])(table)

    weights = jnp.exp(log_probs[groups].sum(-1))
    return jnp.einsum(
        "n,nij->ij", weights, jax.jit(jax.vmap(gradient), compiler_options=CHEAP)(groups), precision="highest"
    )


FIXED = Language(length=2)
RAGGED = Language(length=2, stop=0)


def random(language, seed):
    """Logits of a policy, logits of a reference, and a reward for every completion."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (len(language.prefixes), language.vocabulary)
    rewards = jax.random.normal(keys[2], (len(language.completions),))
    return jax.random.normal(keys[0], shape), jax.random.normal(keys[1], shape), rewards


def expected_reward(language, table, rewards):
    return jnp.sum(jnp.exp(language.log_probs(table)) * rewards)


reward_gradient = jax.jit(jax.grad(expected_reward, 1), static_argnums=0)


def cosine(a, b):
    return float(jnp.vdot(a, b) / jnp.linalg.norm(a) / jnp.linalg.norm(b))
