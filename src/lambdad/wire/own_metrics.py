"""`/_lambdad/metrics`: counts for Prometheus."""

from __future__ import annotations

from lambdad.http.messages import Response
from lambdad.http.protocol import Exchange
from lambdad.neighbours.cloudwatch import prometheus
from lambdad.neighbours.cloudwatch.collector import Collector
from lambdad.wire.own import PREFIX, OwnEndpoints

PATH = f"{PREFIX}metrics"


class MetricsEndpoint:
    """`GET`, in the text format of Prometheus."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def register(self, endpoints: OwnEndpoints) -> None:
        endpoints.add("GET", PATH, self.show)

    async def show(self, _: Exchange) -> Response:
        """Counts since the server was started, up to this moment."""
        self._collector.drain()
        headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8"), ("cache-control", "no-store")]
        return Response(200, headers, prometheus.text(self._collector.totals).encode())
