"""Recipes that look at the policy, read columns and remember: through both loops, stopped and resumed."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resuming
import sparing

from posttrain_jax import masked, types
from posttrain_jax.data import batch, encode, fields, iterate, prompts
from posttrain_jax.losses import implicit_reward, limit, multiplier, pairing, running, weight
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.distillation import minillm
from posttrain_jax.recipes.policy.constrained import Constrained
from posttrain_jax.recipes.policy.reweighted import Reweighted
from posttrain_jax.recipes.policy.rloo import RLOO
from posttrain_jax.recipes.preference import dpo, online_preference, wpo
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import credit, leaf, metrics, offline, online, optimizer, reference, run, update

WORDS = vocabulary.characters("abcd=")
ADAM = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2)))


@dataclasses.dataclass(frozen=True)
class Scored:
    """Makes completions likelier by a column of scores, less the running mean of all scores seen."""

    needs_ref = True

    def init_memory(self):
        return running.zero_mean()

    def credit(self, groups, columns, lookup, memory):
        mask = groups.completion_mask
        memory = memory.update(columns["score"], jnp.any(mask, axis=(1, 2)))
        policy, ref = lookup.policy(groups), lookup.ref(groups)
        moved = implicit_reward.log_ratio_sum(policy.logps, ref.logps, mask)
        noise = 0.1 * jax.random.normal(lookup.key, ())
        advantages = (columns["score"] - memory.mean + noise)[:, None, None] - 0.1 * moved[:, :, None]
        advantages = jnp.broadcast_to(advantages, mask.shape)
        return types.PolicyBatch(mask, advantages, weight.sequence_mean(mask)), memory

    def loss(self, policy, batch):
        losses = -batch.token_weights * batch.advantages * policy.logps
        return jnp.sum(losses), {"advantage": batch.advantages[:, 0, 0]}


@dataclasses.dataclass(frozen=True)
class Baseline:
    """REINFORCE around the running mean of all rewards."""

    needs_ref = False

    def init_memory(self):
        return running.zero_mean()

    def credit(self, rollout, rewards, columns, lookup, memory):
        mask = rollout.groups.completion_mask
        advantages = jnp.broadcast_to((rewards - memory.mean)[..., None], mask.shape)
        batch = types.PolicyBatch(mask, advantages, weight.sequence_mean(mask))
        return batch, memory.update(columns["a"], jnp.isfinite(rewards))

    def loss(self, policy, batch):
        return jnp.sum(-batch.token_weights * batch.advantages * policy.logps), {"advantage": batch.advantages[:, :, 0]}


@dataclasses.dataclass(frozen=True)
class Watching(Baseline):
    """`Baseline`, which reports how far the policy has moved from the sampler when it is credited."""

    credits_anew = True

    def credit(self, rollout, rewards, columns, lookup, memory):
        batch, memory = Baseline.credit(self, rollout, rewards, columns, lookup, memory)
        moved = jnp.abs(lookup.policy(rollout.groups).logps - rollout.sampler.logps)
        return dataclasses.replace(batch, extra={"moved": moved}), memory

    def loss(self, policy, batch):
        return Baseline.loss(self, policy, batch)[0], batch.extra


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def scored_rows():
    for index, (a, b) in enumerate((a, b) for a in "abcd" for b in "abcd"):
        ids = [np.asarray(WORDS.render_prompt(a), np.int32), np.asarray(WORDS.render_completion(b), np.int32)]
        yield encode.TokenRow(ids[0], (ids[1],), index, columns={"score": np.asarray(index / 16)})


def given(model, **changes):
    pad = batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, 1)
    data = iterate.Batches(list(scored_rows()), pad, batch_size=4, seed=0)
    return offline.Offline(**{"model": model, "recipe": Scored(), "optimizer": ADAM, "data": data} | changes)


def sampled(model):
    rows = [{"prompt": f"{a}{b}="} for a in "abcd" for b in "abcd"]
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=4, completion=6))
    reward = combine.WeightedRewards({"a": (1.0, lambda one: one.completion.count("a") / 6)})
    return online.Online(
        model=model,
        recipe=Baseline(),
        optimizer=ADAM,
        tokenizer=WORDS,
        data=iterate.Batches(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0),
        rewards=pool.RewardPool(reward, workers=0, timeout_s=1.0),
        sampling=sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        group_size=4,
    )


def assert_same(one, other):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf.key_data(x), leaf.key_data(y))


@pytest.mark.parametrize(
    "moving", sparing.some({"still": None, "moving": reference.Moving(share=0.5, every=2)}, "moving")
)
def test_memory_and_moving_reference_resume_bit_for_bit(tmp_path, model, start, moving):
    plan = run.Plan(tmp_path, steps=5, save_every=3)
    whole = offline.run_offline(given(model, moving=moving), plan, start)
    assert float(whole.memory.count) == 20
    assert resuming.forget(tmp_path) == 3
    assert_same(offline.run_offline(given(model, moving=moving), plan, start), whole)


def test_multipliers_are_reported_and_resume_bit_for_bit(tmp_path, model, start):
    recipe = Constrained((limit.AtLeast("b", 0.5),), multiplier.Augmented(0.5), RLOO(kl_coef=0.0))
    terms = {name: (one, lambda x, name=name: x.completion.count(name) / 6) for name, one in (("a", 1.0), ("b", 0.0))}
    scorer = pool.RewardPool(combine.WeightedRewards(terms), workers=0, timeout_s=1.0)
    plan = run.Plan(tmp_path, steps=4, save_every=2)
    once = lambda: online.run_online(  # noqa: E731
        dataclasses.replace(sampled(model), recipe=recipe, rewards=scorer), plan, start
    )
    whole = once()
    lines = metrics.read(tmp_path / "metrics.jsonl")
    moved = np.cumsum([0.0] + [0.5 * (0.5 - line["reward/b"]) for line in lines])
    assert (moved > 0)[1:].all()
    np.testing.assert_allclose([line["multiplier/b>=0.5"] for line in lines], moved[:-1], rtol=1e-5)
    np.testing.assert_allclose(whole.memory, moved[-1:], rtol=1e-5)
    assert resuming.forget(tmp_path) == 2
    assert_same(once(), whole)


def test_the_memory_is_that_of_the_columns_seen(tmp_path, model, start):
    state = offline.run_offline(given(model), run.Plan(tmp_path, steps=4), start)
    assert float(state.memory.mean) == pytest.approx(np.mean(np.arange(16) / 16))


def test_online_memory_is_that_of_the_rewards_seen(tmp_path, model, start):
    state = online.run_online(sampled(model), run.Plan(tmp_path, steps=2), start)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert float(state.memory.count) == 32
    assert float(state.memory.mean) == pytest.approx(np.mean([line["reward"] for line in lines]), rel=1e-5)


def test_a_preference_recipe_learns_from_its_own_rollouts(tmp_path, model, start):
    recipe = online_preference.OnlinePreference(dpo.DPO(beta=0.5), pairing.AllPairs())
    parts = dataclasses.replace(sampled(model), recipe=recipe)
    online.run_online(parts, run.Plan(tmp_path, steps=8), start)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-6)
    assert any(line["chosen_reward"] != 0 for line in lines)


@pytest.mark.parametrize("recipe", [Watching(), Reweighted((("a", 1.0),), Watching())], ids=["alone", "held"])
def test_a_recipe_looks_at_the_policy_before_each_update_and_remembers_a_rollout_once(tmp_path, model, start, recipe):
    parts = dataclasses.replace(sampled(model), recipe=recipe, updates_per_rollout=2)
    state = online.run_online(parts, run.Plan(tmp_path, steps=1), start)
    assert metrics.read(tmp_path / "metrics.jsonl")[-1]["moved"] > 1e-4
    _, inner = state.memory if isinstance(recipe, Reweighted) else (None, state.memory)
    assert float(inner.count) == 16


def test_a_recipe_whose_comparisons_are_not_handed_on_is_refused(model):
    held = Reweighted((("a", 1.0),), minillm.MiniLLM())
    with pytest.raises(ValueError, match="Reweighted does not hand on what MiniLLM compares the policy with: train"):
        credit.make_online(model, held, reference.make_score(model), {}, temperature=1.0)
    credit.make_online(model, held.recipe, reference.make_score(model), {}, temperature=1.0)


def test_wpo_looks_at_whole_distributions(tiny):
    model = tiny.bigram(data=2)
    start, groups = model.init(jax.random.key(0)), tiny.groups(model)
    give = credit.make_offline(model, wpo.WPO(), reference.make_score(model), {})
    state = update.init_state(model, ADAM, jax.random.key(0), params=start)
    batch, *_ = give(state, start, groups, {}, {})
    logits = model.logits(start, groups)
    probs = jax.nn.softmax(jnp.einsum("pgtd,dv->pgtv", logits.hidden, logits.weight).astype(jnp.float32))
    own = jnp.take_along_axis(probs, groups.completions[..., None], axis=-1)[..., 0]
    log_weights = masked.mean(jnp.log(own / jnp.sum(probs**2, axis=-1)), groups.completion_mask, axis=-1)
    plain = wpo.WPO().recipe.credit(groups, own).pair_weights
    expected = plain * jnp.exp(jnp.minimum(log_weights.sum(-1), 0))
    np.testing.assert_allclose(batch.pair_weights, expected, rtol=1e-4)
    assert float(jnp.max(plain)) > 0


def test_reference_is_handed_on(tiny, model, start):
    """The checks of the first step need not score it again; where the recipe looks for itself, there is none."""
    groups, score = tiny.groups(model), reference.make_score(model)
    state = update.init_state(model, ADAM, jax.random.key(0), params=start)
    handed = credit.make_offline(model, dpo.DPO(), score, {})(state, start, groups, {}, {}).ref_logps
    np.testing.assert_array_equal(handed, score(start, groups).logps)
    assert credit.make_offline(model, wpo.WPO(), score, {})(state, start, groups, {}, {}).ref_logps is None


def test_columns_that_a_recipe_does_not_read_are_refused(tiny, model, start):
    give = credit.make_offline(model, dpo.DPO(), reference.make_score(model), {})
    state = update.init_state(model, ADAM, jax.random.key(0), params=start)
    with pytest.raises(ValueError, match="DPO reads no columns, and the data have score"):
        give(state, start, tiny.groups(model), {"score": jnp.zeros(8)}, {})


def test_a_moving_reference_follows():
    ref, policy = {"w": jnp.float32([0.0, 2.0])}, {"w": jnp.float32([1.0, 0.0])}
    moving = reference.Moving(share=0.25, every=2)
    assert moving.follow(ref, policy, step=1) is ref
    np.testing.assert_allclose(moving.follow(ref, policy, step=2)["w"], [0.25, 1.5])
    hard = reference.Moving(share=1.0).follow({"w": jnp.float32([0.3, 0.7])}, policy, step=1)
    np.testing.assert_array_equal(hard["w"], policy["w"])


@pytest.mark.parametrize(
    ("share", "every", "words"), [(0.0, 1, "no average"), (1.5, 1, "no average"), (0.5, 0, "never")]
)
def test_references_that_stand_still_or_run_away_are_refused(share, every, words):
    with pytest.raises(ValueError, match=words):
        reference.Moving(share, every)
