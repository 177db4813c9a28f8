"""What an environment has and lacks for distjoint: versions, GPUs, memory, disk, storage, a Ray cluster.

A check is a function that yields results; `_checks` names them all. Each runs in a thread of its own with a time limit,
so that neither a failure nor a server that never answers keeps the others from being told. Nothing but the standard
library is imported before the check that needs it: what is missing is what this is asked about. Servers are asked in
`doctor_storage` and `doctor_ray`, this machine here.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

PYTHON = (3, 11)
REQUIRED = (
    "fsspec",
    "numba>=0.60",
    "numpy>=2",
    "packaging",
    "pyarrow>=17",
    "pydantic>=2.7",
    "pyyaml",
    "ray[default,train]>=2.49",
    "rich",
    "s3fs",
    "safetensors",
    "scipy",
    "tensorboardX",
    "torch>=2.6",
    "typer",
    "xxhash",
    "zstandard",
)
"""As in pyproject.toml, which is not there where the package came with a job; nor is its metadata."""
SHARED_MEMORY, FREE_DISK, OPEN_FILES, MEMORY = 1 << 30, 10 * 10**9, 1024, 4 * 10**9
"""Below these is a warning: bytes, bytes, files, bytes."""
LIMIT = 60.0
"""Seconds a check may take."""
_IMPORTED = ("torch", "ray", "pyarrow", "numba")
"""Installed is not enough for these: they may have been built for another numpy, driver or C library."""
_SECRET = re.compile(r"secret|token|passw|credential|account_key|sas|connection_string", re.IGNORECASE)
_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Result:
    """One thing that was looked at: what was found, and how to mend it where it is not ok."""

    check: str
    status: Status
    found: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.status:7}  {self.check}: {self.found}" + (f"; {self.fix}" if self.fix else "")


Check = Callable[[], Iterable[Result]]


@dataclass(frozen=True)
class Report:
    """Every result. `complete` is False where a check ran out of time: its thread still waits for something."""

    results: Sequence[Result]
    complete: bool = True

    def count(self, status: Status) -> int:
        return sum(result.status == status for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        counts = {"problems": self.count("problem"), "warnings": self.count("warning")}
        return {"ok": not counts["problems"], **counts, "results": [asdict(result) for result in self.results]}

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.verdict])

    @property
    def verdict(self) -> str:
        problems, warned = self.count("problem"), self.count("warning")
        return f"{problems or 'no'} problem{'s' * (problems != 1)}, {warned or 'no'} warning{'s' * (warned != 1)}"

    def table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, caption=self.verdict, caption_justify="left")
        for column in ("", "check", "found", "fix"):
            table.add_column(column, overflow="fold")
        for result in self.results:
            state = Text(result.status, style=_COLORS[result.status])
            table.add_row(state, Text(result.check), Text(result.found), Text(result.fix))
        return table


def examine(
    urls: Sequence[str] = (),
    address: str | None = None,
    options: Mapping[str, Any] | None = None,
    limit: float = LIMIT,
    say: Callable[[str], None] = lambda name: None,
) -> Report:
    """Run every check on this machine.

    urls     places to write to, read from and delete from
    address  of a Ray cluster; by default RAY_API_SERVER_ADDRESS or RAY_ADDRESS
    options  as `distjoint.storage.locate` takes them
    limit    seconds a check may take
    say      told the name of each check as it begins
    """
    results: list[Result] = []
    complete = True
    for name, check in _checks(urls, address, options or {}).items():
        say(name)
        found, ended = _bounded(name, check, limit)
        results += found
        complete &= ended
    return Report([_without_secrets(result, options or {}) for result in results], complete)


def _checks(urls: Sequence[str], address: str | None, options: Mapping[str, Any]) -> dict[str, Check]:
    from distjoint.doctor.cluster import ray_cluster
    from distjoint.doctor.store import storage

    places: dict[str, Check] = {url: partial(storage, url, options) for url in urls}
    return {
        "Python": python,
        "packages": packages,
        "GPUs": gpus,
        "machine": machine,
        "shared memory": shared_memory,
        "temporary files": temporary_files,
        "open files": open_files,
        "Ray cluster": partial(ray_cluster, address),
        **(places or {"storage": no_storage}),
    }


def _bounded(name: str, check: Check, limit: float) -> tuple[list[Result], bool]:
    """What a check yields within `limit` seconds, whatever it raises, and whether it came to its end."""
    results: list[Result] = []

    def work() -> None:
        try:
            for result in check():
                results.append(result)  # noqa: PERF402  (one by one: what is known when time is up counts)
        except (Exception, SystemExit) as error:
            results.append(Result(name, "problem", f"this check failed: {sentence(error)}"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit)
    if not thread.is_alive():
        return results, True
    fix = "see that the network and firewalls let this machine reach it"
    return [*results, Result(name, "problem", f"no answer within {limit:g} s", fix)], False


def python() -> Iterator[Result]:
    from distjoint import __version__

    yield Result("distjoint", "ok", f"{__version__} at {Path(__file__).parents[1]}, on {socket.gethostname()}")
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info >= PYTHON:
        yield Result("Python", "ok", found)
    else:
        yield Result("Python", "problem", found, f"use Python {'.'.join(map(str, PYTHON))} or newer")


def packages(required: Sequence[str] = REQUIRED, imported: Sequence[str] = _IMPORTED) -> Iterator[Result]:
    """The packages that hold surprises a line each, the others together."""
    from packaging.requirements import Requirement

    fine = 0
    for requirement in map(Requirement, required):
        name, fix = requirement.name, f"pip install '{requirement}'"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Result(name, "problem", "not installed", fix)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield Result(name, "problem", f"{version}, where {requirement.specifier} is needed", fix)
        elif name not in imported:
            fine += 1
        else:
            yield _imported(name, version, fix)
    yield Result("other packages", "ok", f"{fine} present")


def _imported(name: str, version: str, fix: str) -> Result:
    try:
        importlib.import_module(name)
    except Exception as error:
        return Result(name, "problem", f"{version} cannot be imported: {sentence(error)}", fix + " --force-reinstall")
    return Result(name, "ok", version)


def gpus(devices: str = "/dev") -> Iterator[Result]:
    """devices   where the kernel shows NVIDIA's GPUs as nvidia0, nvidia1 ..."""
    import torch

    present = len(list(Path(devices).glob("nvidia[0-9]*")))
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    if not (torch.version.cuda or torch.version.hip):
        build = "CPU"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(usable):
        about = torch.cuda.get_device_properties(number)
        yield Result(f"GPU {number}", "ok", f"{about.name}, {size(about.total_memory)}, torch built for {build}")
    if usable:
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present:
        yield Result("GPUs", "ok", f"none; training runs on the CPU (torch built for {build})")
    elif build == "CPU":
        fix = "install torch's CUDA build, see https://pytorch.org/get-started/locally"
        yield Result("GPUs", "warning", f"{present} of NVIDIA, but this torch is built for the CPU", fix)
    elif hidden in ("", "-1"):
        yield Result("GPUs", "ok", f"{present} of NVIDIA, hidden by CUDA_VISIBLE_DEVICES={hidden!r}")
    else:
        why = f": {sentence(said[0].message)}" if said else ""
        fix = "update NVIDIA's driver (nvidia-smi shows which is there), or install a torch built for an older CUDA"
        yield Result("GPUs", "problem", f"{present} of NVIDIA that torch, built for {build}, cannot use{why}", fix)


def machine(memory_wanted: int = MEMORY) -> Iterator[Result]:
    from distjoint.machine import cores, memory

    all_cores = os.cpu_count() or 1
    yield Result("cores", "ok", f"{cores()}" + (f" of the machine's {all_cores}" if cores() < all_cores else ""))
    fix = "give prepare a smaller --memory and train a --set train.memory"
    enough = memory() >= memory_wanted
    yield Result("memory", "ok" if enough else "warning", size(memory()), "" if enough else fix)


def shared_memory(folder: str = "/dev/shm", wanted: int = SHARED_MEMORY) -> Iterator[Result]:
    if not Path(folder).is_dir():
        yield Result("shared memory", "ok", f"no {folder} on this system")
        return
    about = shutil.disk_usage(folder)
    found = f"{size(about.total)} at {folder}, {size(about.free)} of it free"
    if about.total >= wanted:
        yield Result("shared memory", "ok", found)
    else:
        fix = "start the container with --shm-size 1g, or mount an emptyDir with medium Memory there in Kubernetes"
        yield Result("shared memory", "warning", f"{found}; Ray will keep its objects on the disk", fix)


def temporary_files(wanted: int = FREE_DISK) -> Iterator[Result]:
    name, asked = "temporary files", os.environ.get("TMPDIR")
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        yield Result(name, "problem", sentence(error), "set TMPDIR to a folder that can be written to")
        return
    if asked and Path(folder).resolve() != Path(asked).resolve():  # Python takes the next best without a word
        yield Result(
            name, "warning", f"TMPDIR={asked} cannot be written to; {folder} is used", "make it, or correct it"
        )
    free = shutil.disk_usage(folder).free
    if free >= wanted:
        yield Result(name, "ok", f"{size(free)} free at {folder}")
    else:
        fix = "free some, or set TMPDIR to a larger disk: counting text and parked shards go there"
        yield Result(name, "warning", f"{size(free)} free at {folder}", fix)


def open_files(wanted: int = OPEN_FILES) -> Iterator[Result]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} at once" if soft != resource.RLIM_INFINITY else "any number at once"
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield Result("open files", "ok", found)
    else:
        more = f"ulimit -n {max(8192, wanted)}"
        fix = more if hard == resource.RLIM_INFINITY or hard > soft else f"raise the hard limit too, then {more}"
        yield Result("open files", "warning", found, fix)


def no_storage() -> Iterator[Result]:
    yield Result("storage", "ok", "no URL given to try: distjoint doctor s3://BUCKET/FOLDER")


def sentence(error: object) -> str:
    """What an error says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def size(count: float) -> str:
    """Bytes for people."""
    from distjoint.progress import short

    return f"{short(count)}B" if count >= 1000 else f"{count:.0f} B"


def _without_secrets(result: Result, options: Mapping[str, Any]) -> Result:
    """Errors of other people's libraries repeat what they like."""
    given = [str(value) for name, value in {**os.environ, **options}.items() if _SECRET.search(name)]

    def clean(text: str) -> str:
        text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
        for value in given:
            text = text.replace(value, "***") if len(value) >= 6 else text
        return text

    return Result(clean(result.check), result.status, clean(result.found), clean(result.fix))
