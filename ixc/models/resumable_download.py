"""Weight files into the Hub client's own cache, going on in the middle of a file after a break.

The Hub client starts a file again that was broken off: since its release 1.18 every attempt has a temporary file of its own,
so that two processes on a file system without working locks cannot write into one (huggingface_hub pull request 4228). For
shards of 10 GB that is a bad bargain. Here a partial file keeps its name, and what such a clash could spoil is caught by the
file's SHA-256, which the Hub names for every large file. A finished file lies where the client looks for it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers
from tqdm import tqdm

from ixc.errors import CheckpointError

logger = logging.getLogger(__name__)

LARGE_BYTES = 32 * 1024 * 1024
"""Smaller files are left to the Hub client; they start again."""
_STREAMS = 4
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 8 * 1024 * 1024

OnBytes = Callable[[int], None]
"""Called with how many bytes of the files are there now that were not before; from several threads, one at a time."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One file: where it comes from, what it must be, where it goes."""

    url: str
    etag: str
    size: int
    blob: Path
    lock: Path

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.blob.name}.ixc-partial")


class _Stopped(Exception):
    """The download was interrupted; its threads end."""


def partial_bytes(repo_id: str) -> int:
    """What earlier, broken attempts at the repository's files left on the disk."""
    return sum(path.stat().st_size for path in (_repository(repo_id) / "blobs").glob("*.ixc-partial"))


def fetch_large_files(repo_id: str, commit: str, names: Sequence[str], on_bytes: OnBytes) -> None:
    """Bring the files ``names`` of one commit into the cache, several at a time, each from where it broke off.

    Raises CheckpointError when a file is not what the Hub says it is, and what the Hub client raises.
    """
    stop, lock = threading.Event(), threading.Lock()

    def advance(num_bytes: int) -> None:
        if stop.is_set():
            raise _Stopped
        with lock:
            on_bytes(num_bytes)

    targets = [_target(repo_id, commit, name) for name in names]
    with ThreadPoolExecutor(_STREAMS, thread_name_prefix="ixc-download") as pool:
        running: list[Future[None]] = []
        try:
            running += (pool.submit(_fetch, target, advance) for target in targets)
            for one in running:
                one.result()
        except BaseException:
            stop.set()
            for one in running:
                one.cancel()
            raise


def _target(repo_id: str, commit: str, name: str) -> _Target:
    url = hf_hub_url(repo_id, name, revision=commit)
    metadata = get_hf_file_metadata(url)
    repository = _repository(repo_id)
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / repository.name
    return _Target(url, metadata.etag, metadata.size, repository / "blobs" / metadata.etag, locks / f"{metadata.etag}.lock")


def _fetch(target: _Target, advance: OnBytes) -> None:
    for folder in (target.blob.parent, target.lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(target.lock):
        if target.blob.exists():  # another process was faster
            advance(target.size)
            return
        partial = target.partial
        if partial.exists() and partial.stat().st_size > target.size:
            partial.unlink()
        partial.touch()
        num_there = partial.stat().st_size
        advance(num_there)
        with partial.open("r+b") as file:
            file.seek(num_there)
            # Compressed on its way a file could not be continued: servers then ignore the range.
            headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
            bar = _advancing_bar(advance)
            http_get(target.url, file, resume_size=num_there, headers=headers, expected_size=target.size, tqdm_class=bar)
        if num_there:
            logger.info("went on at byte %d of %d", num_there, target.size)
            _check(target)
        partial.replace(target.blob)


def _check(target: _Target) -> None:
    """A file of several attempts must be the Hub's. Deletes it and raises CheckpointError when it is not."""
    if not _SHA256.fullmatch(target.etag):
        return
    digest = hashlib.sha256()
    with target.partial.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    if digest.hexdigest() != target.etag:
        target.partial.unlink()
        raise CheckpointError("A file that was downloaded in parts came out damaged and was deleted; start the download again.")


def _repository(repo_id: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model")


def _advancing_bar(advance: OnBytes) -> type[tqdm]:
    """The Hub client reports by a tqdm class; this one draws nothing."""

    class AdvancingBar(tqdm):
        def __init__(self, *args: object, **kwargs: object) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            advance(int(n or 0))

    return AdvancingBar
