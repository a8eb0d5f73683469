"""Whether `transformers` loads the classifiers that `models.classifier` writes, and says the same numbers.

In two steps, because torch is no dependency of this project:

    python tests/peers/check_classifier.py export OUT     # with this project installed
    python tests/peers/check_classifier.py compare OUT    # with torch and transformers installed
"""

import sys
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "fixtures"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def export(out: Path) -> None:
    """Each family with a sequence's and a token's head, and what ours say of a completion."""
    import jax
    import jax.numpy as jnp

    from posttrain_jax import types
    from posttrain_jax.models import classifier, config, huggingface, language_model, scalar_model, sharding, vocabulary

    words = vocabulary.characters("".join(map(chr, range(32, 125))))
    ids = np.random.default_rng(0).integers(3, 96, 13)
    lengths = {"prompt_lengths": jnp.array([5]), "completion_lengths": jnp.array([[8]]), "group_ids": jnp.array([0])}
    mask = jnp.ones((1, 1, 8), bool)
    groups = types.Groups(
        prompts=jnp.asarray(ids[None, :5]),
        completions=jnp.asarray(ids[None, None, 5:]),
        completion_mask=mask,
        **lengths,
    )
    for family in FAMILIES:
        shape = huggingface.load_config(FIXTURES / family)
        trunk = language_model.LanguageModel(shape, config.Compute(), sharding.make_mesh())
        for name, bias in (("sequence", False), ("token", True)):
            model = scalar_model.ScalarModel(trunk, size=3, bias=bias)
            start = huggingface.load_params(FIXTURES / family, trunk)
            params = model.from_language_model(start, jax.random.key(1), spread=0.5)
            if bias:
                params["score_bias"] = jnp.array([0.5, -1.0, 2.0])
            folder = out / f"{family}-{name}"
            classifier.Classifier(model, params, words).save(folder, params)
            said = {"scores": model.token_scores(params, groups)[0, 0], "reward": model.rewards(params, groups)[0, 0]}
            np.savez(folder / "ours.npz", ids=ids, **said)


def compare(out: Path) -> None:
    """Print the largest difference of each export; raise where it is more than rounding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    for folder in sorted(out.iterdir()):
        ours = np.load(folder / "ours.npz")
        sequence = folder.name.endswith("sequence")
        kind = AutoModelForSequenceClassification if sequence else AutoModelForTokenClassification
        model, report = kind.from_pretrained(folder, output_loading_info=True, dtype="auto")
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        with torch.no_grad():
            theirs = model(torch.tensor(ours["ids"]).long()[None]).logits[0].numpy()
        worst = np.abs(theirs - ours["reward"] if sequence else theirs[5:] - ours["scores"]).max()
        assert worst < 2e-5, (folder, worst)
        print(f"{folder.name}: {worst:.1e} apart")


if __name__ == "__main__":
    {"export": export, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
