"""Who draws the completions of a group: the policy, and an opponent that its completions are compared with.

Players are versions of the policy and other fixed models, by role, alone or mixed:

    {"policy": 1.0}                    the policy itself: self-play
    {"ref": 1.0}                       the reference, frozen or moving (the iterate before, an average), or a soup
    {"policy": 0.875, "ref": 0.125}    a geometric mixture, pi^0.875 ref^0.125 token by token (Nash-MD)
    {"policy": 0.5}                    the policy at twice the temperature
    {"past": 1.0}                      another version of the policy, that `Online.versions` names
    {"ahead": 1.0}                     one step ahead of the policy, under `extragradient.make_extragradient` (EGPO)
    {"teacher": 1.0}                   a model of `Online.fixed`
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from posttrain_jax import arrangement, types
from posttrain_jax.models import actor_critic, lora
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import capacity, extragradient, given, reference

POLICY = "policy"
OPPONENT = "opponent"
"""The column that is 1 on the opponent's completions and 0 on the policy's own."""


@runtime_checkable
class Playing(Protocol):
    """A recipe that tells the opponent's completions from the policy's own."""

    @property
    def plays(self) -> bool:
        """Whether it wants an opponent; without one it compares the policy's completions with each other."""
        ...

    @property
    def off_policy(self) -> bool:
        """Whether its own completions may be drawn from another than the policy."""
        ...


@dataclasses.dataclass(frozen=True)
class Players:
    """Who draws what. Tokens are of softmax(sum_k c_k logits_k / temperature), the c_k being given by role."""

    opponent: Mapping[str, float]
    """Coefficients of the opponent's models."""
    count: int = 1
    """Completions of each group that the opponent draws: the last ones."""
    own: Mapping[str, float] = dataclasses.field(default_factory=lambda: {POLICY: 1.0})
    """Coefficients of the models that the others are drawn from."""

    def __post_init__(self) -> None:
        """Refuse players that nothing is drawn from."""
        if self.count < 1:
            raise ValueError(f"count={self.count} completions are no opponent: take at least 1, or leave players out.")
        if not (self.opponent and self.own):
            raise ValueError("a player needs at least one model: give a coefficient for a role, as {'ref': 1.0}.")

    @property
    def on_policy(self) -> bool:
        """Whether the policy's own completions are drawn from the policy as it is."""
        return dict(self.own) == {POLICY: 1.0}


class Sampler:
    """Rollouts of the policy alone, or of two players, and completions that the data give behind them."""

    def __init__(
        self,
        model: actor_critic.Policy,
        sampling: sample.Sampling,
        group_size: int,
        arranged: arrangement.Arrangement = arrangement.ALONE,
        *,
        players: Players | None = None,
        versions: Collection[str] = (),
        fixed: Mapping[str, reference.Fixed] | None = None,
    ):
        """Compile nothing yet.

        Args:
            model: of the policy, its reference and its `versions`.
            sampling: of all players.
            group_size: completions of a prompt, the opponent's and given ones among them.
            arranged: the policy's completions, and how many are given.
            players: None where the policy draws all.
            versions: their roles.
            fixed: other models that may play.

        Raises:
            ValueError: a role has no model that can draw, nothing is left for the policy, or sampling is truncated: the
                trainer would not know each player's support.
        """
        if players is not None and sampling.top_k is not None:
            raise ValueError(f"top_k={sampling.top_k} cuts every player's support elsewhere: sample from all tokens.")
        if players is not None and arranged != arrangement.ALONE:
            raise ValueError(f"{arranged} leaves no place for an opponent in the group: leave players out.")
        arranged.check(group_size, sampling.max_new_tokens)
        if players is not None and group_size <= players.count:
            raise ValueError(f"group_size={group_size} leaves nothing to the policy beside its opponent: raise it.")
        own = {POLICY: 1.0} if players is None else players.own
        other = {} if players is None else players.opponent
        if arranged.guest is not None:
            if sampling.top_k is not None:
                raise ValueError(f"top_k={sampling.top_k} cuts a guest's support elsewhere: sample from all tokens.")
            own = {**own, arranged.guest[0]: 1.0}
        self.on_policy = arranged.guest is None and (players is None or players.on_policy)
        """Whether the policy's own completions are drawn from it as it is."""
        self.unplayed = frozenset(versions) - {*own, *other}
        """Versions that no player is."""
        self._fixed = {role: one.params for role, one in (fixed or {}).items()}
        models: dict[str, Any] = dict.fromkeys((POLICY, "ref", extragradient.AHEAD, *versions), model)
        models |= {role: one.model for role, one in (fixed or {}).items()}
        self._sides, self._count = (own, other), 0 if players is None else players.count
        self._given, size = arranged.given, group_size - self._count - arranged.given
        self._own = capacity.checked("sampling", _generate(models, own, sampling, size, arranged.drawn))
        self._join = capacity.checked("the pass over given completions", given.make_join(model, sampling))
        if players is not None:
            opponent = _generate(models, other, sampling, self._count, arranged)
            self._opponent = capacity.checked("the opponent's sampling", opponent)
        rows = model.row_sharding
        self._beside = jax.jit(generate.beside, out_shardings=rows)
        self._mark = jax.jit(lambda x: jnp.zeros(x.shape).at[:, size:].set(1.0), out_shardings=rows)

    def params(self, state: types.TrainState, ref: reference.Reference, frozen: PyTree) -> dict[str, PyTree]:
        """Whose parameters a call takes, by role; `frozen` is the base where the state holds adapters."""
        found = {POLICY: lora.join(state.params, frozen), "ref": ref.params, **ref.versions, **self._fixed}
        if any(extragradient.AHEAD in side for side in self._sides):
            ahead = extragradient.opponent(state.opt_state, state.params)
            found[extragradient.AHEAD] = lora.join(ahead, frozen)
        return found

    def __call__(
        self,
        params: Mapping[str, PyTree],
        prompts: Int[Array, "P S"],
        prompt_lengths: Int[Array, "P"],
        group_ids: Int[Array, "P"],
        key: Key[Array, ""],
        answers: Float[Array, "P K W"] | None = None,
        examples: Sequence[Mapping[str, Any]] = (),
    ) -> types.Rollout:
        """The policy's completions, and behind them the opponent's or the given `answers`; examples play no part."""
        asked = prompts, prompt_lengths, group_ids
        mine, others = ({role: params[role] for role in side} for side in self._sides)
        own = self._own(mine, *asked, key)
        if answers is not None:
            return self._join(params[POLICY], own, answers)
        if not self._count:
            return own
        # another branch than that of the policy, whose completions are those of a run without opponent
        return self._beside(own, self._opponent(others, *asked, jax.random.split(key)[1]))

    def column(self, rollout: types.Rollout) -> dict[str, Float[Array, "P G"]]:
        """Whose each completion is, for recipes; nothing without an opponent."""
        return {OPPONENT: self._mark(rollout.truncated)} if self._count else {}

    def own(self, rollout: types.Rollout) -> Bool[Array, "P G T"]:
        """The mask of the tokens that the policy drew."""
        mask, others = rollout.groups.completion_mask, self._count + self._given
        return mask if not others else mask & (jnp.arange(mask.shape[1]) < mask.shape[1] - others)[None, :, None]


def check(recipe: types.Loss, players: Players | None, updates_per_rollout: int) -> None:
    """Refuse an opponent that the recipe would take for the policy, and a recipe that lacks one.

    An opponent that looks ahead steps in turn with the policy, update by update: one on each rollout.
    """
    name, plays = type(recipe).__name__, isinstance(recipe, Playing) and recipe.plays
    if players is not None and not plays:
        raise ValueError(f"{name} takes all completions for the policy's own: leave players out.")
    if players is not None and not players.on_policy and not (isinstance(recipe, Playing) and recipe.off_policy):
        raise ValueError(f"{name} learns from the policy's own completions: leave own={dict(players.own)} out.")
    ahead = players is not None and extragradient.AHEAD in {*players.opponent, *players.own}
    if ahead and updates_per_rollout > 1:
        raise ValueError(f"an opponent that looks ahead allows one update per rollout, not {updates_per_rollout}.")
    if players is None and plays:
        raise ValueError(f"{name} wants an opponent: say who it is with players=player.Players(...).")


def _generate(
    models: Mapping[str, Any],
    side: Mapping[str, float],
    sampling: sample.Sampling,
    size: int,
    arranged: arrangement.Arrangement,
) -> generate.Generate:
    parts = {}
    for role, coefficient in side.items():
        model = models.get(role)
        if model is None:
            raise ValueError(f"the player {role!r} is none of {', '.join(sorted(models))}: name one of these.")
        if model.mesh != models[POLICY].mesh:
            raise ValueError(f"the player {role!r} lies on another mesh than the policy: build it on the policy's.")
        parts[role] = generate.Part(model, coefficient)
    return generate.make_mixed(parts, sampling, size, arranged)
