"""Checks of this machine: GPUs, cores, memory, disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from distjoint.base.machine import cores, memory
from distjoint.doctor.findings import Finding, sentence, size

SHARED_MEMORY, FREE_DISK, OPEN_FILES, MEMORY = 1 << 30, 10 * 10**9, 1024, 4 * 10**9
"""Bytes, bytes, files, bytes: less is a warning."""


def gpus(devices: str = "/dev") -> Iterator[Finding]:
    """GPUs that torch can use, and why not others.

    devices   folder where the kernel shows NVIDIA's GPUs as nvidia0, nvidia1 ...
    """
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
        yield Finding(f"GPU {number}", "ok", f"{about.name}, {size(about.total_memory)}, torch built for {build}")
    if usable:
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present:
        yield Finding("GPUs", "ok", f"none; training runs on the CPU (torch built for {build})")
    elif build == "CPU":
        fix = "install torch's CUDA build, see https://pytorch.org/get-started/locally"
        yield Finding("GPUs", "warning", f"{present} of NVIDIA, but this torch is built for the CPU", fix)
    elif hidden in ("", "-1"):
        yield Finding("GPUs", "ok", f"{present} of NVIDIA, hidden by CUDA_VISIBLE_DEVICES={hidden!r}")
    else:
        why = f": {sentence(said[0].message)}" if said else ""
        fix = "update NVIDIA's driver (nvidia-smi shows which is there), or install a torch built for an older CUDA"
        yield Finding("GPUs", "problem", f"{present} of NVIDIA that torch, built for {build}, cannot use{why}", fix)


def cores_and_memory(memory_wanted: int = MEMORY) -> Iterator[Finding]:
    """What this process may use of the machine."""
    all_cores = os.cpu_count() or 1
    yield Finding("cores", "ok", f"{cores()}" + (f" of the machine's {all_cores}" if cores() < all_cores else ""))
    fix = "give prepare a smaller --memory and train a --set train.memory"
    enough = memory() >= memory_wanted
    yield Finding("memory", "ok" if enough else "warning", size(memory()), "" if enough else fix)


def shared_memory(folder: str = "/dev/shm", wanted: int = SHARED_MEMORY) -> Iterator[Finding]:
    """Size of the shared memory, where Ray keeps its objects."""
    if not Path(folder).is_dir():
        yield Finding("shared memory", "ok", f"no {folder} on this system")
        return
    about = shutil.disk_usage(folder)
    found = f"{size(about.total)} at {folder}, {size(about.free)} of it free"
    if about.total >= wanted:
        yield Finding("shared memory", "ok", found)
    else:
        fix = "start the container with --shm-size 1g, or mount an emptyDir with medium Memory there in Kubernetes"
        yield Finding("shared memory", "warning", f"{found}; Ray will keep its objects on the disk", fix)


def temporary_files(wanted: int = FREE_DISK) -> Iterator[Finding]:
    """Free space for temporary files, and whether they go where TMPDIR says."""
    name, asked = "temporary files", os.environ.get("TMPDIR")
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        yield Finding(name, "problem", sentence(error), "set TMPDIR to a folder that can be written to")
        return
    if asked and Path(folder).resolve() != Path(asked).resolve():  # Python uses another folder silently
        yield Finding(
            name, "warning", f"TMPDIR={asked} cannot be written to; {folder} is used", "make it, or correct it"
        )
    free = shutil.disk_usage(folder).free
    if free >= wanted:
        yield Finding(name, "ok", f"{size(free)} free at {folder}")
    else:
        fix = "free some, or set TMPDIR to a larger disk: counting text and parked shards go there"
        yield Finding(name, "warning", f"{size(free)} free at {folder}", fix)


def open_files(wanted: int = OPEN_FILES) -> Iterator[Finding]:
    """Number of files that a process may have open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} at once" if soft != resource.RLIM_INFINITY else "any number at once"
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield Finding("open files", "ok", found)
    else:
        more = f"ulimit -n {max(8192, wanted)}"
        fix = more if hard == resource.RLIM_INFINITY or hard > soft else f"raise the hard limit too, then {more}"
        yield Finding("open files", "warning", found, fix)
