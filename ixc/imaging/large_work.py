"""Bounds how many pixels are decoded at a time in this process, whoever brought them.

Decoding takes several copies of a picture: a dozen small files of 60 megapixels each, sent at once, took 6 GB before the first
of them was done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from PIL import Image

from ixc.errors import EngineBusy
from ixc.tiling import SizePx

_LARGE_PIXELS = 16_000_000
"""Screens, scans and most phones' photographs have fewer."""
_MAX_PIXELS = 64_000_000
"""Of each kind. At its peak a picture takes 10 to 15 bytes a pixel, WebP and AVIF up to 22, as measured in all modes: together
about a gigabyte, at worst 1.4."""
MAX_WAITING = 8
"""Pictures of each kind that wait for their turn; each keeps a thread and its file's bytes."""
_BLOCK_BYTES = 128 * 1024 * 1024


class PixelTurns:
    """Lets work begin while all that is under way has at most ``max_pixels``; larger work is done alone. Thread-safe.

    First come, first served: a large picture waits for no small ones that came after it.
    """

    def __init__(self, max_pixels: int = _MAX_PIXELS, max_waiting: int = MAX_WAITING) -> None:
        self._max_pixels, self._max_waiting = max_pixels, max_waiting
        self._num_pixels = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, size_px: SizePx) -> Iterator[None]:
        """Wait for room, and keep it until the block ends. Raises EngineBusy when too many wait already."""
        num_pixels = size_px.height * size_px.width
        self._enter(num_pixels)
        try:
            yield
        finally:
            with self._changed:
                self._num_pixels -= num_pixels
                self._changed.notify_all()

    def _enter(self, num_pixels: int) -> None:
        mine = object()
        with self._changed:
            if len(self._waiting) >= self._max_waiting:
                raise EngineBusy("Too many images are being opened; try again in a minute.")
            self._waiting.append(mine)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is mine and self._has_room(num_pixels))
                self._num_pixels += num_pixels
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()

    def _has_room(self, num_pixels: int) -> bool:
        return not self._num_pixels or self._num_pixels + num_pixels <= self._max_pixels


_LARGE, _ORDINARY = PixelTurns(), PixelTurns()
"""Apart, so that whoever sends large pictures all day keeps nobody else's waiting."""


def is_large(size_px: SizePx) -> bool:
    """Whether a picture of ``size_px`` waits apart from the ordinary ones."""
    return size_px.height * size_px.width > _LARGE_PIXELS


def turn_for(size_px: SizePx) -> AbstractContextManager[None]:
    """This process's turn for a picture of ``size_px``: a context manager. Turns do not nest.

    Raises EngineBusy on entry when too many pictures of its kind wait already.
    """
    return (_LARGE if is_large(size_px) else _ORDINARY).turn(size_px)


def take_pictures_whole() -> None:
    """Let Pillow ask for a picture's memory at once, not 16 MB at a time. For a process that serves many threads.

    Of what is asked for in small pieces glibc keeps some for each thread: after a dozen images of 12 megapixels, 90 MB more
    than this way. Whatever is larger than 32 MB goes back to the system.
    """
    Image.core.set_block_size(_BLOCK_BYTES)
