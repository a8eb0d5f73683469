import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, RANDOM_LOGPS, RANDOM_MASK, RANDOM_REF, REF, credit, groups, loss, stats

from posttrain_jax import types
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.offset_dpo import OffsetDPO


def scored(recipe, scores):
    return recipe.loss(POLICY, credit(recipe, GROUPS, POLICY.logps, REF, {"scores": jnp.array([scores])}))[0]


def test_canonical_pair():
    np.testing.assert_allclose(scored(OffsetDPO(), [3.0, 1.0]), np.log1p(np.exp(np.log(2) - 0.2)), rtol=1e-6)
    np.testing.assert_allclose(scored(OffsetDPO(offset_coef=2.0), [3.0, 1.0]), np.log1p(4 * np.exp(-0.2)), rtol=1e-6)


def test_a_difference_of_one_or_no_offset_is_dpo():
    np.testing.assert_allclose(scored(OffsetDPO(), [2.0, 1.0]), loss(DPO())[0], rtol=1e-6)
    np.testing.assert_allclose(scored(OffsetDPO(offset_coef=0.0), [9.0, 1.0]), loss(DPO())[0], rtol=1e-6)


def test_pairs_scored_the_wrong_way_round_or_not_at_all_do_not_count():
    scores = jnp.array([[1.0, 2.0], [1.0, jnp.nan], [5.0, 1.0]])
    batch = credit(OffsetDPO(), groups(RANDOM_MASK), RANDOM_LOGPS, RANDOM_REF, {"scores": scores})
    np.testing.assert_array_equal(batch.pair_weights, [0, 0, 1])
    assert np.isfinite(OffsetDPO().loss(stats(RANDOM_LOGPS), batch)[0])


def test_missing_scores_are_refused_in_words():
    with pytest.raises(ValueError, match="scores"):
        credit(OffsetDPO(), GROUPS, POLICY.logps, REF)
    with pytest.raises(ValueError, match="offsets"):
        OffsetDPO().loss(POLICY, types.PreferenceBatch(GROUPS.completion_mask, jnp.ones(1), REF))


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"offset_coef": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OffsetDPO(**wrong)
