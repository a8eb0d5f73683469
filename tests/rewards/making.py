"""Short ways to write samples."""

from posttrain_jax.rewards import sample


def make(completion, *, tokens=1, truncated=False, **example):
    return sample.Sample(
        prompt="", completion=completion, example=example, completion_tokens=tokens, truncated=truncated
    )
