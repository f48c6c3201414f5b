"""Which server a conversation belongs to. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence


def conversation_key(body: bytes, caller: str) -> bytes:
    """What stays the same while a conversation grows: its messages up to the first question, pictures included.

    ``prompt_cache_key`` (OpenAI's field) takes their place where a client sends it. A body that holds no conversation belongs
    to its ``caller``. Equal beginnings of different callers are told apart.
    """
    digest = hashlib.sha256(caller.encode())
    digest.update(b"\0")
    digest.update(_beginning(body))
    return digest.digest()


def _beginning(body: bytes) -> bytes:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return b""
    if not isinstance(asked, dict):
        return b""
    named, messages = asked.get("prompt_cache_key"), asked.get("messages")
    if isinstance(named, str) and named:
        return named.encode("utf-8", "surrogatepass")
    beginning = []
    for message in messages if isinstance(messages, list) else []:
        beginning.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            break
    return json.dumps(beginning, sort_keys=True).encode() if beginning else b""


def rank(key: bytes, servers: Sequence[str]) -> list[str]:
    """``servers`` in the order in which ``key`` tries them: rendezvous hashing.

    A server that goes takes only its own conversations away, and one that comes only gets its share of each other's.
    """
    return sorted(servers, key=lambda server: hashlib.sha256(key + server.encode()).digest(), reverse=True)
