"""The offline loop: given completions -> reference -> credit -> update."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from posttrain_jax import types
from posttrain_jax.data import iterate
from posttrain_jax.models import language_model, scalar_model, token_mask
from posttrain_jax.models import tokenizer as tokenizers
from posttrain_jax.train import (
    capacity,
    checks,
    compared,
    credit,
    metrics,
    off_policy,
    process,
    provenance,
    reference,
    rows,
    run,
    tracing,
    update,
)


@dataclasses.dataclass(frozen=True)
class Offline:
    """What a policy learns from, and how."""

    model: language_model.LanguageModel | scalar_model.ScalarModel | token_mask.Masked
    """The second for recipes of reward models, the third for SparsePO."""
    recipe: types.OfflineRecipe | types.InformedOffline
    optimizer: optax.GradientTransformation
    data: iterate.Data
    """Batches of completions: `data.iterate.Batches` over `data.batch.Pad`."""
    moving: reference.Moving | None = None
    """How the reference follows the policy; None where it stands still."""
    fixed: Mapping[str, reference.Fixed] = dataclasses.field(default_factory=dict)
    """Other models that the recipe compares with or asks, by role; the reference's is `ref`."""
    tokenizer: tokenizers.Tokenizer | None = None
    """Of the policy; needed beside `fixed` models, whose must be the same."""


def run_offline(
    parts: Offline,
    plan: run.Plan,
    params: PyTree,
    *,
    ref_params: PyTree | None = None,
    loggers: Sequence[metrics.Logger] = (),
    evaluate: run.Evaluate | None = None,
) -> types.TrainState:
    """Train until `plan.steps` batches are learned from, going on where `plan.folder` stands.

    Args:
        parts: what learns from what.
        plan: how long, and what is written when.
        params: to start from; what training changes is copied: all, or the adapters, then all that the state holds.
        ref_params: the reference; where None, `params` without adapters, and the first step checks that they agree.
        loggers: beside `metrics.jsonl`.
        evaluate: from parameters and step to numbers.

    Raises:
        ValueError: a check before the first update fails.
        SystemExit: the run was asked to end by SIGTERM (status 143) or SIGINT (130); it is saved.
        RuntimeError: an update is not finite, or another process could not report; the run is saved.
    """
    recipe, memory = parts.recipe, credit.init_memory(parts.recipe)
    score = capacity.checked("the reference's pass", reference.make_score(parts.model))
    others = compared.of(recipe, parts.model, parts.fixed, parts.tokenizer)
    give_credit = credit.make_offline(parts.model, recipe, score, others.models)
    learn = capacity.checked("the update", _learner(parts, plan, others))
    _check(parts)
    with run.Run(plan, provenance.parts_of(parts), loggers) as journal, tracing.Guard() as guard:
        start, read = reference.start(parts.moving, params, ref_params), reference.read(recipe)
        ref = reference.Reference(parts.moving, start, read=read)
        state = journal.begin(parts.model, parts.optimizer, params, parts.data, memory=memory, ref=ref)
        journal.before(evaluate, state)
        for step in guard.steps(journal.steps()):
            clock, position = metrics.Clock(), parts.data.state()
            with clock.phase("data"):
                groups, columns = _next(parts, journal.whole(state), step)
            with clock.phase("reference"):
                whole = dataclasses.replace(state, params=journal.whole(state))
                fixed = others.params(ref.params, groups)
                credited = jax.block_until_ready(give_credit(whole, ref.params, groups, columns, fixed))
                batch, memory, ref_logps = credited
            if step == 1 and ref_params is None and recipe.needs_ref:
                ref_logps = score(ref.params, groups).logps if ref_logps is None else ref_logps
                checks.starts_at_reference(score(whole.params, groups).logps, ref_logps, groups.completion_mask)
            with clock.phase("update"):
                state, learned = learn(state, groups, batch, None, journal.frozen, fixed)
                values = {name: float(x) for name, x in learned.items()}
            guard.check(step, groups, (state, groups, batch))
            if not values["finite"]:
                raise journal.stop(step, state, position, run.NOT_FINITE, ref)
            state = dataclasses.replace(state, memory=memory)
            ref.follow(state.params, step)
            values["completion_length"] = float(jnp.mean(groups.completion_lengths.astype(jnp.float32)))
            values |= clock.report(values["tokens"]) | journal.evaluate(evaluate, state, step)
            journal.log(step, values)
            journal.save(step, state, parts.data, ref)
    return state


def _next(parts: Offline, params: PyTree, step: int) -> tuple[types.Groups, dict[str, Array]]:
    """The next batch and its columns on the devices."""
    if isinstance(parts.data, off_policy.Watching):
        parts.data.watch(params, step)
    own, sharding = next(parts.data), parts.model.row_sharding
    columns = {name: rows.to_devices(sharding, x) for name, x in own.columns.items()}
    return own.to_device(lambda x: rows.to_devices(sharding, x)), columns


def _learner(parts: Offline, plan: run.Plan, others: compared.Compared) -> Callable[..., Any]:
    return update.make_update(
        parts.model,
        parts.recipe,
        parts.optimizer,
        micro_batches=plan.micro_batches,
        memory=credit.init_memory(parts.recipe),
        fixed=others.models,
    )


def _check(parts: Offline) -> None:
    """Refuse what the first batch shows, before anything is compiled."""
    first = iterate.ahead(parts.data)
    with process.as_one():
        checks.counted_rows(first.completion_mask, first.group_ids)
    longest = reference.positions(parts.model, parts.fixed)
    checks.positions(first.prompts.shape[1], first.completions.shape[2], longest)
