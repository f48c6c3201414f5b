"""The MCP SDK's own client, connected to an app under test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def mcp_session(app_url: str) -> AsyncIterator[ClientSession]:
    async with streamable_http_client(f"{app_url}/mcp") as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        yield session
