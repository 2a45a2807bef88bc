"""The folder of the demo replaces what an earlier demo wrote, and nothing else."""

import json

import pytest

from opalg.cli.folder import MARK, OutputFolder
from opalg.errors import ParameterError


def write(path, *names):
    """One run that writes files of these names."""
    folder = OutputFolder(path)
    folder.prepare(names)
    for name in names:
        folder.file(name).write_text(name, encoding="utf-8")
    folder.finish({"psnr": 30.0})
    return folder


def test_a_run_leaves_its_files_and_their_record(tmp_path):
    write(tmp_path / "deep" / "out", "a.png", "b.png")
    record = json.loads((tmp_path / "deep" / "out" / MARK).read_text(encoding="utf-8"))
    assert record == {"made_by": "opalg demo", "files": ["a.png", "b.png"], "psnr": 30.0}


def test_a_second_run_replaces_the_files_of_the_first_and_keeps_others(tmp_path):
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert write(tmp_path, "a.png").earlier == ("a.png", "b.png", MARK)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", MARK, "mine.txt"]


@pytest.mark.parametrize("name", ["a.png", MARK])
def test_files_of_others_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ParameterError, match=f"{name}.*--output"):
        write(tmp_path, "a.png")
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_a_record_cannot_point_out_of_the_folder(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    (tmp_path / "out").mkdir()
    record = {"made_by": "opalg demo", "files": ["../outside.txt"]}
    (tmp_path / "out" / MARK).write_text(json.dumps(record), encoding="utf-8")
    write(tmp_path / "out", "a.png")
    assert outside.read_text(encoding="utf-8") == "mine"


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ParameterError, match="--output"):
        OutputFolder(path)
