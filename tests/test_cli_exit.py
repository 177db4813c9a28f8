"""How the program ends: by its exit handlers and with its threads, but not by way of the interpreter's own end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PLUGIN = """
import atexit, os, sys, tempfile, threading, time

class Aborts:
    def __del__(self):
        os.abort()

at_the_end = Aborts()  # what a thread of Arrow does to an interpreter that is taken apart
scratch = tempfile.TemporaryDirectory(dir=".", prefix="scratch-")
print("written late", end="")

def late():
    time.sleep(0.3)
    open("thread", "w").close()

threading.Thread(target=late).start()
atexit.register(lambda: open("handler", "w").close())
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[1]}:{folder}"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(("words", "code"), [("recipes transe", 0), ("recipes nothing-of-the-kind", 2)])
def test_everything_ends_and_nothing_is_taken_apart(words: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(PLUGIN)
    found = run(tmp_path, "-m", "distjoint", "--plugin", "ends", *words.split())
    assert found.returncode == code, found.stderr
    assert found.stdout.startswith("written late") and ("scorer: transe" in found.stdout) == (code == 0)
    assert (tmp_path / "thread").exists() and (tmp_path / "handler").exists()
    assert not list(tmp_path.glob("scratch-*"))


def test_who_calls_the_program_is_returned_to(tmp_path: Path) -> None:
    profiled = run(tmp_path, "-m", "cProfile", "-m", "distjoint", "--version")
    assert profiled.returncode == 0 and "function calls" in profiled.stdout
    (tmp_path / "mine.py").write_text(
        "import sys\nfrom distjoint.cli import main\nsys.argv = ['x', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    print('goes on')\n"
    )
    assert run(tmp_path, "mine.py").stdout.endswith("goes on\n")


def test_a_script_of_this_name_is_the_program(tmp_path: Path) -> None:
    """As pip writes it into `bin`."""
    (tmp_path / "ends.py").write_text(PLUGIN)
    (tmp_path / "distjoint").write_text("import sys\nfrom distjoint.cli import main\nsys.exit(main())\n")
    assert run(tmp_path, "distjoint", "--plugin", "ends", "recipes").returncode == 0


def test_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m distjoint recipes transe"
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert full.returncode == 1 and full.stderr.count("\n") == 1 and "No space left" in full.stderr
