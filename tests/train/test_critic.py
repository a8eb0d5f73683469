"""A critic learns the values of a policy that stands still, then both learn, through the online loop."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resuming

from posttrain_jax import types
from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.losses import controller
from posttrain_jax.models import actor_critic, scalar_model, vocabulary
from posttrain_jax.recipes.policy.adaptive_entropy import AdaptiveEntropy
from posttrain_jax.recipes.policy.adaptive_kl import AdaptiveKL
from posttrain_jax.recipes.policy.ppo import PPO
from posttrain_jax.recipes.policy.value_pretraining import ValuePretraining
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import metrics, online, optimizer, run

WORDS = vocabulary.characters("ab=")
FAST = optimizer.AdamW(optimizer.Constant(2e-2))
FROZEN = optimizer.make_optimizer(optimizer.ByPart({"critic": FAST}))
BOTH = optimizer.make_optimizer(optimizer.ByPart({"actor": optimizer.AdamW(optimizer.Constant(1e-2)), "critic": FAST}))


def reward(one):
    """1 for each a, and 1 more where both are."""
    return one.completion.count("a") + float(one.completion == "aa")


@pytest.fixture(scope="module")
def small(tiny):
    """Stand-ins of policy and critic, the critic begun from the policy: a token says all that a value depends on."""
    actor = tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)
    actor = dataclasses.replace(actor, config=dataclasses.replace(actor.config, hidden_size=8))
    model = actor_critic.Apart(actor, scalar_model.ScalarModel(actor))
    params = actor.init(jax.random.key(0))
    return model, {"actor": params, "critic": model.critic.from_language_model(params, jax.random.key(1))}


def parts(model, recipe, learner):
    rows = [{"prompt": f"{a}="} for a in "ab"] * 4
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=3, completion=2))
    return online.Online(
        model=model,
        recipe=recipe,
        optimizer=learner,
        tokenizer=WORDS,
        data=iterate.Batches(encoded, prompts.Pad([3], WORDS.pad_id), batch_size=8, seed=0),
        rewards=pool.RewardPool(combine.WeightedRewards({"a": (1.0, reward)}), workers=0, timeout_s=1.0),
        sampling=sample.Sampling(max_new_tokens=2, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        group_size=16,
    )


def enumerated(model, params, prompt):
    """Groups of all completions of a prompt, their probabilities, and the exact value before each of their tokens."""
    vocab, stops = model.config.vocab_size, WORDS.stop_ids
    words = [w for w in itertools.product(range(vocab), repeat=2) if w[0] not in stops or w[1] == 0]
    tokens = np.array(words, np.int32)
    lengths = np.where(np.isin(tokens[:, 0], stops), 1, 2).astype(np.int32)
    ids = np.array(prompt, np.int32)
    spread = lambda x: jnp.asarray(np.broadcast_to(x, (2, *np.shape(x))))  # noqa: E731  a row for each device
    groups = types.Groups(
        prompts=spread(ids),
        prompt_lengths=jnp.full(2, len(ids), jnp.int32),
        completions=spread(tokens),
        completion_lengths=spread(lengths),
        completion_mask=spread(np.arange(2) < lengths[:, None]),
        group_ids=jnp.arange(2, dtype=jnp.int32),
    )
    stats = jax.jit(model.token_stats)(params, groups)
    probs = np.exp(np.asarray(stats.logps[0], np.float64).sum(-1))
    text = [WORDS.decode([t for t in w[:n] if t not in stops]) for w, n in zip(tokens.tolist(), lengths, strict=True)]
    rewards = np.array([t.count("a") + float(t == "aa") for t in text])
    first = np.sum(probs * rewards)
    second = [np.sum((probs * rewards)[same]) / probs[same].sum() for same in tokens[:, 0] == tokens[:, :1]]
    exact = np.stack([np.full(len(tokens), first), second], axis=-1)
    return probs, exact, np.asarray(stats.values[0]), np.arange(2) < lengths[:, None]


def test_a_critic_learns_the_values_of_a_policy_that_stands_still_and_then_both_learn(tmp_path, small):
    model, start = small
    warm = online.run_online(
        parts(model, ValuePretraining(), FROZEN), run.Plan(tmp_path / "critic", steps=60), start
    ).params
    jax.tree.map(np.testing.assert_array_equal, warm["actor"], start["actor"])
    (prompt,) = {tuple(WORDS.encode("a="))}
    prompt = (*([WORDS.bos_id] if WORDS.bos_id is not None else []), *prompt)
    probs, exact, values, mask = enumerated(model, warm, prompt)
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    weights = probs[:, None] * mask
    spread = np.sum(weights * (exact - np.average(exact, weights=weights)) ** 2)
    assert np.sum(weights * (values - exact) ** 2) < 0.15 * spread

    ended = online.run_online(
        parts(model, PPO(kl_coef=0.0), BOTH), run.Plan(tmp_path / "both", steps=25), warm, ref_params=None
    ).params
    after = enumerated(model, ended, prompt)[1][0, 0]
    assert after > exact[0, 0] + 0.5
    lines = metrics.read(tmp_path / "both" / "metrics.jsonl")
    assert lines[-1]["reward"] > lines[0]["reward"] + 0.5


def test_a_resumed_run_of_policy_critic_and_coefficients_is_the_same_bit_for_bit(tmp_path, small):
    model, start = small
    recipe = AdaptiveKL(PPO(kl_coef=0.0), 0.1, controller.Proportional(target=1.0))
    recipe = AdaptiveEntropy(recipe, target=2.0, start=0.01)
    own = lambda: dataclasses.replace(parts(model, recipe, BOTH), updates_per_rollout=2)  # noqa: E731
    plan = run.Plan(tmp_path, steps=3, save_every=1)
    whole = online.run_online(own(), plan, start)
    assert resuming.forget(tmp_path) == 1
    again = online.run_online(own(), plan, start)
    for one, two in zip(*(jax.tree.leaves((x.params, x.opt_state, x.memory)) for x in (whole, again)), strict=True):
        np.testing.assert_array_equal(one, two)
    entropy_coef, (kl_coef, _) = again.memory
    assert float(kl_coef) == pytest.approx(0.1 * 0.98**3, rel=0.1)
    assert float(kl_coef) != pytest.approx(0.1, rel=1e-3)
    assert 0.005 <= float(entropy_coef) <= 0.025
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert lines[0]["kl_coef"] == pytest.approx(0.1)
    assert lines[1]["kl_coef"] != lines[0]["kl_coef"]


def test_a_policy_without_a_critic_is_refused(tmp_path, small):
    model, start = small
    with pytest.raises(ValueError, match="a critic is needed"):
        online.run_online(
            parts(model.actor, PPO(kl_coef=0.0), optimizer.make_optimizer(FAST)),
            run.Plan(tmp_path, steps=1),
            start["actor"],
        )
