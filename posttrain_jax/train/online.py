"""The online loop: prompts -> rollout -> rewards -> reference -> credit -> update."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from jaxtyping import Array, PyTree

from posttrain_jax import arrangement, types
from posttrain_jax.data import iterate
from posttrain_jax.models import actor_critic, lora, tokenizer
from posttrain_jax.rewards import pool
from posttrain_jax.rollout import sample, turn
from posttrain_jax.rollout import selection as selecting
from posttrain_jax.train import (
    capacity,
    checks,
    compared,
    credit,
    experience,
    given,
    held,
    judging,
    metrics,
    player,
    process,
    provenance,
    reference,
    run,
    selected,
    speaker,
    summary,
    tracing,
    update,
)


@dataclasses.dataclass(frozen=True)
class Online:
    """What a policy learns from, and how."""

    model: actor_critic.Policy
    recipe: types.OnlineRecipe | types.InformedOnline
    optimizer: optax.GradientTransformation
    tokenizer: tokenizer.Tokenizer
    data: iterate.Data
    """Batches of prompts: `data.iterate.Batches` over `data.prompts.Pad`."""
    rewards: pool.RewardPool | None
    """Of text; None where the judge alone rewards, or nobody does (`refuse_equal_rewards=False`)."""
    sampling: sample.Sampling
    group_size: int
    """Completions of a prompt."""
    updates_per_rollout: int = 1
    """Updates on the whole of each rollout; with more than one the old log-probabilities are computed first."""
    refuse_equal_rewards: bool = True
    """Whether a run whose first rewards are all the same is refused."""
    moving: reference.Moving | None = None
    """How the reference follows the policy; None where it stands still."""
    fixed: Mapping[str, reference.Fixed] = dataclasses.field(default_factory=dict)
    """Other models that the recipe compares with or asks, by role; the reference's is `ref`."""
    judge: judging.AnyJudge | None = None
    """A reward model, or the policy as a referee, whose weighted reward joins the others'; its column is `judge`."""
    versions: Mapping[str, reference.Moving] = dataclasses.field(default_factory=dict)
    """Further versions of the policy, by role, each beginning as the policy and moving like a reference."""
    players: player.Players | None = None
    """Who draws the completions, where the policy plays against an opponent; None where it draws all."""
    selection: selecting.Selection | None = None
    """Which prompts are asked and which answers learned from; None asks the next prompts and learns from all."""
    turns: turn.Turns | None = None
    """Who replies to the policy, where completions are dialogues; None where they are one piece."""

    def __post_init__(self) -> None:
        """Refuse to learn nothing."""
        if self.updates_per_rollout < 1:
            raise ValueError(f"updates_per_rollout={self.updates_per_rollout} learns nothing: take at least 1.")
        judging.someone(self.rewards, self.judge, self.refuse_equal_rewards)
        selected.check(self.selection, self.recipe, (self.judge, self.players))
        player.check(self.recipe, self.players, self.updates_per_rollout)
        speaker.check(self.turns, self.recipe, self.players, self.rewards)


def run_online(
    parts: Online,
    plan: run.Plan,
    params: PyTree,
    *,
    ref_params: PyTree | None = None,
    loggers: Sequence[metrics.Logger] = (),
    evaluate: run.Evaluate | None = None,
) -> types.TrainState:
    """Train until `plan.steps` rollouts are learned from, going on where `plan.folder` stands.

    Args:
        parts, plan: what learns from what; how long, and what is written when.
        params: to start from; what training changes is copied: all, or the adapters, then all that the state holds.
        ref_params: the reference; where None, `params` without adapters, and the first step checks that they agree.
        loggers, evaluate: beside `metrics.jsonl`; from parameters and step to numbers.

    Raises:
        ValueError: a check before the first update fails.
        SystemExit: the run was asked to end by SIGTERM (status 143) or SIGINT (130); it is saved.
        RuntimeError: a step cannot be scored, or reported by another process, or is not finite; the run is saved.
    """
    others = compared.of(parts.recipe, parts.model, parts.fixed, parts.tokenizer, parts.versions)
    stages = _Stages(parts, plan, others, frozen=lora.split(params)[1])
    memory = credit.init_memory(parts.recipe)
    with run.Run(plan, provenance.of_online(parts), loggers) as journal, tracing.Guard() as guard:
        start, read = reference.start(parts.moving, params, ref_params), reference.read(parts.recipe, parts.players)
        ref = reference.Reference(parts.moving, start, parts.versions, params, read=read)
        state = journal.begin(parts.model, parts.optimizer, params, stages.data, memory=memory, ref=ref)
        journal.before(evaluate, state)
        for step in guard.steps(journal.steps()):
            clock, position = metrics.Clock(), stages.data.state()
            try:
                found = stages.collect(state, ref, step, clock)
            except selecting.ExhaustedError as reason:
                raise journal.stop(step, state, position, str(reason), ref) from None
            with clock.phase("reference"):
                fixed = others.params(ref.params, found.rollout.groups, ref.versions)
                credited = stages.give_credit(state, ref, found, fixed)
            if step == journal.start + 1:
                policy = stages.check_rollout(state, found)
                if step == 1:
                    stages.check_learning(policy, ref.params if ref_params is None else None, found, credited)
            with clock.phase("update"):
                state, learned = stages.learn(state, ref, found, credited.batch, fixed)
                del fixed  # hidden states of a teacher, which the next rollout has no use for
            guard.check(step, found.rollout.groups, (state, found.rollout, credited.batch))
            if not learned["finite"]:
                before = state if int(state.step) == (step - 1) * parts.updates_per_rollout else None
                raise journal.stop(step, before, position, run.NOT_FINITE, ref)
            state = dataclasses.replace(state, memory=credited.memory)
            ref.follow(state.params, step)
            values = found.values | learned | clock.report(learned["tokens"]) | journal.evaluate(evaluate, state, step)
            journal.log(step, values | summary.failures(found.report))
            journal.show(step, found.shown)
            journal.save(step, state, stages.data, ref)
    return state


class _Stages:
    """The compiled functions of the loop."""

    def __init__(self, parts: Online, plan: run.Plan, others: compared.Compared, *, frozen: PyTree):
        first = iterate.ahead(parts.data)
        checks.sampling(parts.sampling)
        given.check(parts.recipe, first.columns, parts.sampling)
        with process.as_one(ValueError, RuntimeError):
            checks.double_bos(first.prompts, parts.tokenizer.bos_id)
            checks.readable(parts.rewards, first.rows[0], parts.group_size)
        widths = first.prompts.shape[1], parts.sampling.max_new_tokens
        checks.positions(*widths, reference.positions(parts.model, parts.fixed))
        judging.check(parts.judge, parts.tokenizer, parts.model.mesh, widths)
        model, size, temperature = parts.model, parts.group_size, parts.sampling.temperature
        self._parts, self._frozen = parts, frozen
        arranged, played = arrangement.of(parts.recipe), {"players": parts.players, "versions": parts.versions}
        if parts.turns is None:
            self._sampler = player.Sampler(model, parts.sampling, size, arranged, fixed=parts.fixed, **played)
        else:
            talk = parts.turns, parts.tokenizer
            self._sampler = speaker.Speaker(model, parts.sampling, size, *talk, versions=parts.versions)
        collector = experience.Collector(
            model,
            self._sampler,
            parts.sampling.stop_ids,
            words=parts.tokenizer,
            rewards=parts.rewards,
            data=parts.data,
            recipe=parts.recipe,
            judge=parts.judge,
        )
        self.data, self._collector = selected.start(collector, parts.selection, parts.data, size)
        self._score = capacity.checked("the scoring pass", reference.make_score(model, temperature=temperature))
        self._credit = credit.make_online(
            model, parts.recipe, self._score, others.models, temperature=temperature, unplayed=self._sampler.unplayed
        )
        learner = update.make_update(
            model,
            parts.recipe,
            parts.optimizer,
            micro_batches=plan.micro_batches,
            temperature=temperature,
            memory=credit.init_memory(parts.recipe),
            fixed=others.models,
        )
        self._update = capacity.checked("the update", learner)

    def collect(
        self, state: types.TrainState, ref: reference.Reference, step: int, clock: metrics.Clock
    ) -> experience.Experience:
        """Prompts -> rollout -> rewards."""
        params = self._sampler.params(state, ref, self._frozen)
        return self._collector.collect(params, jax.random.fold_in(state.key, step), step, clock)

    def give_credit(
        self, state: types.TrainState, ref: reference.Reference, found: experience.Experience, fixed: PyTree
    ) -> credit.Credited:
        """What the loss reads and what is remembered; the passes that it needs under fixed parameters included."""
        credited, rollout = self._consult(state, ref, found, fixed), found.rollout
        if self._parts.updates_per_rollout > 1 and isinstance(credited.batch, types.PolicyBatch):
            old = self._score(lora.join(state.params, self._frozen), rollout.groups, rollout.kept_ids)
            credited = credited._replace(batch=dataclasses.replace(credited.batch, old_logps=old.logps))
        return jax.block_until_ready(credited)

    def _consult(self, state: types.TrainState, ref: reference.Reference, found: experience.Experience, fixed: PyTree):
        whole, rewards = dataclasses.replace(state, params=lora.join(state.params, self._frozen)), found.rewards
        return self._credit(whole, ref.params, found.rollout, rewards.total, rewards.columns, fixed)

    def learn(
        self, state: types.TrainState, ref: reference.Reference, found: experience.Experience, batch: Any, fixed: PyTree
    ) -> tuple[types.TrainState, dict[str, float]]:
        """All updates on a rollout, up to one that is not finite, and the numbers of the last; a recipe that follows
        the policy is credited anew before each, with what it remembered before the rollout."""
        rollout, values = found.rollout, dict[str, float]()
        for number in range(self._parts.updates_per_rollout):
            if number > 0 and held.follows(self._parts.recipe):
                anew = self._consult(state, ref, found, fixed).batch
                same = isinstance(anew, types.PolicyBatch)
                batch = dataclasses.replace(anew, old_logps=batch.old_logps) if same else anew
            state, numbers = self._update(state, rollout.groups, batch, rollout.kept_ids, self._frozen, fixed)
            values = {name: float(x) for name, x in numbers.items()}
            if not values["finite"]:
                break
        return state, values

    def check_rollout(self, state: types.TrainState, found: experience.Experience) -> Array:
        """The policy's log-probabilities, `[P, G, T]`; refuses NaN parameters, and a sampler that is not the policy."""
        whole, (rollout, _, own, *_) = lora.join(state.params, self._frozen), found
        policy = self._score(whole, rollout.groups, rollout.kept_ids)
        if self._sampler.on_policy:
            drawn = policy if own is rollout else self._score(whole, own.groups, own.kept_ids)
            checks.agreement(own.sampler, drawn, self._sampler.own(own), whole)
        return policy.logps

    def check_learning(
        self, policy: Array, start: PyTree | None, found: experience.Experience, credited: credit.Credited
    ) -> None:
        """Refuse what nothing can be learned from, and a divergence from a reference that is `start` itself."""
        rollout, known = found.rollout, credited.ref_logps
        if self._parts.refuse_equal_rewards:
            checks.rewards(found.rewards.total)
            checks.counted(credited.batch.completion_mask)
            if isinstance(credited.batch, types.PolicyBatch):
                checks.advantages(credited.batch.advantages, rollout.truncated)
        if self._parts.recipe.needs_ref and start is not None:
            ref = self._score(start, rollout.groups, rollout.kept_ids).logps if known is None else known
            checks.starts_at_reference(policy, ref, rollout.groups.completion_mask)
