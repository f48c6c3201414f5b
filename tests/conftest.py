"""What every test shares: no network, few threads, nobody's own settings, and hypothesis runs that repeat."""

import os

# Set before any library reads them. A test that needs a network is a test that fails on a train.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

FOR_TESTS = ("IXC_CHROMIUM", "IXC_SKIP_BROWSER", "IXC_BROWSER_TIMEOUT_S", "IXC_ARTIFACTS")
"""The tests' own variables. Any other of the app's, set in somebody's shell, would have them test another app."""
for _name in [name for name in os.environ if name.startswith("IXC_") and name not in FOR_TESTS]:
    del os.environ[_name]

# In the background of a shell Ctrl-C is ignored, and the programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REFERENCE = Path(__file__).parent / "data" / "ixc2_4khd"

# A slow, shared machine must not fail a property, and CI must try the same cases twice.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's, which not every environment has
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where the tests of one file stay together, those of tests/http do too: one process starts the app that they share."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrSharedApp(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/http" if nodeid.startswith("tests/http/") else super()._split_scope(nodeid)

    return ByFileOrSharedApp(config, log)


@pytest.fixture(scope="session")
def golden() -> dict:
    """Recorded values of the reference implementation (geometry, prompts, token ids, outputs)."""
    return json.loads((REFERENCE / "golden.json").read_text(encoding="utf-8"))
