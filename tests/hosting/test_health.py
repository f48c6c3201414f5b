"""What load balancers and supervisors are told: may questions be sent here, and would a restart help."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.testclient import TestClient

from ixc.errors import DeviceFailed
from ixc.hosting.health import health_routes
from tests.two_models import NamedEngine, two_models


class BrokenEngine(NamedEngine):
    """Its GPU has failed."""

    @property
    def failure(self) -> DeviceFailed:
        return DeviceFailed("The GPU failed.")


def test_a_model_that_answers_is_ready_and_live():
    client = TestClient(Starlette(routes=health_routes(two_models())))
    assert [client.get(path).status_code for path in ("/health", "/health/live")] == [200, 200]


def test_after_a_gpu_has_failed_only_a_restart_helps():
    services = two_models()
    services.provider._engine = BrokenEngine()
    client = TestClient(Starlette(routes=health_routes(services)))
    for path in ("/health", "/health/live"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
    assert services.provider.status.error.sentence("en") == "The GPU failed."
