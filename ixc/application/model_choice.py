"""Which models the page offers, and what happens when another one is chosen."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from ixc.errors import CheckpointError
from ixc.models.presets import PRESETS, find_model
from ixc.settings import Settings

_NO_OTHERS = ","
"""``Settings.models`` as a list that names nothing."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A choice: what it is called on the screen, and in the settings."""

    title: str
    key: str


def offered_models(settings: Settings) -> tuple[OfferedModel, ...]:
    """The configured model first, then those of IXC_MODELS; without it every preset, if the page is on loopback.

    Whoever opens the page may switch the one model that all its users share, and make the server download one; that is
    nothing to leave open on a network unasked. A server that lets others in on loopback takes ``offering_one_model``.
    """
    keys = [settings.model]
    if settings.backend:  # which model answers is the backend's affair
        return (OfferedModel("Another server", settings.model),)
    if settings.models:
        keys += [key.strip() for key in settings.models.split(",") if key.strip()]
    elif is_loopback(settings.host):
        keys += PRESETS
    offered: dict[str, OfferedModel] = {}
    for key in keys:
        try:
            preset = find_model(key)
        except CheckpointError:
            offered.setdefault(key, OfferedModel(key.rstrip("/").rpartition("/")[2] or key, key))
        else:
            offered.setdefault(str(preset.source), OfferedModel(preset.title, key))
    return tuple(offered.values())


def offering_one_model(settings: Settings) -> Settings:
    """``settings`` of a page that offers the configured model and no other, wherever it is served."""
    return replace(settings, models=_NO_OTHERS)


def is_loopback(host: str) -> bool:
    """Whether ``host`` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
