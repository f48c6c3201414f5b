"""The servers behind the address, and which of them answer at present."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import httpx2

from ixc.application.raised import where_raised
from ixc.chat.backend_address import is_address, shown_address
from ixc.errors import SettingsError
from ixc.hosting.replicas.affinity import rank

logger = logging.getLogger(__name__)

_HEALTH_TIMEOUT_S = 5.0


class ReplicaPool:
    """Knows a server's health from asking ``/health``, which ``ixc app`` and ``vllm serve`` have, and from failed requests.

    Raises SettingsError for an address that is none, or is given twice.
    """

    def __init__(self, addresses: Sequence[str], client: httpx2.AsyncClient) -> None:
        self.addresses = tuple(parse_address(address) for address in addresses)
        if not self.addresses or len(set(self.addresses)) < len(self.addresses):
            raise SettingsError("Give each server's address once, with --to URL.")
        self._client = client
        self._down: set[str] = set()
        self._unforeseen: set[str] = set()
        """Servers whose check failed for a reason that is logged already."""

    def candidates(self, key: bytes) -> list[str]:
        """The servers that answer, the one that ``key`` belongs to first."""
        return rank(key, [address for address in self.addresses if address not in self._down])

    def mark_down(self, address: str) -> None:
        """Leave a server out until it is healthy again."""
        if address not in self._down:
            self._down.add(address)
            logger.warning("%s does not answer; its conversations go to the others", address)

    def report(self) -> dict[str, str]:
        return {address: "down" if address in self._down else "up" for address in self.addresses}

    async def check(self) -> None:
        """Ask every server how it is."""
        await asyncio.gather(*map(self._check, self.addresses))

    async def watch(self, every_s: float) -> None:
        """Check for as long as it is not cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(every_s)

    async def _check(self, address: str) -> None:
        try:
            answer = await self._client.get(f"{address}/health", timeout=_HEALTH_TIMEOUT_S)
        except httpx2.TransportError:
            self.mark_down(address)
            return
        except Exception as error:  # noqa: BLE001  nobody foresaw it, and the other servers are watched all the same
            if address not in self._unforeseen:
                self._unforeseen.add(address)
                logger.error("the health of %s cannot be asked: %s", address, where_raised(error))
            self.mark_down(address)
            return
        if answer.status_code != 200:
            self.mark_down(address)
        elif address in self._down:
            self._down.discard(address)
            self._unforeseen.discard(address)
            logger.info("%s answers again", address)


def parse_address(text: str) -> str:
    """An http(s) address without a path, whether or not it was given with /v1. Raises SettingsError.

    Nor with a name and a password: whoever asked without any would be let in by them.
    """
    address = text.strip().rstrip("/").removesuffix("/v1")
    url = httpx2.URL(address) if is_address(address) else None
    if url is not None and url.userinfo:
        raise SettingsError(f"Leave the name and password out of {shown_address(address)}; every caller sends their own key.")
    if url is None or url.path not in ("", "/") or url.query:
        raise SettingsError(f"A server's address must look like http://127.0.0.1:8001, not {shown_address(address)!r}.")
    return address
