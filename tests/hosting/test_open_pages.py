"""Who counts as an open page, and that no network alone can keep everybody else out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from ixc.hosting.open_pages import CountPages, OpenPages
from tests.event_loops import run_apart

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Server:
    """``CountPages`` before an app that answers everything, and a heartbeat until its page is closed."""

    def __init__(self, max_users: int) -> None:
        self.pages = OpenPages(max_users)
        self._counted = CountPages(self._app, self.pages)

    async def get(self, path: str, address: str, method: str = "GET") -> tuple[int, str]:
        """Status and text of the answer."""
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "client": (address, 5)}
        await self._counted(scope, None, send)
        return sent[0]["status"], sent[1].get("body", b"").decode()

    @asynccontextmanager
    async def page(self, session: str, address: str):
        """An open page's heartbeat; its task, which has ended where it was refused."""
        heartbeat = asyncio.create_task(self.get(f"/gradio_api/heartbeat/{session}", address))
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            yield heartbeat
        finally:
            heartbeat.cancel()
            await asyncio.wait([heartbeat])

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        if "/heartbeat/" in scope["path"] and scope["method"] == "GET":
            await asyncio.Event().wait()


def test_fifty_connections_of_one_session_are_one_page():
    async def scene() -> None:
        server = Server(50)
        async with AsyncExitStack() as stack:
            for _ in range(60):
                heartbeat = await stack.enter_async_context(server.page("x", HERE))
                assert not heartbeat.done()
            assert server.pages.num_open == 1
            assert (await server.get("/", HERE))[0] == 200
        assert server.pages.num_open == 0

    run_apart(scene())


def test_a_page_is_closed_with_its_last_connection():
    async def scene() -> None:
        server = Server(2)
        async with server.page("x", HERE):
            async with server.page("x", HERE):
                pass
            assert server.pages.num_open == 1
        assert server.pages.num_open == 0

    run_apart(scene())


@pytest.mark.parametrize("path", ["/", "/config"])
def test_one_network_has_half_of_the_places_and_others_still_come(path):
    async def scene() -> None:
        server = Server(5)
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(server.page(f"mine-{number}", HERE)) for number in range(10)]
            assert [heartbeat.done() for heartbeat in opened] == [False] * 2 + [True] * 8
            assert {heartbeat.result()[0] for heartbeat in opened[2:]} == {503}
            status, says = await server.get(path, HERE)
            assert status == 503
            assert "2" in says
            assert "network" in says
            assert (await server.get(path, THERE))[0] == 200
            theirs = await stack.enter_async_context(server.page("theirs", THERE))
            assert not theirs.done()
            again = await stack.enter_async_context(server.page("mine-1", HERE))  # one that is open goes on
            assert not again.done()
            assert server.pages.num_open == 3
            assert server.pages.num_refused == 9
        assert server.pages.num_open == 0

    run_apart(scene())


def test_when_all_places_are_taken_newcomers_are_turned_away_and_open_pages_go_on():
    async def scene() -> None:
        server = Server(2)
        async with server.page("a", HERE), server.page("b", THERE):
            status, says = await server.get("/", "192.0.2.3")
            assert status == 503
            assert "serves 2 at a time" in says
            late = server.page("c", "192.0.2.3")  # it was let in a moment before
            async with late as heartbeat:
                assert not heartbeat.done()

    run_apart(scene())


def test_addresses_of_one_ipv6_customer_are_one_network():
    async def scene() -> None:
        server = Server(4)
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(server.page(f"p{n}", f"2001:db8::{n}")) for n in range(3)]
            assert [heartbeat.done() for heartbeat in opened] == [False, False, True]

    run_apart(scene())


@pytest.mark.parametrize("max_users", [0, 1])
def test_the_smallest_limits(max_users):
    async def scene() -> None:
        server = Server(max_users)
        async with server.page("a", HERE) as first, server.page("b", HERE) as second:
            assert not first.done()
            assert second.done() == (max_users == 1)

    run_apart(scene())


def test_only_what_gradio_answers_with_a_heartbeat_counts():
    async def scene() -> None:
        server = Server(2)
        for number in range(5):
            assert (await server.get(f"/gradio_api/heartbeat/{number}", HERE, "POST"))[0] == 200
        assert server.pages.num_refused == 0

    run_apart(scene())
