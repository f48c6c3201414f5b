"""Images on their way into vLLM: one that its decoder refuses is refused in the app's words, by a media connector of our own.

vLLM opens images before any model's processor sees them. Which connector does so is for ``VLLM_MEDIA_CONNECTOR`` to say; ours
is vLLM's but for the sentences, also for other models that are served beside.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, ImageMediaIO, MediaConnector, MediaIO, MediaWithBytes

from ixc.errors import EngineBusy, ImageError
from ixc.imaging.decode import decode_image
from ixc.serving.image_urls import ImageSource, is_data_url
from ixc.settings import Settings

_NAME = "ixc"
_CHOICE = "VLLM_MEDIA_CONNECTOR"


class ImageRefused(ImageError, ValueError):
    """As its base; also what vLLM answers with status 400."""


@lru_cache(maxsize=1)
def server_settings() -> Settings:
    """The app's, for this process. Raises SettingsError naming the variable that is wrong."""
    return Settings.from_env(os.environ)


def register_connector() -> None:
    """Make the connector known to vLLM, and its choice unless another one is named."""
    MEDIA_CONNECTOR_REGISTRY.register(_NAME)(ImageConnector)
    os.environ.setdefault(_CHOICE, _NAME)


class UploadedImageIO(ImageMediaIO):
    """vLLM's decoder, and where that fails the app's, which knows why."""

    def load_bytes(self, data: bytes) -> MediaWithBytes[Any]:
        try:
            return super().load_bytes(data)
        except Exception:
            with suppress(EngineBusy), _refusing():
                decode_image(data, server_settings().images)
            raise  # a limit of vLLM's, or too much to do to find out


class ImageConnector(MediaConnector):
    """vLLM's connector with images' faults as sentences."""

    def load_from_url(self, url: str, media_io: MediaIO[Any], **options: Any) -> Any:
        if type(media_io) is not ImageMediaIO:
            return super().load_from_url(url, media_io, **options)
        try:
            return super().load_from_url(url, _uploaded(media_io), **options)
        except Exception as error:
            _explain(error, url)
            raise

    async def load_from_url_async(self, url: str, media_io: MediaIO[Any], **options: Any) -> Any:
        if type(media_io) is not ImageMediaIO:
            return await super().load_from_url_async(url, media_io, **options)
        try:
            return await super().load_from_url_async(url, _uploaded(media_io), **options)
        except Exception as error:
            await asyncio.to_thread(_explain, error, url)
            raise


def _uploaded(media_io: ImageMediaIO) -> UploadedImageIO:
    return UploadedImageIO(media_io.image_mode, **media_io.kwargs)


def _explain(error: Exception, url: str) -> None:
    """Raises ImageRefused for a data: URL that is none. What ``load_bytes`` refused is explained already."""
    if is_data_url(url) and not isinstance(error, ImageRefused):
        with _refusing():
            ImageSource(server_settings().images.max_bytes).read(url)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ImageError as reason:
        raise ImageRefused(str(reason)) from None
