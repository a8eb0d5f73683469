"""DPO with TRL, the reference's forward pass inside the step; run by `compare.py`."""
# pyright: reportMissingImports=false

import tempfile

import torch
import workload
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

folder, w = workload.given()
stamps: list[tuple[float, float]] = []


class Clock(TrainerCallback):
    """Stamps where a step begins, and the end."""

    def on_step_begin(self, *_, **__):
        stamps.append(workload.now())

    def on_train_end(self, *_, **__):
        stamps.append(workload.now())


torch.set_num_threads(2)
rows = [
    {"prompt": r["prompt"], "chosen": " " + r["chosen"], "rejected": " " + r["rejected"]} for r in workload.pairs(w)
]
arguments = DPOConfig(
    output_dir=tempfile.mkdtemp(), max_steps=w.steps, per_device_train_batch_size=w.pairs, learning_rate=1e-6,
    max_length=w.pair_prompt_len + w.pair_completion_len, use_cpu=True, bf16=False, gradient_checkpointing=False,
    report_to=[], save_strategy="no", logging_steps=100, disable_tqdm=True, model_init_kwargs={"dtype": "float32"},
)  # fmt: skip
trainer = DPOTrainer(
    model=folder,
    args=arguments,
    train_dataset=Dataset.from_list(rows),
    processing_class=AutoTokenizer.from_pretrained(folder),
    callbacks=[Clock()],
)
trainer.train()
tokens = w.pairs * 2 * (w.pair_prompt_len + w.pair_completion_len)
workload.report("trl_dpo", stamps, tokens, ("trl", "torch", "transformers"))
