import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.data import batch, column, encode
from posttrain_jax.recipes.preference import column as reading
from posttrain_jax.recipes.preference.longpo import LongPO


def rows(count=2):
    ids = np.full(3, 7, np.int32)
    return [encode.TokenRow(ids, (ids[:2], ids), index) for index in range(count)]


def test_columns_reach_the_batch_and_the_recipe():
    with_prompt = column.attach(rows(), "short_prompt", [column.prompt([5, 6], 4), column.prompt([8], 4)])
    numbers = [column.of_tokens([np.array([0.1, 0.2]), np.array([1.0, 2.0, 3.0])], 6)] * 2
    both = column.attach(with_prompt, "step_labels", numbers)
    host = batch.Pad([batch.Bucket(4, 4)], pad_id=0, group_size=2)(both, slice(0, 3))
    groups = host.to_device(jnp.asarray)
    columns = {name: jnp.asarray(value) for name, value in host.columns.items()}
    short = reading.with_prompts(LongPO(), columns, "short_prompt", groups)
    np.testing.assert_array_equal(short.prompts[:2], [[5, 6, 0, 0], [8, 0, 0, 0]])
    np.testing.assert_array_equal(short.prompt_lengths[:2], [2, 1])
    told = reading.per_token(LongPO(), columns, "step_labels", groups)
    np.testing.assert_allclose(told[1], [[0.1, 0.2, 0, 0], [1, 2, 3, 0]])
    np.testing.assert_array_equal(told[2], 0)
    with pytest.raises(ValueError, match="a number for every token in 'step_labels'"):
        reading.per_token(LongPO(), {"step_labels": told[:, :, :1]}, "step_labels", groups)


def test_prompts_come_back():
    np.testing.assert_array_equal(column.ids(column.prompt([1, 97, 0], 9)), [1, 97, 0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="3 tokens does not go into a column of 2"):
        column.prompt([1, 2, 3], 2)
    with pytest.raises(ValueError, match="make it wider"):
        column.of_tokens([np.zeros(3)], 2)
    with pytest.raises(ValueError, match="'scores' has 1 values"):
        column.attach(rows(), "scores", [np.zeros(2, np.float32)])
    with pytest.raises(ValueError, match="all of one shape"):
        column.attach(rows(), "scores", [np.zeros(2, np.float32), np.zeros(3, np.float32)])
