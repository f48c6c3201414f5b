"""Bring a checkpoint from the Hugging Face Hub: data files only, resumable, from the cache when offline."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
from huggingface_hub import DryRunFileInfo, constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from ixc.errors import CheckpointError
from ixc.models.resumable_download import LARGE_BYTES, fetch_large_files, partial_bytes

DATA_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.jinja")
"""Never ``*.py``: nothing that comes from the Hub is executed."""
_PICKLED = ["*.bin"]
_GIGABYTE = 1e9

OnShare = Callable[[float], None]
"""Called with the share of bytes that are there, 0 to 1."""


def download_checkpoint(repo_id: str, revision: str, on_share: OnShare | None = None) -> Path:
    """The local folder of a Hub model, downloading the files that the cache lacks.

    After an interruption it goes on where it stopped. Without a network a complete cached copy serves.
    Raises CheckpointError saying what to do.
    """
    try:
        missing, ignore = _missing(repo_id, revision)
        missing_bytes = sum(file.file_size for file in missing)
        _check_disk(missing_bytes - partial_bytes(repo_id), repo_id)
        share = _Share(missing_bytes, on_share)
        large = [file for file in missing if file.file_size >= LARGE_BYTES]
        if large:
            fetch_large_files(repo_id, large[0].commit_hash, [file.filename for file in large], share.advance)
        folder = snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=list(DATA_FILES),
            ignore_patterns=ignore,
            tqdm_class=_reporting_bar(share),
        )
    except IncompleteSnapshotError as error:
        raise CheckpointError(
            f"Only a part of {repo_id} is downloaded and the Hub cannot be reached; connect to the network and start again."
        ) from error
    except GatedRepoError as error:
        raise CheckpointError(
            f"The model {repo_id} asks for an agreement; accept it on huggingface.co and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no public model {repo_id} on the Hub; check the name, or set HF_TOKEN if it is private."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"The model {repo_id} has no revision {revision!r} on the Hub.") from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"The Hub cannot be reached and {repo_id} is not on this machine; connect to the network or give a local folder."
        ) from error
    except (httpx2.HTTPError, HfHubHTTPError) as error:
        raise CheckpointError(f"The download of {repo_id} broke off; start again, it goes on where it stopped.") from error
    except OSError as error:
        raise CheckpointError(_disk_sentence(error, repo_id)) from error
    return Path(folder)


def _missing(repo_id: str, revision: str) -> tuple[list[DryRunFileInfo], list[str]]:
    """Files still to come, and the patterns to leave out: pickled weights where the repository has safetensors too."""
    try:
        files = snapshot_download(repo_id, revision=revision, allow_patterns=list(DATA_FILES), dry_run=True)
    except DryRunError:  # the Hub cannot be reached: go by what the cache holds
        return [], _PICKLED if _is_cached(repo_id, revision, "*.safetensors") else []
    has_safetensors = any(file.filename.endswith(".safetensors") for file in files)
    wanted = [file for file in files if not (has_safetensors and file.filename.endswith(".bin"))]
    return [file for file in wanted if file.will_download], _PICKLED if has_safetensors else []


def _is_cached(repo_id: str, revision: str, pattern: str) -> bool:
    try:
        folder = snapshot_download(repo_id, revision=revision, allow_patterns=pattern, local_files_only=True)
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        return False
    return any(Path(folder).glob(pattern))


def _check_disk(missing_bytes: int, repo_id: str) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free_bytes = shutil.disk_usage(existing).free
    if missing_bytes > free_bytes:
        raise CheckpointError(
            f"{repo_id} needs {missing_bytes / _GIGABYTE:.1f} GB more and {cache} has {free_bytes / _GIGABYTE:.1f} GB free; "
            "make room or set HF_HOME to a larger disk."
        )


def _disk_sentence(error: OSError, repo_id: str) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"The disk is full; make room or set HF_HOME to a larger disk and start again, {repo_id} goes on where it stopped."
        )
    reason = error.strerror or "a file could not be written"
    return f"The download of {repo_id} failed ({reason}); check {constants.HF_HUB_CACHE} and start again."


class _Share:
    """Bytes that came, as a share of those that were missing. It never falls, though threads may report out of turn."""

    def __init__(self, total_bytes: int, on_share: OnShare | None) -> None:
        self._total_bytes, self._on_share = total_bytes, on_share
        self._num_bytes, self._shown = 0, 0.0
        self._lock = threading.Lock()

    def advance(self, num_bytes: int) -> None:
        with self._lock:  # reported inside it too: two threads' reports must not overtake each other
            self._num_bytes += num_bytes
            if self._on_share and self._total_bytes:
                self._shown = max(self._shown, min(self._num_bytes / self._total_bytes, 1.0))
                self._on_share(self._shown)


def _reporting_bar(share: _Share) -> type[tqdm]:
    """A progress bar that draws nothing and reports; the Hub client wants a tqdm class."""

    class ReportingBar(tqdm):
        def __init__(self, *args: object, **kwargs: object) -> None:
            kwargs.pop("name", None)
            self._is_bytes_written = kwargs.get("unit") == "B" and "econstruct" in str(kwargs.get("desc", ""))
            super().__init__(*args, **{**kwargs, "disable": True})
            self.n, self.total = 0, kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self._is_bytes_written:
                share.advance(int(n or 0))

    return ReportingBar
