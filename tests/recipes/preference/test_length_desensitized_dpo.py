import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.length_desensitized_dpo import LengthDesensitizedDPO


def test_canonical_pair():
    check(LengthDesensitizedDPO(beta=0.1, discount=0.5), 0.604595)
    check_at_reference(LengthDesensitizedDPO(), np.log(2))


def test_without_discount_it_is_dpo():
    check_same(LengthDesensitizedDPO(discount=1.0), DPO())


def test_tokens_beyond_the_shorter_completion_are_discounted():
    _, gradient = step(LengthDesensitizedDPO(discount=0.25))
    rejected = np.asarray(gradient[0, 1])
    np.testing.assert_allclose(rejected / rejected[0], [1, 1, 1, 1, 1, 0.25, 0.25], rtol=1e-6)
    np.testing.assert_allclose(gradient[0, 0, :5], -rejected[0], rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"discount": 1.5}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LengthDesensitizedDPO(**wrong)
