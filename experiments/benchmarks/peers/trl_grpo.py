"""GRPO with TRL; run by `compare.py`."""
# pyright: reportMissingImports=false

import tempfile

import torch
import workload
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

folder, w = workload.given()
stamps: list[tuple[float, float]] = []


class Clock(TrainerCallback):
    """Stamps where a step begins, and the end."""

    def on_step_begin(self, *_, **__):
        stamps.append(workload.now())

    def on_train_end(self, *_, **__):
        stamps.append(workload.now())


def reward(completions, **_):
    return [workload.reward(completion) for completion in completions]


torch.set_num_threads(2)
rows = w.prompts * w.group_size
arguments = GRPOConfig(
    output_dir=tempfile.mkdtemp(), max_steps=w.steps, per_device_train_batch_size=rows, num_generations=w.group_size,
    max_completion_length=w.completion_len, beta=0.04, learning_rate=1e-5, temperature=1.0, use_cpu=True, bf16=False,
    gradient_checkpointing=False, report_to=[], save_strategy="no", logging_steps=100, disable_tqdm=True,
    model_init_kwargs={"dtype": "float32"},
)  # fmt: skip
trainer = GRPOTrainer(
    model=folder,
    reward_funcs=reward,
    args=arguments,
    train_dataset=Dataset.from_dict({"prompt": workload.prompts(w, 2 * w.prompts * w.steps, w.prompt_len)}),
    processing_class=AutoTokenizer.from_pretrained(folder),
    callbacks=[Clock()],
)
trainer.train()
workload.report("trl_grpo", stamps, rows * (w.prompt_len + w.completion_len), ("trl", "torch", "transformers"))
