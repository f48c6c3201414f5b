"""Names and passwords: read with care, compared whole, shown to nobody."""

from __future__ import annotations

import asyncio
import base64
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.errors import SettingsError
from ixc.hosting.access import MAX_GUESSES, MAX_GUESSES_OF_ADDRESS, Access, GuardedRoutes, LoginAddress, PageLogin, read_users
from ixc.hosting.options import LogFormat, ServerOptions
from ixc.serving.callers import line_caller, network_of, note_user, share_caller
from tests.event_loops import run_apart

USERS = Access({"alice": "correct horse", "bob": "staple: battery"})
OURS = "IXC_"
"""What names of settings begin with; those made of it here are none."""


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "is_allowed"),
    [
        (basic("alice:correct horse"), True),
        (basic("bob:staple: battery"), True),
        ("Bearer alice:correct horse", True),
        ("bearer alice:correct horse", True),
        (basic("alice:correct hors"), False),
        (basic("alice:"), False),
        (basic("carol:correct horse"), False),
        (basic("alice"), False),
        ("Basic %%%", False),
        ("Basic \xe9\xe9", False),
        ("Basic " + base64.b64encode(b"\xff\xfe").decode(), False),
        ("Digest alice:correct horse", False),
        ("", False),
        (basic("nobody:\0"), False),
    ],
)
def test_a_header_lets_in_who_is_known(header, is_allowed):
    assert (USERS.who(header) is not None) == is_allowed


def test_without_users_everybody_may_come_in():
    assert not Access().asks_programs
    assert not Access().is_guarded


def test_passwords_do_not_show():
    assert "correct horse" not in repr(ServerOptions(access=USERS))
    assert "alice" in repr(USERS)


def test_a_file_of_users_is_read(tmp_path):
    path = tmp_path / "users"
    path.write_text("# who may\nalice:correct horse\n\nbob:staple: battery\n")
    path.chmod(0o600)
    assert read_users(path) == USERS


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "users"
    path.write_text("alice:correct horse\r\n", encoding="utf-8-sig")
    path.chmod(0o600)
    assert read_users(path).users == {"alice": "correct horse"}


def test_a_credential_of_systemd_is_read_as_it_comes(tmp_path):
    """As version 254 and later hand it over: -r--r-----, in a folder of the service's own."""
    path = tmp_path / "users"
    path.write_text("alice:correct horse\n")
    path.chmod(0o440)
    assert read_users(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).users == {"alice": "correct horse"}
    for env in ({}, {"CREDENTIALS_DIRECTORY": str(tmp_path / "another")}):
        with pytest.raises(SettingsError, match="chmod 600"):
            read_users(path, env)
    path.chmod(0o444)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_users(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("alice:correct horse", 0o644, "chmod 600"),
        ("alice", 0o600, "Line 1"),
        ("ok:long enough\n:correct horse", 0o600, "Line 2"),
        ("alice:short", 0o600, "at least 8"),
        ("# nobody\n", 0o600, "names nobody"),
    ],
)
def test_a_wrong_file_is_refused_without_telling_a_password(tmp_path, text, mode, says):
    path = tmp_path / "users"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SettingsError) as refused:
        read_users(path)
    assert says in str(refused.value)
    assert "horse" not in str(refused.value)
    assert "short" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_users(tmp_path / "none")


def test_wrong_passwords_wait_for_one_another():
    """Ten guesses at once take ten times as long as one: many connections do not help to guess."""
    costs_s = 0.02

    async def guess_ten_times() -> list[bool]:
        check = PageLogin(USERS, wrong_costs_s=costs_s).as_function()
        return await asyncio.gather(*(check("alice", f"guess {number}") for number in range(10)))

    started_s = time.perf_counter()
    assert run_apart(guess_ten_times()) == [False] * 10
    assert time.perf_counter() - started_s >= 10 * costs_s
    assert run_apart(PageLogin(USERS).as_function()("alice", "correct horse"))


def test_options_come_from_the_environment():
    env = {
        "IXC_AUTH": "alice:correct horse,bob:staple: battery",
        "IXC_MAX_USERS": "7",
        "IXC_LOG_FORMAT": "json",
        "IXC_GRACE_S": "1.5",
    }
    assert ServerOptions.from_env(env) == ServerOptions(USERS, 7, False, LogFormat.JSON, 1.5)
    assert ServerOptions.from_env({}) == ServerOptions()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"IXC_AUTH": "alice"}, "IXC_AUTH"),
        ({"IXC_MAX_USERS": "many"}, "IXC_MAX_USERS must be a whole number, not 'many'"),
        ({"IXC_MAX_USERS": "1.5"}, "IXC_MAX_USERS must be a whole number, not '1.5'"),
        ({"IXC_MAX_USERS": "-1"}, "IXC_MAX_USERS"),
        ({"IXC_LOG_FORMAT": "xml"}, "IXC_LOG_FORMAT.* text or json"),
        ({"IXC_GRACE_S": "soon"}, "IXC_GRACE_S must be a number, not 'soon'"),
        ({"IXC_GRACE_S": "nan"}, "IXC_GRACE_S"),
        ({"IXC_GRACE_S": "inf"}, "IXC_GRACE_S"),
        ({"IXC_GRACE_S": "-1"}, "IXC_GRACE_S"),
        ({"IXC_API_KEY": ""}, "IXC_API_KEY is set and names no key"),
        ({"IXC_API_KEY": " , "}, "IXC_API_KEY is set and names no key"),
        ({"IXC_AUTH": ""}, "IXC_AUTH is set and names no user"),
        ({OURS + "API_KEYS": "first-key-of-the-app"}, f"no setting {OURS}API_KEYS; rename it to IXC_API_KEY"),
        ({OURS + "MAXWAITING": "3"}, "rename it to IXC_MAX_WAITING"),
    ],
)
def test_a_wrong_variable_is_named(env, says):
    with pytest.raises(SettingsError, match=says):
        ServerOptions.from_env(env)


def test_names_like_no_setting_are_told_of_and_harm_nothing(caplog):
    assert ServerOptions.from_env({OURS + "FAVOURITE_COLOUR": "green", "PATH": "/bin"}) == ServerOptions()
    assert f"{OURS}FAVOURITE_COLOUR is no setting" in caplog.text
    assert "PATH" not in caplog.text


def test_a_share_link_needs_passwords():
    with pytest.raises(SettingsError, match="--auth"):
        ServerOptions(share=True)
    assert ServerOptions(access=USERS, share=True).share


def test_a_key_opens_the_calls_for_programs_and_no_page():
    access = ServerOptions.from_env({"IXC_API_KEY": "first-key-of-the-app, second-key-of-the-app"}).access
    assert access.asks_programs
    assert access.who("Bearer first-key-of-the-app") == "first-key-of-the-app"
    assert access.who("bearer second-key-of-the-app") == "second-key-of-the-app"
    for header in ("", "Bearer first-key-of-the-ap", "Bearer ", "Bearer first-key-of-the-app, second-key-of-the-app"):
        assert access.who(header) is None
    assert not access.is_guarded
    assert "first-key" not in repr(ServerOptions(access=access))


@pytest.mark.parametrize("key", ["short", "a key of words\nand lines", "schlüssel-schlüssel"])
def test_a_key_that_could_be_guessed_or_not_be_sent_is_refused(key):
    with pytest.raises(SettingsError, match="IXC_API_KEY") as refusal:
        ServerOptions.from_env({"IXC_API_KEY": key})
    assert key not in str(refusal.value)


def test_wrong_keys_are_answered_one_after_the_other():
    async def nothing(request):
        return PlainTextResponse("in")

    route = Route("/v1/models", nothing)
    guard = Middleware(GuardedRoutes, access=Access(keys=("k" * 16,)), routes=[route], wrong_costs_s=0.05)
    with TestClient(Starlette(routes=[route], middleware=[guard])) as client:
        assert client.get("/v1/models", headers={"authorization": "Bearer " + "k" * 16}).text == "in"
        started_s = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            wrong = [pool.submit(client.get, "/v1/models", headers={"authorization": "Bearer no"}) for _ in range(4)]
        assert [answer.result().status_code for answer in wrong] == [401] * 4
        assert time.monotonic() - started_s >= 4 * 0.05


RIGHT = "right-key-of-many-letters"
NEVER_S = 60.0
"""What a wrong guess costs where a test is over long before."""


class Guarded:
    """A route that needs a key, asked from any address; ``answered`` has the keys in the order of their answers."""

    def __init__(self, wrong_costs_s: float = NEVER_S, num_together: int = 0) -> None:
        async def models(_):
            await together.wait()
            return PlainTextResponse("in")

        together = asyncio.Barrier(num_together or 1)
        route = Route("/v1/models", models)
        guard = Middleware(GuardedRoutes, access=Access(keys=(RIGHT,)), routes=[route], wrong_costs_s=wrong_costs_s)
        self._app = Starlette(routes=[route], middleware=[guard])
        self.answered: list[str] = []

    async def ask(self, key: str, address: str = "198.51.100.1") -> int:
        transport = httpx.ASGITransport(self._app, client=(address, 1))
        async with asyncio.timeout(20), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code != 429 or answer.headers["retry-after"]
        self.answered.append(key)
        return answer.status_code

    def start(self, *keys: str) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.ask(key)) for key in keys]


def test_the_right_key_among_many_guesses_is_answered_at_once():
    """On a Space all callers have one address: a stranger's guesses must keep nobody out."""

    async def scene():
        guarded, keys = Guarded(wrong_costs_s=0.02), ["guess 1", "guess 2", RIGHT, "guess 3"]
        assert await asyncio.gather(*guarded.start(*keys)) == [401, 401, 200, 401]
        assert guarded.answered == [RIGHT, "guess 1", "guess 2", "guess 3"]

    run_apart(scene())


def test_more_guesses_than_may_wait_are_refused_and_keep_no_other_address_waiting():
    async def scene():
        guarded = Guarded()
        waiting = guarded.start(*["guess"] * MAX_GUESSES)
        assert await asyncio.gather(*guarded.start("one guess more", RIGHT)) == [429, 200]
        for elsewhere in ("198.51.100.2", "2001:db8::1"):
            assert await guarded.ask(RIGHT, elsewhere) == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()

    run_apart(scene())


def test_wrong_passwords_of_one_address_keep_nobody_else_from_logging_in():
    async def scene():
        login = PageLogin(USERS, wrong_costs_s=NEVER_S)
        check = login.as_function()

        async def log_in(request):
            is_right = await check("alice", request.headers["password"])
            return PlainTextResponse("in" if is_right else "no", 200 if is_right else 400)

        app = Starlette(routes=[Route("/login", log_in, methods=["POST"])], middleware=[Middleware(LoginAddress, login=login)])

        async def ask(password: str, address: str = "198.51.100.1") -> int:
            transport = httpx.ASGITransport(app, client=(address, 1))
            async with asyncio.timeout(20), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return (await client.post("/login", headers={"password": password})).status_code

        waiting = [asyncio.create_task(ask("a guess")) for _ in range(MAX_GUESSES)]
        assert await asyncio.gather(*(asyncio.create_task(ask("correct horse")) for _ in range(3))) == [429] * 3
        assert await ask("correct horse", "198.51.100.2") == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()

    run_apart(scene())


def test_forms_that_were_on_their_way_together_are_no_more_guesses_than_may_wait():
    """All pass the look at their headers before the first of them is read."""

    async def scene():
        login, all_are_here, num_here = PageLogin(USERS, wrong_costs_s=NEVER_S), asyncio.Event(), 0
        check = login.as_function()

        async def log_in(request):
            nonlocal num_here
            num_here += 1
            if num_here == 2 * MAX_GUESSES:
                all_are_here.set()
            await all_are_here.wait()
            return PlainTextResponse("in" if await check("alice", "a guess") else "no")

        app = Starlette(routes=[Route("/login", log_in, methods=["POST"])], middleware=[Middleware(LoginAddress, login=login)])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            waiting = [asyncio.create_task(client.post("/login")) for _ in range(2 * MAX_GUESSES)]
            async with asyncio.timeout(20):
                refused = []
                while len(refused) < MAX_GUESSES:
                    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    waiting = [task for task in waiting if task not in done]
                    refused += [task.result() for task in done]
            assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(429, "5")}
            assert len(waiting) == MAX_GUESSES
            for task in waiting:
                task.cancel()

    run_apart(scene())


def test_a_stranger_s_guesses_at_one_name_hold_up_no_other_user_of_the_address():
    """On a Space all have one address. Names that nobody has are no way around: together they may not be many."""

    async def scene():
        check, waiting = PageLogin(USERS, wrong_costs_s=NEVER_S).as_function(), []

        async def guess(*names: str) -> None:
            waiting.extend(asyncio.create_task(check(name, "a guess")) for name in names)
            await asyncio.sleep(0)  # each begins

        await guess(*["alice"] * MAX_GUESSES)
        assert await asyncio.wait_for(check("bob", "staple: battery"), 20)
        await guess(*map(str, range(MAX_GUESSES_OF_ADDRESS - MAX_GUESSES)))
        with pytest.raises(HTTPException):
            await check("bob", "staple: battery")

    run_apart(scene())


def test_many_right_keys_at_once_are_let_in_at_once():
    """None is answered before the last of them is in."""

    async def scene():
        assert await asyncio.gather(*Guarded(num_together=40).start(*[RIGHT] * 40)) == [200] * 40

    run_apart(scene())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:198.51.100.1", "::ffff:198.51.100.1"),  # as a socket for both kinds gives IPv4
        ("testclient", "testclient"),
    ],
)
def test_a_machine_s_many_addresses_are_one_guesser(address, network):
    assert network_of({"client": (address, 1)}) == network
    assert network_of({"client": None}) == ""


def test_a_machine_s_many_addresses_share_once():
    def request(address: str) -> Request:
        return Request({"type": "http", "client": (address, 1), "headers": []})

    own, same, other = map(request, ("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"))
    for caller in (share_caller, line_caller):
        assert caller(own) == caller(same) != caller(other)
    note_user(own.scope, "alice")
    assert line_caller(own) is None, "a page elsewhere may ask for all its users"


def test_a_share_belongs_to_a_user_who_was_checked_else_to_an_address():
    route = Route("/v1/models", lambda request: PlainTextResponse(share_caller(request)))

    def shares(access, *headers):
        guard = Middleware(GuardedRoutes, access=access, routes=[route])
        with TestClient(Starlette(routes=[route], middleware=[guard])) as client:
            return [client.get("/v1/models", headers={"authorization": header}).text for header in headers]

    alice, *also_alice, bob = shares(
        USERS,
        *(basic("alice:correct horse"), "Bearer alice:correct horse", "BEARER   alice:correct horse"),
        basic("bob:staple: battery"),
    )
    assert set(also_alice) == {alice} != {bob}
    assert len(set(shares(Access(), "Bearer 1", "Bearer 2"))) == 1
