"""Which web pages may use this server through the browsers of people who reach it: its own, and those its host names.

A page elsewhere is loaded by somebody on the server's network, or at the server's own machine, and its scripts then send
requests from there. A browser says with each which page it is (RFC 6454, Fetch Metadata); programs say nothing, and may come.
Pages that may come are told so in the words that their browsers wait for (CORS, in the Fetch standard).
"""

from __future__ import annotations

import ipaddress
import logging
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ixc.errors import SettingsError
from ixc.serving.callers import is_known

logger = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443}
_ALL = "*"
_SAME = ("same-origin", "none")
"""Values of Sec-Fetch-Site for the page's own requests. Browsers send it over https and to loopback, and let no page set it."""
_NOT_FORWARDED = ("localhost", "127.0.0.1")
"""Hosts that a server in front on this machine may ask for in place of its own, which it then tells apart.

A page elsewhere cannot tell another one: before that header its browser would ask whether it may, and is not told yes here.
"""
_PRIVATE_ENDINGS = ("localhost", "local", "lan", "internal", "home.arpa", "test")
"""Names that nobody can register on the internet (RFC 6761, 6762, 8375), and one that everybody uses like that."""
_HUB = "https://huggingface.co"
_MOST_NAMED = 10
"""So many pages elsewhere are named in the log."""
_METHODS = "DELETE, GET, HEAD, OPTIONS, POST"
_HEADERS = "Authorization, Content-Type"
"""Where a browser names none. Where it does, pages may send them all: OpenAI's client has a dozen of its own."""
_ASKED_AGAIN_AFTER_S = 600
_IS_TOLD = "ixc.origin_is_told"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a page comes from, or where a request goes, of which the scheme or the port may be unknown."""

    name: str
    port: int | None = None
    scheme: str = ""

    @property
    def is_loopback(self) -> bool:
        if self.name == "localhost" or self.name.endswith(".localhost"):
            return True
        address = _ip(self.name)
        return address is not None and address.is_loopback

    @property
    def could_be_anybodys(self) -> bool:
        """Whether it is a name on the internet, whose owner may let it point here."""
        is_private = "." not in self.name or self.name.rstrip(".").endswith(tuple(f".{end}" for end in _PRIVATE_ENDINGS))
        return _ip(self.name) is None and not is_private


@dataclass(slots=True)
class Origins:
    """Pages that may use the server besides its own: ``allowed`` ones, and those of installed programs, which are no web page.

    ``only_local``: only this machine reaches the server, and it asks nobody at its page for a password. Then a page elsewhere
    could make its own name point here, and would pass for the server's.
    """

    allowed: set[Address] = field(default_factory=set)
    allows_all: bool = False
    only_local: bool = False

    @classmethod
    def of(cls, setting: str, env: Mapping[str, str], *, only_local: bool, asks_nobody: bool = False) -> Origins:
        """``setting`` is IXC_ORIGINS. A Space that ``asks_nobody`` for a password is there for every page, unless that is set.

        Raises SettingsError naming what is no address.
        """
        named = [part.strip() for part in setting.split(",") if part.strip()]
        origins = cls(allows_all=_ALL in named, only_local=only_local)
        for text in named:
            if text != _ALL and not origins.allow(text):
                raise SettingsError(f"IXC_ORIGINS must hold addresses like https://ixc.example.org, or *, not {text!r:.80}.")
        origins.allow(env.get("GRADIO_ROOT_PATH", ""))  # a path, or an address
        if space := env.get("SPACE_HOST", ""):  # a Hugging Face Space, which the Hub shows in a frame
            origins.allow(f"https://{space}")
            origins.allow(_HUB)
            origins.allows_all |= asks_nobody and not named
        return origins

    def allow(self, address: str) -> bool:
        """Let the pages of ``address`` in; False when it is no web address."""
        if (parsed := _parse(address)) is None or parsed.scheme not in _PORTS:
            return False
        self.allowed.add(parsed)
        return True

    def may_come(self, headers: Headers) -> bool:
        """Whether a request with these headers comes from a page that may use the server, or from no page."""
        text = headers.get("origin")
        if text is None or self.allows_all:
            return True
        scheme, has_scheme, _ = text.partition("://")
        if has_scheme and scheme not in _PORTS:
            return True  # an extension or a program with a page of its own, which its user installed
        page, host = _parse(text), _parse(f"//{headers.get('host', '')}")
        if page is None or host is None:
            return False
        if page in self.allowed or page.is_loopback:  # on the user's own machine another program of theirs has made it
            return True
        if (site := headers.get("sec-fetch-site")) is not None:
            return site in _SAME
        if self.only_local and page.scheme == "http" and page.could_be_anybodys:
            return False
        return any(_is_same(page, asked) for asked in self._asked(host, headers))

    @staticmethod
    def _asked(host: Address, headers: Headers) -> Iterable[Address]:
        yield host
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip()
        if host.name in _NOT_FORWARDED and (named := _parse(f"//{forwarded}")) is not None:
            yield named


class TellOrigins:
    """ASGI middleware: what browsers ask before a page elsewhere may use the server, and whether it may read the answer.

    Each is told once, by its own name and never ``*``. Of pages that may not come nothing is said here.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or _IS_TOLD in scope or not self._origins.may_come(headers):
            await self._app(scope, receive, send)
            return
        scope[_IS_TOLD] = True

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                _tell(MutableHeaders(scope=message), origin)
            await send(message)

        asks_before = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        answer = self._answer_before(headers) if asks_before else self._app
        await answer(scope, receive, send_told)

    @staticmethod
    def _answer_before(headers: Headers) -> Response:
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": headers.get("access-control-request-headers") or _HEADERS,
                "Access-Control-Max-Age": str(_ASKED_AGAIN_AFTER_S),
            },
        )


def _tell(headers: MutableHeaders, origin: str) -> None:
    """Gradio may have told some of it: on loopback it tells local pages only."""
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Allow-Credentials"] = "true"  # with which Gradio's own script asks
    if "origin" not in (part.strip().lower() for part in headers.get("vary", "").split(",")):
        headers.add_vary_header("Origin")


class OnlyOwnPages:
    """ASGI middleware that answers requests of other web pages with 403, except one that brings a key: it was given one.

    Keys are checked before it. Pages that may come are told so, by whatever answers them.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app, self._origins = TellOrigins(app, origins), origins
        self._named: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._tell_first(scope.get("app"))
        if scope["type"] != "http" or self._has_key(scope) or self._origins.may_come(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        self._log(headers)
        message = f"The web page {headers['origin'][:80]} may not use this server, unless IXC_ORIGINS names it."
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "foreign_origin"}
        refusal = JSONResponse({"error": error, "detail": message}, 403, {"Connection": "close"})
        await refusal(scope, receive, send)

    def _tell_first(self, server: Any) -> None:
        """When the server starts, before its first request.

        What browsers ask beforehand Gradio would answer before any middleware that it is given. And keys, which browsers do not
        send with that, are asked for before this one.
        """
        stack = getattr(server, "middleware_stack", None)
        if stack is not None and not isinstance(stack, TellOrigins):
            server.middleware_stack = TellOrigins(stack, self._origins)

    @staticmethod
    def _has_key(scope: Scope) -> bool:
        """Not a name and password that the browser itself remembers and adds to what any page asks for."""
        authorization = Headers(scope=scope).get("authorization", "")
        return is_known(scope) and authorization.lower().startswith("bearer ")

    def _log(self, headers: Headers) -> None:
        origin, host = headers["origin"][:80], headers.get("host", "")[:80]
        if origin not in self._named and len(self._named) < _MOST_NAMED:
            self._named.add(origin)
            logger.warning("refused the web page %r at %r; IXC_ORIGINS names those that may use this server", origin, host)


def _parse(text: str) -> Address | None:
    """None for what is no address."""
    try:
        parts = urllib.parse.urlsplit(text)
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return Address(name, port or _PORTS.get(parts.scheme), parts.scheme) if name else None


def _is_same(page: Address, asked: Address) -> bool:
    """A server in front may leave the port out of what was asked for."""
    return page.name == asked.name and asked.port in (None, page.port)


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
