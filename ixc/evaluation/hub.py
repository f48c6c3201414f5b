"""A data set by name from the Hugging Face Hub: its plain files, in our own format or an official layout.

Most benchmarks lie on the Hub as Parquet tables, which this project does not read: that would take another large library.
"""

from __future__ import annotations

from pathlib import Path

import httpx2
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, IncompleteSnapshotError, LocalEntryNotFoundError, RepositoryNotFoundError

from ixc.errors import EvaluationError

DATA_FILES = ("*.jsonl", "*.json", "*.png", "*.jpg", "*.jpeg", "*.webp", "*.tif", "*.tiff", "*.bmp", "*.gif")
"""Never code."""


def download_dataset(name: str) -> Path:
    """The local folder of ``owner/name``; what the cache has is not downloaded again. Raises EvaluationError."""
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=list(DATA_FILES)))
    except RepositoryNotFoundError as error:  # also for a private or gated one without access
        raise EvaluationError(
            f"There is no public data set {name} on the Hub; check the name, or set HF_TOKEN if it is private or gated."
        ) from error
    except (IncompleteSnapshotError, LocalEntryNotFoundError) as error:
        raise EvaluationError(
            f"The Hub cannot be reached and {name} is not whole on this machine; connect to the network or give a local folder."
        ) from error
    except (httpx2.HTTPError, HfHubHTTPError, OSError) as error:
        raise EvaluationError(
            f"The download of {name} broke off ({type(error).__name__}); start again, finished files are kept."
        ) from error
