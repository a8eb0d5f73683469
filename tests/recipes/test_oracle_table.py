"""Whether each policy recipe's expected gradient is that of the reward, on policy and at the reference: asked of all.

What is not must say in its docstring what it is instead.
"""

import ast
import dataclasses
import inspect
import pathlib
from typing import Any

import cases
import jax
import jax.numpy as jnp
import policy_cases
import pytest
from enumeration import FIXED, cosine, expected_gradient, random, reward_gradient

import posttrain_jax as pt
from posttrain_jax import types

ASKED = {
    name: case
    for name, case in policy_cases.CASES.items()
    if case.credit in (cases.online, cases.once, cases.looking, cases.look, cases.mismatched)
    and not isinstance(case.recipe, pt.ValuePretraining)  # it has no gradient for the policy
}


@dataclasses.dataclass(frozen=True)
class Told:
    """A recipe of either kind as the oracle asks, whose critic says 0, and whose first reward is the whole."""

    recipe: Any

    def credit(self, rollout, rewards, ref_logps):
        if not isinstance(self.recipe, types.InformedOnline):
            return self.recipe.credit(rollout, rewards, ref_logps if self.recipe.needs_ref else None)
        stats = valued(rollout.sampler)
        fixed = dict.fromkeys(("teacher", "dpo", "reverse_dpo"), lambda *_, **__: stats)
        influences = lambda groups, sources: jnp.ones_like(sources)  # noqa: E731
        lookup = types.Lookup(lambda *_: stats, lambda *_: stats, jax.random.key(0), fixed, influences)
        columns = {"first": rewards, "second": 0 * rewards, "third": 0 * rewards, "count": 0 * rewards}
        return self.recipe.credit(rollout, rewards, columns, lookup, self.recipe.init_memory())[0]

    def loss(self, policy, batch):
        return self.recipe.loss(valued(policy), batch)


def valued(stats):
    return dataclasses.replace(stats, values=jnp.zeros_like(stats.logps))


EXACT = {
    *("reinforce", "rloo", "rloo_without_ref", "dr_grpo", "opo", "gpg"),
    *("rec", "rec_ring", "opmd", "asym_re", "topr"),
}
"""For completions of one length, on policy, where the reference is the policy; others are bent."""


def verdict(recipe):
    """The cosine of its expected gradient and the reward's, for rewards of many kinds."""
    table, _, rewards = random(FIXED, 12)
    got = expected_gradient(Told(recipe), FIXED, table, rewards, group_size=3, ref_table=table)
    return cosine(-got, reward_gradient(FIXED, table, rewards))


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_the_expected_gradient_is_that_of_the_reward_or_is_not(name):
    close = verdict(ASKED[name].recipe)
    assert (close > 0.99999) == (name in EXACT), f"the cosine is {close}."


@pytest.mark.parametrize("name", [name for name in ASKED if name not in EXACT])
def test_what_is_bent_says_so(name):
    """In the module's docstring; what holds another recipe says that its loss is the other's."""
    said = ast.get_docstring(ast.parse(pathlib.Path(inspect.getfile(type(ASKED[name].recipe))).read_text())) or ""
    assert any(words in said for words in ("gradient", "direction", "recipe's")), name
