import gzip
import json
import pathlib
import sys
import types

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from posttrain_jax.data import source

ROWS = [{"prompt": "a\u2028b", "completion": "c"}, {"prompt": "d", "completion": "é"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
SHARED = pathlib.Path(__file__).parents[2].parent / "shared/data"


def listed(rows):
    return [rows[index] for index in range(len(rows))]


def write(path, content):
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl", LINES.rstrip("\n")),
        ("a.jsonl", "\ufeff" + LINES),
        ("a.jsonl", LINES.replace("\n", "\r\n")),
        ("a.jsonl.gz", LINES),
        ("a.json", json.dumps(ROWS)),
        ("a.parquet", ""),
    ],
)
def test_files(tmp_path, name, content):
    path = write(tmp_path / name, content)
    assert listed(source.read(str(path))) == ROWS
    assert listed(source.read(str(tmp_path))) == ROWS
    assert isinstance(source.read(str(path)), source.Rows)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", LINES + "\n" + LINES, "a.jsonl line 3 is empty"),
        ("a.jsonl", LINES + '{"prompt": "half', "a.jsonl line 3 is not whole JSON"),
        ("a.jsonl", LINES + "[1]\n", "a.jsonl line 3 holds a list"),
        ("a.jsonl", "", "a.jsonl holds no rows"),
        ("a.json", LINES, "line 2 is not JSON .*name the file .jsonl"),
        ("a.json", '{"prompt": "a"}', "one JSON list of objects"),
        ("a.csv", "a,b", "none of the kinds"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, name, content, told):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=told):
        source.read(str(path))


def test_broken_bytes(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES.encode() + b'{"prompt": "\xff"}')
    with pytest.raises(ValueError, match="line 3 is not UTF-8"):
        source.read(str(tmp_path / "a.jsonl"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(LINES.encode())[:-9])
    with pytest.raises(ValueError, match="not whole gzip"):
        source.read(str(tmp_path / "b.jsonl.gz"))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match="not a whole Parquet"):
        source.read(str(tmp_path / "c.parquet"))


def test_splits_of_a_folder(tmp_path):
    write(tmp_path / "data/train-00000-of-00002.jsonl", LINES)
    write(tmp_path / "data/train-00001-of-00002.parquet", "")
    write(tmp_path / "data/trained.jsonl", LINES)
    write(tmp_path / "data/test.jsonl", LINES)
    assert listed(source.read(str(tmp_path), split="train")) == ROWS * 2
    assert listed(source.read(str(tmp_path), split="test")) == ROWS
    assert listed(source.read(str(tmp_path), split="test.jsonl")) == ROWS
    with pytest.raises(ValueError, match=r"several data files \(data/test.jsonl.*name a split"):
        source.read(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no data file of split 'dev' .*; its data files: data/test.jsonl"):
        source.read(str(tmp_path), split="dev")
    with pytest.raises(ValueError, match="one file and has no split"):
        source.read(str(tmp_path / "data/test.jsonl"), split="test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="its data files: none"):
        source.read(str(tmp_path / "empty"))


def test_folders_that_datasets_saved(tmp_path):
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "dict")
    assert listed(source.read(str(tmp_path / "dict"))) == ROWS
    with pytest.raises(ValueError, match=r"has the splits train; name one of them \(got 'test'\)"):
        source.read(str(tmp_path / "dict"), split="test")
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    assert listed(source.read(str(tmp_path / "one"))) == ROWS


def test_missing_files_are_not_looked_for_on_the_hub(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        source.read(str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        source.read("nothing.jsonl")


def test_hub(monkeypatch):
    def load_dataset(name, subset, *, split):
        if name == "openai/gsm8k":
            assert (subset, split) == ("main", "train")
            return ROWS
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert source.read("openai/gsm8k", split="train", subset="main") == ROWS
    with pytest.raises(FileNotFoundError, match=r"no local file or folder 'nobody/nothing'.*Couldn't reach"):
        source.read("nobody/nothing")


def test_check_disjoint():
    source.check_disjoint([{"q": "a"}], [{"q": "b"}], field="q")
    with pytest.raises(ValueError, match="held-out row 1 is training row 0 again"):
        source.check_disjoint([{"q": "a  b"}], [{"q": "c"}, {"q": "a b\n"}], field="q")


def test_real_data():
    if not SHARED.exists():
        pytest.skip("shared/data is not beside the repository")
    train = source.read(str(SHARED / "gsm8k"), split="train")
    test = source.read(str(SHARED / "gsm8k"), split="test")
    assert (len(train), len(test)) == (7473, 1319)
    assert set(train[0]) == {"question", "answer"}
    source.check_disjoint(train, test, field="question")
    assert len(source.read(str(SHARED / "hh_harmless"))) == 2312
