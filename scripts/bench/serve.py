"""How many questions a second `distjoint serve` answers, how long each takes, and what memory its replicas have.

A run of random vectors, `--rows` entities of `--dim` numbers, asked by `--clients` at once, `--seconds` on each route:

    python scripts/bench/serve.py /tmp/bench --rows 1_000_000 --dim 100 --replicas 2 --clients 4 --seconds 10
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lookups import write

from distjoint.runs.folder import CheckpointManifest, describe
from distjoint.storage import locate

Make = Callable[[np.random.Generator, int], tuple[str, bytes | None]]
BATCH = 64


def batch(path: str, questions: list[dict[str, Any]]) -> tuple[str, bytes]:
    return path, json.dumps({"questions": questions}).encode()


def name(random: np.random.Generator, rows: int) -> str:
    return f"e{random.integers(rows)}"


QUESTIONS: dict[str, tuple[int, Make]] = {
    "GET /vector": (1, lambda random, rows: (f"/vector?name={name(random, rows)}", None)),
    "GET /score": (
        1,
        lambda random, rows: (f"/score?head={name(random, rows)}&relation=r1&tail={name(random, rows)}", None),
    ),
    "GET /neighbours": (1, lambda random, rows: (f"/neighbours?name={name(random, rows)}", None)),
    "GET /predict": (
        1,
        lambda random, rows: (f"/predict?head={name(random, rows)}&relation=r1&filter=none", None),
    ),
    f"POST /predict, {BATCH} each": (
        BATCH,
        lambda random, rows: batch(
            "/predict",
            [{"head": name(random, rows), "relation": "r1", "filter": "none"} for _ in range(BATCH)],
        ),
    ),
}
"""Routes: questions of a request, and what makes one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    run = given.folder / f"run-{given.rows}-{given.dim}"
    if not (run / "run.json").exists():
        write(run, given.rows, given.dim)
        with_checksums(run / "checkpoints/epoch-00001")
    options = ["--port", "0", "--json", "--memory", given.memory, "--replicas", str(given.replicas)]
    command = [sys.executable, "-m", "distjoint", "serve", str(run), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        started = time.perf_counter()
        line = server.stdout.readline()
        if not line:
            sys.exit(f"the server ended with {server.wait()}")
        host = json.loads(line)["url"].removeprefix("http://")
        print(json.dumps({"ready after": round(time.perf_counter() - started, 1)}), flush=True)
        for route, (count, make) in QUESTIONS.items():
            print(json.dumps({"route": route} | measure(host, make, count, given)), flush=True)
        print(json.dumps({"replicas, MB": memory_of(server.pid)}))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def with_checksums(checkpoint: Path) -> None:
    """Give files their checksums: `write` leaves them out, and a table that fits memory is compared with them."""
    place = locate(str(checkpoint))
    manifest = CheckpointManifest.read(place)
    files = tuple(describe(place, file.path) for file in manifest.files)
    manifest.model_copy(update={"files": files}).write(place)


def measure(host: str, make: Make, count: int, given: argparse.Namespace) -> dict[str, Any]:
    """Ask one route from several clients at once; a request that is under way at the end is counted."""
    seconds: list[float] = []
    failed: list[str] = []

    def client(seed: int) -> None:
        random, connection = np.random.default_rng(seed), http.client.HTTPConnection(host, timeout=120)
        while time.perf_counter() < end:
            path, body = make(random, given.rows)
            start = time.perf_counter()
            connection.request("POST" if body else "GET", path, body, {"content-type": "application/json"})
            reply = connection.getresponse()
            content = reply.read()
            seconds.append(time.perf_counter() - start)
            if reply.status != 200 or (b'"refused":0' not in content.replace(b" ", b"") and body):
                failed.append(content[:200].decode())

    start = time.perf_counter()
    end = start + given.seconds
    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(given.clients)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    passed = time.perf_counter() - start
    p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
    found: dict[str, Any] = {"questions/s": round(len(seconds) * count / passed, 1), "requests": len(seconds)}
    found |= {"p50 ms": round(float(p50), 1), "p99 ms": round(float(p99), 1), "failed": len(failed)}
    return found | ({"example": failed[0]} if failed else {})


def memory_of(server: int) -> list[dict[str, int]]:
    """Of each replica: what it has in memory (RSS), its share where several have the same pages (PSS), and its own."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if not place.name.isdigit() or b"ray::ServeReplica" not in (place / "cmdline").read_bytes():
                continue
            if not descends(int(place.name), server):
                continue
            sizes = dict[str, int]()
            for line in (place / "smaps_rollup").read_text().splitlines()[1:]:
                key, value = line.split()[:2]
                sizes[key.rstrip(":")] = int(value) // 1024
            own = sizes["Private_Clean"] + sizes["Private_Dirty"]
            found.append({"RSS": sizes["Rss"], "PSS": sizes["Pss"], "own": own})
        except OSError:
            continue
    return found


def descends(process: int, ancestor: int) -> bool:
    while process > 1:
        if process == ancestor:
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


if __name__ == "__main__":
    main()
