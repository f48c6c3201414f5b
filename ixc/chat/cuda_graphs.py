"""Capturing a step as a CUDA graph: one launch a token instead of hundreds.

What a step must keep to (PyTorch, "CUDA semantics", section CUDA Graphs): no waiting for the device, no data-dependent shapes
or branches on the host, inputs and outputs at fixed addresses, and everything it compiles or tunes done before the capture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

_WARM_UP_STEPS = 3
"""Compiling, tuning and library handles are done after the first; PyTorch's own examples take three."""


class GraphPool:
    """Captures steps that never run at the same time, so that they share one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """``step`` as a call that replays it. It runs a few times first; the caller restores what that changed."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP_STEPS):
                    step()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # thread_local: another thread may be loading or freeing a model meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                step()
        return graph.replay
