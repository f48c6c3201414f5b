"""The address of a server that answers: whether it can be one, and what of it may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2


def is_address(text: str) -> bool:
    """Whether ``text`` is an http(s) address that a server can have; one that none can have would be waited for forever."""
    try:
        parts, _ = urlsplit(text), httpx2.URL(text)
        port = parts.port  # ValueError where it is none
    except (ValueError, httpx2.InvalidURL):
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and not any(map(str.isspace, text))


def shown_address(text: str) -> str:
    """The address without a name and a password (``http://name:password@host``), for whoever runs the app: logs, terminals.

    Visitors never see it: it may be the name and the port of a machine that they know nothing of.
    """
    scheme, found, rest = text.partition("://") if "://" in text else ("", "", text)
    authority, slash, path = rest.partition("/")
    return f"{scheme}{found}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
