"""The RTSP soak, shortened: the same faults and the same books as in the long one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import sitrep

pytestmark = pytest.mark.needs("gstreamer-rtsp")


@pytest.mark.slow
def test_a_minute_of_faults(tmp_path: Path) -> None:
    """Given a fault every twelve seconds, when a minute has passed, then every gap is on record."""
    ran = sitrep("bench", "rtsp-soak", "--minutes", "1", "--every", "12", "--json", data_dir=tmp_path)

    assert ran.code == 0, ran.err
    figures = json.loads(ran.out)
    assert figures["alive"] and figures["timestamps_monotone"]
    assert figures["gaps_recorded"] == figures["gaps_expected"] >= 3
    assert figures["recovered"] == len(figures["faults"]) >= 4
    assert figures["recovery_s"]["max"] <= 10
