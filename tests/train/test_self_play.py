"""Recipes that compare the policy's own completions, in the online loop: what a judge prefers becomes likelier."""

import jax
import numpy as np
import playing
import pytest
import resuming
import sparing

from posttrain_jax.losses import contest, pairing, pairwise
from posttrain_jax.recipes.policy import p3o, rloo, spo
from posttrain_jax.recipes.preference import dno, gpo, online_ipo2, online_preference, sppo, tdpo1
from posttrain_jax.train import metrics, online, reference, run

ITERATES = {"moving": reference.Moving(1.0, every=3)}
OWN = online_preference.OnlinePreference
RECIPES = {
    "spo": (spo.SPO(), {}),
    "spo_near_a_moving_reference": (spo.SPO(rloo.RLOO(kl_coef=0.1)), ITERATES),
    "online_ipo2": (online_ipo2.OnlineIPO2(), {}),
    "ppg": (spo.SPO(p3o.P3O(pairwise.unclipped, kl_coef=0.01)), {}),
    "p3o_v1": (p3o.P3O(pairwise.Separate(), kl_coef=0.01), {"updates_per_rollout": 2}),
    "p3o_v2": (p3o.P3O(pairwise.Joint(clip_is=0.2), kl_coef=0.01), {"updates_per_rollout": 2}),
    "tdpo1": (OWN(tdpo1.TDPO1(0.5), pairing.AllPairs()), {}),
    "sppo": (OWN(sppo.SPPO(1.0), pairing.AllPairs(), contest.judged), ITERATES),
    "dno": (OWN(dno.DNO(0.5), pairing.AllPairs(), contest.judged), ITERATES),
    "gpo": (OWN(gpo.GPO(1.0, tau=0.2), pairing.ranked, contest.judged), ITERATES),
}


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=playing.WORDS.vocab_size + playing.WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


# its opponent moves and its pairs are all of a group; the others differ in the loss, which the battery holds
@pytest.mark.parametrize("name", sparing.names(RECIPES, "sppo"))
def test_what_the_judge_prefers_becomes_likelier(tmp_path, model, start, name):
    recipe, changes = RECIPES[name]

    def go():
        parts = playing.parts(model, recipe, playing.against(playing.more_a), **changes)
        return online.run_online(parts, run.Plan(tmp_path, steps=15, save_every=5), start)

    whole = go()
    written = [line["reward/a"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(written[-3:]) > np.mean(written[:3]) + 0.3
    if "moving" in changes:  # what a moved reference is made of must be saved
        assert resuming.forget(tmp_path) == 5
        again = go()
        jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
        jax.tree.map(np.testing.assert_array_equal, again.opt_state, whole.opt_state)
