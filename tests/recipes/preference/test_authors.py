"""What the authors' code computes: `tests/peers/check_authors.py` by the policy's logits, `check_author_pieces.py`."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import groups, stats

from posttrain_jax import comparison, types
from posttrain_jax.losses import activation_mask, denoising, divergence, running
from posttrain_jax.recipes.distillation.align_distil import AlignDistil
from posttrain_jax.recipes.policy.rto import RTO
from posttrain_jax.recipes.preference.beta_dpo import BetaDPO
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.dpop import DPOP
from posttrain_jax.recipes.preference.in_context_ranking_po import InContextRankingPO
from posttrain_jax.recipes.preference.length_regularized_dpo import LengthRegularizedDPO
from posttrain_jax.recipes.preference.longpo import LongPO
from posttrain_jax.recipes.preference.orpo import ORPO
from posttrain_jax.recipes.preference.rationale_po import RationalePO
from posttrain_jax.recipes.preference.rrpo import RRPO
from posttrain_jax.recipes.preference.slic_hf import SLiCHF
from posttrain_jax.recipes.preference.smoothed_dpo import SmoothedDPO
from posttrain_jax.recipes.preference.sparse_po import SparsePO
from posttrain_jax.recipes.preference.tdpo1 import TDPO1
from posttrain_jax.recipes.preference.tdpo2 import TDPO2
from posttrain_jax.recipes.preference.tgdpo import TGDPO
from posttrain_jax.recipes.preference.trpa import TRPA
from posttrain_jax.recipes.preference.wpo import WPO

FIXTURES = Path(__file__).parents[2] / "fixtures"
FROZEN = json.loads((FIXTURES / "authors.json").read_text())
PIECES = json.loads((FIXTURES / "author_pieces.json").read_text())
LOGITS = {role: jnp.asarray(FROZEN[role], jnp.float32) for role in ("policy", "ref", "guide", "reverse")}
IDS = jnp.asarray(FROZEN["ids"])
MASK = jnp.asarray(np.arange(4) < np.array([[[3], [2]], [[4], [3]], [[2], [4]]]))
PHRASES = jnp.array([[[1, 0, 2, 0], [1, 0, 0, 0]], [[0, 1, 1, 0], [0, 0, 0, 0]], [[1, 2, 0, 0], [0, 1, 2, 2]]])
CHANCES = jnp.array([0.8, 0.55, 0.3])


def ask(logits, given, kept_ids=None, comparisons=None):
    """What a model of these logits says of the words, compared with the others'."""
    log_probs = jax.nn.log_softmax(logits)

    def differ(one):
        other = sum(jnp.broadcast_to(c, MASK.shape)[..., None] * LOGITS[role] for role, c in one.logits.items())
        return jnp.where(MASK, divergence.exact(one.divergence, log_probs, jax.nn.log_softmax(other)), 0)

    divergences = {name: differ(one) for name, one in (comparisons or {}).items()}
    logps = jnp.where(MASK, jnp.take_along_axis(log_probs, IDS[..., None], -1)[..., 0], 0)
    return dataclasses.replace(stats(logps), divergences=divergences)


def look(role):
    return lambda *given, **named: ask(LOGITS[role], *given, **named)


LOGPS = {role: ask(LOGITS[role], None).logps for role in LOGITS}
DPO_AND_REVERSE = {"dpo": "guide", "reverse_dpo": "reverse"}
LOGITS |= {name: LOGITS[role] for name, role in DPO_AND_REVERSE.items()}
FIXED = {name: look(name) for name in (*DPO_AND_REVERSE, "guide")}
LOOKUP = types.Lookup(look("policy"), look("ref"), jax.random.key(0), FIXED)
COLUMNS = {
    "differing": (PHRASES > 0).astype(jnp.float32),
    "grades": jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]]),
    "scores": jnp.stack([jnp.log(CHANCES), jnp.log(1 - CHANCES)], axis=1),
}


def credit(recipe, mask=MASK):
    if isinstance(recipe, types.InformedOffline):
        return recipe.credit(groups(mask), COLUMNS, LOOKUP, recipe.init_memory())[0]
    return recipe.credit(groups(mask), LOGPS["ref"])


def wanted(recipe, batch):
    return recipe.comparisons(batch) if isinstance(recipe, comparison.Comparing) else None


def step(recipe, make=None, masks=None):
    """Loss, and its gradient by the policy's logits, of the batch that `make` or the recipe's own credit makes."""

    @jax.jit  # one compilation, where every operation by itself would be one
    def loss(logits):
        batch = credit(recipe) if make is None else make()
        policy = dataclasses.replace(ask(logits, None, None, wanted(recipe, batch)), masks=masks or {})
        return recipe.loss(policy, batch)[0]

    return jax.value_and_grad(loss)(LOGITS["policy"])


def check(name, got, scale=1.0):
    expected = FROZEN["results"][name]
    np.testing.assert_allclose(got[0], scale * expected["loss"], rtol=2e-5)
    np.testing.assert_allclose(got[1], scale * np.asarray(expected["gradient"]), rtol=2e-4, atol=2e-6)


RECIPES = {
    "tdpo1": TDPO1(beta=0.5),
    "tdpo2": TDPO2(beta=0.5, kl_coef=0.7),
    "rrpo": RRPO(beta=0.5, kl_coef=0.05),
    "tgdpo": TGDPO(beta=0.5, guidance=0.5),
    "wpo": WPO(DPO(beta=0.5)),
    "smoothed_dpo": SmoothedDPO(beta=0.5, sharpness=10.0),
    "length_regularized_dpo": LengthRegularizedDPO(beta=0.5, length_coef=0.3),
    "dpop": DPOP(beta=0.5, penalty_coef=2.0),
    "slic_hf": SLiCHF(margin=1.5, nll_coef=0.2),
}


@pytest.mark.parametrize("name", RECIPES)
def test_loss_and_gradient(name):
    check(name, step(RECIPES[name]))


def test_sparse_po_under_given_masks():
    recipe = SparsePO(beta=0.5, reward_sparsity=0.2, kl_sparsity=0.1)
    masks = {name: jnp.asarray(FROZEN[f"{name}_masks"], jnp.float32) for name in ("reward", "kl")}
    check("sparse_po", step(recipe, masks=masks))


def test_align_distil_on_chosen_completions():
    recipe = AlignDistil(kl_coef=0.1, extrapolation=2.0)
    chosen = MASK & (jnp.arange(2) == 0)[None, :, None]
    check("align_distil", step(recipe, lambda: credit(recipe, chosen)))


def test_trpa_where_the_batch_is_one_micro_batch():
    """Levels count downwards there, rewards upwards here."""
    recipe = TRPA(beta=0.5, best=4.0, trust_coef=0.3)
    rollout = types.Rollout(groups(MASK), stats(LOGPS["guide"]), jnp.zeros((3, 2), bool))

    def make():
        batch = recipe.credit(rollout, jnp.array([[4.0, 3.0], [2.0, 2.0], [1.0, 3.0]]), LOGPS["ref"])
        return dataclasses.replace(batch, old_logps=LOGPS["guide"])

    check("trpa", step(recipe, make))


def test_rankings_are_added_up_there_and_averaged_here():
    recipe = InContextRankingPO(beta=0.5, mean_rivals=True)
    check("in_context_ranking_po", step(recipe), scale=1 / 3)


def test_rationales_within_a_log_sigmoid_have_a_share_of_the_gradient():
    """The paper's form has -gamma log pi(r) where the code has -log sigmoid(gamma log pi(r))."""
    rows = [MASK[0, 0], MASK[0, 1], MASK[1, 0]]
    batch = RationalePO(DPO(beta=0.5), nll_coef=0.1, per_token=False).credit(
        groups(jnp.stack(rows)[None]), jnp.stack([*LOGPS["ref"][0], LOGPS["ref"][1, 0]])[None]
    )

    @jax.jit
    def loss(logits):
        logps = ask(logits, None).logps
        policy = stats(jnp.stack([*logps[0], logps[1, 0]])[None])
        return RationalePO(DPO(beta=0.5), nll_coef=0.1, per_token=False).loss(policy, batch)[0]

    gradient = jax.grad(loss)(LOGITS["policy"])
    share = jax.nn.sigmoid(-0.1 * jnp.sum(LOGPS["policy"][1, 0]))
    assert 0.5 < share < 1
    expected = jnp.asarray(FROZEN["results"]["rationale_po"]["gradient"])
    np.testing.assert_allclose(gradient[0], expected[0], rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(share * gradient[1, 0], expected[1, 0], rtol=2e-4, atol=2e-6)


def test_rationales_beside_the_odds_ratio():
    given, recipe = groups(jnp.stack([MASK[0, 0], MASK[0, 1], MASK[1, 0]])[None]), ORPO(odds_coef=0.3)
    recipe = RationalePO(recipe, nll_coef=0.1)

    @jax.jit
    def loss(logits):
        logps = ask(logits, None).logps
        return recipe.loss(stats(jnp.stack([*logps[0], logps[1, 0]])[None]), recipe.credit(given))[0]

    check("rationale_orpo", jax.value_and_grad(loss)(LOGITS["policy"]))


def test_beta_dpo_after_the_averages_are_updated_first():
    """As there; here they are used as the batches before left them."""
    recipe = BetaDPO(beta=0.5, keep=1.0, scale=1.0)
    margins = jnp.sum(LOGPS["policy"] - LOGPS["ref"], axis=-1) @ jnp.array([1.0, -1.0])
    memory = running.MovingMoments(mean=jnp.mean(margins) / 10, std=jnp.float32(1))
    check("beta_dpo", step(recipe, lambda: recipe.credit(groups(MASK), {}, LOOKUP, memory)[0]))


def test_longpo_with_the_guide_as_the_reference_after_the_short_prompt():
    recipe = LongPO(beta=0.5, preference_coef=0.2)
    lookup = dataclasses.replace(LOOKUP, ref=look("guide"))
    columns = {"short_prompt": jnp.zeros((3, 1))}
    check("longpo", step(recipe, lambda: recipe.credit(groups(MASK), columns, lookup, ())[0]))


def test_denoising_errors():
    """SmPO on errors of which the log-probabilities above are minus half."""
    errors, ref = (-2 * jnp.sum(LOGPS[role], axis=-1) for role in ("policy", "ref"))
    recipe, ref_logps = SmoothedDPO(beta=0.5, sharpness=10.0), denoising.token_stats(ref).logps
    batch = types.PreferenceBatch(jnp.ones((3, 2, 1), bool), jnp.full(3, 1 / 3), ref_logps)
    batch = dataclasses.replace(batch, extra={"factors": recipe.factors(COLUMNS["scores"])})
    value, _ = recipe.loss(denoising.token_stats(errors), batch)
    np.testing.assert_allclose(value, FROZEN["results"]["smoothed_dpo"]["loss"], rtol=2e-5)


def test_own_samples_noised_again_and_their_error():
    known = {name: jnp.asarray(x, jnp.float32) for name, x in PIECES["self_npo"].items()}
    now, then = ((jnp.sqrt(1 - known[name] ** 2), known[name]) for name in ("sigma", "later_sigma"))
    again = denoising.noised_further(known["images"], known["noise"], now, then)
    np.testing.assert_allclose(again, known["again"], atol=2e-6)
    predicted, target = known["predicted"][:, None], known["target"][:, None]
    errors = denoising.pseudo_huber_error(predicted, target, width=0.3)
    np.testing.assert_allclose(jnp.mean(errors), known["loss"], rtol=1e-5)


def test_masks_of_activations():
    masks = activation_mask.rescaled(jnp.asarray(PIECES["activations"], jnp.float32), MASK)
    np.testing.assert_allclose(masks, PIECES["mapo_mask"], atol=2e-6)


def test_rewards_of_tokens():
    mask = MASK[:, :1]
    chosen = {role: stats(LOGPS[role][:, :1]) for role in ("policy", "ref", "guide")}
    rollout = types.Rollout(groups(mask), chosen["policy"], jnp.zeros((3, 1), bool))
    fixed = {"dpo": lambda *_: chosen["guide"]}
    lookup = types.Lookup(lambda *_: chosen["policy"], lambda *_: chosen["ref"], jax.random.key(0), fixed)
    rewards = jnp.asarray(PIECES["reward"], jnp.float32)[:, None]
    batch = jax.jit(lambda: RTO().credit(rollout, rewards, {}, lookup, ())[0])()
    np.testing.assert_allclose(batch.extra["token_reward"][:, 0], PIECES["token_rewards"], atol=2e-6)


def test_everything_frozen_is_compared():
    apart = {
        "longpo",
        "rationale_orpo",
        "sparse_po",
        "align_distil",
        "trpa",
        "in_context_ranking_po",
        "rationale_po",
        "beta_dpo",
    }
    assert RECIPES.keys() | apart == FROZEN["results"].keys()
