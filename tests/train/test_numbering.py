import numpy as np
import pytest

from posttrain_jax.recipes.policy.dcpo import DCPO
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.train import numbering


def test_prompts_that_a_recipe_cannot_remember_are_refused():
    numbering.check([DCPO(prompts=4)], np.asarray([3, 0, -1]))
    numbering.check([GRPO()], np.asarray([3]))
    with pytest.raises(ValueError, match="DCPO remembers 4 prompts and the data hold row 4: set its `prompts`"):
        numbering.check([DCPO(prompts=4)], np.asarray([3, 4, 0]))
