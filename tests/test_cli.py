"""The command line: what it passes on, how it fails, what it costs to start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.cli import app as cli
from distjoint.config import Config
from distjoint.recipes.load import load_config
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit

COMMANDS = (
    "prepare",
    "train",
    "recipes",
    "evaluate",
    "compare",
    "nearest",
    "predict",
    "explain",
    "export",
    "serve",
    "demo",
    "doctor",
    "submit",
    "job list",
    "job status",
    "job logs",
    "job stop",
    "config show",
    "config validate",
    "config schema",
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, str, str]]:
    """Run a command line; returns its exit code, standard output and standard error."""

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["distjoint", *line.split()])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """The public functions replaced by ones that note what they are called with."""
    seen: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def recorder(name: str) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            seen[name] = (args, kwargs)
            return SimpleNamespace(to_dict=lambda: {"made": name}, save=lambda run: None, metrics={})

        return record

    for name in ("prepare", "train", "evaluate", "compare"):
        monkeypatch.setitem(distjoint.__dict__, name, recorder(name))
    return seen


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['distjoint', '--help']\n"
        "from distjoint.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'numba', 'pyarrow', 'pandas', 'scipy', 'pydantic', 'fastapi'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"
    assert "prepare" in ran.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(command: str, run: Any) -> None:
    code, out, _ = run(f"{command} --help")
    assert code == 0
    assert f"  distjoint {command}" in out


def test_no_command_shows_the_commands(run: Any) -> None:
    code, out, _ = run("")
    assert code == 0
    assert all(command.split()[0] in out for command in COMMANDS)


def test_prepare_passes_every_option_on(run: Any, calls: Any) -> None:
    code, out, _ = run(
        "prepare --corpus a.txt b.txt --corpus c.txt --triples t.tsv --valid v.tsv --labels l.tsv --align auto "
        "--graph kg --valid-negatives n.tsv --types y.tsv --unseen-fraction .1 --unseen u.txt "
        "--out data/mine --shards 8 --window 5 --left-only --min-count 3 --memory 1GB --triple-columns s,p,o --json"
    )
    assert (code, json.loads(out)) == (0, {"made": "prepare"})
    (place,), options = calls["prepare"]
    assert place == "data/mine"
    assert list(options["corpus"]) == ["a.txt", "b.txt", "c.txt"]
    assert options["triple_columns"] == ["s", "p", "o"]
    assert (options["unseen_fraction"], options["unseen"]) == (0.1, "u.txt")
    given = {"graph": "kg", "valid_negatives": "n.tsv", "test_negatives": None, "types": "y.tsv"}
    assert given.items() <= options.items()
    given = {"triples": "t.tsv", "valid": "v.tsv", "test": None, "shards": 8, "window": 5, "symmetric": False}
    assert given.items() <= options.items()
    assert {"min_count": 3, "memory": "1GB", "labels": "l.tsv", "workers": 1, "overwrite": False}.items() <= (
        options.items()
    )


def test_train_builds_its_configuration_from_file_and_settings(run: Any, calls: Any, tmp_path: Path) -> None:
    file = tmp_path / "joint.yaml"
    file.write_text("model: {dim: 50}\nloss: {alpha: 0.25}\n")
    code, _, _ = run(f"train data/mine --out runs/x --config {file} --set model.dim=64 --set train.seed=7 --json")
    (dataset, out, config), options = calls["train"]
    assert (code, dataset, out) == (0, "data/mine", "runs/x")
    assert (config.model.dim, config.loss.alpha, config.train.seed) == (64, 0.25, 7)
    assert options["resume"] is False


def test_train_takes_a_recipe_or_a_file_and_vectors_to_begin_with(run: Any, calls: Any, tmp_path: Path) -> None:
    line = "train data/mine --out runs/x --recipe wn18rr-complex --set model.dim=64 --init v.txt --any-graph --json"
    assert run(line)[0] == 0
    (*_, settings), options = calls["train"]
    assert settings == {"model.dim": 64, "train.init": "v.txt"}
    assert (options["recipe"], options["any_graph"]) == ("wn18rr-complex", True)
    assert run("train data/mine --out runs/x --init v.txt --json")[0] == 0
    assert calls["train"][0][2].train.init == "v.txt"
    (tmp_path / "c.yaml").write_text("model: {dim: 50}")
    code, _, err = run(f"train d --out r --recipe complex --config {tmp_path / 'c.yaml'}")
    assert (code, err.count("\n")) == (2, 1) and "give one of the two" in err


def test_resume_takes_the_run_and_what_is_to_change(run: Any, calls: Any) -> None:
    assert run("train --resume runs/joint --set train.epochs=30 --set loss.alpha=0.25 --workers 2 --json")[0] == 0
    assert calls["train"][0] == (None, "runs/joint", None)
    given = {"resume": True, "settings": {"train.epochs": 30, "loss.alpha": 0.25}, "workers": 2}
    assert given.items() <= calls["train"][1].items()


def test_resume_takes_nothing_else(run: Any, calls: Any) -> None:
    assert run("train --resume runs/joint --json")[0] == 0
    assert calls["train"][0] == (None, "runs/joint", None)
    assert calls["train"][1]["resume"] is True
    for words in ("data/mine", "--recipe complex", "--init v.txt", "--any-graph", "--continue", "--overwrite"):
        code, _, err = run(f"train {words} --resume runs/joint")
        assert (code, err.count("\n")) == (2, 1)
        assert "--resume" in err and (words.split()[0] in err or (words == "data/mine" and "DATASET" in err))


@pytest.mark.parametrize(
    ("line", "runs", "similarity", "analogies"),
    [
        ("evaluate r --similarity a b c --analogies q", "r", ["a", "b", "c"], ["q"]),
        ("evaluate --similarity a r", "r", ["a"], []),
        ("evaluate --json r --similarity a --similarity b", "r", ["a", "b"], []),
        ("evaluate --link-prediction test r --similarity a b --raw", "r", ["a", "b"], []),
        ("evaluate r --similarity=a b", "r", ["a", "b"], []),
        ("compare r s --similarity a b", ["r", "s"], ["a", "b"], []),
        ("compare --similarity a r s", ["r", "s"], ["a"], []),
    ],
)
def test_an_option_takes_the_files_that_a_shell_makes_of_a_glob(
    line: str, runs: Any, similarity: list[str], analogies: list[str], run: Any, calls: Any
) -> None:
    assert run(f"{line} {'' if '--json' in line else '--json'}")[0] == 0
    (given,), options = calls[line.split()[0]]
    assert (given, list(options["similarity"]), list(options["analogies"])) == (runs, similarity, analogies)


@pytest.mark.parametrize(("error", "code"), [(DistjointError, 1), (UsageError, 2)])
def test_an_error_is_one_line_with_its_exit_code(
    error: type[DistjointError], code: int, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(distjoint.__dict__, "prepare", failing(error("text.txt: empty;\n give another")))
    assert run("prepare --corpus text.txt --out d") == (code, "", "distjoint: text.txt: empty; give another\n")


def test_a_full_disk_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distjoint.__dict__, "prepare", failing(OSError(28, "No space left on device")))
    code, _, err = run("prepare --corpus text.txt --out d")
    assert (code, err.count("\n")) == (1, 1)
    assert "No space left" in err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("prepare --corpus a --out d", "run the same command again"),
        ("train d --out runs/x", "distjoint train --resume runs/x"),
        ("train --resume runs/x", "distjoint train --resume runs/x"),
    ],
)
def test_ctrl_c_says_how_to_go_on(line: str, says: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("prepare", "train"):
        monkeypatch.setitem(distjoint.__dict__, name, failing(KeyboardInterrupt()))
    code, _, err = run(line)
    assert (code, err.count("\n")) == (130, 1)
    assert says in err


def test_evaluate_passes_on_how_to_rank(run: Any, calls: Any) -> None:
    code, _, _ = run(
        "evaluate r --link-prediction valid --by relation degree --by category --ties optimistic "
        "--sample-candidates 500 --sample-triples 9 --typed --classify --memory 2GB --seed 4 --json"
    )
    assert code == 0
    given = calls["evaluate"][1]
    assert given["link_prediction"] == "valid" and given["by"] == ["relation", "degree", "category"]
    assert (given["ties"], given["typed"], given["classify"]) == ("optimistic", True, True)
    assert (given["sample_candidates"], given["sample_triples"], given["memory"], given["seed"]) == (500, 9, "2GB", 4)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("what", "No such command 'what'"),
        ("train", "say what to train and where"),
        ("train d --out r --workers many", "--workers"),
        ("train d --out r --set model.dmi=3", "did you mean 'model.dim'"),
        ("train d --out r --recipe wn18r-complex", "no recipe 'wn18r-complex'; did you mean 'wn18rr-complex'?"),
        ("recipes ../complex", "no recipe '../complex'; did you mean 'complex'?"),
        ("train d --out r --set model.dim", "section.key=value"),
        ("train d --out r --set model.dim=31 --set model.scorer=complex", "dim must be even"),
        ("evaluate", "Missing argument 'RUN'"),
        ("export r", "Missing option '--out'"),
        ("export r --out v --format csv", "csv"),
        ("prepare --out d --window 0", "--window"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_exit_code_2(line: str, says: str, run: Any) -> None:
    code, out, err = run(line)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_config_show_prints_every_key_commented_and_is_valid_as_it_stands(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("config show")
    assert code == 0
    assert Config.model_validate(yaml.safe_load(out)) == Config()
    keys = [f"  {key}:" for info in Config.model_fields.values() for key in type(info.default).model_fields]
    lines = out.splitlines()
    for key in keys:
        index = next(i for i, line in enumerate(lines) if line.startswith(key))
        assert lines[index - 1].startswith("  # ")
    file = tmp_path / "all.yaml"
    file.write_text(out)
    assert run(f"config validate {file}") == (0, f"{file}: valid\n", "")
    assert load_config(str(file)) == Config()


def test_the_configuration_page_is_what_config_show_prints(run: Any) -> None:
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    assert page.partition("```yaml\n")[2] == run("config show")[1] + "```\n", "run 'make docs'"


def test_config_show_completes_a_file(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("train: {memory: 2GB}\n")
    shown = yaml.safe_load(run(f"config show {file} --set model.coupling=tie")[1])
    assert (shown["train"]["memory"], shown["model"]["coupling"]) == (2 * 10**9, "tie")


def test_a_wrong_configuration_file_is_named(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("loss: {alpha: 2}\n")
    code, _, err = run(f"config validate {file}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"{file}: loss.alpha = 2" in err
    assert run(f"config validate {tmp_path}/none.yaml")[0] in (1, 2)


def test_config_schema_describes_every_section(run: Any) -> None:
    schema = json.loads(run("config schema")[1])
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False


def test_importing_a_room_does_not_hide_the_function_of_its_name() -> None:
    """Whichever is imported first; the packages that rooms import stay loaded between the two."""
    code = (
        "import sys\n"
        "for line in ('import distjoint.train.schedule', 'from distjoint.evaluate import options'):\n"
        "    exec(line)\n"
        "    import distjoint, distjoint.evaluate.options, distjoint.train.schedule\n"
        "    print(type(distjoint.evaluate).__name__, type(distjoint.train).__name__)\n"
        "    for name in [name for name in sys.modules if name.partition('.')[0] == 'distjoint']:\n"
        "        del sys.modules[name]\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["function"] * 4


def test_importing_distjoint_imports_nothing_heavy() -> None:
    code = (
        "import sys, distjoint, inspect\n"
        "inspect.signature(distjoint.train), inspect.signature(distjoint.evaluate)\n"
        "heavy = {'torch', 'ray', 'numba', 'numpy', 'pyarrow', 'pydantic', 'rich', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder that adds a scorer, and is forgotten afterwards."""
    name = "my_plugin"
    (tmp_path / f"{name}.py").write_text(
        "from distjoint.registry import SCORERS\n@SCORERS.add\nclass Mine:\n    name = 'mine'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield name
    sys.modules.pop(name, None)
    if "mine" in SCORERS:
        SCORERS.remove("mine")


@pytest.mark.parametrize("line", ["--plugin my_plugin recipes", "recipes"])
def test_a_plugin_is_imported_before_the_command(
    line: str, plugin: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mine" not in SCORERS
    if "--plugin" not in line:
        monkeypatch.setenv("DISTJOINT_PLUGINS", f"json,{plugin}")
    assert run(line)[0] == 0
    assert "mine" in SCORERS


def test_a_plugin_that_is_not_there_is_one_line(run: Any) -> None:
    code, _, err = run("--plugin json --plugin no_such_module recipes")
    assert (code, err.count("\n")) == (2, 1)
    assert "--plugin no_such_module" in err
