"""What a reward model says of pairs, or steps, that it was not trained on."""

import jax
import numpy as np

from posttrain_jax.data import batch, iterate
from posttrain_jax.models import scalar_model
from posttrain_jax.train import rows


def count(share: float, total: int) -> int:
    """How many rows that share is, at least one, where some are left to train on."""
    held = max(1, round(share * total)) if 0 < share < 1 else total
    if held >= total:
        raise ValueError(f"held_out={share} of {total} rows leaves none to train on, or none to test: give 0.1, say.")
    return held


def margins(model: scalar_model.ScalarModel, params, pairs, pad: batch.Pad, size: int) -> np.ndarray:
    """Reward of chosen less rejected, pair by pair."""
    score, found = jax.jit(model.rewards, out_shardings=model.row_sharding), []
    for start in range(0, len(pairs), size):
        some = pairs[start : start + size]
        groups = pad(some, iterate.share(size)).to_device(lambda x: rows.to_devices(model.row_sharding, x))
        said = rows.gathered(rows.to_host(score(params, groups)))[..., 0]
        found.append((said[:, 0] - said[:, 1])[: len(some)])
    return np.concatenate(found)


def certainties(model: scalar_model.ScalarModel, params, solutions, pad: batch.Pad, size: int) -> np.ndarray:
    """Logit of every labelled step, its sign turned where the step is wrong; steps that are half right are left out."""
    score, found = jax.jit(model.token_scores, out_shardings=model.row_sharding), []
    for start in range(0, len(solutions), size):
        own = pad(solutions[start : start + size], iterate.share(size))
        said = rows.to_host(score(params, own.to_device(lambda x: rows.to_devices(model.row_sharding, x))))[..., 0]
        said, labels, mask = rows.gathered((said, own.columns["step_labels"], own.completion_mask))
        signs = np.sign(labels[:, :, : said.shape[2]] - 0.5)
        found.append((said * signs)[mask & (np.abs(signs) == 1)])
    return np.concatenate(found)
