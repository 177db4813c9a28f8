"""One writer a folder: who is refused, what a process that died leaves, and that nobody has to delete anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from small import Small, config, info

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.storage import Location, exclusive, locate, lock
from distjoint.storage.lock import Holder, hold

pytestmark = pytest.mark.unit

DIES = """
import os, sys
from distjoint.base.progress import Silent
from distjoint.storage import locate
from distjoint.storage.lock import hold
with hold(locate(sys.argv[1]), "prepare", Silent()):
    os.kill(os.getpid(), 9)
"""


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def elsewhere() -> Holder:
    """Somebody on another machine, alive a moment ago."""
    return replace(Holder.here("train"), host="other", machine="boot 7", token="theirs")


def put(folder: Path, holder: Holder) -> None:
    folder.mkdir(exist_ok=True)
    locate(str(folder / lock.NAME)).write_bytes(holder.to_json())


@pytest.mark.parametrize("url", ["{tmp}/run", "memory://lock/{tmp}", "google's"])
def test_the_second_is_refused_and_the_next_is_not(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if url == "google's":  # a filesystem that cannot create a file in one step
        monkeypatch.setattr(exclusive, "create", lambda *args: None)
    folder = locate(f"{tmp_path}/run" if url == "google's" else url.format(tmp=tmp_path))
    with hold(folder, "train", Silent()):
        with (
            pytest.raises(DistjointError, match=rf"is in use by process {os.getpid()} on \S+ \(train\) since"),
            hold(folder, "prepare", Silent()),
        ):
            pass
        assert (folder / lock.NAME).exists()
    assert not (folder / lock.NAME).exists()
    with hold(folder, "train", Silent()):
        (folder / "kept").write_bytes(b"x")
    assert [place.name for place in folder.list()] == ["kept"]


def test_a_folder_that_stays_empty_is_not_left(tmp_path: Path) -> None:
    with hold(locate(str(tmp_path / "run")), "train", Silent()):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    folder, heard = tmp_path / "run", Heard()
    died = subprocess.run([sys.executable, "-c", DIES, str(folder)])
    assert died.returncode == -9 and (folder / lock.NAME).exists()
    with hold(locate(str(folder)), "train", heard):
        pass
    (said,) = heard.lines
    assert "was left by process" in said and "(prepare)" in said and not list(folder.iterdir())


def test_another_process_with_the_id_of_the_dead_one_holds_nothing(tmp_path: Path) -> None:
    mine = Holder.here("train")
    put(tmp_path / "run", replace(mine, started=mine.started - 1, token="before"))
    with hold(locate(str(tmp_path / "run")), "train", Silent()):
        pass


def test_another_machine_holds_a_folder_as_long_as_it_says_so(tmp_path: Path, elsewhere: Holder) -> None:
    folder = locate(str(tmp_path / "run"))
    put(tmp_path / "run", elsewhere)
    says = r"on other .*if it has died, the folder is free at \d\d:\d\d:\d\d UTC"
    with pytest.raises(DistjointError, match=says), hold(folder, "train", Silent()):
        pass
    put(tmp_path / "run", replace(elsewhere, refreshed=time.time() - lock.STALE - 1))
    with hold(folder, "train", Silent()):
        pass


@pytest.mark.parametrize("lives", [True, False])
def test_a_job_that_is_started_again_waits_to_see_whether_the_other_lives(
    lives: bool, tmp_path: Path, elsewhere: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STALE", 0.7)
    monkeypatch.setattr(lock, "REFRESH", 0.1)
    put(tmp_path / "run", replace(elsewhere, refreshed=time.time()))
    heard, refreshed = Heard(), replace(elsewhere, refreshed=time.time() + 5)
    threading.Timer(0.3, lambda: lives and put(tmp_path / "run", refreshed)).start()
    refused = pytest.raises(DistjointError, match="is in use") if lives else nullcontext()
    with refused, hold(locate(str(tmp_path / "run")), "train", heard, wait=True):
        pass
    assert "waiting to see whether it lives" in heard.lines[0] and len(heard.lines) == 2 - lives


def test_what_a_lock_file_says_is_no_path(tmp_path: Path, elsewhere: Holder) -> None:
    put(tmp_path / "run", replace(elsewhere, token="../../outside", refreshed=0.0))
    with hold(locate(str(tmp_path / "run")), "train", Silent()) as held:
        assert time.time() - held.holder.refreshed < 60
    assert not list(tmp_path.iterdir())[1:] and not list((tmp_path / "run").iterdir())


def test_a_lock_is_refreshed_and_one_that_was_taken_over_ends_its_process(
    tmp_path: Path, elsewhere: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "REFRESH", 0.05)
    folder = locate(str(tmp_path / "run"))
    with pytest.raises(DistjointError, match=r"was taken over by .* on other"), hold(folder, "train", Silent()) as held:
        before = held.holder.refreshed
        until(lambda: (found := Holder.read(folder / lock.NAME)) is not None and found.refreshed > before)
        put(tmp_path / "run", elsewhere)
        time.sleep(10)  # interrupted
    assert Holder.read(folder / lock.NAME) == elsewhere


def test_an_interrupt_that_is_lost_is_repeated(
    tmp_path: Path, elsewhere: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "REFRESH", 0.05)
    monkeypatch.setattr(lock, "AGAIN", 0.3)
    began = time.monotonic()
    with pytest.raises(DistjointError, match="was taken over"), hold(locate(str(tmp_path / "run")), "train", Silent()):
        put(tmp_path / "run", elsewhere)
        with suppress(KeyboardInterrupt):
            time.sleep(20)
        time.sleep(20)
    assert time.monotonic() - began < 20


def until(holds: Any) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_of_many_that_find_a_left_lock_one_takes_it(tmp_path: Path, elsewhere: Holder) -> None:
    put(tmp_path / "run", replace(elsewhere, refreshed=0.0))
    holding, most, refused, gate = 0, 0, 0, threading.Barrier(8)

    def go() -> None:
        nonlocal holding, most, refused
        gate.wait()
        try:
            with hold(locate(str(tmp_path / "run")), "train", Silent()):
                holding += 1
                most = max(most, holding)
                time.sleep(0.7)
                holding -= 1
        except DistjointError:
            refused += 1

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, refused) == (1, 7)
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"doing": 1}', b"\xff", Holder.here("x").to_json().replace(b'"since": 1', b'"since": 1e99')],
)
def test_a_lock_that_cannot_be_read_is_held_until_it_is_old(content: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / lock.NAME).write_bytes(content)
    with pytest.raises(DistjointError, match="is in use"), hold(locate(str(folder)), "train", Silent()):
        pass
    os.utime(folder / lock.NAME, (1, 1))
    with hold(locate(str(folder)), "train", Silent()):
        pass


# Commands that hold a folder


@pytest.fixture
def busy(tmp_path: Path, elsewhere: Holder) -> Iterator[Location]:
    """A folder that somebody else is about to write to."""
    put(tmp_path / "out", elsewhere)
    yield locate(str(tmp_path / "out"))
    assert [place.name for place in (tmp_path / "out").iterdir()] == [lock.NAME]


def test_training_and_preparing_are_refused(busy: Location, small: Small) -> None:
    text = str(Path(small.joint).parent / "text.txt")
    for overwrite in (False, True):
        with pytest.raises(DistjointError, match="is in use by"):
            distjoint.train(small.graph, busy.url, config(), overwrite=overwrite)
        with pytest.raises(DistjointError, match="is in use by"):
            distjoint.prepare(busy.url, corpus=text, overwrite=overwrite)


def test_a_run_that_is_written_is_neither_continued_nor_replaced(
    small: Small, tmp_path: Path, elsewhere: Holder
) -> None:
    run, settings = tmp_path / "run", config({"train.epochs": 1})
    distjoint.train(small.graph, str(run), settings)
    assert not (run / lock.NAME).exists()
    put(run, elsewhere)
    before = {place: place.read_bytes() for place in run.rglob("*") if place.is_file()}
    for call in ({"resume": str(run)}, {"dataset": small.graph, "out": str(run), "config": settings}):
        for overwrite in (False, "out" in call):
            with pytest.raises(DistjointError, match="is in use by"):
                distjoint.train(**call, overwrite=overwrite)
    assert before == {place: place.read_bytes() for place in run.rglob("*") if place.is_file()}
    put(run, replace(Holder.here("train"), started=1))  # a process that was killed
    heard = Heard()
    distjoint.train(resume=str(run), settings={"train.epochs": 2}, progress=heard)
    assert info(run)["status"] == "finished" and "taken over" in heard.lines[0]
    assert not (run / lock.NAME).exists()


def test_what_a_lock_says_is_what_people_need(tmp_path: Path) -> None:
    with hold(locate(str(tmp_path)), "train", Silent()):
        found = json.loads((tmp_path / lock.NAME).read_text())
    assert found["process"] == os.getpid() and found["host"] and found["doing"] == "train"
    assert abs(found["refreshed"] - time.time()) < 60 and set(found) == set(asdict(Holder.here("train")))
