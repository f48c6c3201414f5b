"""Who may use the server: names and passwords, for the page's login and for programs that send a header."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.errors import SettingsError
from ixc.hosting.route_path import route_path
from ixc.serving.callers import network_of, note_user

logger = logging.getLogger(__name__)

OnWrong = Callable[[], None]
"""Told of every wrong key or password."""

MIN_PASSWORD_CHARS = 8
MIN_KEY_CHARS = 16
_WRONG_LOGIN_COSTS_S = 0.3
"""Wrong passwords are answered one after the other, this far apart, so that nobody tries thousands a second."""
MAX_GUESSES = 16
"""So many requests of one address with one user's name may wait once it has guessed wrong; the next is refused."""
MAX_GUESSES_OF_ADDRESS = 4 * MAX_GUESSES
"""With whatever names."""
_RETRY_AFTER_S = 5
_login_from: ContextVar[str] = ContextVar("login_from", default="")
"""Where the login page comes from that is being looked at."""


@dataclass(frozen=True, slots=True)
class Access:
    """Users by name with their passwords; no users: everybody may come in. ``keys`` are for programs, and open no page."""

    users: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    @property
    def is_guarded(self) -> bool:
        """Whether the page asks for a name and a password."""
        return bool(self.users)

    def knows_key(self, key: str) -> bool:
        """Takes as long for a wrong key as for the last of the right ones."""
        return sum(hmac.compare_digest(key.encode(), known.encode()) for known in self.keys) > 0

    def knows(self, name: str, password: str) -> bool:
        """Takes as long for an unknown name as for a wrong password."""
        expected = self.users.get(name)
        is_same = hmac.compare_digest(password.encode(), (expected or "\0").encode())
        return is_same and expected is not None

    @property
    def asks_programs(self) -> bool:
        """Whether a program has to send a key, or a name and password."""
        return bool(self.users or self.keys)

    def key_in(self, authorization: str) -> str | None:
        """The key in an ``Authorization`` header, if it is a right one."""
        scheme, _, value = authorization.strip().partition(" ")
        key = value.strip()
        return key if scheme.lower() == "bearer" and self.knows_key(key) else None

    def who(self, authorization: str) -> str | None:
        """The user's name or the key in an ``Authorization`` header; None: nobody known.

        Basic, or Bearer with a key or ``name:password``.
        """
        if (key := self.key_in(authorization)) is not None:
            return key
        name, password = name_and_password(authorization)
        return name if self.knows(name, password) else None

    def __repr__(self) -> str:  # passwords stay out of logs and tracebacks
        return f"Access({', '.join(self.users)})"


def name_and_password(authorization: str) -> tuple[str, str]:
    """Of an ``Authorization`` header, both empty where it has none, as with a key."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode()
        except ValueError:  # not base64, not UTF-8, or not even ASCII
            return "", ""
    elif scheme.lower() != "bearer":
        return "", ""
    name, colon, password = value.strip().partition(":")
    return (name, password) if colon else ("", "")


def read_users(path: Path, env: Mapping[str, str] = os.environ) -> Access:
    """A file of ``name:password`` lines, ``#`` begins a comment. Raises SettingsError; also when others may read the file.

    A byte order mark before the first name, as Windows' editors write it, is no part of it.
    """
    try:
        text, mode = path.read_text(encoding="utf-8-sig"), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise SettingsError(
            f"The file of users {path} cannot be read ({reason}); give a file of NAME:PASSWORD lines."
        ) from None
    if os.name == "posix" and mode & _bits_of_others(path, env):
        raise SettingsError(f"Other users of this machine can read the passwords in {path}; run: chmod 600 {path}")
    return Access(parse_users(text, str(path)))


def _bits_of_others(path: Path, env: Mapping[str, str]) -> int:
    """The permissions by which others could read the file.

    From version 254 on systemd gives a service its credentials by an access list, whose mask stands in the group's
    bits; the folder is the service's alone.
    """
    folder = env.get("CREDENTIALS_DIRECTORY", "")
    is_credential = bool(folder) and path.resolve().parent == Path(folder).resolve()
    return stat.S_IROTH if is_credential else stat.S_IRGRP | stat.S_IROTH


def parse_users(text: str, source: str) -> dict[str, str]:
    """``name:password`` lines. ``source`` is named in errors, which never show a password. Raises SettingsError."""
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not (name and colon and password):
            raise SettingsError(f"Line {number} of {source} must be NAME:PASSWORD.")
        if len(password) < MIN_PASSWORD_CHARS:
            raise SettingsError(f"The password of {name} in {source} must have at least {MIN_PASSWORD_CHARS} characters.")
        users[name] = password
    if not users:
        raise SettingsError(f"{source} names nobody; write one NAME:PASSWORD a line.")
    return users


def parse_keys(text: str, source: str) -> tuple[str, ...]:
    """Keys separated by commas. Raises SettingsError, which never shows a key."""
    keys = tuple(key for key in (part.strip() for part in text.split(",")) if key)
    if not all(len(key) >= MIN_KEY_CHARS and key.isascii() and key.isprintable() for key in keys):
        raise SettingsError(f"Every key in {source} must have at least {MIN_KEY_CHARS} letters, digits or signs.")
    return keys


def _nothing() -> None:
    """Nobody counts."""


@dataclass(slots=True)
class _Line:
    """Requests of one address with one name, from a wrong guess on."""

    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_inside: int = 0


class GuessLines:
    """While a wrong guess waits for its answer, no password that its address sends with its name is even looked at.

    Else a thousand guesses at once would tell in a moment which one is right. Other names do not wait: where a server in front
    does not say who asks, as on a Space, all callers have one address, and a stranger's guesses would hold up everybody. A key
    is too long to be found like that, and waits for nothing. Every wrong guess is logged with its address, and without its
    name and key.
    """

    def __init__(self, wrong_costs_s: float = _WRONG_LOGIN_COSTS_S, on_wrong: OnWrong = _nothing) -> None:
        self._wrong_costs_s, self._on_wrong = wrong_costs_s, on_wrong
        self._lines: dict[tuple[str, str], _Line] = {}
        """By address and name, whether or not anybody has it; those are not in here whose guesses are all answered."""
        self._num_of_address: Counter[str] = Counter()

    def is_full(self, address: str, name: str | None = None) -> bool:
        """Whether as many of this address wait as may, in all or with this name."""
        line = None if name is None else self._lines.get((address, name))
        is_line_full = line is not None and line.num_inside >= MAX_GUESSES
        return is_line_full or self._num_of_address[address] >= MAX_GUESSES_OF_ADDRESS

    async def check(self, address: str, name: str, who: Callable[[], str | None]) -> str | None:
        """What ``who`` tells; at once only for one who is known, where no wrong guess is to be waited for."""
        key = (address, name)
        if key not in self._lines and (known := who()) is not None:
            return known
        line = self._lines.setdefault(key, _Line())
        line.num_inside += 1
        self._num_of_address[address] += 1
        try:
            async with line.one_at_a_time:
                known = who()
                if known is None:
                    logger.warning("a wrong key or password", extra={"address": address})
                    self._on_wrong()
                    await asyncio.sleep(self._wrong_costs_s)
                return known
        finally:
            line.num_inside -= 1
            if not line.num_inside:
                del self._lines[key]
            self._num_of_address[address] -= 1
            if not self._num_of_address[address]:
                del self._num_of_address[address]


class PageLogin:
    """What Gradio asks when somebody fills in the login page. It tells no address; ``LoginAddress`` does."""

    def __init__(self, access: Access, wrong_costs_s: float = _WRONG_LOGIN_COSTS_S, on_wrong: OnWrong = _nothing) -> None:
        self._access = access
        self.lines = GuessLines(wrong_costs_s, on_wrong)

    def as_function(self) -> Callable[[str, str], Awaitable[bool]]:
        """A coroutine function: Gradio awaits nothing else."""

        async def check(name: str, password: str) -> bool:
            address = _login_from.get()
            if self.lines.is_full(address, name):  # others came while this one's form was on its way
                raise HTTPException(429, _TOO_MANY_GUESSES_TEXT, {"Retry-After": str(_RETRY_AFTER_S)})
            who = await self.lines.check(address, name, lambda: name if self._access.knows(name, password) else None)
            return who is not None

        return check


class LoginAddress:
    """ASGI middleware: notes for ``login`` where a filled-in page comes from, and refuses it while too many from there wait."""

    def __init__(self, app: ASGIApp, login: PageLogin) -> None:
        self._app, self._login = app, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and route_path(scope).rstrip("/") == "/login":
            address = network_of(scope)
            if self._login.lines.is_full(address):
                await _TOO_MANY_GUESSES(scope, receive, send)
                return
            _login_from.set(address)  # each request runs in a context of its own
        await self._app(scope, receive, send)


class GuardedRoutes:
    """ASGI middleware: ``routes``, which Gradio's login does not cover, ask for a header where there are users or keys.

    A right key is let in whatever else its address sends; the rest is answered as ``GuessLines`` says.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        routes: Sequence[BaseRoute],
        wrong_costs_s: float = _WRONG_LOGIN_COSTS_S,
        on_wrong: OnWrong = _nothing,
    ) -> None:
        self._app, self._access, self._routes = app, access, routes
        self._lines = GuessLines(wrong_costs_s, on_wrong)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not (self._access.asks_programs and scope["type"] == "http" and self._is_guarded(scope)):
            await self._app(scope, receive, send)
            return
        address, authorization = network_of(scope), _authorization(scope)
        if not authorization:
            await _NO_KEY(scope, receive, send)
            return
        who, (name, _) = self._access.key_in(authorization), name_and_password(authorization)
        if who is None and self._lines.is_full(address, name):
            await _TOO_MANY_GUESSES(scope, receive, send)
            return
        if who is None:
            who = await self._lines.check(address, name, lambda: self._access.who(authorization))
        if who is None:
            await _NO_KEY(scope, receive, send)
            return
        note_user(scope, who)
        await self._app(scope, receive, send)

    def _is_guarded(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in self._routes)


def _refusal(status: int, message: str, kind: str, code: str, headers: Mapping[str, str]) -> JSONResponse:
    """In the shape of OpenAI's API and in that of Gradio's."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error, "detail": message}, status, headers)


_NO_KEY = _refusal(
    401,
    "A key, or a name and password, is needed.",
    "authentication_error",
    "invalid_api_key",
    {"WWW-Authenticate": 'Basic realm="ixc"'},
)
_TOO_MANY_GUESSES_TEXT = "Too many wrong keys or passwords come from this address; try again in a few seconds."
_TOO_MANY_GUESSES = _refusal(
    429,
    _TOO_MANY_GUESSES_TEXT,
    "rate_limit_error",
    "rate_limit_exceeded",
    {"Retry-After": str(_RETRY_AFTER_S)},
)


def _authorization(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
