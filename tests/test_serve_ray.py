"""`distjoint serve` as a server: two replicas on Ray Serve, asked over HTTP, one of them killed; ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small import Train

import distjoint

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

pytestmark = pytest.mark.ray

MINE = f"DISTJOINT_TEST_SERVE={os.getpid()}"
"""In the environment of every process of the server."""
QUICK = {"OMP_NUM_THREADS": "1", "RAY_metrics_report_interval_ms": "1000"}
"""In which metrics are known after a second, not after ten."""
SECRET = "only-for-this-test"
QUESTION = "head=teama&relation=plays_against"


def processes(named: str = "") -> list[int]:
    """Processes of the server that are alive, whose command line has some words."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if place.name.isdigit() and f"{MINE}\0".encode() in (place / "environ").read_bytes():
                command = (place / "cmdline").read_bytes()
                if named.encode() in command and "\nState:\tZ" not in (place / "status").read_text():
                    found.append(int(place.name))
    return found


def wait_for(done: Callable[[], bool], seconds: float = 90) -> None:
    """Until something is so, or as long as it may take: the test then says what is not."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


def ask(url: str, *questions: dict[str, Any], timeout: float = 60) -> tuple[int, Any]:
    """Status and answer of a URL, or of a batch of questions."""
    body = json.dumps({"questions": questions}).encode() if questions else None
    request = urllib.request.Request(url, body, {"content-type": "application/json"} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            status, content = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    with suppress(ValueError):
        return status, json.loads(content)
    return status, content.decode()


@dataclass(frozen=True)
class Server:
    """A server in a process of its own.

    url   where it said it is
    run   what it serves
    """

    process: subprocess.Popen[str]
    url: str
    run: Path


@pytest.fixture(scope="module")
def server(known: Train) -> Iterator[Server]:
    """Two replicas that serve a run which reads text."""
    run = known({"model.coupling": "described"})
    options = ["--port", "0", "--replicas", "2", "--max-batch", "3", "--json", "--storage-options", f"secret={SECRET}"]
    name, _, value = MINE.partition("=")
    environment = {key: text for key, text in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    process = subprocess.Popen(
        [sys.executable, "-m", "distjoint", "serve", str(run), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, **QUICK, name: value},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the server ended with {process.wait()}"
        yield Server(process, json.loads(line)["url"], run)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            for pid in processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_every_route_answers(server: Server) -> None:
    run, url = distjoint.load(str(server.run)), server.url
    assert url.startswith("http://127.0.0.1:")
    status, health = ask(f"{url}/health")
    assert (status, health["entities"]) == (200, len(run.entities))
    found = ask(f"{url}/predict?{QUESTION}&k=3")[1]["predictions"]
    assert found == [pytest.approx(each) for each in run.predict("teama", "plays_against", k=3).to_dicts()]
    found = ask(f"{url}/predict", {"head_text": "teama", "relation": "knows"}, {"head": "nobody", "relation": "knows"})
    assert found[0] == 200
    assert found[1]["refused"] == 1
    expected = run.predict(relation="knows", head_text="teama").to_dicts()
    assert found[1]["answers"][0]["predictions"] == list(map(pytest.approx, expected))
    assert ask(f"{url}/neighbours?text=teama&k=2")[1]["of"] == "entity"
    assert ask(f"{url}/vector?name=teama&kind=entity")[1]["vector"] == pytest.approx(
        run.vector("teama", "entity").tolist()
    )
    triple = {"head": "teama", "relation": "knows", "tail": "teamb"}
    (score,) = ask(f"{url}/score", triple)[1]["answers"]
    assert score["score"] == pytest.approx(run.score(**triple))
    assert ask(f"{url}/explain?head=teama&relation=knows&tail=teamb")[1]["explanation"]["known"] is False
    assert ask(f"{url}/openapi.json")[0] == ask(f"{url}/docs")[0] == 200


def test_what_is_wrong_comes_through_the_proxy(server: Server) -> None:
    url = server.url
    assert ask(f"{url}/vector?name=teamaa")[0] == 404
    assert ask(f"{url}/predict?head=teama")[0] == 400
    assert ask(f"{url}/predict?{QUESTION}&k=x")[0] == 422
    assert ask(f"{url}/nothing")[0] == 404
    status, body = ask(f"{url}/vector", *[{"name": "teama"}] * 4)
    assert (status, body["error"]) == (413, "questions: there are 4; this server takes 3 at once (--max-batch)")
    assert ask(f"{url}/vector", {"name": "x" * 1_000_001})[0] == 413


def test_metrics_count_requests_of_all_replicas(server: Server) -> None:
    before = time.monotonic()
    for _ in range(8):
        ask(f"{server.url}/score?head=teama&relation=knows&tail=teamc")
    counted = 0.0
    while counted < 8 and time.monotonic() - before < 60:  # Ray gathers them every few seconds
        time.sleep(0.3)
        lines = ask(f"{server.url}/metrics")[1].splitlines()
        mine = [line for line in lines if line.startswith("ray_serve_num_http_requests_total{")]
        counted = sum(float(line.rpartition(" ")[2]) for line in mine if 'route="/score"' in line and '"GET"' in line)
    assert counted >= 8


def test_each_request_is_answered_when_a_replica_is_killed(server: Server) -> None:
    """With an answer, which is right, or with an error's status; none waits for ever, none is cut off."""
    expected = ask(f"{server.url}/predict?{QUESTION}")[1]
    seen: Counter[Any] = Counter()
    stop, killed = threading.Event(), threading.Event()

    def load() -> None:
        while not stop.is_set():
            try:
                status, body = ask(f"{server.url}/predict?{QUESTION}")
                seen[status if status != 200 or body == expected else "wrong"] += 1
                seen["after"] += status == 200 and killed.is_set()
            except OSError as error:
                seen[repr(error)] += 1

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        before = processes("ray::ServeReplica")
        assert len(before) == 2
        wait_for(lambda: seen[200] > 10)
        os.kill(before[0], signal.SIGKILL)
        killed.set()
        wait_for(lambda: seen["after"] > 20)
    finally:
        stop.set()
        for client in clients:
            client.join(90)
    wait_for(lambda: len(set(processes("ray::ServeReplica")) - {before[0]}) == 2)
    assert not any(client.is_alive() for client in clients)
    assert len(set(processes("ray::ServeReplica")) - {before[0]}) == 2, "no new replica has come"
    assert seen.keys() <= {200, 500, 503, "after"}, seen
    assert seen["after"] > 10, seen
    assert ask(f"{server.url}/predict?{QUESTION}") == (200, expected)


def test_no_log_has_a_secret_or_a_question(server: Server) -> None:
    outputs = [Path(f"/proc/{pid}/fd/1").readlink() for pid in processes("ray::ServeReplica")]
    session = next(output.parents[1] for output in outputs if output.parent.name == "logs")
    logs = [path for path in session.rglob("*") if path.is_file() and path.parent.name in ("logs", "serve")]
    assert logs
    for path in logs:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert b"plays_against" not in content, path


def test_ctrl_c_ends_all_processes(server: Server) -> None:
    """Must be the last: nothing is left to ask."""
    assert len(processes()) > 4
    os.kill(server.process.pid, signal.SIGINT)
    assert server.process.wait(60) == 0
    wait_for(lambda: processes() == [], 15)
    assert processes() == []
    with pytest.raises(OSError, match="refused"):
        ask(f"{server.url}/health", timeout=5)
