from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.ingest.ahead import DEPTH, ahead
from pipeline.types import Frame


def frames(count: int, read: list[int] | None = None, broken: bool = False) -> Iterator[Frame]:
    for index in range(count):
        if read is not None:
            read.append(index)
        yield Frame(np.zeros((2, 2, 3), np.uint8), float(index), index)
    if broken:
        raise SourceError("the file ends here")


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_all_frames_come_in_order() -> None:
    assert [frame.index for frame in ahead(frames(50))] == list(range(50))
    assert not readers()


def test_what_breaks_off_is_told_after_the_frames_before_it() -> None:
    seen = []
    with pytest.raises(SourceError, match="ends here"):
        for frame in ahead(frames(7, broken=True)):
            seen.append(frame.index)
    assert seen == list(range(7))


@pytest.mark.parametrize(("memory", "wait"), [(2**20, DEPTH), (3 * 12, 3), (1, 2)])
def test_no_more_is_read_than_fits_and_leaving_early_ends_the_thread(memory: int, wait: int) -> None:
    read: list[int] = []
    reading = ahead(frames(1000, read), memory)
    assert next(reading).index == 0
    # One handed over, those that wait, and one that waits for a place.
    until = time.monotonic() + 5
    while len(read) < wait + 2 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(read) == wait + 2
    reading.close()
    assert not readers()
