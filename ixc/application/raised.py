"""What may be told of an error in a log."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

_NUM_FRAMES = 6


def where_raised(error: BaseException) -> str:
    """Which kind of error it is and where it came from, without its own words: they may be a user's.

    Of the system's errors also the name, such as ENOSPC: the kind alone does not tell a full disk from a wrong path.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_NUM_FRAMES:]
    places = "".join(f" < {Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    name = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
    return " ".join(filter(None, (type(error).__name__, name))) + places
