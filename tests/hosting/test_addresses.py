"""The addresses an app is served at, and what stands between it and itself."""

from __future__ import annotations

import time

import httpx

from ixc.benchmarks.app_process import AppProcess
from ixc.settings import Settings

NO_MODEL = {"IXC_MODEL": "no-such-model"}


def test_an_address_of_ipv6_is_served():
    with AppProcess({**NO_MODEL, "IXC_HOST": "[::1]"}) as app:
        assert httpx.get(f"{app.url}/health/live").status_code == 200
        deadline_s = time.monotonic() + 60
        while f"the page is at http://[::1]:{httpx.URL(app.url).port}" not in app.log():  # said once it serves
            assert time.monotonic() < deadline_s, app.log()
            time.sleep(0.05)


def test_a_proxy_for_the_outside_does_not_stand_before_the_app_itself():
    nobody = "http://127.0.0.1:9"
    with AppProcess({**NO_MODEL, "http_proxy": nobody, "https_proxy": nobody, "no_proxy": "", "NO_PROXY": ""}) as app:
        assert httpx.get(f"{app.url}/health/live").status_code == 200


def test_brackets_are_not_part_of_an_address():
    assert [Settings(host=host).host for host in ("[::1]", "::1", "[::]")] == ["::1", "::1", "::"]
