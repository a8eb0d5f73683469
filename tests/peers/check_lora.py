"""Whether PEFT loads the adapters that `adapter_folder.save` writes, and computes the same as the merged export.

In two steps, because torch is no dependency of this project:

    python tests/peers/check_lora.py export OUT     # with this project installed
    python tests/peers/check_lora.py compare OUT    # with torch, transformers and peft installed
"""

import sys
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "fixtures"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def export(out: Path) -> None:
    """Random adapters of each family, as PEFT's folder and merged; LoRA's scale and rsLoRA's."""
    import dataclasses

    import jax

    from posttrain_jax.models import adapter_folder, config, huggingface, language_model, lora, sharding

    for family in FAMILIES:
        plain = language_model.LanguageModel(
            huggingface.load_config(FIXTURES / family), config.Compute(), sharding.make_mesh()
        )
        base = huggingface.load_params(FIXTURES / family, plain)
        for name, power in (("lora", 1.0), ("rslora", 0.5)):
            model = dataclasses.replace(plain, lora=lora.Lora(4, alpha=6.0, rank_power=power))
            params = model.adapt(base)
            moved = jax.tree.map(lambda x: x + 0.05 * jax.random.normal(jax.random.key(1), x.shape), params["adapters"])
            params |= {"adapters": moved}
            adapter_folder.save(out / f"{family}-{name}" / "adapters", model, params)
            huggingface.save(out / f"{family}-{name}" / "merged", plain.config, model.merge(params))


def compare(out: Path) -> None:
    """Print the largest logit differences; raise where they are more than rounding."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    for folder in sorted(out.iterdir()):
        fixture = FIXTURES / folder.name.split("-")[0]
        tokens = torch.tensor(np.load(fixture / "reference.npz")["tokens_0"]).long()[None]
        base = AutoModelForCausalLM.from_pretrained(fixture, dtype=torch.float32)
        with torch.no_grad():
            plain = base(tokens).logits
            adapted = peft.PeftModel.from_pretrained(base, folder / "adapters")(tokens).logits
            merged = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)(tokens).logits
        worst, moved = (adapted - merged).abs().max().item(), (adapted - plain).abs().max().item()
        print(f"{folder.name:16s} adapters against merged {worst:.3g}; against the base {moved:.3g}")
        assert worst < 2e-5 * max(1, adapted.abs().max().item())
        assert moved > 0.01


if __name__ == "__main__":
    {"export": export, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
