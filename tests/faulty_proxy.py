"""A TCP proxy on this machine that spoils one request in some: what a network does to a client of object storage.

Connections are kept alive, so few are made; faults are therefore drawn per request, not per connection. A request
is seen by its direction: bytes of the client that follow bytes of the server begin a new one (no client here sends
a second request before it has the answer to the first). All bytes pass as they are, save for `short`: signatures
cover the host and port that the client used, and those are the proxy's.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

CUTS: dict[str, float] = {"refused": 0.2, "asked": 0.2, "unanswered": 0.3, "answered": 0.3}
"""Ways to cut a connection, and how often each is taken.

refused      as the request begins, before the server has seen any of it
asked        while the request is sent: the server gets a part of it
unanswered   the server has done what was asked, and the client never learns of it
answered     in the middle of the answer's body, or of its head where it has no body
"""
OTHER = ("short", "silent")
"""Faults beside cuts, for `kinds`.

short    the answer is whole and says so, but holds fewer bytes than were asked for
silent   no byte of the answer comes, and the connection stays open
"""
_PIECE = 1 << 16
_LENGTH = re.compile(rb"(?i)(\r\ncontent-length: *)(\d+)")


class Proxy:
    """Spoils one request in `every`, by `seed`; 0 spoils none.

    kinds    the faults to draw from, and how often each is taken
    only     requests that may be spoilt: their first line holds this text
    faults   how many requests were spoilt, by kind
    refused  how many were answered with 503 by the server itself
    requests how many were seen
    """

    def __init__(self, port: int, every: int, seed: int, kinds: Mapping[str, float], only: str) -> None:
        self.every, self.kinds, self.only = every, kinds, only
        self.faults: Counter[str] = Counter()
        self.requests = self.refused = 0
        self._target = ("127.0.0.1", port)
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def draw(self, first_line: bytes) -> str | None:
        """The fault of a request, or None."""
        with self._lock:
            self.requests += 1
            if not self.every or self.only.encode() not in first_line or self._random.randrange(self.every):
                return None
            return self._random.choices(list(self.kinds), list(self.kinds.values()))[0]

    def fraction(self) -> float:
        with self._lock:
            return self._random.random()

    def count(self, kind: str) -> None:
        with self._lock:
            if kind == "503":
                self.refused += 1
            else:
                self.faults[kind] += 1

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        try:
            _Connection(self, client, server).run()
        finally:
            with self._lock:
                self._open -= {client, server}
            client.close()
            server.close()


class _Connection:
    """One client's connection: a thread in each direction, and the fault of the request in progress."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.fault: str | None = None
        self.answering = True  # as if an answer had just ended: the first bytes of the client begin a request
        self.head = False  # whether the request is a HEAD, whose answer has a length and no body

    def run(self) -> None:
        back = threading.Thread(target=self._guard, args=(self._answers,), daemon=True)
        back.start()
        self._guard(self._requests)
        back.join()

    def _guard(self, pump: object) -> None:
        with suppress(OSError):
            pump()  # type: ignore[operator]
        self._cut()

    def _requests(self) -> None:
        while piece := self.client.recv(_PIECE):
            if self.answering:
                self.answering = False
                line = piece.partition(b"\r\n")[0]
                self.fault, self.head = self.proxy.draw(line), line.startswith(b"HEAD ")
            if self.fault in ("refused", "asked"):
                if self.fault == "asked":
                    self.server.sendall(piece[: int(len(piece) * self.proxy.fraction())])
                return self._spoilt()
            self.server.sendall(piece)

    def _answers(self) -> None:
        while piece := self.server.recv(_PIECE):
            if not self.answering and piece.startswith(b"HTTP/1.1 100"):  # send the body: not an answer yet
                self.client.sendall(piece)
                continue
            if self.answering or self.fault is None:
                if not self.answering and piece.startswith(b"HTTP/1.1 503"):
                    self.proxy.count("503")
                self.answering = True
                self.client.sendall(piece)
                continue
            if self._spoil(piece):
                return
            self.answering, self.fault = True, None

    def _spoil(self, piece: bytes) -> bool:
        """Spoil the answer that begins with this piece; False where it cannot be, and went through."""
        if self.fault == "unanswered":
            self._spoilt()
            return True
        if self.fault == "silent":
            self.proxy.count("silent")
            while self.server.recv(_PIECE):
                pass
            return True
        while b"\r\n\r\n" not in piece and (more := self.server.recv(_PIECE)):
            piece += more
        head, _, body = piece.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length = int(found[2]) if found and not self.head else 0
        sent = int(length * self.proxy.fraction())
        if self.fault == "short":
            if not length or not head.startswith(b"HTTP/1.1 20"):
                self.client.sendall(piece)
                return False
            head = _LENGTH.sub(rb"\g<1>%d\r\nConnection: close" % sent, head)
        while len(body) < sent and (more := self.server.recv(_PIECE)):
            body += more
        answer = head + b"\r\n\r\n" + body[:sent] if length else head[: len(head) // 2]
        self.client.sendall(answer)
        if self.fault == "short":
            self.proxy.count("short")
        else:
            self._spoilt()
        return True

    def _spoilt(self) -> None:
        assert self.fault is not None
        self.proxy.count(self.fault)
        if self.fault != "answered":  # a reset, as of a dead peer; but bytes that were sent must arrive
            with suppress(OSError):
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._cut()

    def _cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting(
    port: int, every: int = 20, seed: int = 0, kinds: Mapping[str, float] | None = None, only: str = ""
) -> Iterator[Proxy]:
    """A proxy before the server on this port, which cuts one request in 20 unless told otherwise."""
    proxy = Proxy(port, every, seed, CUTS if kinds is None else kinds, only)
    try:
        yield proxy
    finally:
        proxy.close()
