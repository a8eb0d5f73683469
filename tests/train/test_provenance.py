import pytest

from posttrain_jax.models import sharding
from posttrain_jax.train import optimizer, provenance

ABOUT = {"objective": "DPO(beta=0.1)", "lora": "Lora(rank=2)", "optimizer": "a", "version": "2"}


def text(config):
    return repr(optimizer.make_optimizer(config).update)


def test_only_what_differs_between_two_optimizers_is_told():
    before = text(optimizer.AdamW(optimizer.Cosine(1e-3, 100, 10)))
    now = text(optimizer.AdamW(optimizer.Cosine(5e-4, 200, 10), max_grad_norm=None))
    told = "peak=0.0005 (until now 0.001), total_steps=200 (until now 100), max_grad_norm=None (until now 1.0)"
    assert provenance.differences(before, now) == told


def test_another_kind_of_optimizer_is_told_whole():
    before, now = (text(kind(optimizer.Constant(1e-3))) for kind in (optimizer.AdamW, optimizer.Lion))
    assert provenance.differences(before, now) == now
    assert provenance.differences(None, now) == now


@pytest.mark.parametrize("name", ["objective", "lora"])
def test_another_method_or_rank_is_refused_by_name(tmp_path, name):
    saved = ABOUT | {name: "Other(rank=3)", "version": "1"}
    with pytest.raises(ValueError, match=rf"a run with {name} Other\(rank=3\), and this one has .*versions 1 and 2"):
        provenance.refuse(tmp_path, ABOUT, saved)


def test_another_optimizer_or_version_is_not_refused(tmp_path):
    provenance.refuse(tmp_path, ABOUT, ABOUT | {"optimizer": "b", "version": "1"})


def test_another_mesh_is_told_and_remembered(tmp_path, capsys):
    wide, cut = (provenance.of_mesh(sharding.make_mesh(**sizes)) for sizes in ({"data": 2}, {"fsdp": 2}))
    provenance.refuse(tmp_path, ABOUT | {"mesh": cut}, ABOUT | {"mesh": wide})
    about = provenance.follow(tmp_path, 7, ABOUT | {"mesh": wide}, ABOUT | {"mesh": cut})
    said = "until step 7 with another mesh and goes on with data=1 (until now 2), fsdp=2 (until now 1)"
    assert said in " ".join("".join(capsys.readouterr()).split())
    assert about["earlier"] == "mesh until step 7: Mesh(data=2, fsdp=1, tensor=1, device=cpu). "


def test_a_mesh_that_was_not_recorded_is_not_called_another(tmp_path, capsys):
    mesh = provenance.of_mesh(sharding.make_mesh(data=2))
    about = provenance.follow(tmp_path, 7, ABOUT, ABOUT | {"mesh": mesh})
    assert f"until step 7 with a mesh not recorded and goes on with {mesh}: if" in capsys.readouterr().err
    assert about["earlier"] == "mesh until step 7: not recorded. "


@pytest.mark.parametrize("made", [True, False])
def test_of_a_run_that_came_to_nothing_nothing_is_left(tmp_path, made):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("run.json", "samples.jsonl", "metrics.jsonl"):
        (folder / name).write_text("{}" if name == "run.json" else "")
    provenance.withdraw(folder, made=made)
    assert [path.name for path in tmp_path.rglob("*")] == ([] if made else ["run"])


@pytest.mark.parametrize("there", ["checkpoints/3/arrays", "metrics.jsonl", "samples.jsonl"])
def test_what_a_run_saved_or_reported_stays(tmp_path, there):
    for path in (tmp_path / there, tmp_path / "run.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    provenance.withdraw(tmp_path, made=True)
    assert (tmp_path / there).read_text() == (tmp_path / "run.json").read_text() == "{}"


def test_what_lies_beside_a_refused_run_stays(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    provenance.withdraw(tmp_path, made=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_left_out_is_refused_and_what_a_run_remembers_is_not(tmp_path):
    with pytest.raises(ValueError, match=r"a run with judge Judge\(\), and this one has None"):
        provenance.refuse(tmp_path, ABOUT, ABOUT | {"judge": "Judge()"})
    provenance.refuse(tmp_path, ABOUT, ABOUT | {"earlier": "optimizer until step 3: a. "})
