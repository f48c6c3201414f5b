"""How the server runs, apart from what it serves: who may use it, how it logs, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ixc.errors import SettingsError
from ixc.hosting.access import Access, parse_keys, parse_users


class LogFormat(StrEnum):
    """TEXT is for people, JSON is one object a line for a log collector."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Defaults are safe: no share link, and the page on loopback (``Settings.host``) needs no login."""

    access: Access = field(default_factory=Access)
    max_users: int = 0
    """Pages open at once; 0: as many as come. The line before the model has a bound of its own."""
    share: bool = False
    log_format: LogFormat = LogFormat.TEXT
    grace_s: float = 5.0
    """How long running answers may go on after SIGTERM before they are ended. ``docker stop`` kills after 10 s."""

    def __post_init__(self) -> None:
        if self.max_users < 0:
            raise SettingsError(f"IXC_MAX_USERS must be 0 (no limit) or more, not {self.max_users}.")
        if self.grace_s < 0:
            raise SettingsError(f"IXC_GRACE_S must be 0 or more seconds, not {self.grace_s}.")
        if self.share and not self.access.is_guarded:
            raise SettingsError(
                "A share link opens the page to the whole internet; give --auth FILE as well, or leave out --share."
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ServerOptions:
        """Read the IXC_* variables that concern the server. Raises SettingsError naming the variable that is wrong.

        There is none for the share link: publishing a page is asked for each time.
        """
        users = env.get("IXC_AUTH", "").strip()
        return cls(
            access=Access(
                parse_users(users.replace(",", "\n"), "IXC_AUTH") if users else {},
                parse_keys(env.get("IXC_API_KEY", ""), "IXC_API_KEY"),
            ),
            max_users=_number(env, "IXC_MAX_USERS", int, 0),
            log_format=parse_log_format(env.get("IXC_LOG_FORMAT", "").strip() or LogFormat.TEXT),
            grace_s=_number(env, "IXC_GRACE_S", float, 5.0),
        )


def parse_log_format(name: str) -> LogFormat:
    """Raises SettingsError naming the choices."""
    try:
        return LogFormat(name)
    except ValueError:
        raise SettingsError(f"The log format must be {' or '.join(LogFormat)}, not {name!r}.") from None


def is_zero_gpu(env: Mapping[str, str]) -> bool:
    """Whether this process runs on a ZeroGPU Space, as the ``spaces`` package tells it."""
    return env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def _number(env: Mapping[str, str], variable: str, kind: type[int] | type[float], default: float) -> float:
    text = env.get(variable, "").strip()
    if not text:
        return default
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{variable} must be a number, not {text!r}.") from None
