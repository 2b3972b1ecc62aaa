"""The benchmark of the queue measures with the real services and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from pipeline.bench.queue import run
from pipeline.settings import Settings


def test_the_benchmark_reports_what_it_measured(settings: Settings) -> None:
    figures = run(settings, jobs=10)

    assert figures["jobs"] == 10
    assert (figures["store"], figures["broker"]) == ("sqlite", "embedded")
    for name in ("bare_ms", "forget_ms", "job_ms", "submit_ms", "claim_ms"):
        measured = figures[name]
        assert 0 < measured["min"] <= measured["p50"] <= measured["p95"] <= measured["max"] < 10_000
    assert figures["claim_p50_ms"] == figures["claim_ms"]["p50"] < figures["job_ms"]["p50"]
    ratio = figures["job_ms"]["p50"] / figures["bare_ms"]["p50"]
    assert abs(figures["end_to_end_ratio"] - ratio) < 0.01
    # On a busy machine only a gross loss of speed can be told; the limit is kept where it is quiet.
    assert figures["end_to_end_ratio"] < 4
    assert not settings.data_dir.exists()
    assert not list(Path("/tmp").glob("sitrep-bench-*/broker"))
