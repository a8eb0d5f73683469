"""Recipes of likelihood and preference of the battery: one line each."""

import cases

import posttrain_jax as pt
from posttrain_jax.losses import contest, generator, pairing

CASES = {
    "sft": cases.Case(pt.SFT(), cases.offline),
    "implicit_reward_sft": cases.Case(pt.ImplicitRewardSFT(), cases.offline),
    "dpo": cases.Case(pt.DPO(), cases.offline, group_size=2),
    "cdpo": cases.Case(pt.DPO(beta=0.5, label_noise=0.1), cases.offline, group_size=2),
    "robust_dpo": cases.Case(pt.RobustDPO(), cases.offline, group_size=2),
    "ipo": cases.Case(pt.IPO(), cases.offline, group_size=2),
    "ipo_per_token": cases.Case(pt.IPO(per_token=True), cases.offline, group_size=2),
    "hinge_dpo": cases.Case(pt.HingeDPO(), cases.offline, group_size=2),
    "slic_hf": cases.Case(pt.SLiCHF(), cases.offline, group_size=2),
    "simpo": cases.Case(pt.SimPO(nll_coef=0.1), cases.offline, group_size=2),
    "cpo": cases.Case(pt.CPO(), cases.offline, group_size=2),
    "orpo": cases.Case(pt.ORPO(), cases.offline, group_size=2),
    "length_regularized_dpo": cases.Case(pt.LengthRegularizedDPO(), cases.offline, group_size=2),
    "dpop": cases.Case(pt.DPOP(), cases.offline, group_size=2),
    "chi_po": cases.Case(pt.ChiPO(max_reward=1.0), cases.offline, group_size=2),
    "f_dpo": cases.Case(pt.FDPO(generator.jensen_shannon()), cases.offline, group_size=2),
    "exo": cases.Case(pt.EXO(), cases.offline, group_size=2),
    "nca": cases.Case(pt.NCA(), cases.offline, group_size=2),
    "length_normalized_dpo": cases.Case(pt.LengthNormalizedDPO(), cases.offline, group_size=2),
    "anchored_po_zero": cases.Case(pt.AnchoredPOZero(), cases.offline, group_size=2),
    "anchored_po_down": cases.Case(pt.AnchoredPODown(), cases.offline, group_size=2),
    "nll_regularized_dpo": cases.Case(pt.NLLRegularizedDPO(), cases.offline, group_size=2),
    "offset_dpo": cases.Case(pt.OffsetDPO(), cases.informed, group_size=2),
    "alpha_po": cases.Case(pt.AlphaPO(), cases.offline, group_size=2),
    "length_desensitized_dpo": cases.Case(pt.LengthDesensitizedDPO(), cases.offline, group_size=2),
    "sppo": cases.Case(pt.SPPO(beta=0.1), cases.informed, group_size=2),
    "discopop": cases.Case(pt.DiscoPOP(), cases.offline, group_size=2),
    "reference_clipped_dpo": cases.Case(pt.ReferenceClippedDPO(), cases.offline, group_size=2),
    "bco_pair": cases.Case(pt.BCOPair(), cases.offline, group_size=2),
    "plackett_luce_dpo": cases.Case(pt.PlackettLuceDPO(), cases.offline),
    "kto": cases.Case(pt.KTO(desirable_weight=1.2), cases.informed, group_size=1),
    "bco": cases.Case(pt.BCO(), cases.informed, group_size=1),
    "aot_paired": cases.Case(pt.AOTPaired(beta=0.1), cases.informed, group_size=2),
    "aot_unpaired": cases.Case(pt.AOTUnpaired(beta=0.1), cases.informed, group_size=2),
    "beta_dpo": cases.Case(pt.BetaDPO(), cases.informed, group_size=2),
    "wpo": cases.Case(pt.WPO(pt.DPO()), cases.informed, group_size=2, divergences=("collision",)),
    "online_kl_dpo": cases.Case(pt.OnlineKLDPO(kl_coef=0.1), cases.before_pairs),
    "rationale_po": cases.Case(pt.RationalePO(), cases.offline, group_size=3),
    "mapl": cases.Case(pt.MAPL(), cases.informed, group_size=8),
    "fenchel_sft": cases.Case(pt.FenchelSFT(0.5), cases.informed),
    "smoothed_dpo": cases.Case(pt.SmoothedDPO(), cases.informed, group_size=2),
    "longpo": cases.Case(pt.LongPO(), cases.informed, group_size=2),
    "tgdpo": cases.Case(pt.TGDPO(), cases.informed, group_size=2),
    "t_reg": cases.Case(pt.TREG(), cases.informed, group_size=2),
    "gepo": cases.Case(pt.GEPO(), cases.informed),
    "in_context_ranking_po": cases.Case(pt.InContextRankingPO(), cases.informed),
    "lcpo": cases.Case(pt.LCPO(pt.CPO()), cases.informed, group_size=2),
    "trpa": cases.Case(pt.TRPA(best=0.5), cases.online, flat_groups_rest=False, spans_rows=False),
    "t_reg_simpo": cases.Case(pt.TREGSimPO(), cases.informed, group_size=2),
    "tdpo1": cases.Case(pt.TDPO1(), cases.offline, group_size=2, divergences=("kl",)),
    "tdpo2": cases.Case(pt.TDPO2(), cases.offline, group_size=2, divergences=("kl",)),
    "rrpo": cases.Case(pt.RRPO(kl_coef=0.1), cases.informed, group_size=2, divergences=("kl",)),
    "sparse_po": cases.Case(
        pt.SparsePO(reward_sparsity=0.1), cases.offline, group_size=2, divergences=("kl",), masks=("reward", "kl")
    ),
    "activation_mask_po": cases.Case(pt.ActivationMaskPO(), cases.informed, group_size=2, divergences=("kl",)),
    "align_distil": cases.Case(pt.AlignDistil(), cases.informed, group_size=1, divergences=("teacher",)),
    "online_preference": cases.Case(
        pt.OnlinePreference(pt.DPO(beta=0.5), pairing.AllPairs()), cases.distilled, spans_rows=False
    ),
    "dno_prct": cases.Case(
        pt.DNOPrct(keep=pairing.GradeGap(lowest=-9.0, gap=0.2, own_gap=0.1)), cases.playing, spans_rows=False
    ),
    "dno": cases.Case(pt.DNO(), cases.informed, group_size=2),
    "gpo": cases.Case(pt.GPO(beta=0.1), cases.informed, group_size=2),
    "online_ipo1": cases.Case(pt.OnlineIPO1(preference=contest.BradleyTerry()), cases.playing, spans_rows=False),
    "online_ipo2": cases.Case(pt.OnlineIPO2(preference=contest.BradleyTerry()), cases.playing, spans_rows=False),
}
