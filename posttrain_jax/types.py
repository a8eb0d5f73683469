"""The structs that flow between the stages, and the Protocols that recipes satisfy.

Axes: P rows (one prompt each), G completions of a row, S prompt positions, T completion positions, V vocabulary.

Invariants that every producer keeps and every consumer may rely on:

* Column t of a per-token array belongs to `completions[..., t]`: `logps[..., t]` is the log-probability of that token.
* Sequences are padded on the right. Masks come from lengths, never from comparing ids with a padding id.
* `completion_mask` is True only on tokens that the policy chose: not on padding, not on tool output.
* Per-token statistics are 0 where `completion_mask` is False; a row without counted tokens adds exactly nothing."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from posttrain_jax import pytree


@pytree.struct
class Groups:
    """Prompts and their completions: the layout of all data, sampled or read."""

    prompts: Int[Array, "P S"]
    prompt_lengths: Int[Array, "P"]
    """At least 1: an empty prompt has no hidden state to predict from."""
    completions: Int[Array, "P G T"]
    completion_lengths: Int[Array, "P G"]
    """Tokens before the padding, tool output included."""
    completion_mask: Bool[Array, "P G T"]
    group_ids: Int[Array, "P"]
    """Rows of one prompt share an id, so that a large or ragged group may span several rows."""


@pytree.struct
class TokenStats:
    """What a model says of given tokens, in nats; one struct for every role (policy, old, sampler, ref, teacher)."""

    logps: Float[Array, "P G T"]
    """Log-probability of the given token."""
    entropy: Float[Array, "P G T"]
    """Entropy of the whole distribution at that position."""
    values: Float[Array, "P G T"] | None = None
    """What a critic expects of the state before the token, in rewards; None of a model without one."""
    divergences: Mapping[str, Float[Array, "P G T"]] = dataclasses.field(default_factory=dict)
    """Those that were asked for (`posttrain_jax.comparison`), by name."""
    masks: Mapping[str, Float[Array, "P G T"]] = dataclasses.field(default_factory=dict)
    """How much tokens count, as learned beside the policy (`models.token_mask`): of "reward" and of "kl"."""


@pytree.struct
class Segments:
    """Parts of completions that are rewarded and credited by themselves: turns, steps, ranks; S of them at most."""

    ids: Int[Array, "P G T"]
    """Of the segment of each token, from 0 in order; -1 of a token that is in none. Tool output has its turn's."""
    rewards: Float[Array, "P G S"]
    """Of each segment; NaN where there is none (a completion of fewer segments), or none was told."""
    states: Int[Array, "P G S"]
    """What each segment was chosen from: equal numbers within a group are equal states, -1 is like no other."""


@pytree.struct
class Rollout:
    """What `generate` returns."""

    groups: Groups
    sampler: TokenStats
    """Under the distribution that was sampled from (tempered, cut where sampling was); of given ones, the policy's."""
    truncated: Bool[Array, "P G"]
    """True where the completion ran into the length limit before a stop token."""
    kept_ids: Int[Array, "P G T K"] | None = None
    """The ids that truncated sampling could choose from (-1 fills up), or None where it could choose any."""
    segments: Segments | None = None
    """The parts of the completions, where they have some; None of completions that are one piece."""
    greedy: Bool[Array, "P G"] | None = None
    """Which completions took the likeliest token each time, to be compared with; None where none did."""
    given: Bool[Array, "P G"] | None = None
    """Which completions the data gave, of whichever source; None where the policy drew all."""
    branches: Int[Array, "P G B"] | None = None
    """Of a tree of completions, the number of the branch that each lies on from split to split; None of samples."""
    edges: Int[Array, "P G T"] | None = None
    """Of each token in such a tree: which of the branches it lies on."""
    counts: Mapping[str, Float[Array, "P G"]] = dataclasses.field(default_factory=dict)
    """What an environment counted of each completion: turns, calls, errors; nothing where there is none."""


@pytree.struct
class PolicyBatch:
    """What a policy-gradient loss reads beside the policy's statistics: no gradient, rows first for cutting."""

    completion_mask: Bool[Array, "P G T"]
    advantages: Float[Array, "P G T"]
    token_weights: Float[Array, "P G T"]
    """Normalised over the whole batch before it is cut: losses only add."""
    old_logps: Float[Array, "P G T"] | None = None
    """At the start of the update; None where the policy has not moved since (one update per rollout)."""
    ref_logps: Float[Array, "P G T"] | None = None
    extra: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    """What the recipe's own credit adds for its own loss."""


@pytree.struct
class PreferenceBatch:
    """What a preference loss reads: K completions of a row, best first (pairs have K = 2: chosen, rejected)."""

    completion_mask: Bool[Array, "P K T"]
    pair_weights: Float[Array, "P"]
    """Normalised over the whole batch before it is cut; 0 on rows that only fill the batch up."""
    ref_logps: Float[Array, "P K T"] | None = None
    token_weights: Float[Array, "P K T"] | None = None
    """Of a likelihood term beside the preference, normalised likewise; None where the recipe has none."""
    extra: Mapping[str, Array] = dataclasses.field(default_factory=dict)


@pytree.struct
class LabelledBatch:
    """What a loss of single completions reads that are called desirable or not: one completion a row."""

    completion_mask: Bool[Array, "P 1 T"]
    row_weights: Float[Array, "P"]
    """Normalised over the whole batch before it is cut; 0 on rows that only fill the batch up."""
    desirable: Bool[Array, "P"]
    baselines: Float[Array, "P"]
    """What rewards are measured from: one number of the whole batch, on every row."""
    ref_logps: Float[Array, "P 1 T"] | None = None


@pytree.struct
class LikelihoodBatch:
    """What a loss of given tokens reads, of their likelihood or of a teacher's distributions."""

    completion_mask: Bool[Array, "P G T"]
    token_weights: Float[Array, "P G T"]
    extra: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    ref_logps: Float[Array, "P G T"] | None = None


@pytree.struct
class TrainState:
    """Everything that an update changes; of a model with adapters, `params` are these alone."""

    params: PyTree
    opt_state: PyTree
    step: Int[Array, ""]
    """Updates done."""
    key: Key[Array, ""]
    """The run's key: never consumed, only folded with counters."""
    memory: PyTree
    """What the recipe carries from step to step (adaptive coefficients, running moments, multipliers); () of most."""


@dataclasses.dataclass(frozen=True)
class Lookup:
    """What a recipe may ask for when it credits a batch, inside one compiled function; nothing of it has a gradient."""

    policy: Callable[..., TokenStats]
    """`policy(groups, kept_ids=None, comparisons=None)`: before the update, compared with "policy" or "ref"."""
    ref: Callable[..., TokenStats]
    """`ref(groups, kept_ids=None, comparisons=None)`: the reference, likewise."""
    key: Key[Array, ""]
    """Of this step, for what is drawn at random."""
    fixed: Mapping[str, Callable[..., TokenStats]] = dataclasses.field(default_factory=dict)
    """Likewise other models, by role: a teacher."""
    influences: Callable[[Groups, Array], Array] | None = None
    """`influences(groups, sources)`: how much learning each token would raise sum(sources * logps) of its group."""
    activations: Callable[[Groups], Mapping[str, PyTree]] | None = None
    """`activations(groups)`: the reference's where tokens are predicted, means over a width, by kind [L, P, G, T]."""
    spreads: Callable[[Groups, Any], Array] | None = None
    """`spreads(groups, spread)`: how far a group's distributions lie apart at each position (`comparison.Spread`)."""
    costs: Callable[[Groups, Any], tuple[Array, Array]] | None = None
    """`costs(groups, picked)`: L1 distances [N, N] at picked tokens, and `others` (`comparison.Transported`)."""
    likeliest: Callable[[Groups, Any], tuple[Array, Array]] | None = None
    """`likeliest(groups, wanted)`: ids and log-probabilities [P, G, T, k] (`comparison.Likeliest`)."""


Batch = PolicyBatch | PreferenceBatch | LabelledBatch | LikelihoodBatch
Metrics = dict[str, Array]
"""Arrays `[P, G, T]`, `[P, G]` or `[P]`: the update averages them over all tokens, completions or rows that count."""


@runtime_checkable
class Loss(Protocol):
    """What the update needs of a recipe."""

    def loss(self, policy: Any, batch: Any) -> tuple[Float[Array, ""], Metrics]:
        """The loss of the given rows, a plain sum of weighted terms, and arrays to report; of TokenStats or Scores."""
        ...


class Recipe(Loss, Protocol):
    """What the loops need of any recipe."""

    @property
    def needs_ref(self) -> bool:
        """Whether `credit` asks for the reference's log-probabilities."""
        ...


@runtime_checkable
class OnlineRecipe(Recipe, Protocol):
    """A method that learns from its own completions and their rewards."""

    def credit(
        self, rollout: Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> PolicyBatch:
        """Everything that looks across the batch: advantages and normalised weights. NaN rewards are left out."""
        ...


@runtime_checkable
class OfflineRecipe(Recipe, Protocol):
    """A method that learns from given completions."""

    def credit(self, groups: Groups, ref_logps: Float[Array, "P G T"] | None = None) -> Any:
        """Everything that looks across the batch: normalised weights."""
        ...


class Informed(Recipe, Protocol):
    """What methods share that look at more than rewards and reference, or remember earlier steps."""

    def init_memory(self) -> PyTree:
        """What is remembered before the first step: arrays whose shapes stay; () of a recipe that only looks."""
        ...


@runtime_checkable
class InformedOnline(Informed, Protocol):
    """Such a method that learns from its own completions and their rewards."""

    def credit(
        self, rollout: Rollout, rewards: Float[Array, "P G"], columns: Mapping[str, Array], lookup: Lookup, memory: Any
    ) -> tuple[Any, PyTree]:
        """The batch, and what to remember after the rollout. NaN rewards are left out. Asked before each update on it.

        `columns` holds each reward by itself [P, G], unweighted, NaN where it does not apply; where a reward compares
        completions, `wins` [P, G, G]: the probability that one beats another, NaN where they are not compared; beside
        an opponent, `opponent` [P, G]: 1 on completions that this one drew; what an environment counted [P, G]."""
        ...


@runtime_checkable
class InformedOffline(Informed, Protocol):
    """Such a method that learns from given completions."""

    def credit(self, groups: Groups, columns: Mapping[str, Array], lookup: Lookup, memory: Any) -> tuple[Any, PyTree]:
        """The batch, and what to remember once the update is done. `columns` say more of a row, 0 on filling rows."""
        ...
