"""Images on their way into vLLM: refused in the app's words and fetched by the app's rules, by a media connector of our own.

vLLM opens images before any model's processor sees them. Which connector does so is for ``VLLM_MEDIA_CONNECTOR`` to say. vLLM's
fetches any address, those of private networks too; ours none unless ``IXC_FETCH_IMAGES`` is on, and then public ones only. That
holds for the images of other models that are served beside, too; their sounds and films are vLLM's affair.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, ImageMediaIO, MediaConnector, MediaIO, MediaWithBytes

from ixc.errors import EngineBusy, ImageError, ImageUnreadable
from ixc.imaging.decode import decode_image, open_image
from ixc.serving.image_urls import ImageSource, is_data_url
from ixc.settings import Settings

_NAME = "ixc"
_CHOICE = "VLLM_MEDIA_CONNECTOR"
_NUM_FETCHERS = 16
"""Threads that mostly wait, for servers that may be as slow as the time limit lets them; vLLM's decode meanwhile."""


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
    """vLLM's decoder, for what the app would decode; and where that fails the app's, which knows why."""

    def load_bytes(self, data: bytes) -> MediaWithBytes[Any]:
        with _refusing():  # before a pixel is decoded, which may take minutes
            open_image(data, server_settings().images)
        try:
            return super().load_bytes(data)
        except Exception:
            with suppress(EngineBusy), _refusing():
                decode_image(data, server_settings().images)
            raise  # a limit of vLLM's, or too much to do to find out


class ImageConnector(MediaConnector):
    """vLLM's connector with images' faults as sentences and with the app's way of fetching them.

    Of vLLM's options it keeps ``--allowed-media-domains``. Files are not read, whatever ``--allowed-local-media-path`` says.
    """

    def load_from_url(self, url: str, media_io: MediaIO[Any], **options: Any) -> Any:
        if type(media_io) is not ImageMediaIO:
            return super().load_from_url(url, media_io, **options)
        if not is_data_url(url):
            return _uploaded(media_io).load_bytes(self._fetch(url))
        try:
            return super().load_from_url(url, _uploaded(media_io), **options)
        except Exception as error:
            _explain(error, url)
            raise

    async def load_from_url_async(self, url: str, media_io: MediaIO[Any], **options: Any) -> Any:
        if type(media_io) is not ImageMediaIO:
            return await super().load_from_url_async(url, media_io, **options)
        if not is_data_url(url):
            data = await asyncio.get_running_loop().run_in_executor(_fetchers(), self._fetch, url)
            return await asyncio.to_thread(_uploaded(media_io).load_bytes, data)
        try:
            return await super().load_from_url_async(url, _uploaded(media_io), **options)
        except Exception as error:
            await asyncio.to_thread(_explain, error, url)
            raise

    def _fetch(self, url: str) -> bytes:
        """Raises ImageRefused, also for every address as long as this server fetches none."""
        settings = server_settings()
        may_fetch = settings.fetch_images == "on"
        with _refusing():
            return ImageSource(settings.images.max_bytes, may_fetch=may_fetch, resolve=self._resolve).read(url)

    def _resolve(self, host: str, *args: Any, **options: Any) -> list[Any]:
        """Asked for every host on the way, so that no redirect leads out of the allowed ones either."""
        if self.allowed_media_domains and host not in self.allowed_media_domains:
            raise ImageUnreadable("This server fetches no images from that host; send the image itself as a data: URL.")
        return socket.getaddrinfo(host, *args, **options)


@lru_cache(maxsize=1)
def _fetchers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_NUM_FETCHERS, "ixc-fetching")


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
