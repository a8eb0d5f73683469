import math

import jax
import pytest

from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.models import vocabulary
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import evaluate

WORDS = vocabulary.characters("abcd=")


def first_letter(one):
    """What a prompt's example asks for, so that the mean tells which prompts were counted."""
    return float(one.example["value"])


def length(one):
    return float(one.completion_tokens)


def sometimes(one):
    if one.example["value"] > 2:
        raise RuntimeError("not this one")
    return 1.0


@pytest.fixture(scope="module")
def make(tiny):
    model = tiny.model(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)
    rows = [{"prompt": f"{letter}=", "value": value} for value, letter in enumerate("abcdd", start=1)]
    encoded, _ = prompts.encode(rows, fields.PromptFields(), WORDS, encode.Limits(4, 4))
    batches = list(iterate.one_pass(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=4))
    sampling = sample.Sampling(max_new_tokens=4, stop_ids=WORDS.stop_ids)

    def numbers(terms):
        rewards = pool.RewardPool(combine.WeightedRewards(terms), workers=0, timeout_s=1.0)
        measure = evaluate.make_evaluate(model, WORDS, rewards, batches, sampling, group_size=2)
        params = model.init(jax.random.key(0))
        return measure(params, 0), measure(params, 7)

    return numbers


def test_every_prompt_counts_once_and_filling_rows_do_not(make):
    values, again = make({"value": (2.0, first_letter), "length": (1.0, length)})
    assert values == again  # the same keys at every step
    assert values["reward/value"] == pytest.approx((1 + 2 + 3 + 4 + 5) / 5)
    assert values["reward/length"] == pytest.approx(values["completion_length"])
    assert values["reward"] == pytest.approx(2 * 3 + values["completion_length"])
    assert values["unscored"] == 0


def test_failures_are_left_out_and_reported(make):
    values, _ = make({"ok": (1.0, sometimes)})
    assert values["reward"] == 1
    assert values["unscored"] == pytest.approx(3 / 5)
    assert set(values) == {"completion_length", "reward", "unscored"}
    assert not any(math.isnan(x) for x in values.values())
