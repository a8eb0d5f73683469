"""Policy-gradient recipes of the battery: one line each."""

import cases

import posttrain_jax as pt
from posttrain_jax.losses import (
    constraint,
    contest,
    controller,
    difficulty,
    limit,
    maxmin,
    multiplier,
    pairwise,
    ratio,
    schedule,
    score,
    shaping,
    target,
    trust,
)

CASES = {
    "grpo": cases.Case(pt.GRPO(), cases.online),
    "grpo_without_ref": cases.Case(pt.GRPO(kl_coef=0.0, ddof=0), cases.online),
    "dr_grpo": cases.Case(pt.DrGRPO(max_length=6), cases.online),
    "dapo": cases.Case(pt.DAPO(), cases.online),
    "dapo_overlong": cases.Case(
        pt.DAPO(overlong=shaping.SoftOverlong(max_length=6, buffer=4), drop_truncated=False),
        cases.online,
        flat_groups_rest=False,
    ),
    "gtpo": cases.Case(pt.GTPO(limit=2.0), cases.once, flat_groups_rest=False),
    "grpo_d": cases.Case(pt.GRPOD(schedule.Valley(0.1, 0.2, 1, 2)), cases.looking),
    "apo": cases.Case(pt.APO(above=0.0), cases.looking),
    "otc": cases.Case(pt.OTC(prompts=32, limit=4.0, calls="count"), cases.looking),
    "gcpo": cases.Case(pt.GCPO("second", "first", recipe=pt.GRPO(kl_coef=0.0)), cases.looking),
    "handover": cases.Case(pt.Handover("first", "second", schedule.Linear(0.7, 0.1, 3)), cases.looking),
    "reweighted": cases.Case(
        pt.Reweighted((("first", 1.0), ("second", schedule.Linear(0.5, 0.1, 3))), pt.GRPO(kl_coef=0.0)), cases.looking
    ),
    "grpo_care": cases.Case(pt.GRPOCARE("count", (1,), (2,)), cases.looking, flat_groups_rest=False),
    "dro": cases.Case(
        pt.DRO((1, 2), (3,), length_coef=0.1, recipe=pt.GRPO(kl_coef=0.0)), cases.answering, flat_groups_rest=False
    ),
    "ares": cases.Case(pt.ARES(width=1, above=0.0), cases.looking, flat_groups_rest=False),
    "tw_grpo": cases.Case(pt.TWGRPO(), cases.focused, spans_rows=False),
    "unlikeliness": cases.Case(pt.Unlikeliness(), cases.online),
    "unrepetitive": cases.Case(pt.Unrepetitive(size=1), cases.online, flat_groups_rest=False),
    "filtered": cases.Case(pt.Filtered(keep=difficulty.Band(above=0.0)), cases.online),
    "gdpo": cases.Case(pt.GDPO((("first", 1.0), ("second", 0.5))), cases.looking),
    "bgpo": cases.Case(pt.BGPO(), cases.online),
    "thr": cases.Case(pt.THR(scale=0.1, above=0.0), cases.looking),
    "nthr": cases.Case(pt.NTHR(above=0.0), cases.looking),
    "branch_grpo": cases.Case(pt.BranchGRPO(splits=(0, 1)), cases.branched),
    "remax": cases.Case(pt.ReMax(), cases.beside_greedy),
    "clip_cov": cases.Case(pt.ClipCov(share=0.1, low=0.0), cases.looking),
    "kl_cov": cases.Case(pt.KLCov(share=0.1), cases.looking),
    "red_drop": cases.Case(pt.REDDrop(), cases.looking),
    "ppo": cases.Case(pt.PPO(entropy_coef=0.01), cases.looking, valued=True, flat_groups_rest=False),
    "vapo": cases.Case(pt.VAPO(above=0.0), cases.looking, valued=True, flat_groups_rest=False),
    "value_pretraining": cases.Case(pt.ValuePretraining(), cases.online, valued=True, flat_groups_rest=False),
    "reg_grpo": cases.Case(pt.RegGRPO(), cases.looking),
    "dcpo": cases.Case(pt.DCPO(prompts=32), cases.looking),
    "rloo": cases.Case(pt.RLOO(), cases.once),
    "rloo_without_ref": cases.Case(pt.RLOO(kl_coef=0.0), cases.once),
    "pkpo": cases.Case(pt.PKPO(k=3), cases.once),
    "grpo_lead": cases.Case(pt.GRPOLEAD(), cases.online),
    "vespo": cases.Case(pt.VESPO(), cases.online),
    "disco": cases.Case(pt.DisCO(above=0.0), cases.looking),
    "disco_ratio": cases.Case(
        pt.DisCO(score.likelihood_ratio, tau=1.0, drift=constraint.drift_k3, above=0.0), cases.looking
    ),
    "opsm": cases.Case(pt.OPSM(pt.TIS(pt.GRPO(kl_coef=0.0)), limit=0.0), cases.mismatched),
    "mis": cases.Case(pt.MIS(pt.GRPO(kl_coef=0.0), pool=ratio.sequence_sum), cases.mismatched),
    "tis": cases.Case(pt.TIS(pt.GRPO(kl_coef=0.0)), cases.mismatched),
    "pass_at_k": cases.Case(pt.PassAtK(), cases.once),
    "red_weight": cases.Case(pt.REDWeight(), cases.online),
    "opmd": cases.Case(pt.OPMD(), cases.online),
    "geometric_reference": cases.Case(
        pt.GeometricReference(pt.GRPO(kl_coef=0.1), "dpo", 0.5), cases.looking, flat_groups_rest=False
    ),
    "adaptive_kl": cases.Case(
        pt.AdaptiveKL(pt.GRPO(kl_coef=0.0), 0.1, controller.Proportional(target=1.0)), cases.looking
    ),
    "adaptive_entropy": cases.Case(
        pt.AdaptiveEntropy(pt.GRPO(kl_coef=0.0), target=100.0, start=0.1), cases.looking, flat_groups_rest=False
    ),
    "asym_re": cases.Case(pt.AsymRE(), cases.online, flat_groups_rest=False),
    "rec_ring": cases.Case(pt.REC(trust.Ring()), cases.online),
    "rec": cases.Case(pt.REC(power=1.0), cases.online),
    "topr": cases.Case(pt.TOPR(), cases.online, flat_groups_rest=False),
    "scale_rl": cases.Case(pt.ScaleRL(), cases.online),
    "forking_tokens": cases.Case(pt.ForkingTokens(), cases.online),
    "two_sided_grpo": cases.Case(pt.TwoSidedGRPO(), cases.online),
    "lite_ppo": cases.Case(pt.LitePPO(), cases.online),
    "opo": cases.Case(pt.OPO(), cases.once),
    "gpg": cases.Case(pt.GPG(), cases.once),
    "sapo": cases.Case(pt.SAPO(), cases.online),
    "gmpo": cases.Case(pt.GMPO(), cases.online),
    "cispo": cases.Case(pt.CISPO(), cases.online),
    "luspo": cases.Case(pt.LUSPO(), cases.online),
    "gspo_token": cases.Case(pt.GSPOToken(), cases.online),
    "gspo": cases.Case(pt.GSPO(), cases.online),
    "reinforce_pp_baseline": cases.Case(pt.REINFORCEPlusPlusBaseline(), cases.online),
    "reinforce_pp": cases.Case(pt.REINFORCEPlusPlus(), cases.online),
    "reinforce": cases.Case(pt.REINFORCE(baseline=0.2), cases.once, flat_groups_rest=False),
    "constrained": cases.Case(
        pt.Constrained((limit.AtMost("second", 0.0),), multiplier.Augmented(0.5)), cases.looking, flat_groups_rest=True
    ),
    "kl_limited": cases.Case(pt.KLLimited(1e-3, multiplier.Hinge(5.0)), cases.looking),
    "maxmin": cases.Case(pt.MaxMin(("first", "second"), maxmin.Weighted(1.0)), cases.looking),
    "dr_irl": cases.Case(pt.DRIRL(width=1.0, similarity="second", gap="first", category="third"), cases.looking),
    "gigpo": cases.Case(pt.GiGPO(), cases.segmented, flat_groups_rest=False),
    "salt": cases.Case(pt.SALT(), cases.segmented),
    "hrpo": cases.Case(pt.HRPO(), cases.segmented, flat_groups_rest=False),
    "rank_grpo": cases.Case(pt.RankGRPO(), cases.segmented, flat_groups_rest=False),
    "segmented": cases.Case(
        pt.Segmented(pt.SALT(), ends=(1, 2, 3), count=3, rewards=("first", "second", "first")), cases.looking
    ),
    "fdpg": cases.Case(pt.FDPG(target.Tilted(0.5)), cases.once),
    "occupancy_regularized": cases.Case(pt.OccupancyRegularized(0.1), cases.once),
    "with_given": cases.Case(pt.WithGiven(pt.GRPO()), cases.looking),
    "grao": cases.Case(pt.GRAO(), cases.demonstrated),
    "rto": cases.Case(pt.RTO(), cases.looking, valued=True, flat_groups_rest=False),
    "spo": cases.Case(pt.SPO(preference=contest.hard), cases.playing, spans_rows=False),
    "nash_md": cases.Case(pt.NashMD(preference=contest.BradleyTerry()), cases.playing, spans_rows=False),
    "nash_mp": cases.Case(pt.NashMP(preference=contest.BradleyTerry()), cases.playing, spans_rows=False),
    "p3o": cases.Case(pt.P3O(), cases.online, spans_rows=False),
    "p3o_separate": cases.Case(pt.P3O(pairwise.Separate(), kl_coef=0.0), cases.online, spans_rows=False),
}
