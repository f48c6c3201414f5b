"""Images that a request names by address: ``data:`` always, ``http(s):`` only where the host allows it, and never inwards.

Whoever can make a server fetch an address can make it ask its own network. So a name is resolved once, every address it has
must be a public one, and the connection goes to one that was checked, also after a redirect.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ixc.errors import ImageTooLarge, ImageUnreadable

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+-]+)*?;base64,", re.ASCII)
_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 64 * 1024
_MAX_URL_CHARS = 2048
_STAYS = "/%?:@!$&'()*+,;=-._~[]|"
"""In a path or a query: reserved and unreserved signs (RFC 3986), and what browsers leave as it is."""

_WEB_PORTS = frozenset({80, 443})

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_INTERNET_6 = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out to the internet (RFC 4291, IANA); translated, mapped and site-local addresses lie outside."""
_NOT_PLAIN_6 = [ipaddress.ip_network(text) for text in ("2001::/23", "2002::/16", "3fff::/20")]
"""In there but special: tunnels that carry an IPv4 address (Teredo, 6to4), protocols, documentation."""


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the open internet, and is no IPv4 address in IPv6 clothes."""
    if address.version == 6 and (address not in _INTERNET_6 or any(address in network for network in _NOT_PLAIN_6)):
        return False
    return address.is_global and not address.is_multicast


def is_data_url(url: str) -> bool:
    """Whether ``url`` holds the image itself."""
    return url[:5].lower() == "data:"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Reads an ``image_url``. ``may_fetch`` allows addresses on other machines."""

    max_bytes: int
    may_fetch: bool = False
    timeout_s: float = 15.0
    """For all images of a request, redirects included."""
    ports: frozenset[int] = _WEB_PORTS
    """Where web servers listen. Others could be anything, and told apart by their errors."""
    is_allowed: Callable[[IpAddress], bool] = is_public
    resolve: Callable[..., list] = socket.getaddrinfo

    def deadline_s(self) -> float:
        """By ``time.monotonic``, when a request that begins now must have fetched its images."""
        return time.monotonic() + self.timeout_s

    def read(self, url: str, deadline_s: float | None = None) -> bytes:
        """The bytes behind ``url``. Raises ImageUnreadable or ImageTooLarge; neither repeats the address.

        ``deadline_s`` comes from ``deadline_s()``; left out, this is the request's only image.
        """
        if is_data_url(url):
            return self._decode(url)
        if not re.match(r"https?://", url[:8], re.IGNORECASE):
            raise ImageUnreadable("An image_url must be a data: URL with base64, or an http(s) address.")
        if not self.may_fetch:
            raise ImageUnreadable(
                "This server does not fetch images from addresses; send the image itself as a data: URL with base64."
            )
        return self._fetch(url, self.deadline_s() if deadline_s is None else deadline_s)

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

    def _fetch(self, url: str, deadline_s: float) -> bytes:
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
        if port not in self.ports:
            raise ImageUnreadable("An image_url may name the ports 80 and 443 only; send the image itself as a data: URL.")
        addresses = self._checked_addresses(parts.hostname, port)
        with _connected(parts.hostname, port, addresses, deadline_s, parts.scheme) as connection:
            target = _quoted(urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, "")))
            connection.request("GET", target, headers={"Accept": "image/*", "User-Agent": "ixc"})
            with connection.getresponse() as response:
                if response.status in _REDIRECTS:
                    return _in_utf8(response.getheader("Location") or "")
                if response.status != 200:
                    raise ImageUnreadable(f"The image_url answered with status {response.status}; check the address.")
                return self._body(response, deadline_s)

    def _body(self, response: http.client.HTTPResponse, deadline_s: float) -> bytes:
        body = bytearray()
        while True:
            chunk = response.read1(_CHUNK_BYTES)
            _remaining_s(deadline_s)
            if not chunk:
                return bytes(body)
            body += chunk
            if len(body) > self.max_bytes:
                raise _too_large(self.max_bytes)

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        """In the order in which the system would try them: it knows whether this machine has IPv6."""
        found = dict.fromkeys(entry[4][0] for entry in self.resolve(host, port, type=socket.SOCK_STREAM))
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
        if not addresses or not all(self.is_allowed(address) for address in addresses):
            raise ImageUnreadable("The image_url does not lead to a public address; send the image itself as a data: URL.")
        return [str(address) for address in addresses]


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to the first of ``addresses`` that answers while asking for ``host``; a certificate must be the host's."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], deadline_s: float, scheme: str) -> None:
        super().__init__(host, port)
        self._addresses, self._deadline_s = addresses, deadline_s
        self._context = ssl.create_default_context() if scheme == "https" else None
        self._kept: socket.socket | None = None
        """``sock`` is given away with an answer after which the site closes the connection."""

    def connect(self) -> None:
        self._keep(self._first_that_answers())
        self.sock.settimeout(_remaining_s(self._deadline_s))
        if self._context is not None:
            # In two steps, so that whoever watches the clock can end a handshake that never ends.
            self._keep(self._context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False))
            self.sock.do_handshake()

    def _first_that_answers(self) -> socket.socket:
        for num_left in range(len(self._addresses), 0, -1):
            share_s = _remaining_s(self._deadline_s) / num_left  # one that swallows everything leaves the next its time
            try:
                return socket.create_connection((self._addresses[-num_left], self.port), timeout=share_s)
            except OSError:
                if num_left == 1:
                    raise
        raise OSError("the name has no address")

    def _keep(self, sock: socket.socket) -> None:
        self.sock = self._kept = sock
        _remaining_s(self._deadline_s)  # ``hang_up`` may have come a moment before

    def hang_up(self) -> None:
        """From another thread: whoever reads finds the end."""
        if (sock := self._kept) is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _connected(host: str, port: int, addresses: Sequence[str], deadline_s: float, scheme: str) -> Iterator[_PinnedConnection]:
    """A connection that is closed at the deadline, whatever is being waited for.

    A socket's own time limit starts anew with every byte: a peer that sends one a second would never meet it.
    """
    connection = _PinnedConnection(host, port, addresses, deadline_s, scheme)
    watch = threading.Timer(_remaining_s(deadline_s), connection.hang_up)
    watch.daemon = True
    watch.start()
    try:
        yield connection
    finally:
        watch.cancel()
        connection.close()


def _quoted(target: str) -> str:
    """As browsers ask for it: what a request line cannot hold, in UTF-8 with percent signs; what is quoted already stays."""
    return urllib.parse.quote(target, safe=_STAYS)


def _in_utf8(header: str) -> str:
    """A header, which is read as Latin-1, in the letters that sites mean."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _remaining_s(deadline_s: float) -> float:
    """Raises TimeoutError when the deadline has passed."""
    remaining_s = deadline_s - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError("the image takes too long")
    return remaining_s


def _too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {max_bytes / 1024**2:g} MB; save it smaller or raise IXC_MAX_UPLOAD_MB.")
