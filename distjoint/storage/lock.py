"""A folder that one process writes to at a time: the lock file in it, which its holder refreshes while it lives.

A process that is killed leaves its lock behind. That is known when the process is dead, which its own machine can tell,
or when the lock was not refreshed for `STALE` seconds; then the next process takes it over, and nobody has to delete
anything. Clocks of machines that share a folder may differ by two minutes.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT, pthread_kill
from typing import TYPE_CHECKING, Any

import xxhash

from distjoint.base.errors import DistjointError
from distjoint.storage.location import Location

if TYPE_CHECKING:
    from distjoint.base.progress import Progress

NAME = "distjoint.lock"
REFRESH = 20.0
"""Seconds between two refreshes."""
AGAIN = 10.0
"""Seconds after which a writer whose folder was taken over is interrupted again."""
STALE = 180.0
"""Seconds without a refresh after which a lock on another machine is left."""
_SETTLE = 0.5
"""Seconds after which a file is read again, where the filesystem cannot tell who was first."""


@dataclass(frozen=True)
class Holder:
    """Content of a lock file: who holds the folder.

    machine   boot and process namespace, within which a process id means one process
    started   when the process started, in ticks since boot: another one may have its id by now
    token     of this lock alone
    since, refreshed   seconds since 1970
    """

    doing: str
    host: str
    machine: str
    process: int
    started: int
    token: str
    since: float
    refreshed: float

    @classmethod
    def here(cls, doing: str) -> Holder:
        """This process."""
        now, pid = time.time(), os.getpid()
        return cls(doing, socket.gethostname(), _machine(), pid, _started(pid) or 0, uuid.uuid4().hex, now, now)

    @classmethod
    def read(cls, file: Location) -> Holder | None:
        """Who holds a lock; None where there is none. One that cannot be read is held by nobody knows whom."""
        try:
            content = file.read_bytes()
        except DistjointError:
            if file.exists():
                raise
            return None
        with suppress(ValueError, TypeError, KeyError, OverflowError):
            return cls._of(json.loads(content))
        modified = file.info().mtime_ns
        at = modified / 1e9 if modified else time.time()
        return cls("a command", "a machine", "", 0, 0, f"{at:.0f}", at, at)

    @classmethod
    def _of(cls, tree: Any) -> Holder:
        """The holder that a lock file describes. raises ValueError, TypeError or KeyError where it describes none"""
        for name in ("since", "refreshed"):
            datetime.fromtimestamp(tree[name], UTC)  # raises for what is no time
        texts = {name: str(tree[name]) for name in ("doing", "host", "machine", "token")}
        return cls(
            **texts,
            process=int(tree["process"]),
            started=int(tree["started"]),
            since=tree["since"],
            refreshed=tree["refreshed"],
        )

    def to_json(self) -> bytes:
        """The content of the file."""
        return json.dumps(asdict(self), indent=1).encode()

    def is_gone(self) -> bool:
        """Whether the lock was left behind."""
        if self.machine and self.machine == _machine():
            return _started(self.process) != self.started
        return time.time() - self.refreshed > STALE

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.process} on {self.host} ({self.doing}) since {since}"


class Lock:
    """A folder's lock, held by this process.

    holder     this process, as the file has it
    taken_by   who took the folder over because the lock was not refreshed, as of a machine that slept
    """

    def __init__(self, folder: Location, holder: Holder) -> None:
        self.folder, self.file, self.holder = folder, folder / NAME, holder
        self.taken_by: Holder | None = None
        self._done, self._owner = threading.Event(), threading.current_thread()
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)

    def renewed(self) -> bytes:
        """Content of the lock file that says that this process lives now."""
        self.holder = replace(self.holder, refreshed=time.time())
        return self.holder.to_json()

    def start(self) -> None:
        """Begin to refresh the file."""
        self._thread.start()

    def release(self) -> None:
        """Delete the file, if it still is this process's."""
        self._done.set()
        self._thread.join()
        with suppress(DistjointError, OSError):
            if self.taken_by is None and self._is_ours():
                self.file.delete()

    def _keep(self) -> None:
        while not self._done.wait(REFRESH):
            with suppress(DistjointError, OSError):  # a store that does not answer: later
                if self._is_ours():
                    self.file.write_bytes(self.renewed())
            if self.taken_by:
                self._interrupt()
                return

    def _interrupt(self) -> None:
        """End what the main thread does here; again where that was lost, as it is within a destructor."""
        main = threading.main_thread()
        while self._owner is main and main.ident and not self._done.is_set():
            pthread_kill(main.ident, SIGINT)
            self._done.wait(AGAIN)

    def _is_ours(self) -> bool:
        found = Holder.read(self.file)
        if found is not None and found.machine and found.token != self.holder.token:
            self.taken_by = found
        return found is not None and self.taken_by is None


@contextmanager
def hold(folder: Location, doing: str, progress: Progress, *, wait: bool = False) -> Iterator[Lock]:
    """Hold a folder for the length of a `with` block; it is made where it is absent, and removed if it stays empty.

    doing    the command, for whoever is refused
    wait     wait for a lock of another machine that nobody refreshes, until it is known to be left: for jobs that are
             started again
    raises   DistjointError where another process holds the folder, or took it over while this one slept
    """
    existed = folder.exists()
    folder.make_dir()
    lock = Lock(folder, Holder.here(doing))
    try:
        _acquire(lock, progress, wait)
        lock.start()
        try:
            yield lock
        except KeyboardInterrupt as error:
            if lock.taken_by:
                raise _taken(folder, lock.taken_by) from error
            raise
        finally:
            lock.release()
        if lock.taken_by:
            raise _taken(folder, lock.taken_by)
    finally:
        if not existed and folder.is_local:
            with suppress(OSError):  # something is in it now
                Path(folder.path).rmdir()


def _acquire(lock: Lock, progress: Progress, wait: bool) -> None:
    """Write the lock file. raises DistjointError where another process holds it"""
    folder, file, mine = lock.folder, lock.file, lock.holder
    first: Holder | None = None
    while True:
        if file.create(lock.renewed()) and not file.is_local:
            time.sleep(_SETTLE)
        found = Holder.read(file)
        if found is None:  # just released
            time.sleep(0.05)
            continue
        if found.token == mine.token:
            return
        if found.is_gone():
            progress.say(f"{folder}: was left by {found}; taken over")
            if _take_over(lock, found):
                return
            continue
        if not wait or found.machine == mine.machine or first not in (None, found):
            raise DistjointError(_refusal(folder, found, mine))
        if first is None:
            progress.say(f"{folder}: is held by {found}; waiting to see whether it lives")
        first = found
        time.sleep(min(1.0, REFRESH))


def _take_over(lock: Lock, left: Holder) -> bool:
    """Replace a lock that was left; whether that was done. Of several processes one does: it creates a file for it."""
    file, claim = lock.file, lock.folder / f"{NAME}.{xxhash.xxh3_64(left.token.encode()).hexdigest()}"
    if not claim.create(b""):
        modified = claim.info().mtime_ns
        if modified and time.time() - modified / 1e9 > STALE:  # left by one that died just here
            claim.delete()
        time.sleep(_SETTLE)
        return False
    try:
        found = Holder.read(file)
        if found is None or found.token != left.token:
            return False
        file.write_bytes(lock.renewed())
        return True
    finally:
        claim.delete()


def _refusal(folder: Location, found: Holder, mine: Holder) -> str:
    advice = "wait for it, stop it, or write to another folder"
    if found.machine != mine.machine:
        free = datetime.fromtimestamp(found.refreshed + STALE, UTC).strftime("%H:%M:%S UTC")
        advice += f"; if it has died, the folder is free at {free}"
    return f"{folder}: is in use by {found}; {advice}"


def _taken(folder: Location, by: Holder) -> DistjointError:
    return DistjointError(
        f"{folder}: was taken over by {by}, because this process did not say for {STALE:.0f} s that it lives; stopped"
    )


def _machine() -> str:
    """What makes process ids comparable: this boot of this machine, and the namespace that counts them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"host {socket.gethostname()}"


def _started(process: int) -> int | None:
    """When a process started; None where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0
