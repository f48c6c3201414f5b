"""Images that a request names by address: ``data:`` always, ``http(s):`` only where the host allows it, and never inwards.

Whoever can make a server fetch an address can make it ask its own network. So a name is resolved once, every address it has
must be a public one, and the connection goes to the address that was checked, also after a redirect.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import re
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

from ixc.errors import ImageTooLarge, ImageUnreadable

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+-]+)*?;base64,", re.ASCII)
_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 64 * 1024
_MAX_URL_CHARS = 2048

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the open internet, also when it is an IPv4 one in IPv6 clothes."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if inner is None and (teredo := getattr(address, "teredo", None)):
        inner = teredo[1]
    return address.is_global and not address.is_multicast and (inner is None or is_public(inner))


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Reads an ``image_url``. ``may_fetch`` allows addresses on other machines."""

    max_bytes: int
    may_fetch: bool = False
    timeout_s: float = 15.0
    """For a whole image, redirects included."""
    is_allowed: Callable[[IpAddress], bool] = is_public
    resolve: Callable[..., list] = socket.getaddrinfo

    def read(self, url: str) -> bytes:
        """The bytes behind ``url``. Raises ImageUnreadable or ImageTooLarge; neither repeats the address."""
        if url[:5].lower() == "data:":
            return self._decode(url)
        if not re.match(r"https?://", url[:8], re.IGNORECASE):
            raise ImageUnreadable("An image_url must be a data: URL with base64, or an http(s) address.")
        if not self.may_fetch:
            raise ImageUnreadable(
                "This server does not fetch images from addresses; send the image itself as a data: URL with base64."
            )
        return self._fetch(url)

    def _decode(self, url: str) -> bytes:
        match = _DATA_URL.match(url[:200])
        if match is None:
            raise ImageUnreadable('A data: URL must look like "data:image/png;base64,...".')
        encoded = url[match.end() :]
        if len(encoded) * 3 // 4 > self.max_bytes + 3:
            raise _too_large(self.max_bytes)
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise ImageUnreadable("The base64 of the image_url is damaged; encode the file again.") from None

    def _fetch(self, url: str) -> bytes:
        deadline_s = time.monotonic() + self.timeout_s
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                answer = self._get(url, deadline_s)
                if isinstance(answer, bytes):
                    return answer
                url = urllib.parse.urljoin(url, answer)
        except (OSError, http.client.HTTPException, ValueError, UnicodeError) as error:
            raise ImageUnreadable("The image_url could not be fetched; check the address, or send the image itself.") from error
        raise ImageUnreadable("The image_url redirects too often; give the image's final address.")

    def _get(self, url: str, deadline_s: float) -> bytes | str:
        """The body, or where a redirect points."""
        if len(url) > _MAX_URL_CHARS:
            raise ValueError("the address is too long")
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError("not a plain http(s) address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = _PinnedConnection(
            parts.hostname, port, self._checked_address(parts.hostname, port), deadline_s, parts.scheme
        )
        try:
            target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            connection.request("GET", target, headers={"Accept": "image/*", "User-Agent": "ixc"})
            response = connection.getresponse()
            if response.status in _REDIRECTS:
                return response.getheader("Location") or ""
            if response.status != 200:
                raise ImageUnreadable(f"The image_url answered with status {response.status}; check the address.")
            return self._body(response, connection, deadline_s)
        finally:
            connection.close()

    def _body(self, response: http.client.HTTPResponse, connection: _PinnedConnection, deadline_s: float) -> bytes:
        body = bytearray()
        while True:
            connection.set_deadline(deadline_s)
            chunk = response.read1(_CHUNK_BYTES)
            if not chunk:
                return bytes(body)
            body += chunk
            if len(body) > self.max_bytes:
                raise _too_large(self.max_bytes)

    def _checked_address(self, host: str, port: int) -> str:
        found = {entry[4][0] for entry in self.resolve(host, port, type=socket.SOCK_STREAM)}
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
        if not addresses or not all(self.is_allowed(address) for address in addresses):
            raise ImageUnreadable("The image_url does not lead to a public address; send the image itself as a data: URL.")
        return str(addresses[0])


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to ``address`` while asking for ``host``; a certificate must be the host's."""

    def __init__(self, host: str, port: int, address: str, deadline_s: float, scheme: str) -> None:
        super().__init__(host, port)
        self._address, self._deadline_s = address, deadline_s
        self._context = ssl.create_default_context() if scheme == "https" else None

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), timeout=self._remaining_s(self._deadline_s))
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def set_deadline(self, deadline_s: float) -> None:
        """Raises TimeoutError when it has passed. A peer that sends byte by byte does not get more time."""
        if self.sock is not None:
            self.sock.settimeout(self._remaining_s(deadline_s))

    @staticmethod
    def _remaining_s(deadline_s: float) -> float:
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("the image takes too long")
        return remaining_s


def _too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {max_bytes / 1024**2:g} MB; save it smaller or raise IXC_MAX_UPLOAD_MB.")
