"""The detector benchmark reports ratios that follow from what it measured."""

from __future__ import annotations

import statistics

from support.command import CLIPS

from pipeline.bench import detect
from pipeline.settings import Settings


def test_ratios_are_medians_over_the_clips(settings: Settings) -> None:
    clips = [CLIPS / "fall-in-office-1.mp4", CLIPS / "store-aisle.mp4"]

    figures = detect.run(settings, rounds=1, paths=clips)

    assert [clip["clip"] for clip in figures["clips"]] == [clip.name for clip in clips]
    for clip in figures["clips"]:
        assert clip["vs_decode"] == clip["decode_s"]["median"] / clip["stage1_s"]["median"]
        assert clip["frames"] >= detect.MIN_FRAMES
    assert figures["vs_decode"] == round(statistics.median(c["vs_decode"] for c in figures["clips"]), 3)
    assert figures["realtime_factor"] > 0
