"""Whether each policy recipe's expected gradient is that of the reward, on policy and at the reference: asked of all.

What is not must say in its docstring what it is instead.
"""

import ast
import dataclasses
import inspect
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import policy_cases
import pytest
from enumeration import FIXED, cosine, expected_gradient, random, reward_gradient

import posttrain_jax as pt
from posttrain_jax import types
from posttrain_jax.losses import contest
from posttrain_jax.recipes.policy import nash_md, nash_mp, spo

GAMES = ("spo", "nash_md", "nash_mp")
"""They follow win rates, below."""
ELSEWHERE = {"remax": "policy/test_remax.py", "value_pretraining": "policy/test_ppo.py"}
"""Beside a greedy completion, and of values alone: the oracle is asked there."""
ASKED = {name: case for name, case in policy_cases.CASES.items() if name not in (*GAMES, *ELSEWHERE)}


@dataclasses.dataclass(frozen=True)
class Told:
    """A recipe of either kind as the oracle asks, whose critic says 0, and whose first reward is the whole.

    Every token is a segment that earns nothing, and every completion a branch of the root.
    """

    recipe: Any

    def credit(self, rollout, rewards, ref_logps):
        rollout = parted(rollout)
        if not isinstance(self.recipe, types.InformedOnline):
            return self.recipe.credit(rollout, rewards, ref_logps if self.recipe.needs_ref else None)
        stats = valued(rollout.sampler)
        compared = dataclasses.replace(stats, divergences={"d": jnp.zeros_like(stats.logps)})
        fixed = dict.fromkeys(("teacher", "dpo", "reverse_dpo"), lambda *_, **__: compared) | {"policy": said}
        influences = lambda groups, sources: jnp.ones_like(sources)  # noqa: E731
        spreads = lambda groups, _: jnp.where(groups.completion_mask[:, 0], jnp.arange(1.0, 3.0)[None], 0)  # noqa: E731
        lookup = types.Lookup(said, lambda *_: stats, jax.random.key(0), fixed, influences, spreads=spreads)
        columns = {"first": rewards, "second": 0 * rewards, "third": 0 * rewards, "count": 0 * rewards}
        columns |= {"answer": jnp.full((len(rewards), 1), -1.0)}
        return self.recipe.credit(rollout, rewards, columns, lookup, self.recipe.init_memory())[0]

    def loss(self, policy, batch):
        return self.recipe.loss(valued(policy), batch)


def parted(rollout):
    """The same with segments and branches, none of its completions being given."""
    groups = rollout.groups
    shape, places = groups.completions.shape, jnp.arange(groups.completions.shape[-1])[None, None]
    states = jnp.concatenate([jnp.zeros_like(groups.completions[..., :1]), groups.completions[..., :-1] + 1], axis=-1)
    return dataclasses.replace(
        rollout,
        segments=types.Segments(jnp.broadcast_to(places, shape), jnp.zeros(shape), states),
        branches=jnp.broadcast_to(jnp.arange(shape[1])[None, :, None], (*shape[:2], 1)),
        edges=jnp.zeros(shape, jnp.int32),
        given=jnp.zeros(shape[:2], bool),
    )


def said(groups, *_):
    """Of any completions: nothing is said."""
    nothing = jnp.zeros(groups.completions.shape)
    return types.TokenStats(nothing, nothing, nothing)


def valued(stats):
    return dataclasses.replace(stats, values=jnp.zeros_like(stats.logps))


EXACT = {
    *("reinforce", "rloo", "rloo_without_ref", "dr_grpo", "opo", "gpg"),
    *("rec", "rec_ring", "opmd", "asym_re", "topr", "occupancy_regularized", "p3o", "p3o_separate"),
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


@pytest.mark.slow
def test_what_is_averaged_over_equal_steps_or_compared_as_wholes_keeps_the_gradient():
    """SALT behind equal words, and GiGPO without its comparison of turns; with it the gradient is bent."""
    rloo = pt.RLOO(kl_coef=0.0)
    assert verdict(pt.SALT(rloo)) > 0.99999
    assert verdict(pt.GiGPO(step_coef=0.0, recipe=rloo)) > 0.99999
    assert 0.9 < verdict(pt.GiGPO(recipe=rloo)) < 0.999


def against_all(opponents, group_size):
    """Of the first completion of a group drawn in full, the others being its opponents' or the policy's own."""
    return jnp.asarray(np.arange(group_size) >= group_size - opponents, jnp.float32)[None]


@dataclasses.dataclass(frozen=True)
class Playing:
    """A game as the oracle asks; the last completion of a group is the opponent's, who is the policy held still."""

    recipe: Any
    opponents: int

    def credit(self, rollout, rewards, ref_logps):
        stats = rollout.sampler
        lookup = types.Lookup(said, lambda *_: stats, jax.random.key(0), {"target": lambda *_: stats})
        columns = {"opponent": against_all(self.opponents, rewards.shape[1])}
        return self.recipe.credit(rollout, rewards, columns, lookup, ())[0]

    def loss(self, policy, batch):
        return self.recipe.loss(policy, batch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "opponents"),
    [
        (spo.SPO(preference=contest.BradleyTerry()), 0),
        (nash_md.NashMD(preference=contest.BradleyTerry()), 1),
        (nash_mp.NashMP(preference=contest.BradleyTerry()), 1),
    ],
    ids=GAMES,
)
def test_games_follow_the_win_rate_against_the_policy_held_still(recipe, opponents):
    table, _, rewards = random(FIXED, 12)
    probs = jnp.exp(FIXED.log_probs(table))
    wins = jax.nn.sigmoid(rewards[:, None] - rewards[None]) @ probs
    got = expected_gradient(Playing(recipe, opponents), FIXED, table, rewards, group_size=3, ref_table=table)
    assert cosine(-got, reward_gradient(FIXED, table, wins)) > 0.99999


@pytest.mark.parametrize("name", [name for name in policy_cases.CASES if name not in EXACT])
def test_what_is_bent_says_so(name):
    """In the module's docstring: what its expected gradient is, or is not."""
    path = pathlib.Path(inspect.getfile(type(policy_cases.CASES[name].recipe)))
    assert "gradient" in (ast.get_docstring(ast.parse(path.read_text())) or ""), path.name


def test_every_policy_recipe_is_asked():
    """Each class of `recipes/policy` that the package names is a case of the battery, and so of this table."""
    folder = pathlib.Path(inspect.getfile(pt.GRPO)).parent
    nodes = (node for path in folder.glob("*.py") for node in ast.parse(path.read_text()).body)
    classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)} & {*pt.__all__}
    assert len(classes) > 75
    assert classes == {type(case.recipe).__name__ for case in policy_cases.CASES.values()}
    assert all((pathlib.Path(__file__).parent / path).exists() for path in ELSEWHERE.values())
