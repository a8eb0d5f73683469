"""Post-training of language models in JAX.

The names below are the public API; everything else is imported from its module, for instance
`from posttrain_jax.losses import advantage`. Names are loaded on first use, so that a reward's worker process, which
needs none of them, starts without JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posttrain_jax.recipes.distillation.align_distil import AlignDistil
    from posttrain_jax.recipes.distillation.gkd import GKD
    from posttrain_jax.recipes.distillation.kdrl import KDRL
    from posttrain_jax.recipes.distillation.live_top_k import LiveTopK
    from posttrain_jax.recipes.distillation.minillm import MiniLLM
    from posttrain_jax.recipes.distillation.on_policy import OnPolicy
    from posttrain_jax.recipes.distillation.sink_kd import SinKD
    from posttrain_jax.recipes.distillation.top_k import TopK
    from posttrain_jax.recipes.likelihood.fenchel_sft import FenchelSFT
    from posttrain_jax.recipes.likelihood.implicit_reward_sft import ImplicitRewardSFT
    from posttrain_jax.recipes.likelihood.sft import SFT
    from posttrain_jax.recipes.policy.adaptive_entropy import AdaptiveEntropy
    from posttrain_jax.recipes.policy.adaptive_kl import AdaptiveKL
    from posttrain_jax.recipes.policy.apo import APO
    from posttrain_jax.recipes.policy.ares import ARES
    from posttrain_jax.recipes.policy.asym_re import AsymRE
    from posttrain_jax.recipes.policy.bgpo import BGPO
    from posttrain_jax.recipes.policy.branch_grpo import BranchGRPO
    from posttrain_jax.recipes.policy.cispo import CISPO
    from posttrain_jax.recipes.policy.clip_cov import ClipCov
    from posttrain_jax.recipes.policy.constrained import Constrained
    from posttrain_jax.recipes.policy.dapo import DAPO
    from posttrain_jax.recipes.policy.dcpo import DCPO
    from posttrain_jax.recipes.policy.disco import DisCO
    from posttrain_jax.recipes.policy.dr_grpo import DrGRPO
    from posttrain_jax.recipes.policy.dr_irl import DRIRL
    from posttrain_jax.recipes.policy.dro import DRO
    from posttrain_jax.recipes.policy.fdpg import FDPG
    from posttrain_jax.recipes.policy.filtered import Filtered
    from posttrain_jax.recipes.policy.forking_tokens import ForkingTokens
    from posttrain_jax.recipes.policy.gcpo import GCPO
    from posttrain_jax.recipes.policy.gdpo import GDPO
    from posttrain_jax.recipes.policy.geometric_reference import GeometricReference
    from posttrain_jax.recipes.policy.gigpo import GiGPO
    from posttrain_jax.recipes.policy.gmpo import GMPO
    from posttrain_jax.recipes.policy.gpg import GPG
    from posttrain_jax.recipes.policy.grao import GRAO
    from posttrain_jax.recipes.policy.grpo import GRPO
    from posttrain_jax.recipes.policy.grpo_care import GRPOCARE
    from posttrain_jax.recipes.policy.grpo_d import GRPOD
    from posttrain_jax.recipes.policy.grpo_lead import GRPOLEAD
    from posttrain_jax.recipes.policy.gspo import GSPO
    from posttrain_jax.recipes.policy.gspo_token import GSPOToken
    from posttrain_jax.recipes.policy.gtpo import GTPO
    from posttrain_jax.recipes.policy.handover import Handover
    from posttrain_jax.recipes.policy.hrpo import HRPO
    from posttrain_jax.recipes.policy.kl_cov import KLCov
    from posttrain_jax.recipes.policy.kl_limited import KLLimited
    from posttrain_jax.recipes.policy.lite_ppo import LitePPO
    from posttrain_jax.recipes.policy.luspo import LUSPO
    from posttrain_jax.recipes.policy.maxmin import MaxMin
    from posttrain_jax.recipes.policy.mis import MIS
    from posttrain_jax.recipes.policy.nash_md import NashMD
    from posttrain_jax.recipes.policy.nash_mp import NashMP
    from posttrain_jax.recipes.policy.nthr import NTHR
    from posttrain_jax.recipes.policy.occupancy_regularized import OccupancyRegularized
    from posttrain_jax.recipes.policy.opmd import OPMD
    from posttrain_jax.recipes.policy.opo import OPO
    from posttrain_jax.recipes.policy.opsm import OPSM
    from posttrain_jax.recipes.policy.otc import OTC
    from posttrain_jax.recipes.policy.p3o import P3O
    from posttrain_jax.recipes.policy.pass_at_k import PassAtK
    from posttrain_jax.recipes.policy.pkpo import PKPO
    from posttrain_jax.recipes.policy.ppo import PPO
    from posttrain_jax.recipes.policy.rank_grpo import RankGRPO
    from posttrain_jax.recipes.policy.rec import REC
    from posttrain_jax.recipes.policy.red_drop import REDDrop
    from posttrain_jax.recipes.policy.red_weight import REDWeight
    from posttrain_jax.recipes.policy.reg_grpo import RegGRPO
    from posttrain_jax.recipes.policy.reinforce import REINFORCE
    from posttrain_jax.recipes.policy.reinforce_pp import REINFORCEPlusPlus
    from posttrain_jax.recipes.policy.reinforce_pp_baseline import REINFORCEPlusPlusBaseline
    from posttrain_jax.recipes.policy.remax import ReMax
    from posttrain_jax.recipes.policy.reweighted import Reweighted
    from posttrain_jax.recipes.policy.rloo import RLOO
    from posttrain_jax.recipes.policy.rto import RTO
    from posttrain_jax.recipes.policy.salt import SALT
    from posttrain_jax.recipes.policy.sapo import SAPO
    from posttrain_jax.recipes.policy.scale_rl import ScaleRL
    from posttrain_jax.recipes.policy.segmented import Segmented
    from posttrain_jax.recipes.policy.spo import SPO
    from posttrain_jax.recipes.policy.thr import THR
    from posttrain_jax.recipes.policy.tis import TIS
    from posttrain_jax.recipes.policy.topr import TOPR
    from posttrain_jax.recipes.policy.tw_grpo import TWGRPO
    from posttrain_jax.recipes.policy.two_sided_grpo import TwoSidedGRPO
    from posttrain_jax.recipes.policy.unlikeliness import Unlikeliness
    from posttrain_jax.recipes.policy.unrepetitive import Unrepetitive
    from posttrain_jax.recipes.policy.value_pretraining import ValuePretraining
    from posttrain_jax.recipes.policy.vapo import VAPO
    from posttrain_jax.recipes.policy.vespo import VESPO
    from posttrain_jax.recipes.policy.with_given import WithGiven
    from posttrain_jax.recipes.preference.activation_mask_po import ActivationMaskPO
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
    from posttrain_jax.recipes.preference.dno import DNO
    from posttrain_jax.recipes.preference.dno_prct import DNOPrct
    from posttrain_jax.recipes.preference.dpo import DPO
    from posttrain_jax.recipes.preference.dpop import DPOP
    from posttrain_jax.recipes.preference.exo import EXO
    from posttrain_jax.recipes.preference.f_dpo import FDPO
    from posttrain_jax.recipes.preference.gepo import GEPO
    from posttrain_jax.recipes.preference.gpo import GPO
    from posttrain_jax.recipes.preference.hinge_dpo import HingeDPO
    from posttrain_jax.recipes.preference.in_context_ranking_po import InContextRankingPO
    from posttrain_jax.recipes.preference.ipo import IPO
    from posttrain_jax.recipes.preference.kto import KTO
    from posttrain_jax.recipes.preference.lcpo import LCPO
    from posttrain_jax.recipes.preference.length_desensitized_dpo import LengthDesensitizedDPO
    from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO
    from posttrain_jax.recipes.preference.length_regularized_dpo import LengthRegularizedDPO
    from posttrain_jax.recipes.preference.longpo import LongPO
    from posttrain_jax.recipes.preference.mapl import MAPL
    from posttrain_jax.recipes.preference.nca import NCA
    from posttrain_jax.recipes.preference.nll_regularized_dpo import NLLRegularizedDPO
    from posttrain_jax.recipes.preference.offset_dpo import OffsetDPO
    from posttrain_jax.recipes.preference.online_ipo1 import OnlineIPO1
    from posttrain_jax.recipes.preference.online_ipo2 import OnlineIPO2
    from posttrain_jax.recipes.preference.online_kl_dpo import OnlineKLDPO
    from posttrain_jax.recipes.preference.online_preference import OnlinePreference
    from posttrain_jax.recipes.preference.orpo import ORPO
    from posttrain_jax.recipes.preference.plackett_luce_dpo import PlackettLuceDPO
    from posttrain_jax.recipes.preference.rationale_po import RationalePO
    from posttrain_jax.recipes.preference.reference_clipped_dpo import ReferenceClippedDPO
    from posttrain_jax.recipes.preference.robust_dpo import RobustDPO
    from posttrain_jax.recipes.preference.rrpo import RRPO
    from posttrain_jax.recipes.preference.simpo import SimPO
    from posttrain_jax.recipes.preference.slic_hf import SLiCHF
    from posttrain_jax.recipes.preference.smoothed_dpo import SmoothedDPO
    from posttrain_jax.recipes.preference.sparse_po import SparsePO
    from posttrain_jax.recipes.preference.sppo import SPPO
    from posttrain_jax.recipes.preference.t_reg import TREG
    from posttrain_jax.recipes.preference.t_reg_simpo import TREGSimPO
    from posttrain_jax.recipes.preference.tdpo1 import TDPO1
    from posttrain_jax.recipes.preference.tdpo2 import TDPO2
    from posttrain_jax.recipes.preference.tgdpo import TGDPO
    from posttrain_jax.recipes.preference.trpa import TRPA
    from posttrain_jax.recipes.preference.wpo import WPO
    from posttrain_jax.recipes.reward_model.all_pairs import AllPairs
    from posttrain_jax.recipes.reward_model.attribute_regression import AttributeRegression
    from posttrain_jax.recipes.reward_model.bradley_terry import BradleyTerry
    from posttrain_jax.recipes.reward_model.gated_bradley_terry import GatedBradleyTerry
    from posttrain_jax.recipes.reward_model.general_preference import GeneralPreference
    from posttrain_jax.recipes.reward_model.generative_preference import GenerativePreference
    from posttrain_jax.recipes.reward_model.graded_bradley_terry import GradedBradleyTerry
    from posttrain_jax.recipes.reward_model.margin_regression import MarginRegression
    from posttrain_jax.recipes.reward_model.mixture_bradley_terry import MixtureBradleyTerry
    from posttrain_jax.recipes.reward_model.pairwise_preference import PairwisePreference
    from posttrain_jax.recipes.reward_model.plackett_luce import PlackettLuce
    from posttrain_jax.recipes.reward_model.process_reward import ProcessReward
    from posttrain_jax.recipes.reward_model.soft_bradley_terry import SoftBradleyTerry
    from posttrain_jax.scoring import Scores
    from posttrain_jax.types import (
        Groups,
        LabelledBatch,
        LikelihoodBatch,
        PolicyBatch,
        PreferenceBatch,
        Rollout,
        TokenStats,
        TrainState,
    )

_MODULE_OF = {
    "ARES": "recipes.policy.ares",
    "TWGRPO": "recipes.policy.tw_grpo",
    "DRO": "recipes.policy.dro",
    "GRPOCARE": "recipes.policy.grpo_care",
    "Handover": "recipes.policy.handover",
    "GCPO": "recipes.policy.gcpo",
    "OTC": "recipes.policy.otc",
    "APO": "recipes.policy.apo",
    "GRPOD": "recipes.policy.grpo_d",
    "SPO": "recipes.policy.spo",
    "NashMD": "recipes.policy.nash_md",
    "NashMP": "recipes.policy.nash_mp",
    "P3O": "recipes.policy.p3o",
    "DNO": "recipes.preference.dno",
    "DNOPrct": "recipes.preference.dno_prct",
    "GPO": "recipes.preference.gpo",
    "OnlineIPO1": "recipes.preference.online_ipo1",
    "OnlineIPO2": "recipes.preference.online_ipo2",
    "GiGPO": "recipes.policy.gigpo",
    "SALT": "recipes.policy.salt",
    "HRPO": "recipes.policy.hrpo",
    "RankGRPO": "recipes.policy.rank_grpo",
    "Segmented": "recipes.policy.segmented",
    "AllPairs": "recipes.reward_model.all_pairs",
    "AttributeRegression": "recipes.reward_model.attribute_regression",
    "BradleyTerry": "recipes.reward_model.bradley_terry",
    "GatedBradleyTerry": "recipes.reward_model.gated_bradley_terry",
    "GeneralPreference": "recipes.reward_model.general_preference",
    "GenerativePreference": "recipes.reward_model.generative_preference",
    "GradedBradleyTerry": "recipes.reward_model.graded_bradley_terry",
    "MarginRegression": "recipes.reward_model.margin_regression",
    "MixtureBradleyTerry": "recipes.reward_model.mixture_bradley_terry",
    "PairwisePreference": "recipes.reward_model.pairwise_preference",
    "PlackettLuce": "recipes.reward_model.plackett_luce",
    "ProcessReward": "recipes.reward_model.process_reward",
    "SoftBradleyTerry": "recipes.reward_model.soft_bradley_terry",
    "TREGSimPO": "recipes.preference.t_reg_simpo",
    "RTO": "recipes.policy.rto",
    "TRPA": "recipes.preference.trpa",
    "GRAO": "recipes.policy.grao",
    "WithGiven": "recipes.policy.with_given",
    "LCPO": "recipes.preference.lcpo",
    "InContextRankingPO": "recipes.preference.in_context_ranking_po",
    "GEPO": "recipes.preference.gepo",
    "TREG": "recipes.preference.t_reg",
    "TGDPO": "recipes.preference.tgdpo",
    "LongPO": "recipes.preference.longpo",
    "SmoothedDPO": "recipes.preference.smoothed_dpo",
    "MAPL": "recipes.preference.mapl",
    "RationalePO": "recipes.preference.rationale_po",
    "OnlineKLDPO": "recipes.preference.online_kl_dpo",
    "FDPG": "recipes.policy.fdpg",
    "OccupancyRegularized": "recipes.policy.occupancy_regularized",
    "FenchelSFT": "recipes.likelihood.fenchel_sft",
    "ImplicitRewardSFT": "recipes.likelihood.implicit_reward_sft",
    "SFT": "recipes.likelihood.sft",
    "DPO": "recipes.preference.dpo",
    "WPO": "recipes.preference.wpo",
    "BetaDPO": "recipes.preference.beta_dpo",
    "AOTUnpaired": "recipes.preference.aot_unpaired",
    "AOTPaired": "recipes.preference.aot_paired",
    "BCO": "recipes.preference.bco",
    "KTO": "recipes.preference.kto",
    "PlackettLuceDPO": "recipes.preference.plackett_luce_dpo",
    "BCOPair": "recipes.preference.bco_pair",
    "ReferenceClippedDPO": "recipes.preference.reference_clipped_dpo",
    "DiscoPOP": "recipes.preference.discopop",
    "SPPO": "recipes.preference.sppo",
    "LengthDesensitizedDPO": "recipes.preference.length_desensitized_dpo",
    "AlphaPO": "recipes.preference.alpha_po",
    "OffsetDPO": "recipes.preference.offset_dpo",
    "NLLRegularizedDPO": "recipes.preference.nll_regularized_dpo",
    "AnchoredPODown": "recipes.preference.anchored_po_down",
    "AnchoredPOZero": "recipes.preference.anchored_po_zero",
    "LengthNormalizedDPO": "recipes.preference.length_normalized_dpo",
    "NCA": "recipes.preference.nca",
    "EXO": "recipes.preference.exo",
    "FDPO": "recipes.preference.f_dpo",
    "ChiPO": "recipes.preference.chi_po",
    "DPOP": "recipes.preference.dpop",
    "LengthRegularizedDPO": "recipes.preference.length_regularized_dpo",
    "OnlinePreference": "recipes.preference.online_preference",
    "TDPO1": "recipes.preference.tdpo1",
    "TDPO2": "recipes.preference.tdpo2",
    "RRPO": "recipes.preference.rrpo",
    "SparsePO": "recipes.preference.sparse_po",
    "ActivationMaskPO": "recipes.preference.activation_mask_po",
    "AlignDistil": "recipes.distillation.align_distil",
    "GKD": "recipes.distillation.gkd",
    "KDRL": "recipes.distillation.kdrl",
    "LiveTopK": "recipes.distillation.live_top_k",
    "MiniLLM": "recipes.distillation.minillm",
    "OnPolicy": "recipes.distillation.on_policy",
    "SinKD": "recipes.distillation.sink_kd",
    "TopK": "recipes.distillation.top_k",
    "GeometricReference": "recipes.policy.geometric_reference",
    "ORPO": "recipes.preference.orpo",
    "CPO": "recipes.preference.cpo",
    "SimPO": "recipes.preference.simpo",
    "SLiCHF": "recipes.preference.slic_hf",
    "HingeDPO": "recipes.preference.hinge_dpo",
    "IPO": "recipes.preference.ipo",
    "RobustDPO": "recipes.preference.robust_dpo",
    "GTPO": "recipes.policy.gtpo",
    "Unlikeliness": "recipes.policy.unlikeliness",
    "Unrepetitive": "recipes.policy.unrepetitive",
    "Filtered": "recipes.policy.filtered",
    "GDPO": "recipes.policy.gdpo",
    "DRIRL": "recipes.policy.dr_irl",
    "MaxMin": "recipes.policy.maxmin",
    "KLLimited": "recipes.policy.kl_limited",
    "Constrained": "recipes.policy.constrained",
    "BGPO": "recipes.policy.bgpo",
    "THR": "recipes.policy.thr",
    "NTHR": "recipes.policy.nthr",
    "BranchGRPO": "recipes.policy.branch_grpo",
    "ReMax": "recipes.policy.remax",
    "ClipCov": "recipes.policy.clip_cov",
    "KLCov": "recipes.policy.kl_cov",
    "REDDrop": "recipes.policy.red_drop",
    "PPO": "recipes.policy.ppo",
    "VAPO": "recipes.policy.vapo",
    "ValuePretraining": "recipes.policy.value_pretraining",
    "RegGRPO": "recipes.policy.reg_grpo",
    "DCPO": "recipes.policy.dcpo",
    "GRPO": "recipes.policy.grpo",
    "DrGRPO": "recipes.policy.dr_grpo",
    "DAPO": "recipes.policy.dapo",
    "RLOO": "recipes.policy.rloo",
    "Reweighted": "recipes.policy.reweighted",
    "PKPO": "recipes.policy.pkpo",
    "GRPOLEAD": "recipes.policy.grpo_lead",
    "VESPO": "recipes.policy.vespo",
    "DisCO": "recipes.policy.disco",
    "OPSM": "recipes.policy.opsm",
    "MIS": "recipes.policy.mis",
    "TIS": "recipes.policy.tis",
    "PassAtK": "recipes.policy.pass_at_k",
    "REDWeight": "recipes.policy.red_weight",
    "OPMD": "recipes.policy.opmd",
    "AdaptiveEntropy": "recipes.policy.adaptive_entropy",
    "AdaptiveKL": "recipes.policy.adaptive_kl",
    "AsymRE": "recipes.policy.asym_re",
    "REC": "recipes.policy.rec",
    "TOPR": "recipes.policy.topr",
    "ScaleRL": "recipes.policy.scale_rl",
    "ForkingTokens": "recipes.policy.forking_tokens",
    "TwoSidedGRPO": "recipes.policy.two_sided_grpo",
    "LitePPO": "recipes.policy.lite_ppo",
    "OPO": "recipes.policy.opo",
    "GPG": "recipes.policy.gpg",
    "SAPO": "recipes.policy.sapo",
    "GMPO": "recipes.policy.gmpo",
    "CISPO": "recipes.policy.cispo",
    "LUSPO": "recipes.policy.luspo",
    "GSPOToken": "recipes.policy.gspo_token",
    "GSPO": "recipes.policy.gspo",
    "REINFORCEPlusPlusBaseline": "recipes.policy.reinforce_pp_baseline",
    "REINFORCEPlusPlus": "recipes.policy.reinforce_pp",
    "REINFORCE": "recipes.policy.reinforce",
    "Groups": "types",
    "LabelledBatch": "types",
    "LikelihoodBatch": "types",
    "PolicyBatch": "types",
    "PreferenceBatch": "types",
    "Rollout": "types",
    "Scores": "scoring",
    "TokenStats": "types",
    "TrainState": "types",
}

# packed, as a line a name would make this file too long
# fmt: off
__all__ = [
    "APO", "ARES", "BCO", "BGPO", "CISPO", "CPO", "DAPO", "DCPO", "DNO", "DPO", "DPOP", "DRIRL", "DRO", "EXO",
    "FDPG", "FDPO", "GCPO", "GDPO", "GEPO", "GKD", "GMPO", "GPG", "GPO", "GRAO", "GRPO", "GRPOCARE", "GRPOD",
    "GRPOLEAD", "GSPO", "GTPO", "HRPO", "IPO", "KDRL", "KTO", "LCPO", "LUSPO", "MAPL", "MIS", "NCA", "NTHR",
    "OPMD", "OPO", "OPSM", "ORPO", "OTC", "P3O", "PKPO", "PPO", "REC", "REINFORCE", "RLOO", "RRPO", "RTO",
    "SALT", "SAPO", "SFT", "SPO", "SPPO", "TDPO1", "TDPO2", "TGDPO", "THR", "TIS", "TOPR", "TREG", "TRPA",
    "TWGRPO", "VAPO", "VESPO", "WPO", "AOTPaired", "AOTUnpaired", "ActivationMaskPO", "AdaptiveEntropy",
    "AdaptiveKL", "AlignDistil", "AllPairs", "AlphaPO", "AnchoredPODown", "AnchoredPOZero", "AsymRE",
    "AttributeRegression", "BCOPair", "BetaDPO", "BradleyTerry", "BranchGRPO", "ChiPO", "ClipCov",
    "Constrained", "DNOPrct", "DisCO", "DiscoPOP", "DrGRPO", "FenchelSFT", "Filtered", "ForkingTokens",
    "GSPOToken", "GatedBradleyTerry", "GeneralPreference", "GenerativePreference", "GeometricReference",
    "GiGPO", "GradedBradleyTerry", "Groups", "Handover", "HingeDPO", "ImplicitRewardSFT", "InContextRankingPO",
    "KLCov", "KLLimited", "LabelledBatch", "LengthDesensitizedDPO", "LengthNormalizedDPO",
    "LengthRegularizedDPO", "LikelihoodBatch", "LitePPO", "LiveTopK", "LongPO", "MarginRegression", "MaxMin",
    "MiniLLM", "MixtureBradleyTerry", "NLLRegularizedDPO", "NashMD", "NashMP", "OccupancyRegularized",
    "OffsetDPO", "OnPolicy", "OnlineIPO1", "OnlineIPO2", "OnlineKLDPO", "OnlinePreference",
    "PairwisePreference", "PassAtK", "PlackettLuce", "PlackettLuceDPO", "PolicyBatch", "PreferenceBatch",
    "ProcessReward", "REDDrop", "REDWeight", "REINFORCEPlusPlus", "REINFORCEPlusPlusBaseline", "RankGRPO",
    "RationalePO", "ReMax", "ReferenceClippedDPO", "RegGRPO", "Reweighted", "RobustDPO", "Rollout", "SLiCHF", "ScaleRL",
    "Scores", "Segmented", "SimPO", "SinKD", "SmoothedDPO", "SoftBradleyTerry", "SparsePO", "TREGSimPO",
    "TokenStats", "TopK", "TrainState", "TwoSidedGRPO", "Unlikeliness", "Unrepetitive", "ValuePretraining",
    "WithGiven",
]
# fmt: on


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"posttrain_jax has no public name {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"posttrain_jax.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
