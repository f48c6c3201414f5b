"""Bring a checkpoint from the Hugging Face Hub: data files only, resumable, from the cache when offline."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx2
from huggingface_hub import constants, snapshot_download
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

DATA_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.jinja")
"""Never ``*.py``: nothing that comes from the Hub is executed."""
_PICKLED = ["*.bin"]
_GIGABYTE = 1e9

OnShare = Callable[[float], None]
"""Called with the share of bytes that are there, 0 to 1."""


def download_checkpoint(repo_id: str, revision: str, on_share: OnShare | None = None) -> Path:
    """The local folder of a Hub model, downloading the files that the cache lacks.

    Files that were finished before an interruption are not downloaded again. Without a network a complete cached copy serves.
    Raises CheckpointError saying what to do.
    """
    try:
        missing_bytes, ignore = _missing(repo_id, revision)
        _check_disk(missing_bytes, repo_id)
        folder = snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=list(DATA_FILES),
            ignore_patterns=ignore,
            tqdm_class=_reporting_bar(missing_bytes, on_share or (lambda share: None)),
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
        raise CheckpointError(f"The download of {repo_id} broke off; start again, finished files are kept.") from error
    except OSError as error:
        raise CheckpointError(_disk_sentence(error, repo_id)) from error
    return Path(folder)


def _missing(repo_id: str, revision: str) -> tuple[int, list[str]]:
    """Bytes still to come, and the patterns to leave out: pickled weights where the repository has safetensors too."""
    try:
        files = snapshot_download(repo_id, revision=revision, allow_patterns=list(DATA_FILES), dry_run=True)
    except DryRunError:  # the Hub cannot be reached: go by what the cache holds
        return 0, _PICKLED if _is_cached(repo_id, revision, "*.safetensors") else []
    has_safetensors = any(file.filename.endswith(".safetensors") for file in files)
    wanted = [file for file in files if not (has_safetensors and file.filename.endswith(".bin"))]
    return sum(file.file_size for file in wanted if file.will_download), _PICKLED if has_safetensors else []


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


def _reporting_bar(total_bytes: int, on_share: OnShare) -> type[tqdm]:
    """A progress bar that draws nothing and reports; the Hub client wants a tqdm class.

    The client's own total grows while files are being opened, so the share is of ``total_bytes``. It never falls, though the
    client's threads may report out of turn.
    """
    shown = 0.0

    class ReportingBar(tqdm):
        def __init__(self, *args: object, **kwargs: object) -> None:
            kwargs.pop("name", None)
            self._is_bytes_written = kwargs.get("unit") == "B" and "econstruct" in str(kwargs.get("desc", ""))
            super().__init__(*args, **{**kwargs, "disable": True})
            self.n, self.total = 0, kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            nonlocal shown
            self.n += n or 0
            if self._is_bytes_written and total_bytes:
                shown = max(shown, min(self.n / total_bytes, 1.0))
                on_share(shown)

    return ReportingBar
