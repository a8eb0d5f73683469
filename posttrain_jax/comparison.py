"""What a policy's distributions are compared with: exact divergences from fixed models, token by token.

A recipe whose loss reads `policy.divergences` says in `comparisons` what it wants. The chunked head computes it in the
same pass as log-probabilities and entropy, and no array `[tokens, V]` is formed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PyTree

from posttrain_jax import pytree, types


@pytree.struct
class Logits:
    """A model's logits at every token, as the two factors whose product `[tokens, V]` is never formed."""

    hidden: Float[Array, "P G T D"]
    weight: Float[Array, "D V"]
    layers: Float[Array, "P G T L W"] | None = None
    """The residual stream after each layer, of a model that masks are learned of (`models.token_mask`)."""


@runtime_checkable
class Divergence(Protocol):
    """What is summed over the vocabulary: D(p || q) = sum_v terms(log p_v, log q_v)."""

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The contribution of each entry; 0 for an entry that both sides lack (log-probability -1e30)."""
        ...

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """d terms / d log p, of each entry; likewise 0."""
        ...


@runtime_checkable
class ByToken(Protocol):
    """A divergence that is another one at every token, by what the two distributions are there: `losses.adaptive`."""

    def look(
        self,
        log_p: Float[Array, "*shape v"],
        log_q: Float[Array, "*shape v"],
        total: Callable[[Float[Array, "*shape v"]], Float[Array, "*shape"]],
    ) -> Float[Array, "*shape"]:
        """A number of each token, without gradient; `total` sums over the vocabulary of all devices."""
        ...

    def at(self, found: Float[Array, "*shape"]) -> Divergence:
        """The divergence of the tokens that this was found of."""
        ...


@runtime_checkable
class Spread(Protocol):
    """How far the distributions of a group lie apart at one position: a number, summed over the vocabulary."""

    def terms(self, log_probs: Float[Array, "G v"], there: Bool[Array, "G"], size: int) -> Float[Array, "v"]:
        """The contribution of each entry; `there`: which completions have a token, `size`: of the vocabulary."""
        ...


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A divergence of the scored model p from a fixed q, per token and exact over the vocabulary.

    p = softmax(logits of the scored model / temperature), q = softmax(sum_k c_k logits_k / temperature): c = 1 for a
    single fixed model; a geometric mixture or an extrapolation has several, of either sign.
    """

    divergence: Divergence | ByToken
    """Of `losses.generator`, `power`, `skew`, `variation` or `adaptive`, or one of your own."""
    logits: Mapping[str, float | Float[Array, "P G T"]]
    """The coefficient c_k of each fixed model, by its role; one number, or one a token."""
    temperature: float | None = None
    """Divides the logits of both sides; None takes the one that tokens are scored at."""

    def __post_init__(self):
        _check_temperature(self.temperature)


@runtime_checkable
class OfEntries(Protocol):
    """What is made of k entries of two distributions: `losses.tail`."""

    def __call__(self, log_p: Float[Array, "n k"], log_q: Float[Array, "n k"], /) -> Float[Array, "n"]:
        """Of log-probabilities under the whole distributions; -1e30 on both sides where an entry is missing."""
        ...


@dataclasses.dataclass(frozen=True)
class Stored:
    """The scored model p against one q of whom k entries of each token are known: the likeliest ones of a teacher."""

    compare: OfEntries
    """Differentiable in its first argument."""
    ids: Int[Array, "P G T k"]
    """Of the entries; -1 fills up."""
    log_probs: Float[Array, "P G T k"]
    """Of q there, in nats; -1e30 fills up."""
    temperature: float | None = None
    """What divides p's logits, as q's were divided; None takes the one that tokens are scored at."""

    def __post_init__(self):
        _check_temperature(self.temperature)

    @property
    def logits(self) -> Mapping[str, float]:
        """No model has to run."""
        return {}


@dataclasses.dataclass(frozen=True)
class Likeliest:
    """Which entries of every token are to be looked up: those of `Stored`, of a model that runs."""

    by: str
    """The role of the model whose likeliest entries they are: a fixed one's, or "policy"."""
    of: str
    """The role of the model whose log-probabilities are told."""
    count: int
    """k."""
    temperature: float
    """Divides the logits of both."""


@dataclasses.dataclass(frozen=True)
class Picked:
    """Some tokens of each row: N in the whole batch, whose distributions are compared each with each."""

    role: str
    """Of the model on the other side."""
    places: Int[Array, "P n"]
    """Among the tokens of a row's completions, one completion behind the other."""
    temperature: float
    """Divides the logits of both sides."""


@dataclasses.dataclass(frozen=True)
class Transported:
    """sum_c w_c |p - q_c| (L1) at picked tokens, q_c being those of a fixed model at all N of them; 0 at others."""

    picked: Picked
    pulls: Float[Array, "P n N"]
    """w."""
    others: Float[Array, "P N D"]
    """Hidden states of the fixed model at the N tokens: the same on every row, to be cut with the rows."""

    @property
    def logits(self) -> Mapping[str, float]:
        """The fixed model, whose head is needed."""
        return {self.picked.role: 1.0}


Request = Comparison | Stored | Transported
"""What may be asked for by name."""


@runtime_checkable
class Asked(Protocol):
    """A model beside the policy, as the programs of the policy's mesh ask it.

    Of one that runs on another mesh (`train.elsewhere`) the parameters are the `Logits` that were moved over.
    """

    def token_stats(
        self,
        params: PyTree,
        groups: types.Groups,
        *,
        temperature: float = 1.0,
        kept_ids: Int[Array, "P G T k"] | None = None,
        comparisons: Mapping[str, Request] | None = None,
        fixed: Mapping[str, Logits] | None = None,
    ) -> Any:
        """What it says of the completions' tokens."""
        ...

    def logits(self, params: PyTree, groups: types.Groups) -> Logits:
        """What the policy's `token_stats` are given as one of `fixed`."""
        ...


def roles(comparisons: Mapping[str, Request]) -> list[str]:
    """The fixed models that are compared with."""
    return sorted({role for one in comparisons.values() for role in one.logits})


def hidden(fixed_params: Mapping[str, PyTree] | None) -> dict[str, Float[Array, "P G T _"]]:
    """Hidden states among the parameters of fixed models, by role: to be cut with the rows of a batch."""
    return {role: x.hidden for role, x in (fixed_params or {}).items() if isinstance(x, Logits)}


def with_hidden(
    fixed_params: Mapping[str, PyTree] | None, part: Mapping[str, Float[Array, "P G T _"]]
) -> dict[str, PyTree]:
    """The parameters with the hidden states of a part of the rows."""
    whole = dict(fixed_params or {})
    return whole | {role: dataclasses.replace(whole[role], hidden=x) for role, x in part.items()}


@runtime_checkable
class Comparing(Protocol):
    """A recipe whose loss reads `policy.divergences`."""

    def comparisons(self, batch: Any) -> Mapping[str, Request]:
        """The divergences to compute for these rows, by the names they will have."""
        ...


def _check_temperature(temperature: float | None) -> None:
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature is {temperature}: distributions are compared at a positive one only.")
