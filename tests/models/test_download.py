"""Downloading with the real Hub client against a stand-in of its HTTP API, in processes of their own that can be killed."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.models.hub import REPOSITORY, DownloadHub

PROGRAM = r"""
import sys
from ixc.errors import CheckpointError
from ixc.models.download import download_checkpoint
try:
    folder = download_checkpoint(sys.argv[1], "main", lambda share: print(f"share {share}\n", end="", flush=True))
except CheckpointError as error:
    sys.exit(f"error: {error}")
print("folder", folder)
"""
LARGE = 40 * 1024 * 1024


@pytest.fixture
def hub():
    files = {
        "config.json": b"{}",
        "model.safetensors": os.urandom(1024) * (LARGE // 1024),
        "pytorch_model.bin": b"pickled",
        "tokenizer.model": b"pieces",
        "modeling_evil.py": b"raise SystemExit",
    }
    hub = DownloadHub(files)
    yield hub
    hub.close()


@pytest.fixture
def environment(hub, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}


def download(environment, repository=REPOSITORY):
    command = [sys.executable, "-c", PROGRAM, repository]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def folder_of(result):
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.splitlines()[-1].removeprefix("folder "))


def test_data_files_come_whole_code_and_pickles_do_not(hub, environment):
    result = download(environment)
    folder = folder_of(result)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.model"}
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    shares = [float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("share")]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_pickled_weights_come_where_there_are_no_others(hub, environment):
    del hub.files["model.safetensors"]
    assert (folder_of(download(environment)) / "pytorch_model.bin").read_bytes() == b"pickled"


def kill_in_the_middle(hub, environment):
    """Start a download and kill it when half of the model's file has been sent; returns the partial file."""
    hub.stall_on = "model.safetensors"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, REPOSITORY], env=environment)
    assert hub.stalled.wait(60)
    blobs = Path(environment["HF_HOME"]) / "hub" / "models--someone--small-model" / "blobs"
    partial = blobs / f"{hashlib.sha256(hub.files['model.safetensors']).hexdigest()}.ixc-partial"
    wait_until(lambda: partial.stat().st_size > LARGE // 4)
    process.kill()
    process.wait()
    hub.stall_on = None
    hub.release.set()
    hub.requests.clear()
    return partial


def test_a_killed_download_goes_on_in_the_middle_of_the_file(hub, environment):
    hub.files["model-00002.safetensors"] = hub.files["model.safetensors"][::-1]
    partial = kill_in_the_middle(hub, environment)
    num_there = partial.stat().st_size
    result = download(environment)
    folder = folder_of(result)
    assert ("model.safetensors", num_there) in hub.ranges
    for name in ("model.safetensors", "model-00002.safetensors"):
        assert (folder / name).read_bytes() == hub.files[name]
    assert not list(partial.parent.glob("*.ixc-partial"))
    shares = [float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("share")]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_a_file_that_cannot_be_looked_up_is_told_before_another_one_comes(hub, environment):
    """Not after ten gigabytes of it: the stand-in would keep the first file's reader waiting for ever."""
    hub.files["model-2.safetensors"] = hub.files["model.safetensors"][::-1]
    hub.stall_on, hub.missing = "model.safetensors", "model-2.safetensors"
    assert download(environment).returncode != 0
    assert ("GET", "model.safetensors") not in hub.requests


def test_finished_files_are_not_fetched_again(hub, environment):
    folder = folder_of(download(environment))
    hub.requests.clear()
    (folder / "config.json").unlink()
    assert folder_of(download(environment)) == folder
    assert "model.safetensors" not in {name for method, name in hub.requests if method == "GET"}


def test_a_server_that_knows_no_ranges_starts_the_file_again(hub, environment):
    kill_in_the_middle(hub, environment)
    hub.serves_ranges = False
    folder = folder_of(download(environment))
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_partial_file_that_is_not_the_hubs_is_caught_and_the_next_try_works(hub, environment):
    partial = kill_in_the_middle(hub, environment)
    spoilt = bytearray(partial.read_bytes())
    spoilt[1000] ^= 1
    partial.write_bytes(spoilt)
    result = download(environment)
    assert (
        "error: A file that was downloaded in parts came out damaged and was deleted; start the download again" in result.stderr
    )
    assert (folder_of(download(environment)) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_offline_uses_a_complete_copy_and_says_when_there_is_none(hub, environment):
    nothing = download(environment | {"HF_HUB_OFFLINE": "1"})
    assert nothing.returncode == 1
    assert "cannot be reached and someone/small-model is not on this machine" in nothing.stderr
    folder = folder_of(download(environment))
    hub.close()
    assert folder_of(download(environment | {"HF_HUB_OFFLINE": "1"})) == folder


def test_unknown_model_and_dead_hub_are_one_sentence(hub, environment):
    unknown = download(environment, "someone/other-model")
    assert "error: There is no public model someone/other-model on the Hub" in unknown.stderr
    hub.close()
    dead = download(environment)
    assert "error: The Hub cannot be reached" in dead.stderr
    assert all("Traceback" not in result.stderr for result in (unknown, dead))


def test_a_full_disk_is_noticed_before_the_download(hub, environment):
    """The stand-in claims more bytes than any disk has free."""
    hub.files["model.safetensors"] = HugeFile(10**18)
    result = download(environment)
    assert "error: someone/small-model needs 1000000000.0 GB more" in result.stderr
    assert not [name for method, name in hub.requests if method == "GET" and name == "model.safetensors"]


class HugeFile(bytes):
    """Says it is larger than it is."""

    size: int

    def __new__(cls, size: int) -> "HugeFile":
        made = super().__new__(cls, b"x")
        made.size = size
        return made

    def __len__(self) -> int:
        return self.size


def wait_until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)
