"""The table of recipes that the battery runs over, and random batches for them. A new recipe is one line in `CASES`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.losses import divergence_score, ratio, running, shaping, trust
from posttrain_jax.recipes.likelihood.sft import SFT
from posttrain_jax.recipes.policy.asym_re import AsymRE
from posttrain_jax.recipes.policy.cispo import CISPO
from posttrain_jax.recipes.policy.dapo import DAPO
from posttrain_jax.recipes.policy.disco import DisCO
from posttrain_jax.recipes.policy.dr_grpo import DrGRPO
from posttrain_jax.recipes.policy.forking_tokens import ForkingTokens
from posttrain_jax.recipes.policy.gmpo import GMPO
from posttrain_jax.recipes.policy.gpg import GPG
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.grpo_lead import GRPOLEAD
from posttrain_jax.recipes.policy.gspo import GSPO
from posttrain_jax.recipes.policy.gspo_token import GSPOToken
from posttrain_jax.recipes.policy.lite_ppo import LitePPO
from posttrain_jax.recipes.policy.luspo import LUSPO
from posttrain_jax.recipes.policy.mis import MIS
from posttrain_jax.recipes.policy.opmd import OPMD
from posttrain_jax.recipes.policy.opo import OPO
from posttrain_jax.recipes.policy.opsm import OPSM
from posttrain_jax.recipes.policy.pass_at_k import PassAtK
from posttrain_jax.recipes.policy.pkpo import PKPO
from posttrain_jax.recipes.policy.rec import REC
from posttrain_jax.recipes.policy.red_weight import REDWeight
from posttrain_jax.recipes.policy.reinforce import REINFORCE
from posttrain_jax.recipes.policy.reinforce_pp import REINFORCEPlusPlus
from posttrain_jax.recipes.policy.reinforce_pp_baseline import REINFORCEPlusPlusBaseline
from posttrain_jax.recipes.policy.rloo import RLOO
from posttrain_jax.recipes.policy.sapo import SAPO
from posttrain_jax.recipes.policy.scale_rl import ScaleRL
from posttrain_jax.recipes.policy.tis import TIS
from posttrain_jax.recipes.policy.topr import TOPR
from posttrain_jax.recipes.policy.two_sided_grpo import TwoSidedGRPO
from posttrain_jax.recipes.policy.vespo import VESPO
from posttrain_jax.recipes.preference.alpha_po import AlphaPO
from posttrain_jax.recipes.preference.anchored_po_down import AnchoredPODown
from posttrain_jax.recipes.preference.anchored_po_zero import AnchoredPOZero
from posttrain_jax.recipes.preference.aot_paired import AOTPaired
from posttrain_jax.recipes.preference.aot_unpaired import AOTUnpaired
from posttrain_jax.recipes.preference.bco import BCO
from posttrain_jax.recipes.preference.bco_pair import BCOPair
from posttrain_jax.recipes.preference.beta_dpo import BetaDPO
from posttrain_jax.recipes.preference.chi_po import ChiPO
from posttrain_jax.recipes.preference.cpo import CPO
from posttrain_jax.recipes.preference.discopop import DiscoPOP
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.dpop import DPOP
from posttrain_jax.recipes.preference.exo import EXO
from posttrain_jax.recipes.preference.f_dpo import FDPO
from posttrain_jax.recipes.preference.hinge_dpo import HingeDPO
from posttrain_jax.recipes.preference.ipo import IPO
from posttrain_jax.recipes.preference.kto import KTO
from posttrain_jax.recipes.preference.length_desensitized_dpo import LengthDesensitizedDPO
from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO
from posttrain_jax.recipes.preference.length_regularized_dpo import LengthRegularizedDPO
from posttrain_jax.recipes.preference.nca import NCA
from posttrain_jax.recipes.preference.nll_regularized_dpo import NLLRegularizedDPO
from posttrain_jax.recipes.preference.offset_dpo import OffsetDPO
from posttrain_jax.recipes.preference.orpo import ORPO
from posttrain_jax.recipes.preference.plackett_luce_dpo import PlackettLuceDPO
from posttrain_jax.recipes.preference.reference_clipped_dpo import ReferenceClippedDPO
from posttrain_jax.recipes.preference.robust_dpo import RobustDPO
from posttrain_jax.recipes.preference.simpo import SimPO
from posttrain_jax.recipes.preference.slic_hf import SLiCHF
from posttrain_jax.recipes.preference.sppo import SPPO
from posttrain_jax.recipes.preference.wpo import WPO


@types.struct
class Data:
    """Everything that a step of any recipe could be given, plus the policy's own statistics."""

    groups: types.Groups
    policy: types.TokenStats
    old: types.TokenStats
    ref: types.TokenStats | None
    rewards: jax.Array
    truncated: jax.Array


@dataclasses.dataclass(frozen=True)
class Case:
    """A recipe and how it takes its data."""

    recipe: Any
    credit: Callable[[Any, Data], Any]
    """`online`, `once`, or one of `OFFLINE`."""
    group_size: int = 4
    """Completions of a row."""
    flat_groups_rest: bool = True
    """Groups of equal rewards have no gradient (where policy, old and reference are one)."""

    def batch(self, data):
        """What `credit` gives for the data."""
        return self.credit(self.recipe, data)


def ref_logps(recipe, data):
    """What the loop would hand to `credit`."""
    return data.ref.logps if recipe.needs_ref and data.ref is not None else None


def once(recipe, data):
    """Credit from rewards, for recipes that take one update per rollout."""
    rollout = types.Rollout(groups=data.groups, sampler=data.old, truncated=data.truncated)
    return recipe.credit(rollout, data.rewards, ref_logps(recipe, data))


def online(recipe, data):
    """Credit from rewards, and the log-probabilities at the start of the update."""
    return dataclasses.replace(once(recipe, data), old_logps=data.old.logps)


def mismatched(recipe, data):
    """As `online`, of a sampler that is not the old policy."""
    rollout = types.Rollout(groups=data.groups, sampler=data.ref, truncated=data.truncated)
    return dataclasses.replace(recipe.credit(rollout, data.rewards), old_logps=data.old.logps)


def offline(recipe, data):
    """Credit from given completions."""
    return recipe.credit(data.groups, ref_logps(recipe, data))


def scored(recipe, data):
    """Credit from given completions and their scores."""
    return recipe.credit(data.groups, ref_logps(recipe, data), scores=data.rewards)


def labelled(recipe, data):
    """Credit from single completions, their labels and a baseline."""
    desirable = data.rewards[:, 0] > 0
    return recipe.credit(data.groups, ref_logps(recipe, data), desirable=desirable, baseline=jnp.float32(0.3))


def foreseen(recipe, data):
    """Credit from given completions and the policy before the update."""
    return recipe.credit(data.groups, ref_logps(recipe, data), policy_logps=data.policy.logps)


def thinned(recipe, data):
    """As `foreseen`, and a random part of the pairs."""
    moments, key = running.MovingMoments(mean=jnp.float32(0), std=jnp.float32(0.1)), jax.random.key(0)
    given = {"policy_logps": data.policy.logps, "moments": moments, "key": key}
    return recipe.credit(data.groups, ref_logps(recipe, data), **given)


def weighted(recipe, data):
    """Credit from given completions and what the policy says of them before the update."""
    given = {"policy_logps": data.policy.logps, "log_collisions": -data.policy.entropy}
    return recipe.credit(data.groups, ref_logps(recipe, data), **given)


OFFLINE = (offline, scored, labelled, foreseen, thinned, weighted)
"""The ways of crediting without a rollout."""


CASES = {
    "sft": Case(SFT(), offline),
    "dpo": Case(DPO(), offline, group_size=2),
    "cdpo": Case(DPO(beta=0.5, label_noise=0.1), offline, group_size=2),
    "robust_dpo": Case(RobustDPO(), offline, group_size=2),
    "ipo": Case(IPO(), offline, group_size=2),
    "ipo_per_token": Case(IPO(per_token=True), offline, group_size=2),
    "hinge_dpo": Case(HingeDPO(), offline, group_size=2),
    "slic_hf": Case(SLiCHF(), offline, group_size=2),
    "simpo": Case(SimPO(nll_coef=0.1), offline, group_size=2),
    "cpo": Case(CPO(), offline, group_size=2),
    "orpo": Case(ORPO(), offline, group_size=2),
    "length_regularized_dpo": Case(LengthRegularizedDPO(), offline, group_size=2),
    "dpop": Case(DPOP(), offline, group_size=2),
    "chi_po": Case(ChiPO(max_reward=1.0), offline, group_size=2),
    "f_dpo": Case(FDPO(divergence_score.JensenShannon()), offline, group_size=2),
    "exo": Case(EXO(), offline, group_size=2),
    "nca": Case(NCA(), offline, group_size=2),
    "length_normalized_dpo": Case(LengthNormalizedDPO(), offline, group_size=2),
    "anchored_po_zero": Case(AnchoredPOZero(), offline, group_size=2),
    "anchored_po_down": Case(AnchoredPODown(), offline, group_size=2),
    "nll_regularized_dpo": Case(NLLRegularizedDPO(), offline, group_size=2),
    "offset_dpo": Case(OffsetDPO(), scored, group_size=2),
    "alpha_po": Case(AlphaPO(), offline, group_size=2),
    "length_desensitized_dpo": Case(LengthDesensitizedDPO(), offline, group_size=2),
    "sppo": Case(SPPO(beta=0.1), offline, group_size=2),
    "discopop": Case(DiscoPOP(), offline, group_size=2),
    "reference_clipped_dpo": Case(ReferenceClippedDPO(), offline, group_size=2),
    "bco_pair": Case(BCOPair(), offline, group_size=2),
    "plackett_luce_dpo": Case(PlackettLuceDPO(), offline),
    "kto": Case(KTO(desirable_weight=1.2), labelled, group_size=1),
    "bco": Case(BCO(), labelled, group_size=1),
    "aot_paired": Case(AOTPaired(beta=0.1), foreseen, group_size=2),
    "aot_unpaired": Case(AOTUnpaired(beta=0.1), foreseen, group_size=2),
    "beta_dpo": Case(BetaDPO(), thinned, group_size=2),
    "wpo": Case(WPO(DPO()), weighted, group_size=2),
    "grpo": Case(GRPO(), online),
    "grpo_without_ref": Case(GRPO(kl_coef=0.0, ddof=0), online),
    "dr_grpo": Case(DrGRPO(max_length=6), online),
    "dapo": Case(DAPO(), online),
    "dapo_overlong": Case(
        DAPO(overlong=shaping.SoftOverlong(max_length=6, buffer=4), drop_truncated=False),
        online,
        flat_groups_rest=False,
    ),
    "rloo": Case(RLOO(), once),
    "rloo_without_ref": Case(RLOO(kl_coef=0.0), once),
    "pkpo": Case(PKPO(k=3), once),
    "grpo_lead": Case(GRPOLEAD(), online),
    "vespo": Case(VESPO(), online),
    "disco": Case(DisCO(), once),
    "opsm": Case(OPSM(TIS(GRPO(kl_coef=0.0)), limit=0.0), mismatched),
    "mis": Case(MIS(GRPO(kl_coef=0.0), pool=ratio.sequence_sum), mismatched),
    "tis": Case(TIS(GRPO(kl_coef=0.0)), mismatched),
    "pass_at_k": Case(PassAtK(), once),
    "red_weight": Case(REDWeight(), online),
    "opmd": Case(OPMD(), online),
    "asym_re": Case(AsymRE(), online, flat_groups_rest=False),
    "rec_ring": Case(REC(trust.Ring()), online),
    "rec": Case(REC(power=1.0), online),
    "topr": Case(TOPR(), online, flat_groups_rest=False),
    "scale_rl": Case(ScaleRL(), online),
    "forking_tokens": Case(ForkingTokens(), online),
    "two_sided_grpo": Case(TwoSidedGRPO(), online),
    "lite_ppo": Case(LitePPO(), online),
    "opo": Case(OPO(), once),
    "gpg": Case(GPG(), once),
    "sapo": Case(SAPO(), online),
    "gmpo": Case(GMPO(), online),
    "cispo": Case(CISPO(), online),
    "luspo": Case(LUSPO(), online),
    "gspo_token": Case(GSPOToken(), online),
    "gspo": Case(GSPO(), online),
    "reinforce_pp_baseline": Case(REINFORCEPlusPlusBaseline(), online),
    "reinforce_pp": Case(REINFORCEPlusPlus(), online),
    "reinforce": Case(REINFORCE(baseline=0.2), once, flat_groups_rest=False),
}


def random(case, *, rows=8, length=5, seed=0, spread=0.3):
    """Random data in which every kind of row occurs: full, short, failed (NaN reward), truncated, of a shared group."""
    shape = (rows, case.group_size, length)
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, shape[:2])
    lengths[0, 0] = length
    mask = np.arange(length) < lengths[..., None]
    base = generator.uniform(-3.0, -0.1, shape)
    rewards = generator.normal(size=shape[:2])
    rewards[-1, 0] = np.nan

    def stats():
        logps = base + spread * generator.normal(size=shape)
        return types.TokenStats(logps=floats(mask * logps), entropy=floats(mask * -base))

    groups = types.Groups(
        prompts=jnp.zeros((rows, 2), int),
        prompt_lengths=jnp.full(rows, 2),
        completions=jnp.asarray(generator.integers(0, 9, shape)),
        completion_lengths=jnp.asarray(lengths),
        completion_mask=jnp.asarray(mask),
        group_ids=jnp.asarray(np.arange(rows) // 2 * 5 + 3),
    )
    return Data(groups, stats(), stats(), stats(), floats(rewards), jnp.asarray(lengths == length))


def floats(x):
    """As float32."""
    return jnp.asarray(np.asarray(x, np.float32))


def change(function, *trees):
    """`jax.tree.map` of a numpy function: nothing is compiled."""
    return jax.tree.map(lambda *xs: jnp.asarray(function(*map(np.asarray, xs))), *trees)
