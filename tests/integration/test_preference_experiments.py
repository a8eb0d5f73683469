"""Recipes of preferences from the command line's scripts: another recipe is one import and one field."""

import dataclasses
import importlib.util
import json
import pathlib
import string
import sys

import bigram
import jax
import numpy as np
import pytest
import sparing
import tyro

import posttrain_jax as pt
from posttrain_jax.losses import pairing, power
from posttrain_jax.models import pretrained, scalar_model, vocabulary
from posttrain_jax.train import judging, metrics, plot

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
SHORT = ["--steps", "2", "--save-every", "2", "--mesh.fsdp", "1", "--learning-rate", "1e-2"]
LIMITS = ["--max-prompt", "16", "--max-completion", "8"]
WIDE = ["--max-prompt", "16", "--max-completion", "160"]

PAIRS = [{"prompt": f"{a}?", "chosen": "yes " * (1 + a % 2), "rejected": "no"} for a in range(8)]
LABELLED = [{"prompt": f"{a}?", "completion": "yes" if a % 2 else "no", "label": a % 2} for a in range(8)]
LISTS = [{"prompt": f"{a}?", "completions": ["yes", "no", "so"][: 2 + a % 2], "marks": [3, 1, 0]} for a in range(8)]
for row in LISTS:
    row["marks"] = row["marks"][: len(row["completions"])]
LONG = [{"document": f"{a} b c", "part": "b", "instruction": "?", "chosen": "x", "rejected": "yz"} for a in range(8)]


def load(name):
    """The script as a module."""
    sys.path.insert(0, str(EXPERIMENTS))  # as where a script is run from
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and tyro look their source up there
    spec.loader.exec_module(module)
    return module


def run(name, recipe, *arguments):
    """What the script does with this recipe in the place of its own."""
    script = load(name)
    given = tyro.cli(script.Config, args=[str(argument) for argument in arguments])
    script.main(given if recipe is None else dataclasses.replace(given, recipe=recipe))


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


WORDS = vocabulary.characters(string.printable)


@pytest.fixture
def saved(monkeypatch):
    """A model that traces in no time in the place of every checkpoint, and what is exported of it."""
    exported = []

    def load(self):
        found = bigram.model(self.mesh.build(), WORDS.vocab_size + WORDS.vocab_size % 2)
        longer = dataclasses.replace(found, config=dataclasses.replace(found.config, max_position=512))
        return pretrained.Pretrained(longer, longer.init(jax.random.key(len(self.model))), WORDS)

    def judge(folder, like, reduce, reading):
        narrow = dataclasses.replace(like.model.config, hidden_size=8)  # as wide as a bigram's states are
        head = scalar_model.ScalarModel(dataclasses.replace(like.model, config=narrow))
        return judging.Judge(head, (head.init(jax.random.key(0), spread=1.0),), WORDS, reduce, reading=reading)

    monkeypatch.setattr(pretrained.Checkpoint, "load", load)
    monkeypatch.setattr(pretrained.Pretrained, "save", lambda self, folder, trained: exported.append(trained))
    monkeypatch.setattr(judging, "load", judge)
    monkeypatch.setattr(plot, "plot_run", lambda folder: folder)
    return exported


@pytest.mark.slow
def test_any_recipe_may_be_the_field():
    """The command line takes every recipe of preferences in the place of DPO, wrappers among them."""
    kinds = [getattr(pt, name) for name in pt.__all__]
    kinds = [kind for kind in kinds if kind.__module__.startswith("posttrain_jax.recipes.preference")]
    named = [pt.FDPO(power.Alpha(0.5)), pt.FenchelSFT(0.5), pt.ImplicitRewardSFT(), pt.LCPO(pt.CPO()), pt.AlignDistil()]
    recipes = [kind() for kind in kinds if kind is not pt.FDPO] + named
    assert len(recipes) > 55
    for recipe in recipes:
        field = ("recipe", type(recipe), dataclasses.field(default=recipe))
        config = dataclasses.make_dataclass("Config", [("steps", int, 1), field], frozen=True)
        assert tyro.cli(config, args=["--steps", "2"]) == config(2, recipe)


OFFLINE = {
    "kto": (pt.KTO(), LABELLED, LIMITS, ["read:labelled"]),
    "rankings": (pt.PlackettLuceDPO(), LISTS, LIMITS, ["read:ranked"]),
    "graded": (pt.InContextRankingPO(), LISTS, LIMITS, ["read:listed", "--read.numbers", "grades", "marks"]),
    "annotated": (
        pt.LCPO(annotators=2),
        [row | {"rater": i % 2} for i, row in enumerate(PAIRS)],
        LIMITS,
        ["read:pairs", "--read.numbers", "annotator", "rater"],
    ),
    "phrases": (pt.RRPO(), PAIRS, LIMITS, ["read:differing"]),
    "contrast": (pt.TREG(), PAIRS, LIMITS, ["read:contrasted", "--read.width", "160"]),
    "parts": (pt.LongPO(), LONG, LIMITS, ["read:excerpted"]),
    "curriculum": (
        pt.DPO(),
        [row | {"scores": row["marks"]} for row in LISTS],
        LIMITS,
        ["read:stage", "--read.stage", "0"],
    ),
    "rationales": (pt.RationalePO(), [row | {"rationale": "so"} for row in PAIRS], WIDE, ["read:explained"]),
    "instructions": (pt.MAPL(), PAIRS, WIDE, ["read:instructed"]),
}
"""A recipe, rows, their limits, and how the command line says that they are read."""


# lists with numbers of each completion: the most that a row holds; how rows are read is held in `data/`
@pytest.mark.parametrize("name", sparing.names(OFFLINE, "graded"))
def test_given_completions(tmp_path, saved, name):
    recipe, rows, limits, words = OFFLINE[name]
    common = ["--model", "m", "--data", jsonl(tmp_path / "rows.jsonl", rows), "--folder", tmp_path / "run"]
    run("dpo", recipe, *common, *SHORT, *limits, "--warmup-steps", "1", "--batch-size", "8", *words)
    check(tmp_path / "run", type(recipe).__name__, saved)


def check(folder, name, saved):
    """Two steps of this recipe that changed something, and a policy that is exported."""
    lines = metrics.read(folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["loss"] != lines[1]["loss"]
    assert name in json.loads((folder / "run.json").read_text())["objective"]
    assert set(saved[-1]) == {"embedding", "head"}


SHOWN = ["read:demonstrated", "read.read:demonstration-fields", "--read.read.completion", "chosen"]
BESIDE = {
    "masks": (pt.SparsePO(), ["--masks", "2"]),
    "activations": (pt.ActivationMaskPO(), []),
    "guide": (pt.TGDPO(), ["--fixed", "guide", "another", "moving:moving", "--moving.share", "0.6"]),
    "teacher": (
        pt.AlignDistil(),
        ["--fixed", "dpo", "another", "reverse_dpo", "a third one", *SHOWN],
    ),
}


@pytest.mark.parametrize("name", sparing.names(BESIDE, "teacher"))
def test_models_beside_the_policy(tmp_path, saved, name):
    """Masks that are learned, a guide, two models that a teacher is made of, a reference that follows."""
    recipe, words = BESIDE[name]
    common = ["--model", "m", "--data", jsonl(tmp_path / "rows.jsonl", PAIRS), "--folder", tmp_path / "run"]
    run("dpo", recipe, *common, *SHORT, *LIMITS, "--warmup-steps", "1", *words)
    check(tmp_path / "run", type(recipe).__name__, saved)


ONLINE = {
    "all_pairs": (pt.OnlinePreference(pt.IPO(), pairing.AllPairs()), []),
    "dpo_model": (pt.RTO(), ["--fixed", "dpo", "another"]),
    "answer": (pt.GRAO(), ["--given", "chosen", "read:preference-fields"]),
}


@pytest.mark.parametrize("name", sparing.names(ONLINE, "answer"))
def test_own_completions(tmp_path, saved, name):
    recipe, words = ONLINE[name]
    common = ["--model", "m", "--data", jsonl(tmp_path / "rows.jsonl", PAIRS), "--folder", tmp_path / "run"]
    sizes = ["--prompts-per-step", "4", "--group-size", "4", "--judge", "judge"]
    run("online_dpo", recipe, *common, *SHORT, *LIMITS, *sizes, *words)
    check(tmp_path / "run", type(recipe).__name__, saved)
    assert metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]["reward"] != 0


def test_answers_beside_own_completions_are_rewarded_alike(tmp_path, saved):
    """The gold answer earns 1.2, for the number and its form, where a random model earns nothing."""
    rows = [{"prompt": f"{a}?", "answer": f"#### {a}"} for a in range(8)]
    common = ["--model", "m", "--data", jsonl(tmp_path / "rows.jsonl", rows), "--folder", tmp_path / "run"]
    run(
        "grpo", pt.GRAO(), *common, *SHORT, *LIMITS, "--prompts-per-step", "4", "--group-size", "3", "--given", "answer"
    )
    check(tmp_path / "run", "GRAO", saved)
    assert metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]["reward_given"] == pytest.approx(1.2)


def test_pairs_beside_own_completions_need_no_judge(tmp_path, saved):
    common = ["--model", "m", "--data", jsonl(tmp_path / "rows.jsonl", PAIRS), "--folder", tmp_path / "run"]
    sizes = ["--prompts-per-step", "4", "--group-size", "4", "--given", "chosen", "rejected", "read:preference-fields"]
    run("online_dpo", pt.OnlineKLDPO(), *common, *SHORT, *LIMITS, *sizes)
    check(tmp_path / "run", "OnlineKLDPO", saved)
    with pytest.raises(ValueError, match="chosen: the rows are read as prompts alone"):
        run("online_dpo", pt.GRAO(), *common, *SHORT, *LIMITS, "--given", "chosen", "read:prompt-fields")


@pytest.mark.slow
def test_a_judge_that_was_trained(tmp_path):
    """From the command line alone: a model, a reward model of pairs, online DPO, KTO."""
    data, sizes = jsonl(tmp_path / "rows.jsonl", PAIRS * 3), ["--vocab-size", 300, "--hidden-size", 32]
    run("make_model", None, "--data", data, "--text", "prompt", "chosen", "--folder", tmp_path / "m", *sizes)
    common = ["--model", tmp_path / "m", "--data", data, *SHORT, *LIMITS]
    run("reward_model", None, *common, "--folder", tmp_path / "reward", "read:preference-fields")
    asked = ["--judge", tmp_path / "reward" / "model", "--prompts-per-step", "4"]
    run("online_dpo", None, *common, *asked, "--folder", tmp_path / "online")
    assert metrics.read(tmp_path / "online" / "metrics.jsonl")[-1]["step"] == 2
    assert (tmp_path / "online" / "model" / "model.safetensors").exists()
    folders = [str(tmp_path / "online" / "model"), str(tmp_path / "m"), str(tmp_path / "on")]
    run("extrapolate", None, "--ahead", folders[0], "--behind", folders[1], "--scale", 0.5, "--folder", folders[2])
    ahead, behind, on = (pretrained.Checkpoint(folder).load().params for folder in folders)
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(c, a + 0.5 * (a - b), atol=1e-6), ahead, behind, on)
    common[3] = jsonl(tmp_path / "labelled.jsonl", LABELLED)
    run("dpo", pt.KTO(), *common, "--warmup-steps", "1", "--folder", tmp_path / "kto", "read:labelled")
    assert (tmp_path / "kto" / "model" / "model.safetensors").exists()
