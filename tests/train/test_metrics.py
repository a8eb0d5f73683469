import io
import json
import math
import sys

import matplotlib.image
import pytest
import rich.console

from posttrain_jax.train import display, metrics, plot

SHOWN = [metrics.Shown(prompt="[bold]1+1=[/bold]", completion="[red]2", reward=math.nan)]


def test_json_lines_resume_drops_what_is_run_again(tmp_path):
    logger = metrics.JsonLines(tmp_path)
    for step in range(1, 5):
        logger.log(step, {"loss": 1 / step, "kl": math.nan})
        logger.samples(step, SHOWN)
    logger.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # what a kill leaves
    logger = metrics.JsonLines(tmp_path, resumed_step=2)
    logger.log(3, {"loss": 7.0})
    lines = metrics.read(tmp_path / "metrics.jsonl")  # before closing: every line is written out at once
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[1:] == [{"step": 2, "loss": 0.5, "kl": None}, {"step": 3, "loss": 7.0}]
    assert [json.loads(x)["step"] for x in (tmp_path / "samples.jsonl").read_text().splitlines()] == [1, 2]
    logger.log(0, {"eval/reward": 0.0})
    logger.close()
    metrics.JsonLines(tmp_path).close()
    assert metrics.read(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("spoilt", [b"\x00\x00", b"\xff\xfe\n", b"7\n", b'{"step": 2'])
def test_a_spoilt_line_ends_the_file(tmp_path, spoilt):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + spoilt)
    metrics.JsonLines(tmp_path, resumed_step=2).close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_several_pass_everything_on(tmp_path):
    loggers = metrics.Several([metrics.JsonLines(tmp_path / name) for name in "ab"])
    assert isinstance(loggers, metrics.Logger)
    loggers.log(1, {"loss": 0.0})
    loggers.samples(1, SHOWN)
    loggers.close()
    assert metrics.read(tmp_path / "a" / "metrics.jsonl") == metrics.read(tmp_path / "b" / "metrics.jsonl") != []


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("tensorboardX", lambda: metrics.TensorBoard("x"), r"posttrain_jax\[tensorboard\]"),
        ("wandb", lambda: metrics.WeightsAndBiases(project="p", name="n", folder="x", config={}), r"\[wandb\]"),
    ],
)
def test_missing_extras_are_named(monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=extra):
        make()


def console(terminal):
    return rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_without_a_terminal_there_is_a_line_now_and_then():
    out = console(False)
    shown = display.Display(20, every=10, console=out)
    for step in range(3, 21):
        shown.log(step, {"reward": 0.25, "entropy": 12345.6, "other": 1.0, "seconds/update": 0.5})
    shown.close()
    lines = out.file.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["3/20", "10/20", "20/20"]
    assert lines[0] == "step 3/20  reward 0.25  entropy 12,346"


def test_on_a_terminal_numbers_phases_and_samples_are_shown():
    out = console(True)
    shown = display.Display(20, console=out)
    shown.log(1, {"reward": 0.25, "kl": 0.5, "tokens_per_second": 99.0, "seconds/rollout": 1.25})
    shown.samples(1, SHOWN)
    shown.close()
    text = out.file.getvalue()
    for part in ("step 1/20", "reward", "0.25", "tokens_per_second", "rollout 1.25"):
        assert part in text


def test_sample_text_is_not_markup():
    out = console(False)
    out.print(display.sample_table(3, SHOWN))
    text = out.file.getvalue()
    assert "[bold]1+1=[/bold]" in text
    assert "[red]2" in text
    assert "nan" in text


def test_plot_draws_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="run at least one step"):
        plot.plot_run(tmp_path)
    logger = metrics.JsonLines(tmp_path)
    for step in range(1, 40):
        evaluation = {"eval/reward": 0.5} if step % 10 == 0 else {}
        logger.log(step, {"reward": step / 40, "kl": 0.1, "loss": 0.0, "completion_length": 3.0} | evaluation)
    logger.close()
    image = matplotlib.image.imread(plot.plot_run(tmp_path))
    assert image.shape[0] > 200
    assert image[..., :3].std() > 0.05
    assert plot.smooth((1.0, 2.0)) == [1.0, 2.0]


def test_stages_stand_side_by_side():
    out = console(False)
    out.print(display.comparison({"before": {"accuracy": 0.25}, "after": {"accuracy": 0.75}}))
    rows = out.file.getvalue().splitlines()
    assert any("before" in row and "0.25" in row for row in rows)
    assert any("after" in row and "0.75" in row for row in rows)
