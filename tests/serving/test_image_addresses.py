"""Addresses as people write and sites send them: with letters of every script, spaces and signs that are quoted already."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from ixc.errors import ImageUnreadable
from ixc.serving.image_urls import ImageSource

ANY_PORT = frozenset(range(65536))
PICTURE = "/%E5%8F%91%E7%A5%A8/gr%C3%BC%C3%9Fe%201.png?size=gro%C3%9F&x=%2F+1"
"""What a browser asks for."""


class Site(http.server.BaseHTTPRequestHandler):
    moved_to = b""
    """Where the address /moved leads, as it stands in the header."""

    def do_GET(self):
        is_there = self.path == PICTURE
        self.send_response(302 if self.path == "/moved" else 200 if is_there else 404)
        if self.path == "/moved":
            self.send_header("Location", type(self).moved_to.decode("latin-1"))
        self.send_header("Content-Length", "7" if is_there else "0")
        self.end_headers()
        self.wfile.write(b"picture" if is_there else b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def source() -> ImageSource:
    return ImageSource(1000, may_fetch=True, ports=ANY_PORT, is_allowed=lambda address: address.is_loopback)


@pytest.mark.parametrize(
    "written",
    [
        "/发票/grüße 1.png?size=groß&x=%2F+1",
        PICTURE,
        "/发票/gr%C3%BC%C3%9Fe 1.png?size=groß&x=%2F+1#page",
    ],
    ids=["as people write it", "as browsers send it", "half and half"],
)
def test_an_address_is_asked_for_as_browsers_do(site, written):
    assert source().read(site + written) == b"picture"


@pytest.mark.parametrize(
    "location",
    ["/发票/grüße 1.png?size=groß&x=%2F+1".encode(), PICTURE.encode()],
    ids=["in UTF-8", "quoted"],
)
def test_a_redirect_says_its_letters_in_utf8(site, location):
    Site.moved_to = location
    assert source().read(f"{site}/moved") == b"picture"


@pytest.mark.parametrize("location", ["http://10.0.0.1/grüße", "//169.254.169.254/图 1", "http://10。0。0。1/"])
def test_letters_lead_no_further_inwards(site, location):
    Site.moved_to = location.encode()
    with pytest.raises(ImageUnreadable, match="public address"):
        source().read(f"{site}/moved")


def test_line_ends_in_an_address_begin_no_header(site):
    """They are dropped, or quoted."""
    with pytest.raises(ImageUnreadable, match="status 404"):
        source().read(f"{site}/a b\r\nX-Evil: 1\x0b\x85")
