"""Where the files lie that come with the program: the page's, the examples, the small models, what was measured."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ASSETS = _PACKAGE / "assets" if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent / "assets"
"""A wheel holds the folder inside the package (see pyproject.toml), a checkout beside it."""
