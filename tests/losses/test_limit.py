"""Limits on means: what they add to rewards, and that its policy gradient is that of the penalised objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import limit, multiplier

LENGTH, SAFE = limit.AtMost("length", 2.0), limit.AtLeast("safe", 0.5)
COLUMNS = {"length": jnp.array([[1.0, 4.0], [5.0, jnp.nan]]), "safe": jnp.array([[1.0, 0.0], [0.0, 0.0]])}


def test_worked_numbers():
    """Mean length 10 / 3, safe 1 / 4: excess 4 / 3 and 1 / 4, pressed by lambda 3 and 2."""
    excess = limit.excesses((LENGTH, SAFE), COLUMNS)
    np.testing.assert_allclose(limit.means(excess), [4 / 3, 0.25], rtol=1e-6)
    held = limit.held_back(jnp.zeros((2, 2)), excess, multiplier.DualAscent(1.0), jnp.array([3.0, 2.0]))
    safe = 2 * np.array([[0.75, -0.25], [-0.25, -0.25]])
    np.testing.assert_allclose(held, safe - 3 * np.array([[-7 / 3, 2 / 3], [5 / 3, 0]]), rtol=1e-5)
    assert (LENGTH.title, SAFE.title) == ("length<=2", "safe>=0.5")


@pytest.mark.parametrize(
    "rule",
    [multiplier.DualAscent(1.0), multiplier.Augmented(2.0), multiplier.Hinge(3.0), multiplier.Barrier(5.0, 0.05)],
)
def test_the_gradient_is_that_of_reward_less_penalties_of_the_means(rule):
    rewards, costs, multipliers = jnp.array([1.0, 0.2, -0.5]), jnp.array([3.0, 0.5, 1.0]), jnp.array([0.7])
    logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    often = jnp.array([[0, 0, 0, 0, 0, 1, 1, 1, 2, 2]])  # a batch in which all stand as often as they are sampled

    def objective(logits):
        p = jax.nn.softmax(logits)
        return p @ rewards - jnp.sum(rule.penalty((p @ costs - 1.2)[None], multipliers))

    excess = limit.excesses((limit.AtMost("cost", 1.2),), {"cost": costs[often]})
    held = limit.held_back(rewards[often], excess, rule, multipliers)[0, jnp.array([0, 5, 8])]
    surrogate = jax.grad(lambda z: jax.nn.softmax(z) @ held)(logits)
    np.testing.assert_allclose(surrogate, jax.grad(objective)(logits), atol=2e-6)


def test_rewards_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="reads speed; the rewards are length, safe"):
        limit.gather(COLUMNS, ["length", "speed"])
