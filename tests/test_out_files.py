"""What a run of hours writes: refused before it starts, or there whole; never half, and never in place of a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from ixc.benchmarks.inference import BenchmarkOptions
from ixc.benchmarks.measuring import Figure
from ixc.benchmarks.results import RunRecord
from ixc.out_files import check_file, check_folder, write_whole, written_aside


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "result.json"
    for content, expected in (("中文 \ud800\n", "中文 \\ud800\n".encode()), (b"\x00\r\n", b"\x00\r\n")):
        write_whole(path, content)
        assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


def full_disk(self: Path, data: bytes) -> int:
    with self.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError(28, "No space left on device")


def test_what_fails_halfway_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("earlier")
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "later")
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: events.append(("on the disk", os.fstat(file).st_size)) or fsync(file))
    monkeypatch.setattr(Path, "replace", lambda aside, path: events.append(("named", path.name)) or replace(aside, path))
    with written_aside(tmp_path / "model") as aside:
        assert aside.parent == tmp_path, "only within one folder it is renamed at once"
        aside.write_bytes(b"12345")
        assert not (tmp_path / "model").exists()
    assert events == [("on the disk", 5), ("named", "model")]


def test_a_link_stays_one(tmp_path):
    target, link = tmp_path / "kept" / "result.json", tmp_path / "link.json"
    target.parent.mkdir()
    link.symlink_to(target)
    check_file(link)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
def test_a_pipe_is_not_replaced(tmp_path):
    """Nor, where root writes to /dev/null, that."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        check_file(path)
        write_whole(path, "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_check_leaves_nothing_but_the_folder(tmp_path):
    path = tmp_path / "new" / "result.json"
    check_file(path)
    check_folder(path.parent)
    assert list(path.parent.iterdir()) == []
    path.write_text("earlier")
    check_file(path)
    assert path.read_text() == "earlier"


@pytest.mark.parametrize(("name", "error"), [(".", IsADirectoryError), ("file/result.json", OSError)])
def test_what_cannot_be_written_is_found_before(tmp_path, name, error):
    (tmp_path / "file").touch()
    with pytest.raises(error):
        check_file(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_protected_file_is_not_replaced(tmp_path):
    path = tmp_path / "result.json"
    path.touch(mode=0o400)
    with pytest.raises(PermissionError):
        check_file(path)


def test_a_benchmark_s_result_is_not_lost_when_the_next_cannot_be_written(tmp_path, monkeypatch):
    record = RunRecord("a model", torch.device("cpu"), "fp32", BenchmarkOptions(budgets=(1,), repeats=1))
    record.figures.append(Figure("decode", 20.0, "ms", 40.0))
    path = tmp_path / "new" / "some.json"
    assert record.write(path) == (path, path.with_suffix(".svg"))
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        record.write(path)
    assert path.read_bytes() == before
