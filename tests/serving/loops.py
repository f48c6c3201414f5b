"""Event loops for tests: each in a thread of its own, because browser tests of the same run leave one in the main thread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def run_apart(scene: Coroutine[Any, Any, Any]) -> Any:
    """What the coroutine returns; raises what it raises."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, scene).result()
