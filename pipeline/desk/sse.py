"""The live page: one task follows the audit trail, every open page reads on from where it was.

The trail is in the database, so a page follows what any process on any machine does. Nothing is kept in
memory for a page but its place in the trail: a slow page costs nothing, and after a break the browser's
``Last-Event-ID`` says where to read on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from pipeline.desk.queries import Change
from pipeline.errors import StoreError
from pipeline.store.schema import Deed

_QUIET = (Deed.RETENTION, Deed.SIGNED_IN, Deed.INCIDENT_VIEWED, Deed.REPORT_SAVED)
LIVE_DEEDS = tuple(str(deed) for deed in Deed if deed not in _QUIET)
POLL_S = 0.7
LOOKBACK = 64
"""PostgreSQL hands out ids before commit: a smaller id may appear after a larger one."""
_RETRY_MS = 2000


class Tail:
    """Watches the end of the audit trail and wakes the open pages when it moves.

    Args:
        newest: Gives something that differs whenever rows were added; runs in a thread.
        poll_s: Seconds between two looks.
    """

    def __init__(self, newest: Callable[[], object], poll_s: float = POLL_S) -> None:
        self._newest = newest
        self._poll_s = poll_s
        self._task: asyncio.Task[None] | None = None
        self.moved = asyncio.Event()
        self.closing = False

    def start(self) -> None:
        """Begin to follow; call it in the running event loop."""
        self._task = asyncio.create_task(self._follow(), name="desk-tail")

    def close_streams(self) -> None:
        """Let every open stream end by itself."""
        self.closing = True
        self.moved.set()

    async def stop(self) -> None:
        """End every open stream and the task."""
        self.close_streams()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self) -> None:
        seen: object = None
        while not self.closing:
            try:
                newest = await run_in_threadpool(self._newest)
            except StoreError:
                newest = seen
            # The first look moves nothing: an opening stream reads for itself what it has missed.
            if newest != seen and seen is not None and not self.closing:
                moved, self.moved = self.moved, asyncio.Event()
                moved.set()
            seen = newest
            await asyncio.sleep(self._poll_s)


async def stream(
    tail: Tail, read: Callable[[int], list[Change]], after: int
) -> AsyncIterator[ServerSentEvent]:
    """Changes after an id as events, until the page shuts down.

    Args:
        tail: Wakes the stream.
        read: Gives the changes after an id, in order; runs in a thread.
        after: The last id the browser has seen.
    """
    yield ServerSentEvent(comment="open", retry=_RETRY_MS)
    newest, sent, woken = after, deque[int](maxlen=4 * LOOKBACK), False
    while not tail.closing:
        # Taken before reading: what is added while reading sets this very event.
        moved = tail.moved
        try:
            changes = await run_in_threadpool(read, max(after, newest - LOOKBACK))
        except StoreError:
            changes = []
        fresh = [change for change in changes if change.audit_id not in sent]
        for change in fresh:
            sent.append(change.audit_id)
            newest = max(newest, change.audit_id)
            yield ServerSentEvent(
                event="change",
                id=str(newest),
                data={"what": change.what, "subject": change.subject, "at": change.at.isoformat()},
            )
        if fresh:
            woken = False
            continue
        if woken:
            # A verdict that changed no incident: lists and counts may differ all the same.
            yield ServerSentEvent(event="tick", data={})
        await moved.wait()
        woken = True
