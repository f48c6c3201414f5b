"""Which addresses an image may come from: never the server's own network, however the address is dressed up."""

import base64
import http.server
import ipaddress
import socket
import threading
import time
from contextlib import suppress

import pytest

from ixc.errors import ImageTooLarge, ImageUnreadable
from ixc.serving.image_urls import ImageSource, is_public

INWARD = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://127.1/",
    "http://2130706433/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://224.0.0.1/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[::7f00:1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fec0::1]/",
    "http://198.18.0.1/",
]


ANY_PORT = frozenset(range(65536))


class Images(http.server.BaseHTTPRequestHandler):
    """A small site: an image, a long one, redirects."""

    def do_GET(self):
        if self.path == "/image":
            self._answer(200, b"picture")
        elif self.path == "/long":
            self._answer(200, b"x" * 5000)
        elif self.path == "/inward":
            self._answer(302, b"", "http://169.254.169.254/secret")
        elif self.path == "/round":
            self._answer(302, b"", "/round")
        elif self.path == "/moved":
            self._answer(301, b"", "/image")
        else:
            self._answer(404, b"")

    def _answer(self, status, body, location=None):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Images)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def open_source():
    """Allows loopback, so that the tests can have a site; everything else as always."""
    return ImageSource(
        1000, may_fetch=True, ports=ANY_PORT, is_allowed=lambda address: address.is_loopback or is_public(address)
    )


@pytest.mark.parametrize("url", INWARD)
def test_inward_addresses_are_refused(url):
    with pytest.raises(ImageUnreadable, match="public address"):
        ImageSource(1000, may_fetch=True).read(url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/a.png", "gopher://x", "/etc/passwd", "javascript:1", ""]
)
def test_other_schemes_are_refused(url):
    with pytest.raises(ImageUnreadable, match="data: URL"):
        ImageSource(1000, may_fetch=True).read(url)


def test_nothing_is_fetched_by_default(site):
    with pytest.raises(ImageUnreadable, match="does not fetch"):
        ImageSource(1000).read(f"{site}/image")


def test_an_allowed_image_is_fetched_also_after_a_redirect(site, open_source):
    assert open_source.read(f"{site}/image") == b"picture"
    assert open_source.read(f"{site}/moved") == b"picture"


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/inward", ImageUnreadable, "public address"),
        ("/round", ImageUnreadable, "redirects too often"),
        ("/missing", ImageUnreadable, "status 404"),
        ("/long", ImageTooLarge, "more than"),
    ],
)
def test_what_a_site_may_answer(site, open_source, path, error, words):
    with pytest.raises(error, match=words):
        open_source.read(site + path)


def test_an_image_of_a_request_that_took_its_time_already_is_not_fetched(site, open_source):
    assert open_source.read(f"{site}/image", open_source.deadline_s()) == b"picture"
    with pytest.raises(ImageUnreadable, match="could not be fetched"):
        open_source.read(f"{site}/image", time.monotonic())


def test_a_name_is_resolved_once_and_all_its_addresses_must_be_public(site):
    """DNS rebinding: a public address for the check, an inward one for the connection."""
    port = int(site.rpartition(":")[2])
    answers = iter([["8.8.8.8", "127.0.0.1"]])

    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    source = ImageSource(1000, may_fetch=True, ports=ANY_PORT, resolve=resolve)
    with pytest.raises(ImageUnreadable, match="public address"):
        source.read(f"http://rebinding.example:{port}/image")


def resolving_to(*addresses: str):
    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def test_a_name_whose_first_address_does_not_answer_is_fetched_from_the_next(site):
    """As a site with IPv6 from a machine without: each in the system's own order, within the one deadline."""
    port, tried = int(site.rpartition(":")[2]), []

    def is_allowed(address):
        tried.append(str(address))
        return True

    addresses = ("127.0.0.9", "127.0.0.8", "127.0.0.1", "127.0.0.9")  # only the third listens
    source = ImageSource(1000, may_fetch=True, ports=ANY_PORT, is_allowed=is_allowed, resolve=resolving_to(*addresses))
    assert source.read(f"http://dual.example:{port}/image") == b"picture"
    assert tried == ["127.0.0.9", "127.0.0.8", "127.0.0.1"]


def test_an_address_that_swallows_everything_leaves_the_next_its_time(site, monkeypatch):
    port, connect = int(site.rpartition(":")[2]), socket.create_connection

    def swallow(address, timeout):
        if address[0] == "127.0.0.9":
            assert timeout < 6  # a half of ten seconds
            raise TimeoutError
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", swallow)
    resolve = resolving_to("127.0.0.9", "127.0.0.1")
    source = ImageSource(
        1000, may_fetch=True, timeout_s=10, ports=ANY_PORT, is_allowed=lambda address: address.is_loopback, resolve=resolve
    )
    assert source.read(f"http://dual.example:{port}/image") == b"picture"


def test_the_connection_goes_to_the_address_that_was_checked(site):
    port, checked = int(site.rpartition(":")[2]), []

    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def allow(address):
        checked.append(address)
        return True

    source = ImageSource(1000, may_fetch=True, ports=ANY_PORT, resolve=resolve, is_allowed=allow)
    assert source.read(f"http://no-such-name.invalid:{port}/image") == b"picture"
    assert checked == [ipaddress.ip_address("127.0.0.1")]


@pytest.mark.parametrize("address", ["8.8.8.8", "151.101.1.140", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_the_open_internet_is_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_only_the_webs_ports_are_asked(site):
    source = ImageSource(1000, may_fetch=True, is_allowed=lambda _: True)
    with pytest.raises(ImageUnreadable, match="ports 80 and 443"):
        source.read(f"{site}/image")


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_site_that_sends_byte_by_byte_gets_no_more_time(scheme, beginning):
    """In the body, in a chunk's length, in a header, in the status line, in the handshake.

    Each byte comes within the socket's own limit.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip():
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            peer.recv(1000)
            peer.sendall(beginning)
            for _ in range(400):  # 8 s: too long, yet no test that never ends
                if stop.wait(0.02):
                    return
                peer.sendall(b"x")

    threading.Thread(target=drip, daemon=True).start()
    source = ImageSource(1000, may_fetch=True, timeout_s=0.3, ports=ANY_PORT, is_allowed=lambda _: True)
    started_s = time.monotonic()
    with pytest.raises(ImageUnreadable, match="could not be fetched"):
        source.read(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/")
    assert time.monotonic() - started_s < 5
    stop.set()
    listener.close()


def test_data_urls():
    source = ImageSource(8)
    encoded = base64.b64encode(b"picture").decode()
    assert source.read(f"data:image/png;base64,{encoded}") == b"picture"
    for url, words in (
        ("data:image/png,plain", "must look like"),
        ("data:image/png;base64,***", "damaged"),
    ):
        with pytest.raises(ImageUnreadable, match=words):
            source.read(url)
    with pytest.raises(ImageTooLarge):
        source.read("data:image/png;base64," + "A" * 100)
