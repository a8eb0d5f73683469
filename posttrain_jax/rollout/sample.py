"""Drawing the next token: Gumbel-max over a vocabulary that may be cut over devices, with optional truncation."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Bool, Float, Int, Key

from posttrain_jax import pytree
from posttrain_jax.models import sharding


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How completions are drawn. The defaults sample the model's own distribution."""

    max_new_tokens: int
    """Length limit of a completion, in tokens, its stop token included."""
    stop_ids: tuple[int, ...]
    """Ids that end a completion; empty to always run to the limit."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    """Keep the k likeliest ids. Needed by `top_p` and `min_p`: it bounds the ids that are stored for the trainer."""
    top_p: float | None = None
    """Of those, keep the likeliest ones up to this share of their mass (the one that reaches it included)."""
    min_p: float | None = None
    """Of those, keep ids at least this share as likely as the likeliest."""
    pad_id: int = 0
    """Fills completions up behind their end. No mask is derived from it."""

    def __post_init__(self):
        if self.max_new_tokens < 1:
            raise ValueError(
                f"max_new_tokens is {self.max_new_tokens}: a completion needs room for at least one token."
            )
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}: choose 0 (greedy) or a positive number.")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}: keep at least one id, or leave it None to keep all.")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"{name} is {share}: it is a share, above 0 and at most 1.")
            if share is not None and self.top_k is None:
                raise ValueError(f"{name} needs top_k as well: it bounds the kept ids, which are stored for training.")


@pytree.struct
class Draw:
    """One token for each completion, and its statistics under the distribution that it was drawn from."""

    tokens: Int[Array, "P G"]
    logps: Float[Array, "P G"]
    entropy: Float[Array, "P G"]
    kept_ids: Int[Array, "P G k"] | None


def draw(
    hidden: Float[Array, "P G D"],
    weight: Float[Array, "D V"],
    keys: Key[Array, "P G"],
    t: Int[Array, "*where"],
    *,
    sampling: Sampling,
    mesh: Mesh,
    rules: sharding.Rules,
    greedy: Bool[Array, "G"] | None = None,
) -> Draw:
    """Draw token `t` of each completion from softmax(hidden @ weight / temperature), or the likeliest where `greedy`.

    `t` is one number, or one for each completion. A completion's noise depends on its own key and `t` alone: not on the
    batch, nor on how the vocabulary is cut. Each device makes the part of it that it needs.

    Of the whole vocabulary, first a block of ids is drawn by its mass, then an id inside: noise for every id would take
    longer to make than the logits.

    Source: the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030).
    """

    top_k = sampling.top_k

    def island(hidden, weight, keys, noise, likeliest):
        flat = sharding.varying(hidden.reshape(-1, hidden.shape[-1]), "tensor")
        logits = jnp.dot(flat, weight.astype(hidden.dtype), preferred_element_type=jnp.float32)
        logits = logits / (sampling.temperature or 1.0)
        noise, likeliest = jax.tree.map(lambda x: x.reshape(len(flat), *x.shape[2:]), (noise, likeliest))
        if top_k is None:
            drawn = _from_all(noise, likeliest, logits)
        else:
            drawn = _from_kept(keys.reshape(-1), likeliest, logits, sampling, top_k)
        return jax.tree.map(lambda x: x.reshape(*hidden.shape[:2], *x.shape[1:]), drawn)

    rows = Spec(sharding.ROWS)
    keys = jax.vmap(jax.vmap(jax.random.fold_in))(keys, jnp.broadcast_to(t, keys.shape))
    noise = _noise(keys, weight.shape[1], mesh, rules) if top_k is None and sampling.temperature > 0 else (None, None)
    likeliest = None if greedy is None else jnp.broadcast_to(greedy, keys.shape)
    specs = (rows, rules.spec("head", stacked=False), rows, (Spec(sharding.ROWS, None, rules.vocab), rows), rows)
    tokens, logps, entropy, kept = jax.shard_map(island, mesh=mesh, in_specs=specs, out_specs=rows)(
        hidden, weight, keys, noise, likeliest
    )
    return Draw(tokens=tokens, logps=logps, entropy=entropy, kept_ids=kept)


def _noise(
    keys: Key[Array, "P G"], vocab: int, mesh: Mesh, rules: sharding.Rules
) -> tuple[Float[Array, "P G B"], Float[Array, "P G b"]]:
    """For each of B blocks of b ids, and for each id of the block that is drawn."""
    size = block_size(vocab, mesh.shape["tensor"])
    gumbel = jax.vmap(jax.vmap(jax.random.gumbel, (0, None)), (0, None))
    # Outside the island, where each device makes the part that it holds, and the whole is the same on any mesh.
    cut = Spec(sharding.ROWS, None, rules.vocab)
    of_blocks = sharding.constrain(gumbel(keys, (vocab // size,)), mesh, cut)
    return of_blocks, gumbel(jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (0, None))(keys, 1), (size,))


def block_size(vocab: int, shards: int) -> int:
    """Ids in a block of the vocabulary: a power of two, so that blocks lie whole on a shard.

    It is the same for up to eight shards. A small vocabulary is not worth it.
    """
    return 1 if vocab < 1024 else math.gcd(max(1, math.gcd(vocab, 1024) // 8), vocab // shards)


def _from_all(
    noise: tuple[Float[Array, "N B"] | None, Float[Array, "N b"] | None],
    likeliest: Bool[Array, "N"] | None,
    logits: Float[Array, "N v"],
):
    first = lax.axis_index("tensor") * logits.shape[1]
    ids = lax.broadcasted_iota(jnp.int32, logits.shape, 1) + first
    top = lax.pmax(logits.max(-1), "tensor")
    weights = jnp.exp(logits - top[:, None])
    best = jnp.argmax(logits, axis=-1).astype(jnp.int32) + first
    tokens = _leading(logits.max(-1), best)
    of_blocks, inside = noise
    if of_blocks is not None and inside is not None:
        masses = jnp.log(weights.reshape(*of_blocks.shape, -1).sum(-1)) + of_blocks
        block = jnp.argmax(masses, axis=-1).astype(jnp.int32)
        members = jnp.take_along_axis(logits.reshape(*of_blocks.shape, -1), block[:, None, None], axis=1)[:, 0]
        drawn = jnp.argmax(members + inside, axis=-1).astype(jnp.int32) + block * inside.shape[1] + first
        drawn = _leading(masses.max(-1), drawn)
        tokens = drawn if likeliest is None else jnp.where(likeliest, tokens, drawn)
    chosen = jnp.where(ids == tokens[:, None], logits, 0)
    sums = lax.psum(jnp.stack([weights.sum(-1), (weights * logits).sum(-1), chosen.sum(-1)]), "tensor")
    log_norm = top + jnp.log(sums[0])
    return tokens, sums[2] - log_norm, log_norm - sums[1] / sums[0], None


def _leading(scores: Float[Array, "N"], ids: Int[Array, "N"]) -> Int[Array, "N"]:
    """The id of the shard whose score is highest, the lower of equals."""
    return lax.pmin(jnp.where(scores == lax.pmax(scores, "tensor"), ids, jnp.iinfo(jnp.int32).max), "tensor")


def _from_kept(
    keys: Key[Array, "N"],
    likeliest: Bool[Array, "N"] | None,
    logits: Float[Array, "N v"],
    sampling: Sampling,
    top_k: int,
):
    logits, ids = _likeliest(logits, top_k)
    kept = keep(logits, top_p=sampling.top_p, min_p=sampling.min_p)
    log_probs = jax.nn.log_softmax(jnp.where(kept, logits, -jnp.inf), axis=-1)
    scores = log_probs
    if sampling.temperature > 0:
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (logits.shape[1],)))(keys)
        scores = scores + (noise if likeliest is None else jnp.where(likeliest[:, None], 0, noise))
    choice = jnp.argmax(scores, axis=-1)[:, None]
    tokens = jnp.take_along_axis(ids, choice, axis=1)[:, 0]
    logps = jnp.take_along_axis(log_probs, choice, axis=1)[:, 0]
    entropy = -jnp.sum(jnp.where(kept, jnp.exp(log_probs) * log_probs, 0), axis=-1)
    return tokens, logps, entropy, jnp.where(kept, ids, -1)


def _likeliest(logits: Float[Array, "N v"], count: int) -> tuple[Float[Array, "N k"], Int[Array, "N k"]]:
    """The `count` largest logits of the whole vocabulary, largest first, and their ids (the lower first on ties)."""
    values, ids = lax.top_k(logits, min(count, logits.shape[1]))
    ids = ids + lax.axis_index("tensor") * logits.shape[1]
    shards = lax.axis_size("tensor")
    lanes = lax.broadcasted_iota(jnp.int32, (1, shards, 1), 1) == lax.axis_index("tensor")
    # A sum of one shard's values and zeros gathers them, and is known to be the same on every shard.
    values = lax.psum(jnp.where(lanes, values[:, None], 0), "tensor").reshape(values.shape[0], -1)
    ids = lax.psum(jnp.where(lanes, ids[:, None], 0), "tensor").reshape(ids.shape[0], -1)
    values, order = lax.top_k(values, min(count, values.shape[1]))
    return values, jnp.take_along_axis(ids, order, axis=1)


def keep(logits: Float[Array, "N k"], *, top_p: float | None, min_p: float | None) -> Bool[Array, "N k"]:
    """Which of the sorted candidates (largest first) stay; the first always does.

    Shares are of the mass of the candidates given, as when one filter runs behind the other.

    Source: nucleus sampling (Holtzman et al. 2019, arXiv:1904.09751); min-p (Nguyen et al. 2024, arXiv:2407.01082).
    """
    probs = jax.nn.softmax(logits, axis=-1)
    kept = jnp.ones(logits.shape, bool)
    if top_p is not None:
        before = jnp.cumsum(probs, axis=-1) - probs
        kept = before < top_p
    if min_p is not None:
        kept &= probs >= min_p * probs[:, :1]
    return kept.at[:, 0].set(True)
