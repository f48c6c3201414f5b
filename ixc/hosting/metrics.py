"""GET /metrics in Prometheus' format: what the questions cost, who waits, what the caches hold. Nothing about anybody."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    exposition,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ixc.application.services import Services
from ixc.application.traffic import AnswerEnd
from ixc.hosting.open_pages import OpenPages
from ixc.hosting.refusals import Refusals

_TTFT_BUCKETS_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ANSWER_BUCKETS_S = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class AnswerMetrics:
    """Counted at the end of every question."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter("ixc_answers", "Questions by how they ended", ["outcome"], registry=registry)
        self._elapsed = Histogram(
            "ixc_answer_seconds", "From a question's arrival to its end", buckets=_ANSWER_BUCKETS_S, registry=registry
        )
        self._ttft = Histogram(
            "ixc_time_to_first_token_seconds",
            "From the model being free to the first token",
            buckets=_TTFT_BUCKETS_S,
            registry=registry,
        )
        self._prompt = Counter(
            "ixc_prompt_tokens", "Prompt tokens, taken from the cache or computed", ["source"], registry=registry
        )
        self._visual = Counter("ixc_visual_tokens", "Prompt tokens that were images", registry=registry)
        self._new = Counter("ixc_generated_tokens", "Tokens of the answers", registry=registry)

    def observe(self, end: AnswerEnd) -> None:
        self._answers.labels(end.outcome).inc()
        self._elapsed.observe(end.elapsed_s)
        if (stats := end.stats) is None:
            return
        if stats.time_to_first_token_ms is not None:
            self._ttft.observe(stats.time_to_first_token_ms / 1000)
        self._prompt.labels("cache").inc(stats.num_cached_tokens)
        self._prompt.labels("computed").inc(stats.num_prompt_tokens - stats.num_cached_tokens)
        self._visual.inc(stats.num_visual_tokens)
        self._new.inc(stats.num_new_tokens)


class StateCollector(Collector):
    """Looked up when somebody asks."""

    def __init__(self, services: Services, pages: OpenPages, refusals: Refusals) -> None:
        self._services, self._pages, self._refusals = services, pages, refusals

    def collect(self) -> Iterator[Metric]:
        services, engine = self._services, self._services.provider.engine
        held, cached = services.store.report(), engine.memory_report() if engine else {}
        yield GaugeMetricFamily("ixc_model_ready", "1 once the model answers", services.provider.status.phase == "ready")
        yield GaugeMetricFamily("ixc_questions_under_way", "Waiting or being answered", services.traffic.num_running)
        yield GaugeMetricFamily("ixc_line_length", "Places taken in the line before the model", services.line.num_inside)
        yield GaugeMetricFamily("ixc_line_limit", "Questions that may wait", services.settings.max_waiting)
        yield CounterMetricFamily("ixc_line_refusals", "Questions refused because the line was full", services.line.num_refused)
        refused = CounterMetricFamily("ixc_refused_requests", "Requests answered with an error, by status", labels=["status"])
        for status, num_refused in sorted(self._refusals.by_status.copy().items()):
            refused.add_metric([str(status)], num_refused)
        yield refused
        yield CounterMetricFamily("ixc_wrong_guesses", "Wrong keys and passwords", self._refusals.num_wrong_guesses)
        ahead = CounterMetricFamily("ixc_read_ahead", "Images read before a question, by what came of it", labels=["outcome"])
        for outcome, num_ended in sorted(services.read_ahead.num_ended.copy().items() if services.read_ahead else ()):
            ahead.add_metric([outcome], num_ended)
        yield ahead
        yield GaugeMetricFamily("ixc_open_pages", "Pages open in browsers", self._pages.num_open)
        yield CounterMetricFamily("ixc_page_refusals", "Pages refused because enough were open", self._pages.num_refused)
        yield GaugeMetricFamily("ixc_sessions", "Pages for which the server holds an image", held["sessions"])
        yield GaugeMetricFamily("ixc_image_bytes", "Memory of the images held", held["bytes"])
        yield GaugeMetricFamily("ixc_cache_bytes", "Memory of prefixes and image features held", cached.get("bytes", 0))
        yield GaugeMetricFamily("ixc_model_bytes", "Memory of the weights", cached.get("model_bytes", 0))


def metrics_route(services: Services, pages: OpenPages, refusals: Refusals) -> Route:
    """A registry of its own for this app, which hears of every question from now on."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(StateCollector(services, pages, refusals))
    services.traffic.listen(AnswerMetrics(registry).observe)

    def serve(request: Request) -> Response:
        try:
            encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        except TypeError:  # of a version that is no number
            encode, content_type = exposition.choose_encoder("")
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Route("/metrics", serve, methods=["GET"])
