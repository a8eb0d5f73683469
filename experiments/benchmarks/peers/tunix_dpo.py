"""DPO with Tunix, the reference's forward pass inside the step; run by `compare.py`."""
# pyright: reportMissingImports=false

import jax
import numpy as np
import optax
import tunix_model
import workload
from flax import nnx
from tunix.sft.dpo import dpo_trainer

folder, w = workload.given()
stamps: list[tuple[float, float]] = []
random = np.random.default_rng(1)


def tokens(length: int) -> dict[str, np.ndarray]:
    shape = (w.pairs, length)
    return {"ids": random.integers(4, w.vocab_size, shape).astype(np.int32), "mask": np.ones(shape, np.int32)}


class Data:
    """Batches of token ids; a step ends when its parameters are there (the trainer asks for the next batch earlier)."""

    def __iter__(self):
        for _ in range(w.steps + 4):
            jax.block_until_ready(nnx.state(policy))
            stamps.append(workload.now())
            lengths = {"prompt": w.pair_prompt_len, "chosen": w.pair_completion_len, "rejected": w.pair_completion_len}
            yield dpo_trainer.TrainingInput(
                **{f"{name}_{k}": v for name, length in lengths.items() for k, v in tokens(length).items()}
            )


policy = tunix_model.make(w)
trainer = dpo_trainer.DPOTrainer(
    model=policy,
    ref_model=tunix_model.make(w),
    optimizer=optax.adamw(1e-6),
    training_config=dpo_trainer.DPOTrainingConfig(
        eval_every_n_steps=10**6, max_steps=w.steps + 3, max_inflight_computations=1
    ),
)
with tunix_model.mesh:
    trainer.train(Data())
count = w.pairs * 2 * (w.pair_prompt_len + w.pair_completion_len)
workload.report("tunix_dpo", stamps, count, ("google-tunix", "jax"))
