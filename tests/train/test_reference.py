"""References: what they are made of, how they move, and every kind in both loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest
import sparing

from posttrain_jax import types
from posttrain_jax.data import batch as batching
from posttrain_jax.data import demonstrations, encode, fields, iterate
from posttrain_jax.losses import weight
from posttrain_jax.recipes.policy.geometric_reference import GeometricReference
from posttrain_jax.train import compared, metrics, offline, online, reference, run


def test_a_soup_is_the_weighted_mean_of_weights():
    several = {"w": jnp.array([1.0, 3.0])}, {"w": jnp.array([3.0, 5.0])}
    np.testing.assert_allclose(reference.soup(several, [0.5, 0.5])["w"], [2, 4])
    np.testing.assert_array_equal(reference.soup(several, [1.0, 0.0])["w"], several[0]["w"])
    half = [{"w": x["w"].astype(jnp.bfloat16)} for x in several]
    assert reference.soup(half, [0.25, 0.75])["w"].dtype == jnp.bfloat16
    for shares in ([1.0], [0.5, 0.6]):
        with pytest.raises(ValueError, match="give one for each"):
            reference.soup(several, shares)


def test_a_hard_replacement_is_exact():
    old, new = {"w": jnp.array([0.1, 1e8])}, {"w": jnp.array([0.3, 0.7])}
    moving = reference.Moving(1.0, every=2)
    np.testing.assert_array_equal(moving.follow(old, new, 1)["w"], old["w"])
    np.testing.assert_array_equal(moving.follow(old, new, 2)["w"], new["w"])


@pytest.mark.parametrize(("fixed", "versions"), [(["ref"], []), ([], ["policy"]), (["past"], ["past"])])
def test_a_role_belongs_to_one_model(fixed, versions):
    compared.check_roles(["teacher"], ["past"])
    with pytest.raises(ValueError, match="the roles of two models"):
        compared.check_roles(fixed, versions)


@dataclasses.dataclass(frozen=True)
class Near:
    """Likelihood of any completions in either loop; it tells how far the policy is from its reference."""

    needs_ref = True

    def credit(self, given, *told):
        groups = given.groups if isinstance(given, types.Rollout) else given
        mask = groups.completion_mask
        return types.LikelihoodBatch(mask, weight.token_mean(mask), ref_logps=told[-1])

    def loss(self, policy, batch):
        return -jnp.sum(batch.token_weights * policy.logps), {"gap": jnp.abs(policy.logps - batch.ref_logps)}


def learn(loop, model, folder, moving, start, given):
    """Three steps of either loop, one field or argument saying which reference."""
    if loop == "online":
        parts = playing.parts(model, Near(), {"a": (1.0, playing.letters_a)}, moving=moving)
        return online.run_online(parts, run.Plan(folder, steps=3), start, ref_params=given)
    rows = [{"prompt": "a=", "completion": "ba"}, {"prompt": "b=", "completion": "c"}]
    read, limits = fields.DemonstrationFields(), encode.Limits(prompt=4, completion=3)
    encoded, _ = demonstrations.encode(rows, read, playing.WORDS, limits)
    pad = batching.Pad([batching.Bucket(4, 3)], playing.WORDS.pad_id, group_size=1)
    data = iterate.Batches(encoded, pad, batch_size=2, seed=0)
    parts = offline.Offline(model, Near(), playing.ADAM, data, moving)
    return offline.run_offline(parts, run.Plan(folder, steps=3), start, ref_params=given)


def test_a_mixture_with_the_iterate_before_lies_between_it_and_the_reference(tmp_path, tiny):
    """Of the policy before each update and the start: nearer to the policy than the start is, and not the policy."""
    model = tiny.bigram(vocab_size=playing.WORDS.vocab_size + playing.WORDS.vocab_size % 2)
    start, gaps = model.init(jax.random.key(0)), {}
    mixed = GeometricReference(Near(), "past", 0.5)
    for name, recipe, versions in (("start", Near(), {}), ("mixed", mixed, {"past": reference.Moving(1.0)})):
        parts = playing.parts(model, recipe, {"a": (1.0, playing.letters_a)})
        parts = dataclasses.replace(parts, versions=versions)
        online.run_online(parts, run.Plan(tmp_path / name, steps=3), start)
        gaps[name] = [line["gap"] for line in metrics.read(tmp_path / name / "metrics.jsonl")]
    assert gaps["mixed"][0] < 1e-5
    for mine, whole in zip(gaps["mixed"][1:], gaps["start"][1:], strict=True):
        assert 0.2 * whole < mine < 0.8 * whole


KINDS = {
    "frozen": (None, lambda start, other: None),
    "another": (None, lambda start, other: other),
    "iterate_before": (reference.Moving(1.0), lambda start, other: None),
    "average": (reference.Moving(0.25), lambda start, other: None),
    "soup": (None, lambda start, other: reference.soup([start, other], [0.5, 0.5])),
}


@pytest.mark.parametrize("kind", sparing.names(KINDS, "another", "average"))
@pytest.mark.parametrize("loop", ["offline", "online"])
def test_every_kind_of_reference_in_both_loops(tmp_path, tiny, monkeypatch, loop, kind):
    model = tiny.bigram(vocab_size=playing.WORDS.vocab_size + playing.WORDS.vocab_size % 2)
    start, other = (model.init(jax.random.key(seed)) for seed in range(2))
    moving, give = KINDS[kind]
    given, seen, follow = give(start, other), [], reference.Reference.follow

    def recorded(self, policy, step):
        follow(self, policy, step)
        seen.append((np.asarray(policy["head"]), np.asarray(self.params["head"])))

    monkeypatch.setattr(reference.Reference, "follow", recorded)
    learn(loop, model, tmp_path, moving, start, given)
    expected = np.asarray((start if given is None else given)["head"])
    for policy, ref in seen:
        share = 0 if moving is None else moving.share
        expected = expected + share * (policy - expected)
        np.testing.assert_allclose(ref, expected, atol=1e-6)
    gaps = [line["gap"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    if given is not None:
        assert min(gaps) > 0.1
    elif kind == "iterate_before":
        assert max(gaps) < 1e-5
    else:
        assert gaps[0] < 1e-5 < 1e-3 < gaps[1] < gaps[2]
