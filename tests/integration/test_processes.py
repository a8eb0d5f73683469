"""Two and four processes do together what one does: the same losses, one checkpoint, one voice."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy

from posttrain_jax.train import host, metrics

SCRIPT = pathlib.Path(__file__).with_name("hosted.py")
NEAR = {"rtol": 1e-5, "atol": 2e-6}
"""Float32, the sums over devices in another order; seen: the same bits on the same mesh, within 5e-7 on another."""


class Together:
    """Processes of one run, started; `told()` waits for them."""

    def __init__(self, count, folder, *tasks):
        folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        self._told = [folder / f"{count}.{index}.json" for index in range(count)]
        self._begin = time.monotonic()
        self._processes = [
            subprocess.Popen(
                [sys.executable, SCRIPT, coordinator, str(count), str(index), folder, *map(str, tasks)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(count)
        ]

    def ended(self):
        """Exit statuses, what was printed, and the seconds it took."""
        printed = [process.communicate(timeout=500)[0] for process in self._processes]
        return [process.returncode for process in self._processes], printed, time.monotonic() - self._begin

    def told(self):
        """What each process did, having ended well."""
        statuses, printed, _ = self.ended()
        assert set(statuses) == {0}, "\n".join(printed)
        return [json.loads(path.read_text()) for path in self._told]


def numbers(folder):
    """Metrics by step, without the times."""
    lines = metrics.read(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.startswith(("seconds", "tokens_per"))} for line in lines]


def assert_near(folder, other):
    ours, theirs = numbers(folder), numbers(other)
    assert len(ours) == len(theirs) > 0
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        np.testing.assert_allclose([one[name] for name in two], list(two.values()), **NEAR, err_msg=str(list(two)))


def assert_same_model(folder, other):
    assert_same_tensors(folder / "model.safetensors", other / "model.safetensors")


def assert_same_tensors(path, other):
    ours, theirs = (safetensors.numpy.load_file(one) for one in (path, other))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name], rtol=0, atol=2e-4, err_msg=name)


def check_sentences(heard):
    """All processes heard the same refusals."""
    assert all(one == heard[0] for one in heard)
    twice, empty, unwritable, different, uneven, bad, other, scoring = heard[0]
    assert "begins with two BOS tokens (id 1)" in twice
    assert f"data row {8 - 8 // len(heard)} among them, have no token to learn from" in empty
    assert "the folder /proc/nowhere cannot be written to" in unwritable
    assert f"process {len(heard) - 1} of {len(heard)} differs from the first: give every host the same" in different
    assert f"so that the {len(heard)} processes hold {([1] * 3 + [0] if len(heard) == 4 else [2, 1])} parts" in uneven
    assert "row 15: there is no field 'completion'" in bad
    assert "(Bad rows: 1 of the first 16; allowed: 0.)" in bad
    assert f"process {len(heard) - 1} of {len(heard)} reads other data (15 rows) than the first (16 rows)" in other
    assert scoring == "RuntimeError: no reward worker here"


ENDED = ("is_told_to_end", 9)


def test_two_processes_do_what_one_does_and_one_goes_on(tmp_path):
    alone = Together(1, tmp_path / "alone", "small_sft", 3, "small_grpo", 3)
    begun = ("small_sft", 2, "small_grpo", 3)
    both = Together(2, tmp_path / "both", "refused", 0, *begun, *ENDED)
    (one,), two = alone.told(), both.told()
    check_sentences([process["heard"] for process in two])
    # each process pads and scores its own half; two looks at the first batch come before the first step
    assert [process["rows"] for process in two] == [(2 + 2) * 4 * 2 + (3 + 2) * 2] * 2
    # and each scores one group of four to see whether its rewards find their fields
    assert [process["scored"] for process in two] == [4 + 3 * 16 // 2] * 2
    assert one["scored"] == 4 + 3 * 16
    # and each reads and encodes its half of the rows of two runs
    assert [process["encoded"] for process in two] == [2 * 8] * 2
    # where the tensor axis takes in both, they hand one another their rows
    assert_near(tmp_path / "both" / "small_grpo", tmp_path / "alone" / "small_grpo")
    # one was told to end, both did after the same step
    assert [process["exit"] for process in two] == [143] * 2
    assert numbers(tmp_path / "both" / "is_told_to_end") == numbers(tmp_path / "both" / "small_sft")
    assert [path.name for path in (tmp_path / "both" / "is_told_to_end" / "checkpoints").iterdir()] == ["2"]
    assert not (tmp_path / "both" / "small_sft" / "checkpoints" / "3").exists()
    Together(1, tmp_path / "both", "small_sft", 3).told()
    assert_near(tmp_path / "both" / "small_sft", tmp_path / "alone" / "small_sft")


@pytest.mark.slow
def test_two_processes_select_what_one_does_and_one_goes_on(tmp_path):
    alone, both = Together(1, tmp_path / "alone", "selects", 4), Together(2, tmp_path / "both", "selects", 2)
    (one,), two = alone.told(), both.told()
    assert [process["encoded"] for process in (one, *two)] == [16, 8, 8]
    Together(1, tmp_path / "both", "selects", 4).told()
    assert_near(tmp_path / "both" / "selects", tmp_path / "alone" / "selects")
    lines = numbers(tmp_path / "both" / "selects")
    assert lines[0]["rounds"] > 1  # with two processes
    assert max(line["stale_rows"] for line in lines) > 0


@pytest.mark.slow
def test_teachers_elsewhere_and_a_judge_that_rereads_say_the_same_to_two_processes(tmp_path):
    """Four have one device each, and one of the teachers lies on every other device."""
    runs = {count: Together(count, tmp_path / str(count), "taught", 3) for count in (1, 2, 4)}
    heard = [[process["heard"] for process in one.told()] for one in runs.values()]
    assert heard[:2] == [[[]], [[], []]]
    assert_near(tmp_path / "2" / "taught", tmp_path / "1" / "taught")
    line = numbers(tmp_path / "1" / "taught")[0]
    assert line["teacher_kl"] > 0.1
    assert line["reward_std"] > 0.01
    for (sentence,) in heard[2]:
        assert (
            "'reverse_dpo' lies on devices of the processes [0, 2] and the policy's on those of [0, 1, 2, 3]"
            in sentence
        )


STEPS = {"sft": 5, "dpo": 5, "grpo": 5, "adapted_dpo": 5, "adapted_grpo": 3}
FIELDS = 4
"""Completions that each process scores first of all, to see whether its rewards find what they read."""
LAST = [part for task in STEPS.items() for part in task]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process does."""
    folder = tmp_path_factory.mktemp("alone")
    (told,) = Together(1, folder, *LAST, "evaluated", 0).told()
    return folder, told


@pytest.mark.slow
@pytest.mark.parametrize(("count", "after"), [(2, 4), (4, 2), (4, 1)])
def test_processes_train_save_and_restore_in_another_number(tmp_path, alone, count, after):
    folder, expected = alone
    begun = [part for task in ("sft", "dpo", "adapted_dpo") for part in (task, 3)]
    told = Together(count, tmp_path, "refused", 0, *begun, "unscored", 4, "evaluated", 0).told()
    check_sentences([process["heard"][:8] for process in told])
    reasons = {process["heard"][8] for process in told}
    assert len(reasons) == 1
    assert "step 4: no completion was scored (RuntimeError: no answer in process 0). " in reasons.pop()
    assert sum(process["scored"] for process in told) == FIELDS * count + 3 * 16 + 6
    assert len({process["rows"] for process in told[: 6 * count // 8]}) == 1
    assert (tmp_path / "evaluated.json").read_text()
    ours, theirs = (json.loads((path / "evaluated.json").read_text()) for path in (tmp_path, folder))
    assert ours == pytest.approx(theirs)

    (tmp_path / "unscored").rename(tmp_path / "grpo")
    told = Together(after, tmp_path, *LAST).told()
    assert sum(process["scored"] for process in told) == FIELDS * 2 * after + 2 * 16 + 3 * 16
    for task in STEPS:
        assert_near(tmp_path / task, folder / task)
    for task in ("dpo", "adapted_dpo"):
        assert_same_model(tmp_path / task / "model", folder / task / "model")
    adapters = pathlib.Path("adapted_dpo", "adapters", "adapter_model.safetensors")
    assert_same_tensors(tmp_path / adapters, folder / adapters)
    assert expected["scored"] == FIELDS * 2 + 5 * 16 + 3 * 16 + 6


@pytest.mark.slow
def test_what_one_process_cannot_do_ends_both_saved(tmp_path):
    tasks = ("cannot_report", 3, "cannot_score", 2, "lacks_room", 6)
    one, two = (process["heard"] for process in Together(2, tmp_path, *tasks).told())
    assert one[0] == "no room for numbers"
    assert two[0] == "another process of the run failed: no room for numbers"
    assert one[1] == two[1]
    assert "step 2: a reward worker did not start. The run is saved as of step 1 in" in one[1]
    assert one[2] == two[2]
    assert re.match("a checkpoint takes .* GiB free: make room", one[2])
    for task, step in (("cannot_report", "2"), ("cannot_score", "1"), ("lacks_room", "2")):
        assert [path.name for path in (tmp_path / task / "checkpoints").iterdir()] == [step]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["fails_alone", "is_killed", "fills_up"])
def test_no_process_waits_for_ever_for_one_that_is_gone(tmp_path, task):
    statuses, printed, seconds = Together(2, tmp_path, task, 6).ended()
    assert 0 not in statuses
    assert seconds < (1.5 if task != "fills_up" else 2.5) * host.LOST_AFTER_S, printed
    assert task != "fails_alone" or "ValueError: this process alone" in printed[1]
    assert task != "fills_up" or "the checkpoint of step 4 could not be written" in printed[1]
