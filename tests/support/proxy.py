"""A TCP proxy that can be slow, cut its connections, or let them go silent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time


class Proxy:
    """Listens on ``port`` and passes on to ``target``; a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.latency_s = 0.0
        self._silent_before = 0.0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def go_silent(self) -> None:
        """Every connection there is now stays open and carries nothing more: half-open."""
        self._silent_before = time.monotonic()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._pairs.append((near, far))
            begun = time.monotonic()
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other, begun), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, begun: float) -> None:
        while True:
            try:
                data = source.recv(65536)
                if begun < self._silent_before:
                    if not data:
                        return
                    continue
                if self.latency_s:
                    time.sleep(self.latency_s)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return
