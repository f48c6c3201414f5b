"""The watch over the servers goes on, whatever one of them does; an address that none can have is refused before."""

from __future__ import annotations

import asyncio
import logging

import httpx2
import pytest

from ixc.errors import SettingsError
from ixc.hosting.replicas.pool import ReplicaPool, parse_address
from tests.event_loops import run_apart

ODD, FINE = "http://odd:1", "http://fine:2"


@pytest.mark.parametrize(
    "address", ["http://host:65536", "http://host:99999/v1", "http://host:0", "http://host:http", "http://a b:1", "http://[::1"]
)
def test_an_address_that_no_server_can_have_is_refused_at_the_start(address):
    with pytest.raises(SettingsError, match="must look like"):
        parse_address(address)


def test_an_error_that_nobody_foresaw_takes_one_server_away_and_not_the_watch(caplog):
    """It is logged once, without its words, and again when it is back after the server was well."""
    odd, asked = {ODD}, []

    def meet(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        if f"http://{request.url.netloc.decode()}" in odd:
            raise OverflowError("a password, say")
        return httpx2.Response(200)

    async def scene() -> list[dict[str, str]]:
        reports = []
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(meet)) as client:
            pool = ReplicaPool([ODD, FINE], client)
            for is_odd in (True, True, False, True):
                (odd.add if is_odd else odd.discard)(ODD)
                await pool.check()
                reports.append(pool.report())
            watching = asyncio.create_task(pool.watch(0))
            num_before = len(asked)
            async with asyncio.timeout(20):
                while len(asked) < num_before + 6:
                    await asyncio.sleep(0)
            assert not watching.done()
            watching.cancel()
        return reports

    with caplog.at_level(logging.ERROR, "ixc"):
        reports = run_apart(scene())
    down = {ODD: "down", FINE: "up"}
    assert reports == [down, down, {ODD: "up", FINE: "up"}, down]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all(line.startswith(f"the health of {ODD} cannot be asked: OverflowError < ") for line in lines)
    assert "password" not in caplog.text
