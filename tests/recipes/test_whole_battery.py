"""The battery holds every recipe."""

import re

import distillation_cases
import policy_cases
import preference_cases
import reward_model_cases

import posttrain_jax as pt

CASES = preference_cases.CASES | policy_cases.CASES | distillation_cases.CASES | reward_model_cases.CASES


def test_every_exported_recipe_is_among_the_cases():
    shown = " ".join(repr(case.recipe) for case in CASES.values())
    exported = [name for name in pt.__all__ if getattr(pt, name).__module__.startswith("posttrain_jax.recipes.")]
    assert len(exported) > 150
    assert not [name for name in exported if not re.search(rf"\b{name}\(", shown)]
