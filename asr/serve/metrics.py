"""What Prometheus collects at /metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from asr.serve.limits import Admission
from asr.serve.models import ModelPool

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)
LATENCIES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64)

router = APIRouter()


class Metrics:
    """Counters of one server, in a registry of their own. Paths are those of routes, so that there are few."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()

        def histogram(name: str, help_: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"asr_{name}", help_, labels, registry=own, buckets=buckets)

        self.requests = Counter("asr_requests", "Requests and websockets that ended", ("path", "code"), registry=own)
        self.audio_seconds = Counter("asr_audio_seconds", "Audio that was taken in", ("path", "model"), registry=own)
        self.request_seconds = histogram("request_seconds", "From a request to the end of its answer", SECONDS, "path")
        self.batch_size = histogram("batch_size", "Spans recognised at once", SIZES, "model")
        self.first_partial = histogram("first_partial_seconds", "In streams, from speech to its first words", LATENCIES)
        self.finalization = histogram("finalization_seconds", "In streams, from the end of words to final", LATENCIES)

    def took_batch(self, model: str, size: int) -> None:
        """An engine began a batch of so many spans; from any thread."""
        self.batch_size.labels(model).observe(size)

    def watch(self, pool: ModelPool, files: Admission, streams: Admission) -> None:
        """Have the present state collected, too."""
        self.registry.register(_State(pool, files, streams))


class _State(Collector):
    """What is the case at the moment."""

    def __init__(self, pool: ModelPool, files: Admission, streams: Admission) -> None:
        self._pool = pool
        self._files = files
        self._streams = streams

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `prometheus_client.registry.Collector`."""
        yield GaugeMetricFamily("asr_queue_depth", "Files that wait for a place", self._files.num_waiting)
        yield GaugeMetricFamily("asr_in_flight", "Files that the engine works on", self._files.num_running)
        yield GaugeMetricFamily("asr_streams", "Streams that are open", self._streams.num_all)
        loaded = GaugeMetricFamily("asr_model_loaded", "Whether a model is loaded", labels=["model"])
        for name, model in self._pool.models.items():
            loaded.add_metric([name], float(model.recognizer is not None))
        yield loaded


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    own: Metrics = request.app.state.server.metrics
    return Response(generate_latest(own.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
