"""Every experiment, from its command line to its exported model, on a few rows and for a few steps."""

import importlib.util
import json
import pathlib
import sys

import pytest
import sparing
import tyro

from posttrain_jax.models import huggingface, tokenizer
from posttrain_jax.train import metrics

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
SHORT = ["--steps", "3", "--save-every", "2", "--mesh.fsdp", "1", "--max-prompt", "24", "--max-completion", "12"]


sys.path.insert(0, str(EXPERIMENTS))  # as where a script is run from


def run(name, *arguments):
    """What `python experiments/NAME.py ARGUMENTS` does."""
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and tyro look their source up there
    spec.loader.exec_module(module)
    module.main(tyro.cli(module.Config, args=[str(argument) for argument in arguments]))


def check_run(folder, *names):
    """Numbers, curves, a checkpoint of the last step and a model that loads."""
    last = metrics.read(folder / "metrics.jsonl")[-1]
    assert last["step"] == 3
    assert set(names) <= last.keys()
    assert (folder / "metrics.png").stat().st_size > 10_000
    assert (folder / "checkpoints" / "3").is_dir()
    assert huggingface.load_config(folder / "model").qk_norm
    assert tokenizer.load(folder / "model").decode([]) == ""
    return last


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """Questions and answers in GSM8K's form."""
    rows = [{"question": f"{a} + {b}?", "answer": f"It is {a + b}.\n#### {a + b}"} for a in range(6) for b in range(6)]
    return jsonl(tmp_path_factory.mktemp("data") / "sums.jsonl", rows)


@pytest.fixture(scope="module")
def model(tmp_path_factory, sums):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    sizes = ("--vocab-size", 300, "--hidden-size", 64, "--num-layers", 1)
    run("make_model", "--data", sums, "--text", "question", "answer", "--folder", folder, *sizes)
    return folder


LORA = ["lora:lora", "--lora.rank", "4", "--lora.projections", "query", "down"]


@pytest.mark.parametrize("lora", sparing.some({"whole": [], "lora": LORA}, "lora"))
def test_sft(tmp_path, model, sums, lora):
    common = ["--model", model, "--data", sums, "--folder", tmp_path, "--learning-rate", "1e-2", *SHORT]
    fields = ["read:demonstration-fields", "--read.prompt.name", "question", "--read.completion", "answer"]
    run("sft", *common, "--warmup-steps", "1", "--batch-size", "8", *fields, *lora)
    check_run(tmp_path, "loss", "entropy", "completion_length")
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert ("rank=4" in json.loads((tmp_path / "run.json").read_text())["lora"]) == bool(lora)


def test_dpo_on_whole_dialogues(tmp_path, model):
    start = "\n\nHuman: hello {}\n\nAssistant:"
    pairs = [{"chosen": start.format(i) + " hi", "rejected": start.format(i) + " no, go away"} for i in range(8)]
    data = jsonl(tmp_path / "pairs.jsonl", [*pairs, {"chosen": "no dialogue", "rejected": "none"}])
    common = ["--model", model, "--data", data, "--folder", tmp_path / "run", "--learning-rate", "1e-2", *SHORT]
    with pytest.raises(ValueError, match="row 8: field 'chosen' has no turn"):
        run("dpo", *common, "--warmup-steps", "1", "read:dialogue-preference-fields")
    with pytest.raises(ValueError, match="warmup_steps=10 must be at least 0 and below total_steps=3"):
        run("dpo", *common, "read:dialogue-preference-fields")
    more = ["--warmup-steps", "1", "--batch-size", "8", "--max-bad-fraction", "0.2", "read:dialogue-preference-fields"]
    run("dpo", *common, *more)
    check_run(tmp_path / "run", "loss", "accuracy", "margin")
    lines = metrics.read(tmp_path / "run" / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-4)
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    """Both answers occur for every question, so that a model that has learned the form is right half of the time."""
    rows = [{"question": f"{a}?", "answer": f"#### {b}"} for a in range(8) for b in (1, 2)]
    return jsonl(tmp_path_factory.mktemp("data") / "coins.jsonl", rows)


SIZES = ["--prompts-per-step", "4", "--group-size", "4", "--read.name", "question", "--learning-rate", "1e-3"]


@pytest.mark.slow
def test_a_model_that_is_never_right_learns_nothing_from_grpo(tmp_path, model, coins):
    with pytest.raises(ValueError, match="rewards of the first batch are 0, from which nothing can be learned"):
        run("grpo", "--model", model, "--data", coins, *SHORT, "--folder", tmp_path, *SIZES)


def test_grpo_with_another_recipe(tmp_path, model, coins):
    fields = ["read:demonstration-fields", "--read.prompt.name", "question", "--read.completion", "answer"]
    common = ["--data", coins, *SHORT]
    longer = ["--steps", "60", "--save-every", "60", "--batch-size", "16", "--learning-rate", "1e-2"]
    run("sft", "--model", model, *common, "--folder", tmp_path / "sft", *longer, *fields)

    learned = ["--model", tmp_path / "sft" / "model", "--folder", tmp_path / "grpo"]
    run("grpo", *learned, *common, *SIZES, "recipe:dapo", "--recipe.clip-high", "0.3")
    last = check_run(tmp_path / "grpo", "reward", "entropy", "reward/answer", "reward/form")
    assert 0 < last["reward/answer"] < 1
    assert "clip_high=0.3" in json.loads((tmp_path / "grpo" / "run.json").read_text())["objective"]


WAYS = {
    "beside": ["--teacher.mesh.fsdp", "2"],
    "stored": ["--stored-entries", "4"],
    "own": ["--own-completions", "2"],
}


@pytest.mark.parametrize("name", sparing.names(WAYS, "own"))
def test_distill(tmp_path, model, sums, name):
    """The teacher beside the student on two devices of its own, stored, and on the student's own completions."""
    fields = ["--read.prompt.name", "question", "--read.completion", "answer", "--learning-rate", "1e-2"]
    common = ["--model", model, "--teacher.model", model, "--data", sums, *SHORT, *fields, "--batch-size", "8"]
    run("distill", *common, "--folder", tmp_path, *WAYS[name])
    check_run(tmp_path, "loss", "teacher_divergence", "entropy")
    assert metrics.read(tmp_path / "metrics.jsonl")[0]["loss"] == pytest.approx(0, abs=1e-6)
    assert (tmp_path / "teacher" / "about.json").exists() == (name == "stored")


def test_reward_model(tmp_path, model):
    rows = [{"prompt": f"{a}?", "chosen": "yes" * (1 + a % 2), "rejected": "no"} for a in range(24)]
    data = jsonl(tmp_path / "pairs.jsonl", rows)
    common = ["--model", model, "--data", data, "--folder", tmp_path / "run", "--learning-rate", "1e-2", *SHORT]
    run("reward_model", *common, "read:preference-fields")
    last = metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]
    assert {"eval/accuracy", "eval/calibration_error", "accuracy"} <= last.keys()
    assert (tmp_path / "run" / "reliability.png").stat().st_size > 5_000
    counts = [float(line.split("|")[3]) for line in (tmp_path / "run" / "reliability.md").read_text().split("\n")[2:-1]]
    assert sum(counts) == 2
    saved = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert saved["architectures"] == ["Qwen3ForSequenceClassification"]

    sizes = ["--max-prompt", "24", "--max-completion", "4", "--prompts", "4", "--samples", "4", "--mesh.fsdp", "1"]
    who = ["--model", model, "--judge", tmp_path / "run" / "model", "--data", data, "--folder", tmp_path / "best"]
    with pytest.raises(ValueError, match="prompts=25 must be at least 1 and at most the 24 rows of the data"):
        run("best_of_n", *who, *sizes, "--prompts", "25", "read:prompt-fields")
    run("best_of_n", *who, *sizes, "read:prompt-fields")
    lines = [line.split("|") for line in (tmp_path / "best" / "best_of_n.md").read_text().split("\n")[2:-1]]
    numbers = [[float(x) for x in line[1:-1]] for line in lines]
    assert [line[0] for line in numbers] == [1, 2, 4]
    assert numbers[0][1] <= numbers[1][1] <= numbers[2][1]
    for _, _, bound, exact, counted in numbers:
        assert exact <= bound + 1e-3
        assert counted == pytest.approx(exact, abs=0.01)
    best = [json.loads(line) for line in (tmp_path / "best" / "best.jsonl").read_text().splitlines()]
    assert len(best) == 4


def test_process_reward(tmp_path, model):
    steps = [[f"{a} and {b}", "so", str(a + b)] for a in range(5) for b in range(4)]
    rows = [{"prompt": "sum?", "completions": x, "labels": [True, None, i % 2 == 0]} for i, x in enumerate(steps)]
    common = ["--model", model, "--data", jsonl(tmp_path / "steps.jsonl", rows), "--folder", tmp_path / "run", *SHORT]
    run("process_reward", *common, "--learning-rate", "1e-2")
    last = metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]
    assert {"eval/accuracy", "eval/calibration_error", "step_accuracy"} <= last.keys()
    counts = [float(line.split("|")[3]) for line in (tmp_path / "run" / "reliability.md").read_text().split("\n")[2:-1]]
    assert sum(counts) == 2 * 2  # two labelled steps of each of two solutions
    saved = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert saved["architectures"] == ["Qwen3ForTokenClassification"]


@pytest.mark.slow
def test_tool_calls(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)  # as where a script is run from
    run("tool_calls", "--folder", tmp_path, "--warmup-steps", "12", "--steps", "2")
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert {"calls", "errors", "turns", "own_tokens", "reward"} <= lines[-1].keys()
    assert {"eval/calls", "eval/reward"} <= lines[0].keys()
    assert (tmp_path / "metrics.png").stat().st_size > 10_000
    run("tool_calls", "--folder", tmp_path / "step", "--warmup-steps", "12", "--steps", "2", "credit:step")
    line = metrics.read(tmp_path / "step" / "metrics.jsonl")[-1]
    assert (line["turns"], line["calls"]) == (1, 0)
    assert line["eval/turns"] > 1
