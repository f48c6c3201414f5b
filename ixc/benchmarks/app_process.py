"""The real app in a process of its own, for programs that measure or test it from outside."""

from __future__ import annotations

import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx

from ixc.cores import usable_cores

_START_TIMEOUT_S = 120.0
_PORTS = (20_000, 32_000)
"""Below those that Linux and macOS hand out."""


class AppProcess:
    """``ixc app`` on a free port of this machine. A context manager; on exit the process is ended.

    ``env`` holds its settings (IXC_MODEL ...) and may add other variables; of this process's own the IXC_* ones do not count.
    ``preexec`` runs in the child before it starts, to limit it.
    """

    def __init__(self, env: Mapping[str, str] | None = None, preexec: Callable[[], None] | None = None) -> None:
        self._env = dict(env or {})
        self._preexec = preexec
        self._folder = tempfile.TemporaryDirectory(prefix="ixc-app-")
        self.url = ""
        self.log_path = Path(self._folder.name) / "app.log"
        self.uploads_path = Path(self._folder.name) / "uploads"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> AppProcess:
        port = free_port()
        is_ipv6 = ":" in self._env.get("IXC_HOST", "")
        self.url = f"http://{'[::1]' if is_ipv6 else '127.0.0.1'}:{port}"
        env = {
            **{name: value for name, value in os.environ.items() if not _is_setting(name)},
            "GRADIO_TEMP_DIR": str(self.uploads_path),
            "HF_HUB_OFFLINE": "1",
            **self._env,
            "IXC_PORT": str(port),
        }
        with self.log_path.open("wb") as log:
            command = [sys.executable, "-m", "ixc", "app"]
            self._process = subprocess.Popen(  # noqa: S603  our own program
                command, env=env, stdout=log, stderr=log, preexec_fn=self._preexec
            )
        try:
            self._wait_until(lambda: httpx.get(f"{self.url}/health/live", timeout=5).status_code == 200)
        except BaseException:
            self.__exit__(None, None, None)  # a with statement whose entry fails never leaves
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_exit(self, timeout_s: float = 30.0) -> int:
        """The exit code, once the process has ended."""
        return self._process.wait(timeout_s)

    def status(self) -> dict[str, object]:
        return httpx.get(f"{self.url}/status", timeout=30).json()

    def health(self) -> str:
        """What a load balancer is told: loading, ready, failed or stopping."""
        return httpx.get(f"{self.url}/health", timeout=30).json()["status"]

    def wait_for_model(self) -> str:
        """Wait until loading ended; "ready" or "failed"."""
        self._wait_until(lambda: self.health() != "loading")
        return self.health()

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def resident_bytes(self) -> int:
        """Memory that the process holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise RuntimeError(f"the app ended with exit code {self._process.returncode}:\n{self.log()[-2000:]}")
            try:
                if is_so():
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"the app did not get ready in {_START_TIMEOUT_S:.0f} s:\n{self.log()[-2000:]}")


def settings_of_the_shell() -> dict[str, str]:
    """The IXC_* variables of this process: a benchmark measures the app as whoever starts it has set it."""
    return {name: value for name, value in os.environ.items() if _is_setting(name)}


def _is_setting(variable: str) -> bool:
    return variable.startswith("IXC_")


def free_port() -> int:
    """A port that nothing listens on at this moment, and that no system hands out by itself before the app has it."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(*_PORTS)))  # noqa: S311  nothing to guess
            return probe.getsockname()[1]


def describe_hardware() -> str:
    """The processor and how many cores this process may use."""
    name = platform.processor() or platform.machine() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {usable_cores()} cores"
