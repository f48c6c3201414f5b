"""The tests and what they start do not depend on the settings of whoever runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import FOR_TESTS

ROOT = Path(__file__).parents[1]
MINE = {"IXC_MAX_PATCHES": "8", "IXC_DEVICE": "cuda", "IXC_AUTH": "alice:correct horse"}


def test_only_the_tests_own_variables_reach_them():
    program = "import os, tests.conftest; print(*sorted(name for name in os.environ if name.startswith('IXC_')))"
    env = os.environ | MINE | dict.fromkeys(FOR_TESTS, "1")
    seen = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert seen.stdout.split() == sorted(FOR_TESTS)
