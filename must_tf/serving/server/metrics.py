"""Counters for Prometheus, at /metrics."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64)
disable_created_metrics()  # a second series beside every counter, with the time of its first count


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "must_serve_requests", "Requests by HTTP status", ["route", "code"], registry=self._registry
        )
        self._seconds = Histogram(
            "must_serve_request_seconds", "Time per request", ["route"], buckets=SECONDS, registry=self._registry
        )
        self._batches = Histogram(
            "must_serve_batch_images", "Images per call of a model", ["model"], buckets=IMAGES, registry=self._registry
        )
        self._images = Counter(
            "must_serve_images", "Images, served or refused", ["model", "status"], registry=self._registry
        )
        self._waiting = Gauge("must_serve_waiting_images", "Images in the queue", ["model"], registry=self._registry)
        self._version = Gauge("must_serve_model_version", "Version that is served", ["model"], registry=self._registry)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, code).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, model: str, images: int) -> None:
        """Counts a call of a model."""
        self._batches.labels(model).observe(images)

    def image(self, model: str, is_ok: bool) -> None:
        """Counts an image."""
        self._images.labels(model, "served" if is_ok else "refused").inc()

    def model(self, name: str, version: int, waiting: int) -> None:
        """Notes a model's state."""
        self._version.labels(name).set(version)
        self._waiting.labels(name).set(waiting)

    def text(self) -> bytes:
        """Returns all values in Prometheus's format."""
        return bytes(generate_latest(self._registry))
