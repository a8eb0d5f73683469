"""What every loss keeps that reads the policy beside a reference alone: shifts of both, and exchanges."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import RANDOM_LOGPS, RANDOM_MASK, RANDOM_REF, credit, groups, stats

from posttrain_jax import types
from posttrain_jax.losses import generator, power
from posttrain_jax.recipes.preference.anchored_po_down import AnchoredPODown
from posttrain_jax.recipes.preference.anchored_po_zero import AnchoredPOZero
from posttrain_jax.recipes.preference.aot_paired import AOTPaired
from posttrain_jax.recipes.preference.aot_unpaired import AOTUnpaired
from posttrain_jax.recipes.preference.bco import BCO
from posttrain_jax.recipes.preference.bco_pair import BCOPair
from posttrain_jax.recipes.preference.beta_dpo import BetaDPO
from posttrain_jax.recipes.preference.chi_po import ChiPO
from posttrain_jax.recipes.preference.discopop import DiscoPOP
from posttrain_jax.recipes.preference.dno import DNO
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.dpop import DPOP
from posttrain_jax.recipes.preference.exo import EXO
from posttrain_jax.recipes.preference.f_dpo import FDPO
from posttrain_jax.recipes.preference.gepo import GEPO
from posttrain_jax.recipes.preference.gpo import GPO
from posttrain_jax.recipes.preference.hinge_dpo import HingeDPO
from posttrain_jax.recipes.preference.ipo import IPO
from posttrain_jax.recipes.preference.kto import KTO
from posttrain_jax.recipes.preference.lcpo import LCPO
from posttrain_jax.recipes.preference.length_desensitized_dpo import LengthDesensitizedDPO
from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO
from posttrain_jax.recipes.preference.length_regularized_dpo import LengthRegularizedDPO
from posttrain_jax.recipes.preference.longpo import LongPO
from posttrain_jax.recipes.preference.mapl import MAPL
from posttrain_jax.recipes.preference.nca import NCA
from posttrain_jax.recipes.preference.offset_dpo import OffsetDPO
from posttrain_jax.recipes.preference.plackett_luce_dpo import PlackettLuceDPO
from posttrain_jax.recipes.preference.reference_clipped_dpo import ReferenceClippedDPO
from posttrain_jax.recipes.preference.robust_dpo import RobustDPO
from posttrain_jax.recipes.preference.rrpo import RRPO
from posttrain_jax.recipes.preference.smoothed_dpo import SmoothedDPO
from posttrain_jax.recipes.preference.sparse_po import SparsePO
from posttrain_jax.recipes.preference.sppo import SPPO
from posttrain_jax.recipes.preference.tdpo1 import TDPO1
from posttrain_jax.recipes.preference.tdpo2 import TDPO2
from posttrain_jax.recipes.preference.tgdpo import TGDPO
from posttrain_jax.recipes.preference.trpa import TRPA

KL = jnp.where(RANDOM_MASK, 0.1 * jnp.arange(1.0, 5.0), 0)
COLUMNS = {
    "scores": jnp.array([[2.0, 1.0], [3.0, 0.5], [1.5, 1.0]]),
    "winners": jnp.array([[1.0, 0.0]] * 3),
    "log_odds": jnp.array([[0.5, -0.2], [0.1, 0.3], [-1.0, 1.0]]),
    "differing": RANDOM_MASK.astype(jnp.float32),
    "win_rates": jnp.array([[0.9, 0.2], [0.6, 0.5], [0.7, 0.3]]),
    "short_prompt": jnp.zeros((3, 1)),
}

ODD = [
    DPO(beta=0.3),
    DPO(beta=0.3, label_noise=0.1),
    RobustDPO(beta=0.3),
    IPO(beta=0.3),
    IPO(beta=0.3, per_token=True),
    EXO(beta=0.3),
    DiscoPOP(beta=0.3),
    HingeDPO(beta=0.3),
    LengthNormalizedDPO(),
    LengthDesensitizedDPO(),
    AOTPaired(beta=0.3),
    AOTUnpaired(beta=0.3),
    AnchoredPOZero(),
    BCOPair(beta=0.3),
    PlackettLuceDPO(beta=0.3),
    OffsetDPO(beta=0.3),
    SmoothedDPO(sharpness=2.0),
    LCPO(DPO(beta=0.3)),
    LongPO(beta=0.3, preference_coef=1.0, nll_coef=0.0),
]
"""Losses of differences of log-ratios, in which only the order tells the completions apart."""
OTHERS = [
    SPPO(beta=0.3),
    AnchoredPODown(),
    NCA(beta=0.3),
    DPOP(),
    ChiPO(),
    BetaDPO(),
    GEPO(),
    GPO(),
    DNO(),
    LengthRegularizedDPO(length_coef=0.1),
    FDPO(generator.jensen_shannon()),
    FDPO(power.Alpha(0.5)),
    TDPO1(),
    TDPO2(),
    RRPO(),
]


LN_2 = [
    DPO(),
    DPO(label_noise=0.1),
    RobustDPO(),
    LengthNormalizedDPO(),
    LengthDesensitizedDPO(),
    ChiPO(),
    BetaDPO(keep=1.0),
    PlackettLuceDPO(),
    SmoothedDPO(),
    LCPO(),
    GEPO(),
    LongPO(preference_coef=1.0, nll_coef=0.0),
    TDPO1(),
    TDPO2(),
    RRPO(),
    SparsePO(),
    TGDPO(),
    *(FDPO(known) for known in (generator.ReverseKL(), generator.ForwardKL(), generator.jensen_shannon())),
    *(FDPO(known) for known in (power.Alpha(0.5), power.ChiSquaredKL())),
]
"""Recipes that cannot tell a pair apart where the policy is the reference."""
AT_REFERENCE = [
    (HingeDPO(), 1.0),
    (IPO(beta=0.1), 25.0),
    (IPO(beta=0.1, per_token=True), 25.0),
    (BCOPair(), 2 * np.log(2)),
    (NCA(), 2 * np.log(2)),
    (AnchoredPOZero(), 1.0),
    (AnchoredPODown(), 1.0),
    (SPPO(beta=0.5), (0.4**2 + 0.3**2 + 0.1**2 + 0 + 0.2**2 + 0.2**2) / 3 / 0.25),
]


def run(recipe, policy, ref, mask=RANDOM_MASK, kl=KL, columns=COLUMNS, masks=None, guide=RANDOM_REF - 0.5 * KL):
    batch = credit(recipe, groups(mask), policy, ref, columns, guide=guide)
    return differentiate(recipe, batch, policy, kl, masks)


def differentiate(recipe, batch, policy, kl=KL, masks=None):
    given = dataclasses.replace(stats(policy), divergences={"kl": kl}, masks=masks or {})
    value, gradient = stepped(recipe, given, batch)
    return value, gradient.logps


@functools.partial(jax.jit, static_argnums=0)
def stepped(recipe, policy, batch):
    """Compiled once for all that a recipe is asked."""
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)


def shift(chosen=1.7, rejected=-0.6):
    """So many nats for every completion, whatever its length."""
    counts = jnp.sum(RANDOM_MASK.astype(jnp.float32), axis=-1, keepdims=True)
    return jnp.where(RANDOM_MASK, jnp.array([[[chosen], [rejected]]]) / counts, 0)


def check_same(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recipe", ODD + OTHERS, ids=repr)
def test_a_shift_of_policy_and_reference_changes_nothing(recipe):
    got = run(recipe, RANDOM_LOGPS + shift(), RANDOM_REF + shift())
    check_same(got, run(recipe, RANDOM_LOGPS, RANDOM_REF))


def test_where_the_reference_is_clipped_the_shift_must_be_that_of_both_completions():
    expected = run(ReferenceClippedDPO(), RANDOM_LOGPS, RANDOM_REF)
    both = shift(1.7, 1.7)
    check_same(run(ReferenceClippedDPO(), RANDOM_LOGPS + both, RANDOM_REF + both), expected)
    one = shift(9.0, 0.0)
    assert abs(run(ReferenceClippedDPO(), RANDOM_LOGPS + one, RANDOM_REF + one)[0] - expected[0]) > 1e-3


@pytest.mark.parametrize("recipe", [BCO(beta=0.3), KTO(beta=0.3)], ids=repr)
def test_a_shift_changes_nothing_of_single_completions(recipe):
    policy, ref, mask, more = (x.reshape(6, 1, 4) for x in (RANDOM_LOGPS, RANDOM_REF, RANDOM_MASK, shift()))
    given = {"mask": mask, "kl": mask.astype(jnp.float32), "columns": {"desirable": jnp.array([1.0, 0, 1, 1, 0, 0])}}
    check_same(run(recipe, policy + more, ref + more, **given), run(recipe, policy, ref, **given))


def test_a_shift_changes_nothing_of_several_levels():
    policy, ref, mask, more = (
        jnp.concatenate([x] * 4, axis=1) for x in (RANDOM_LOGPS, RANDOM_REF, RANDOM_MASK, shift())
    )
    favours = jnp.array([1.0, -1.0, 1.0])
    given = {"mask": mask, "kl": mask.astype(jnp.float32), "columns": {"favours": favours}}
    check_same(run(MAPL(), policy + more, ref + more, **given), run(MAPL(), policy, ref, **given))


def test_a_shift_changes_nothing_of_guided_tokens():
    """With a guide that is shifted too."""

    def at(more):
        guide = RANDOM_REF - 0.5 * KL + more
        return run(TGDPO(), RANDOM_LOGPS + more, RANDOM_REF + more, guide=guide)

    check_same(at(shift()), at(0 * shift()))


def test_a_shift_changes_nothing_of_masked_tokens():
    def at(more):
        masks = {"reward": KL, "kl": 2 * KL}
        return run(SparsePO(), RANDOM_LOGPS + more, RANDOM_REF + more, masks=masks)

    check_same(at(shift()), at(0 * shift()))


def at_reference(recipe, **given):
    """Loss and gradient where the policy is the reference, which it has no divergence from."""
    return run(recipe, RANDOM_REF, RANDOM_REF, kl=0 * KL, **given)


@pytest.mark.parametrize("recipe", LN_2, ids=repr)
def test_at_the_reference_the_loss_is_ln_2(recipe):
    value, gradient = at_reference(recipe, masks={"reward": KL, "kl": 2 * KL})
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert gradient[0, 0, 0] < 0 < gradient[0, 1, 0]


@pytest.mark.parametrize(("recipe", "expected"), AT_REFERENCE, ids=repr)
def test_at_the_reference_the_loss_is_known(recipe, expected):
    np.testing.assert_allclose(at_reference(recipe)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(("recipe", "expected"), [(BCO(), np.log(2)), (KTO(), 0.5)], ids=repr)
def test_at_the_reference_the_loss_of_single_completions_is_known(recipe, expected):
    """BCO's two halves together are 2 ln 2, of which a completion has one."""
    ref, mask = (x.reshape(6, 1, 4) for x in (RANDOM_REF, RANDOM_MASK))
    columns = {"desirable": jnp.array([1.0, 0, 1, 0, 1, 0])}
    np.testing.assert_allclose(run(recipe, ref, ref, mask, 0 * ref, columns)[0], expected, rtol=1e-6)


def test_a_shift_changes_nothing_of_own_completions():
    def at(more):
        recipe = TRPA(trust_coef=0.0)
        policy, rewards = RANDOM_LOGPS + more, jnp.array([[1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        rollout = types.Rollout(groups(RANDOM_MASK), stats(policy), jnp.zeros((3, 2), bool))
        return differentiate(recipe, recipe.credit(rollout, rewards, RANDOM_REF + more), policy)

    check_same(at(shift()), at(0 * shift()))


@pytest.mark.parametrize("recipe", ODD, ids=repr)
def test_to_swap_the_completions_is_to_exchange_policy_and_reference(recipe):
    """Both turn the sign of the margin."""
    policy, ref, mask, kl = (x[:, ::-1] for x in (RANDOM_LOGPS, RANDOM_REF, RANDOM_MASK, KL))
    swapped, _ = run(recipe, policy, ref, mask, kl)
    exchanged, _ = run(recipe, RANDOM_REF, RANDOM_LOGPS)
    np.testing.assert_allclose(swapped, exchanged, rtol=1e-5)
    assert abs(swapped - run(recipe, RANDOM_LOGPS, RANDOM_REF)[0]) > 1e-3
