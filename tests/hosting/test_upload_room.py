"""Uploads that nobody opens: bounded for all, and for each network, so that none keeps the others out."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.hosting.upload_room import UploadLimits, UploadRoom
from tests.event_loops import run_apart

HERE, SAME_MACHINE, ELSEWHERE = "2001:db8:0:1::1", "2001:db8:0:1::2", "198.51.100.1"


async def take_nothing(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse([])


def app_of(answer, held: set[str], limits: UploadLimits) -> Starlette:
    return Starlette(
        routes=[Route("/gradio_api/upload", answer, methods=["POST"])],
        middleware=[Middleware(UploadRoom, uploads=lambda: held, limits=limits)],
    )


@pytest.mark.parametrize("root_path", ["", "/some/path"])
def test_uploads_are_refused_while_too_many_wait_to_be_opened(tmp_path, root_path):
    held: set[str] = set()
    limits = UploadLimits(max_file_bytes=10, max_files=3, max_age_s=100, num_largest=4)
    app = app_of(take_nothing, held, limits)

    def hold(name: str, num_bytes: int, age_s: float = 0) -> None:
        path = tmp_path / name
        path.write_bytes(b"x" * num_bytes)
        then_s = time.time() - age_s
        os.utime(path, (then_s, then_s))
        held.add(str(path))

    with TestClient(app, root_path=root_path) as client:

        def status() -> int:
            return client.post(f"{root_path}/gradio_api/upload", content=b"x" * 10).status_code

        hold("largest", 30)
        assert status() == 200
        hold("one more byte", 1)
        assert status() == 503  # 30 + 1 + the 10 that may be coming > 40
        (tmp_path / "largest").unlink()  # it was opened
        assert status() == 200
        assert held == {str(tmp_path / "one more byte")}
        hold("b", 1)
        hold("c", 1)
        assert status() == 503  # three wait, a fourth would come
        hold("c", 1, age_s=101)
        assert status() == 200
        assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("limits", "num_allowed"),
    [
        (UploadLimits(max_file_bytes=1000, max_files=8), 4),
        (UploadLimits(max_file_bytes=100, num_largest=8), 4),
    ],
    ids=["in number", "in bytes"],
)
def test_a_network_that_uploads_without_end_leaves_the_others_their_room(tmp_path, limits, num_allowed):
    held: set[str] = set()
    numbers = count()

    async def keep(request: Request) -> JSONResponse:
        path = tmp_path / str(next(numbers)) / "file"
        path.parent.mkdir()
        path.write_bytes(await request.body())
        held.add(str(path))
        return JSONResponse([str(path)])

    app = app_of(keep, held, limits)
    with ExitStack() as stack:
        here, same, elsewhere = (
            stack.enter_context(TestClient(app, client=(address, 1))) for address in (HERE, SAME_MACHINE, ELSEWHERE)
        )

        def upload(client: TestClient) -> httpx.Response:
            return client.post("/gradio_api/upload", content=b"x" * 100)

        assert [upload(client).status_code for client in (here, same) * 3] == [200] * num_allowed + [503] * 2
        assert upload(elsewhere).status_code == 200
        Path(next(path for path in held if path.endswith("/0/file"))).unlink()  # one is opened
        assert upload(here).status_code == 200
        assert upload(same).status_code == 503


def test_uploads_that_never_come_to_an_end_leave_the_others_their_room():
    """They count as what they announced, or as the largest that is allowed."""

    async def scene():
        arrived, limits = asyncio.Semaphore(0), UploadLimits(max_file_bytes=100, num_largest=8)

        async def never(scope, receive, send):
            arrived.release()
            await asyncio.Event().wait()

        async def note(message):
            statuses.append(message.get("status"))

        def upload(address: str, *headers: tuple[bytes, bytes]) -> asyncio.Task:
            scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "client": (address, 1), "headers": headers}
            return asyncio.create_task(room(scope, asyncio.Event().wait, note))

        room, statuses = UploadRoom(never, set, limits), []
        async with asyncio.timeout(20):
            endless = [upload(HERE) for _ in range(3)]
            endless += [upload(HERE, (b"content-length", b"50")) for _ in range(2)]
            for _ in endless:
                await arrived.acquire()
            await upload(SAME_MACHINE, (b"content-length", b"1"))
            assert statuses[0] == 503
            endless.append(upload(ELSEWHERE))
            await arrived.acquire()
            endless.pop(0).cancel()
            await asyncio.sleep(0)
            endless.append(upload(HERE))
            await arrived.acquire()
        for task in endless:
            task.cancel()

    run_apart(scene())


def test_old_uploads_go_with_whatever_request_comes_later(tmp_path):
    """Where nobody uploads any more, nothing else would look at them."""
    path = tmp_path / "own folder" / "old.png"
    path.parent.mkdir()
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    held = {str(path)}

    async def scene(sweep_every_s: float) -> None:
        async def answer(scope, receive, send):
            pass

        limits = UploadLimits(max_file_bytes=10, max_age_s=100, sweep_every_s=sweep_every_s)
        room = UploadRoom(answer, uploads=lambda: held, limits=limits)
        await room({"type": "http", "method": "GET", "path": "/health", "headers": []}, None, None)
        if room._sweeping is not None:
            await room._sweeping

    run_apart(scene(600))
    assert path.exists()
    run_apart(scene(0))
    assert not path.parent.exists()
    assert not held
