"""Reading ahead: frames are decoded in a thread of their own while stage 1 looks at the ones before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from pipeline.types import Frame

DEPTH = 4
_POLL_S = 0.1


def ahead(frames: Iterator[Frame], depth: int = DEPTH) -> Iterator[Frame]:
    """The same frames in the same order, decoded up to ``depth`` of them early.

    Args:
        frames: What is read; used by the thread alone from now on.
        depth: Most frames kept waiting.

    Raises:
        Exception: Whatever ``frames`` raised, after all frames before it.
    """
    waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def hand_over(item: Frame | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        ended: BaseException | None = None
        try:
            for frame in frames:
                if not hand_over(frame):
                    break
        except BaseException as error:
            ended = error
        finally:
            if hasattr(frames, "close"):
                # A generator holds the decoder until it is closed, by the thread that ran it.
                frames.close()
        hand_over(ended)

    thread = threading.Thread(target=read, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
