"""Who may use the server: names and passwords, for the page's login and for programs that send a header."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.errors import SettingsError
from ixc.serving.callers import note_user

MIN_PASSWORD_CHARS = 8
MIN_KEY_CHARS = 16
_WRONG_LOGIN_COSTS_S = 0.3
"""Wrong passwords are answered one after the other, this far apart, so that nobody tries thousands a second."""


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

    def allows(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header lets a program in."""
        return not (self.users or self.keys) or self.who(authorization) is not None

    def who(self, authorization: str) -> str | None:
        """The user's name or the key in a header: Basic, or Bearer with a key or ``name:password``. None: nobody known."""
        scheme, _, value = authorization.strip().partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
        elif scheme.lower() != "bearer":
            return None
        elif self.knows_key(value.strip()):
            return value.strip()
        name, _, password = value.strip().partition(":")
        return name if self.knows(name, password) else None

    def __repr__(self) -> str:  # passwords stay out of logs and tracebacks
        return f"Access({', '.join(self.users)})"


def read_users(path: Path, env: Mapping[str, str] = os.environ) -> Access:
    """A file of ``name:password`` lines, ``#`` begins a comment. Raises SettingsError; also when others may read the file."""
    try:
        text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
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


class PageLogin:
    """What Gradio asks when somebody fills in the login page."""

    def __init__(self, access: Access, wrong_costs_s: float = _WRONG_LOGIN_COSTS_S) -> None:
        self._access = access
        self._wrong_costs_s = wrong_costs_s
        self._one_at_a_time = asyncio.Lock()

    def as_function(self) -> Callable[[str, str], Awaitable[bool]]:
        """A coroutine function: Gradio awaits nothing else."""

        async def check(name: str, password: str) -> bool:
            async with self._one_at_a_time:
                if self._access.knows(name, password):
                    return True
                await asyncio.sleep(self._wrong_costs_s)
                return False

        return check


class GuardedRoutes:
    """ASGI middleware: ``routes``, which Gradio's login does not cover, ask for a header where there are users."""

    def __init__(
        self, app: ASGIApp, access: Access, routes: Sequence[BaseRoute], wrong_costs_s: float = _WRONG_LOGIN_COSTS_S
    ) -> None:
        self._app, self._access, self._routes = app, access, routes
        self._wrong_costs_s = wrong_costs_s
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_guarded = scope["type"] == "http" and any(route.matches(scope)[0] is not Match.NONE for route in self._routes)
        if is_guarded and not self._access.allows(_authorization(scope)):
            if _authorization(scope):
                async with self._one_at_a_time:
                    await asyncio.sleep(self._wrong_costs_s)
            error = {"message": "A key, or a name and password, is needed.", "type": "authentication_error"}
            refusal = JSONResponse(
                {"error": {**error, "param": None, "code": "invalid_api_key"}},
                status_code=401,
                headers={"WWW-Authenticate": 'Basic realm="ixc"'},
            )
            await refusal(scope, receive, send)
            return
        if is_guarded and (who := self._access.who(_authorization(scope))) is not None:
            note_user(scope, who)
        await self._app(scope, receive, send)


def _authorization(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
