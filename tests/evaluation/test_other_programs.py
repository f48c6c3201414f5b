"""What documents printed by other programs need is named part by part, so that a mixture without some of them is noticed."""

from __future__ import annotations

import pytest

from ixc.evaluation import other_programs

PACKAGES = {
    "chromium": "chromium",
    "soffice": "libreoffice-calc",
    "pdftoppm": "poppler-utils",
    "matplotlib": "requirements-dev.txt",
}


@pytest.fixture
def machine(monkeypatch):
    """Install only these programs on a machine of the test's own."""

    def install(*names: str) -> None:
        monkeypatch.delenv("IXC_CHROMIUM", raising=False)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name in names else None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in names else None)

    return install


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        ((), ()),
        (("soffice",), ()),
        (("chromium", "soffice"), ("chromium",)),
        (("soffice", "pdftoppm", "matplotlib"), ("libreoffice", "matplotlib")),
        (tuple(PACKAGES), ("chromium", "libreoffice", "matplotlib")),
    ],
)
def test_what_is_missing_is_named_with_what_brings_it(machine, installed, found):
    machine(*installed)
    assert other_programs.missing_programs() == {name: PACKAGES[name] for name in PACKAGES if name not in installed}
    assert other_programs.found_programs() == found
