import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import schedule
from posttrain_jax.recipes.policy.handover import Handover
from posttrain_jax.recipes.policy.reinforce import REINFORCE

RECIPE = Handover("form", "judge", schedule.Cosine(0.9, 0.1, 100), REINFORCE())
FORM, JUDGE = jnp.asarray([[1.0, 0.0, 1.0, 0.0]]), jnp.asarray([[0.0, 0.0, 1.0, 1.0]])


@pytest.mark.parametrize(("step", "share"), [(0, 0.9), (50, 0.5), (150, 0.1)])
def test_the_first_reward_hands_over_to_the_second(step, share):
    batch, memory = fx.informed(RECIPE, columns={"form": FORM, "judge": JUDGE}, memory=jnp.float32(step))
    np.testing.assert_allclose(batch.advantages[0, :, 0], [share, 0, 1, 1 - share], atol=1e-6)
    assert float(memory) == step + 1


def test_a_completion_without_one_of_them_does_not_count():
    batch, _ = fx.informed(RECIPE, columns={"form": FORM, "judge": JUDGE.at[0, 1].set(jnp.nan)})
    np.testing.assert_array_equal(batch.token_weights[0, 1], 0)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="Handover reads judge; the rewards are form"):
        fx.informed(RECIPE, columns={"form": FORM})
