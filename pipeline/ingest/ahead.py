"""Reading ahead: frames are decoded in a thread of their own while stage 1 looks at the ones before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from pipeline.types import Frame

DEPTH = 24
"""Frames kept waiting, at most."""
MEMORY = 64 * 2**20
"""Bytes of frames kept waiting, at most, but always two frames. Five seconds of 720p: while the detectors are
busy with a burst of motion, the quiet seconds after it are decoded."""
_POLL_S = 0.1
_WAIT_S = 0.005


def ahead(frames: Iterator[Frame], memory: int = MEMORY) -> Iterator[Frame]:
    """The same frames in the same order, decoded up to ``DEPTH`` of them early.

    Args:
        frames: What is read; used by the thread alone from now on.
        memory: Bytes they may take.

    Raises:
        Exception: Whatever ``frames`` raised, after all frames before it.
    """
    waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(DEPTH)
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
                while waiting.qsize() >= max(2, memory // frame.image.nbytes) and not stop.wait(_WAIT_S):
                    pass
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
