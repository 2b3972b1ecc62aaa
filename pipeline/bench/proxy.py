"""A TCP proxy that can be slow, cut connections, let them go silent, and damage what an RTSP camera sends."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time

_RTP_HEADER = 12


class Proxy:
    """Listens on ``port`` and passes on to ``target``; a context manager.

    Attributes:
        latency_s: Each piece of data is held back this long.
        silent: New connections are accepted and never answered.
        corrupt: Share of RTP packets in which some bytes are flipped, 0..1.
        lose: Share of RTP packets left out, 0..1.
        shift_ticks: Added to each RTP timestamp (90,000 ticks are a second of video).
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.latency_s = 0.0
        self.silent = False
        self.corrupt = self.lose = 0.0
        self.shift_ticks = 0
        self.packets = 0
        self._silent_before = 0.0
        self._random = random.Random(7)
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
            self._pairs = [pair for pair in self._pairs if pair[0].fileno() >= 0]
            self._pairs.append((near, far))
            begun = time.monotonic()
            ended: list[bool] = []
            for one, other, answers in ((near, far, False), (far, near, True)):
                work = (one, other, begun, answers, ended)
                threading.Thread(target=self._carry, args=work, daemon=True).start()

    def _carry(
        self, source: socket.socket, sink: socket.socket, begun: float, answers: bool, ended: list[bool]
    ) -> None:
        stream = _Packets(self) if answers else None
        silenced = False
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                silenced = begun < self._silent_before or self.silent
                if silenced:
                    continue
                if self.latency_s:
                    time.sleep(self.latency_s)
                sink.sendall(data if stream is None else stream.feed(data))
            # Whoever hung up on a silent connection has given it up: the other end must not go on talking.
            sink.shutdown(socket.SHUT_RDWR if silenced or self.silent else socket.SHUT_WR)
        ended.append(True)
        if len(ended) == 2:
            source.close()
            sink.close()

    def damaged(self, packet: bytes) -> bytes:
        """One RTP packet as the proxy's faults leave it; empty when it is lost."""
        self.packets += 1
        if self._random.random() < self.lose:
            return b""
        changed = bytearray(packet)
        if self.shift_ticks:
            ticks = (int.from_bytes(packet[4:8], "big") + self.shift_ticks) & 0xFFFFFFFF
            changed[4:8] = ticks.to_bytes(4, "big")
        if len(packet) > _RTP_HEADER and self._random.random() < self.corrupt:
            for _ in range(max(1, len(packet) // 50)):
                changed[self._random.randrange(_RTP_HEADER, len(packet))] ^= self._random.randrange(1, 256)
        return bytes(changed)


class _Packets:
    """Finds the RTP packets that RTSP interleaves with its answers (RFC 2326, 10.12)."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy, self._rest, self._plain = proxy, b"", False

    def feed(self, data: bytes) -> bytes:
        if self._plain:
            return data
        data, out = self._rest + data, []
        while data:
            if data[:1] == b"$":
                size = int.from_bytes(data[2:4], "big") + 4
                if len(data) < max(4, size):
                    break
                packet = data[4:size]
                # Even channels carry RTP, odd ones RTCP.
                kept = self._proxy.damaged(packet) if data[1] % 2 == 0 else packet
                out.append(data[:4] + kept if kept else b"")
                data = data[size:]
            elif b"RTSP/"[: len(data)] == data[:5]:
                head = data.find(b"\r\n\r\n")
                if head < 0:
                    break
                length = 0
                for line in data[:head].split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if len(data) < head + 4 + length:
                    break
                out.append(data[: head + 4 + length])
                data = data[head + 4 + length :]
            else:
                # Another protocol: passed on as it is.
                self._plain = True
                return b"".join(out) + data
        self._rest = data
        return b"".join(out)
