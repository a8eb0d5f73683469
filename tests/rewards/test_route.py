import math

import making
import pytest

from posttrain_jax.rewards import route, sample


def test_each_kind_of_example_has_its_reward():
    reward = route.Routed("task", {"long": lambda one: float(len(one.completion)), "one": lambda one: 1.0})
    assert reward(making.make("abc", task="long")) == 3
    assert reward(making.make("abc", task="one")) == 1
    assert math.isnan(reward(making.make("abc", task="open")))
    with pytest.raises(sample.MissingFieldError, match="task"):
        reward(making.make("abc"))
