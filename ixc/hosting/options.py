"""How the server runs, apart from what it serves: who may use it, how it logs, how it ends."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ixc.errors import SettingsError
from ixc.hosting.access import Access, parse_keys, parse_users
from ixc.settings import VARIABLES, parse_number

logger = logging.getLogger(__name__)

SERVER_VARIABLES = frozenset(("IXC_AUTH", "IXC_API_KEY", "IXC_MAX_USERS", "IXC_LOG_FORMAT", "IXC_GRACE_S"))
"""The names of the environment variables that ``ServerOptions.from_env`` reads."""
_MISSPELT_FROM = 0.8
"""Names at least this alike (``difflib``) are one and the same, misspelt."""


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
            pages = "The number of pages open at once (--max-users or IXC_MAX_USERS)"
            raise SettingsError(f"{pages} must be 0 (no limit) or more, not {self.max_users}.")
        if not 0 <= self.grace_s < math.inf:
            seconds = "The seconds that running answers may go on (--grace or IXC_GRACE_S)"
            raise SettingsError(f"{seconds} must be a finite number of 0 or more, not {self.grace_s:g}.")
        if self.share and not self.access.is_guarded:
            raise SettingsError(
                "A share link opens the page to the whole internet; give --auth FILE as well, or leave out --share."
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ServerOptions:
        """Read the IXC_* variables that concern the server. Raises SettingsError naming the variable that is wrong.

        There is none for the share link: publishing a page is asked for each time. A variable that seems to be a misspelt one,
        and one that ought to close the door and names nobody, are errors: the server would be open to everybody unnoticed.
        """
        _check_names(env)
        for variable, what in (("IXC_AUTH", "user"), ("IXC_API_KEY", "key")):
            if variable in env and not env[variable].strip(" \t\n,"):
                raise SettingsError(f"{variable} is set and names no {what}; give it one, or unset it.")
        users = env.get("IXC_AUTH", "").strip()
        return cls(
            access=Access(
                parse_users(users.replace(",", "\n"), "IXC_AUTH") if users else {},
                parse_keys(env.get("IXC_API_KEY", ""), "IXC_API_KEY"),
            ),
            max_users=_number(env, "IXC_MAX_USERS", int, 0),
            log_format=log_format_from_env(env),
            grace_s=_number(env, "IXC_GRACE_S", float, 5.0),
        )


def log_format_from_env(env: Mapping[str, str]) -> LogFormat:
    """Text where none is named. Raises SettingsError."""
    return parse_log_format(env.get("IXC_LOG_FORMAT", "").strip() or LogFormat.TEXT)


def parse_log_format(name: str) -> LogFormat:
    """Raises SettingsError naming the choices."""
    try:
        return LogFormat(name)
    except ValueError:
        choices = " or ".join(LogFormat)
        raise SettingsError(f"The log format (--log-format or IXC_LOG_FORMAT) must be {choices}, not {name!r}.") from None


def is_zero_gpu(env: Mapping[str, str]) -> bool:
    """Whether this process runs on a ZeroGPU Space, as the ``spaces`` package tells it."""
    return env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def _check_names(env: Mapping[str, str]) -> None:
    """Raises SettingsError for an IXC_* variable that can only be a misspelt one; tells of other unknown ones."""
    known = VARIABLES | SERVER_VARIABLES
    for name in sorted(name for name in env if name.startswith("IXC_") and name not in known):
        if alike := difflib.get_close_matches(name, sorted(known), 1, _MISSPELT_FROM):
            raise SettingsError(f"There is no setting {name}; rename it to {alike[0]}, or unset it.")
        logger.warning("%s is no setting of this program", name)


def _number(env: Mapping[str, str], variable: str, kind: type[int] | type[float], default: float) -> float:
    text = env.get(variable, "").strip()
    return parse_number(text, variable, kind) if text else default
