"""What a recipe is given that looks further than at rewards and reference, with plain arrays."""

import jax
from canonical_pair import GROUPS, POLICY, REF, stats

from posttrain_jax import types


def lookup(ref=REF, policy=POLICY, by_prompt=None, **fixed):
    """A `Lookup` of given log-probabilities; `by_prompt` holds the reference's by the first id of another prompt.

    `fixed` are those of other models, by role.
    """

    def answer(groups, kept_ids=None):
        return stats((by_prompt or {}).get(int(groups.prompts[0, 0]), ref))

    others = {role: lambda *_, said=said: stats(said) for role, said in fixed.items()}
    return types.Lookup(lambda groups, kept_ids=None: policy, answer, jax.random.key(0), others)


def credit(recipe, columns, groups=GROUPS, **given):
    """The batch of the canonical pair, or of `groups`."""
    return recipe.credit(groups, columns, lookup(**given), recipe.init_memory())[0]


def step(recipe, columns, groups=GROUPS, policy=POLICY, **given):
    """Loss, and its gradient by the log-probabilities."""
    batch = credit(recipe, columns, groups, policy=policy, **given)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps
