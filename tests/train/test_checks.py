import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import types
from posttrain_jax.train import checks

MASK = jnp.ones((2, 2, 3), bool).at[1, 1].set(False)


def stats(x):
    return types.TokenStats(logps=jnp.where(MASK, x, 0.0), entropy=jnp.zeros(MASK.shape))


def test_double_bos():
    checks.double_bos(np.asarray([[1, 2, 1], [1, 3, 3]]), 1)
    checks.double_bos(np.asarray([[1, 1, 2]]), None)
    checks.double_bos(np.asarray([[1]]), 1)
    with pytest.raises(ValueError, match=r"two BOS tokens \(id 1\)"):
        checks.double_bos(np.asarray([[1, 2, 1], [1, 1, 3]]), 1)


def test_rows_without_a_token_are_refused_unless_they_fill_up():
    mask = np.asarray([[[True]], [[False]], [[False]]])
    checks.counted_rows(mask, np.asarray([4, -1, -1]))
    with pytest.raises(ValueError, match="1 rows of the first batch, data row 7 among them"):
        checks.counted_rows(mask, np.asarray([4, 7, -1]))


def test_parameters_must_be_those_of_the_model():
    there = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {name: jax.ShapeDtypeStruct((2,), np.float32, sharding=there) for name in "ab"}
    right = {name: np.zeros(2, np.float32) for name in "ab"}
    checks.fit(wanted, right)
    with pytest.raises(ValueError, match=r"do not fit the model: b is missing; c is unexpected: give those that"):
        checks.fit(wanted, {"a": right["a"], "c": right["b"]})
    with pytest.raises(ValueError, match=r"b has shape \(3,\) where the model has \(2,\)"):
        checks.fit(wanted, right | {"b": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"a lies on 1 other devices than the mesh's: "):
        checks.fit(wanted, right | {"a": jax.device_put(right["a"], jax.devices()[1])})
    with pytest.raises(ValueError, match=r"c is unexpected; d is unexpected; e is unexpected; and 1 more: give"):
        checks.fit(wanted, right | dict.fromkeys("cdef", right["a"]))


def test_agreement_allows_rounding_and_refuses_another_temperature():
    checks.agreement(stats(-1.0), stats(-1.001), MASK, {})
    one_far = stats(jnp.full(MASK.shape, -1.0).at[0, 0, 0].set(-2.0))
    checks.agreement(stats(-1.0), one_far, MASK, {})  # one of nine tokens
    with pytest.raises(ValueError, match=r"median 0.1 nats, 100% of the ratios.*same temperature"):
        checks.agreement(stats(-1.0), stats(-1.1), MASK, {})
    with pytest.raises(ValueError, match="disagree"):
        checks.agreement(stats(-1.0), stats(jnp.nan), MASK, {"a": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"the parameter blocks\.a holds NaN or infinite numbers"):
        checks.agreement(stats(-1.0), stats(jnp.nan), MASK, {"blocks": {"a": jnp.asarray([1, jnp.inf])}})


def test_rewards_must_be_finite_and_differ():
    checks.rewards(jnp.asarray([[0.0, jnp.nan], [1.0, 0.0]]))
    with pytest.raises(ValueError, match="no completion of the first batch could be scored"):
        checks.rewards(jnp.full((2, 2), jnp.nan))
    with pytest.raises(ValueError, match=r"all 3 rewards of the first batch are 0\.5"):
        checks.rewards(jnp.asarray([[0.5, jnp.nan], [0.5, 0.5]]))


def test_advantages_that_are_all_zero_are_refused():
    whole = jnp.zeros((2, 1), bool)
    checks.advantages(jnp.zeros((2, 2, 3)).at[1, 0, 2].set(-0.5), jnp.ones((2, 2), bool))
    with pytest.raises(ValueError, match=r"all advantages of the first batch are 0 with a group_size of 1"):
        checks.advantages(jnp.zeros((2, 1, 3)), whole)
    with pytest.raises(ValueError, match=r"1 of 2 completions were cut at max_new_tokens.*allow more new tokens"):
        checks.advantages(jnp.zeros((2, 1, 3)), whole.at[0].set(True))


def test_a_batch_that_compares_nothing_is_refused():
    checks.counted(MASK)
    with pytest.raises(
        ValueError, match="no completion of the first batch, 2 of each prompt, is compared with another"
    ):
        checks.counted(jnp.zeros_like(MASK))
