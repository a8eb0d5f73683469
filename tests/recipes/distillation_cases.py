"""Distillation recipes of the battery: one line each."""

import cases

import posttrain_jax as pt
from posttrain_jax.losses import generator
from posttrain_jax.recipes.distillation import akl, distillm

TEACHER = ("teacher",)

CASES = {
    "gkd": cases.Case(pt.GKD(), cases.offline, divergences=TEACHER),
    "distillm": cases.Case(distillm.skl(), cases.offline, divergences=TEACHER),
    "akl": cases.Case(akl.akl(), cases.offline, divergences=TEACHER),
    "on_policy": cases.Case(
        pt.OnPolicy(pt.GKD(generator.ReverseKL())), cases.distilled, divergences=TEACHER, flat_groups_rest=False
    ),
    "live_top_k": cases.Case(pt.OnPolicy(pt.LiveTopK(2)), cases.distilled, divergences=TEACHER, flat_groups_rest=False),
    "top_k": cases.Case(pt.TopK(), cases.informed, divergences=TEACHER),
    "sink_kd": cases.Case(pt.SinKD(), cases.informed, divergences=("teacher", "sinkhorn")),
    "kdrl": cases.Case(pt.KDRL(), cases.looking),
    "minillm": cases.Case(pt.MiniLLM(teacher_share=0.2), cases.looking, divergences=TEACHER, flat_groups_rest=False),
}
