"""Whether `transformers` loads what `huggingface.save` writes, and computes the same.

In two steps, because torch is no dependency of this project:

    python tests/peers/check_export.py export OUT     # with this project installed
    python tests/peers/check_export.py compare OUT    # with torch and transformers installed

The second compares logits and generated text of each export with what was frozen beside the fixture it came from.
"""

import sys
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "fixtures"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
ALPHABET = "".join(chr(code) for code in range(32, 125))


def export(out: Path) -> None:
    """Each family whole and in several files, in float32 and bfloat16, with a tokenizer."""
    import jax.numpy as jnp

    from posttrain_jax.models import config, huggingface, language_model, sharding, vocabulary

    characters = vocabulary.characters(ALPHABET)
    for family in FAMILIES:
        architecture = huggingface.load_config(FIXTURES / family)
        for name, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
            compute = config.Compute(param_dtype=dtype)
            model = language_model.LanguageModel(architecture, compute, sharding.make_mesh())
            params = huggingface.load_params(FIXTURES / family, model)
            for files, size in (("one", 2**30), ("many", 30_000)):
                folder = out / f"{family}-{name}-{files}"
                huggingface.save(folder, architecture, params, characters, overwrite=True, file_bytes=size)


def compare(out: Path) -> None:
    """Print the largest logit difference of each export; raise where it is more than rounding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    for folder in sorted(out.iterdir()):
        model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype="auto")
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        precise = model.dtype == torch.float32
        assert precise == ("float32" in folder.name)
        reference = np.load(FIXTURES / folder.name.split("-")[0] / "reference.npz")
        worst = 0.0
        for i in range(4):
            with torch.no_grad():
                logits = model.float()(torch.tensor(reference[f"tokens_{i}"]).long()[None]).logits[0].numpy()
            worst = max(worst, np.abs(logits - reference[f"logits_{i}"]).max())
        assert worst < (1e-5 if precise else 0.5), worst
        # AutoTokenizer gives every qwen2 folder Qwen 2's own splitting of text, whatever tokenizer.json says.
        reader = PreTrainedTokenizerFast if "qwen2" in folder.name else AutoTokenizer
        characters = reader.from_pretrained(folder)
        assert characters("ab {|")["input_ids"] == [1, *(3 + ALPHABET.index(c) for c in "ab {|")]
        assert model.generation_config.eos_token_id == [2]
        assert model.generation_config.pad_token_id == 0
        if precise:
            prompt = torch.tensor(reference["prompt_0"]).long()[None]
            new = model.generate(
                prompt, max_new_tokens=20, do_sample=False, eos_token_id=None, attention_mask=prompt > -1
            )
            np.testing.assert_array_equal(new[0, prompt.shape[1] :], reference["greedy_0"])
        print(f"{folder.name:24s} {type(model).__name__:20s} largest logit difference {worst:.3g}")


if __name__ == "__main__":
    {"export": export, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
