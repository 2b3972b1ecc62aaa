"""Numbers for Prometheus, read from the database at each scrape, so that they agree on every host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.desk import health, queries
from pipeline.desk.context import Desk, TheDesk, TheOperator
from pipeline.store import cameras

router = APIRouter(include_in_schema=False)


class StoreCollector(Collector):
    """Reads the queue and the incidents once a scrape."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        """The metrics; queue age matters more than queue length."""
        with self._desk.reading() as connection:
            state = health.look(connection, self._desk.broker)
            decided = queries.decision_counts(connection)
            watched = cameras.listing(connection)
        yield from camera_metrics(watched)
        age = GaugeMetricFamily(
            "sitrep_queue_age_seconds", "Age of the oldest waiting job of a lane.", labels=["lane"]
        )
        now = datetime.now(UTC)
        for lane, oldest in state.queue.oldest_by_lane.items():
            age.add_metric([lane], max((now - oldest).total_seconds(), 0.0))
        yield age
        jobs = GaugeMetricFamily("sitrep_jobs", "Unfinished, dead and shed jobs.", labels=["lane", "state"])
        for (lane, job_state), count in state.queue.by_lane.items():
            jobs.add_metric([lane, job_state], count)
        yield jobs
        incidents = GaugeMetricFamily(
            "sitrep_incidents",
            "Incidents by decision and by operators' answer.",
            labels=["decision", "answer"],
        )
        for action, answer, count in decided:
            incidents.add_metric([action, answer], count)
        yield incidents
        yield GaugeMetricFamily("sitrep_broker_up", "1 when the broker answers.", state.broker_up)
        yield GaugeMetricFamily(
            "sitrep_workers", "Workers that gave a sign of life lately.", state.queue.workers
        )
        if state.queue.worker_seen is not None:
            yield GaugeMetricFamily(
                "sitrep_worker_seen_timestamp_seconds",
                "When a worker last gave a sign of life.",
                state.queue.worker_seen.timestamp(),
            )


_COUNTERS = {
    "frames": "Frames received.",
    "sampled": "Frames stage 1 was offered.",
    "dropped": "Sampled frames that were overwritten before stage 1 took them.",
    "looks": "Looks of the detectors.",
    "skipped": "Looks of the detectors that were left out because of the load.",
    "reconnects": "Attempts to connect again.",
    "gaps": "Times without usable frames that have ended.",
    "gap_s": "Their length together, in seconds.",
}


def camera_metrics(rows: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """The metrics of cameras; counters start anew when a camera is opened anew."""
    up = GaugeMetricFamily("sitrep_camera_up", "1 when usable frames come.", labels=["camera"])
    lag = GaugeMetricFamily(
        "sitrep_camera_lag_seconds", "Age of the last frame when stage 1 was done.", labels=["camera"]
    )
    seen = GaugeMetricFamily(
        "sitrep_camera_frame_timestamp_seconds", "When the last frame came.", labels=["camera"]
    )
    for row in rows:
        up.add_metric([row["camera"]], float(row["state"] == "up"))
        lag.add_metric([row["camera"]], row["lag_s"])
        if row["frame_at"] is not None:
            seen.add_metric([row["camera"]], row["frame_at"].timestamp())
    yield from (up, lag, seen)
    for column, text in _COUNTERS.items():
        name = "gap_seconds" if column == "gap_s" else column
        counter = CounterMetricFamily(f"sitrep_camera_{name}", text, labels=["camera"])
        for row in rows:
            counter.add_metric([row["camera"]], row[column])
        yield counter


@router.get("/metrics")
def metrics(desk: TheDesk, operator: TheOperator) -> Response:
    """All metrics in Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(desk))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
