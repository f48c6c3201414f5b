"""Which addresses vLLM's server fetches images from: none, unless its owner says so, and then none of private networks."""

from __future__ import annotations

import asyncio
import base64
import http.server
import io
import ipaddress
import socket
import threading
from functools import partial

import pytest
from PIL import Image

from ixc.serving.image_urls import ImageSource, is_public

NOT_FETCHED = "This server does not fetch images from addresses; send the image itself as a data: URL with base64."
INWARD = "The image_url does not lead to a public address; send the image itself as a data: URL."


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5), (200, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", f"http://elsewhere.example:{self.server.server_port}/image")
        self.end_headers()
        self.wfile.write(b"" if self.path == "/moved" else b"no image" if self.path == "/text" else png())

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    """On this machine; ``paths`` is what was asked of it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.paths = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetching(monkeypatch):
    """The server's IXC_FETCH_IMAGES, set for one test."""
    from ixc.serving.vllm.media import server_settings

    def set_to(value):
        monkeypatch.setenv("IXC_FETCH_IMAGES", value)
        server_settings.cache_clear()

    set_to("off")
    yield set_to
    server_settings.cache_clear()


@pytest.fixture(params=["at once", "async"])
def load(request):
    """Opens an image as vLLM does, for its offline engine and for its server."""
    from ixc.serving.vllm.media import ImageConnector

    def fetch(url, **options):
        connector = ImageConnector(**options)
        if request.param == "at once":
            return connector.fetch_image(url)
        return asyncio.run(connector.fetch_image_async(url))

    return fetch


@pytest.fixture
def site_is_public(monkeypatch, site):
    """The site stands for one on the internet, under every name that ends in .example."""
    from ixc.serving.vllm import media

    def allowed(address):
        return is_public(address) or address == ipaddress.ip_address("127.0.0.1")

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1" if host.endswith(".example") else host, *a, **k)
    )
    monkeypatch.setattr(media, "ImageSource", partial(ImageSource, ports=frozenset({80, site.server_port}), is_allowed=allowed))
    return f"http://pictures.example:{site.server_port}"


def test_an_image_that_is_sent_is_opened_whatever_is_fetched(load, fetching):
    fetching("off")
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert load(url).media.size == (7, 5)


def test_an_image_beyond_the_limits_is_refused_before_it_is_decoded(load, fetching, monkeypatch):
    """vLLM would decode all of it first: more than this in under a megabyte."""
    from ixc.serving.vllm.media import ImageRefused, UploadedImageIO

    def decode(*_):
        pytest.fail("it was decoded")

    monkeypatch.setattr(UploadedImageIO.__base__, "load_bytes", decode)
    buffer = io.BytesIO()
    Image.new("L", (9000, 9000)).save(buffer, "PNG")
    with pytest.raises(ImageRefused, match="megapixels"):
        load("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())


def test_no_address_is_fetched_by_default(load, fetching, site):
    from ixc.serving.vllm.media import ImageRefused

    with pytest.raises(ImageRefused) as refused:
        load(f"http://127.0.0.1:{site.server_port}/image")
    assert str(refused.value) == NOT_FETCHED
    assert not site.paths


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]"])
def test_private_networks_are_never_fetched_from(load, fetching, address):
    from ixc.serving.vllm.media import ImageRefused

    fetching("on")
    with pytest.raises(ImageRefused) as refused:
        load(f"http://{address}/image")
    assert str(refused.value) == INWARD


def test_public_images_are_fetched_where_the_host_allows_it(load, fetching, site_is_public, site):
    fetching("on")
    assert load(f"{site_is_public}/image").media.size == (7, 5)
    assert load(f"{site_is_public}/moved").media.size == (7, 5)
    assert site.paths == ["/image", "/moved", "/image"]


def test_what_is_fetched_and_no_image_is_refused_in_the_app_s_words(load, fetching, site_is_public):
    from ixc.serving.vllm.media import ImageRefused

    fetching("on")
    with pytest.raises(ImageRefused, match="not an image that can be opened"):
        load(f"{site_is_public}/text")


def test_vllm_s_allowed_domains_hold_for_redirects_too(load, fetching, site_is_public, site):
    from ixc.serving.vllm.media import ImageRefused

    fetching("on")
    only = {"allowed_media_domains": ["pictures.example"]}
    assert load(f"{site_is_public}/image", **only).media.size == (7, 5)
    with pytest.raises(ImageRefused, match="no images from that host"):
        load(f"{site_is_public}/moved", **only)
    assert site.paths == ["/image", "/moved"]


@pytest.mark.parametrize("value", ["off", "on"])
def test_files_of_the_server_are_not_read(load, fetching, tmp_path, value):
    from ixc.serving.vllm.media import ImageRefused

    fetching(value)
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(ImageRefused, match="must be a data: URL with base64, or an http"):
        load(f"file://{tmp_path}/a.png", allowed_local_media_path=str(tmp_path))
