"""The files of cluster/: what KubeRay's schemas, Ray's launcher, the EC2 API and the command line say of them, and that
a slip in each is found. Nothing here starts a cluster.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

import distjoint
from distjoint.cli import app as cli
from distjoint.recipes.load import load_config

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "cluster"
OVERLAYS = ("cluster-cpu", "cluster-gpu", "job-cpu", "job-gpu")
LAUNCHER = ("aws.yaml", "gcp.yaml")
KINDS = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
SECRET = re.compile(r"(?i)(secret|token|password|access_?key)")
NO_SECRETS = {"required", "~/.ray/auth_token"}
"""What stands in fields with such names: AWS's HttpTokens, and where Ray keeps its token."""


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `kubectl kustomize`; skips the test where kubectl is not installed."""
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if kubectl is None:
        pytest.skip("kubectl is not installed; it comes with the extra 'dev'")
    return subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60)


@cache
def rendered(folder: Path) -> list[dict[str, Any]]:
    result = kustomize(folder)
    assert result.returncode == 0, result.stderr
    return list(yaml.load_all(result.stdout, yaml.CSafeLoader))


def overlay(name: str) -> list[dict[str, Any]]:
    return copy.deepcopy(rendered(CLUSTER / "kuberay/overlays" / name))


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def ray_object(name: str) -> dict[str, Any]:
    """The RayCluster of a cluster's overlay, the RayJob of a job's."""
    return one(overlay(name), "RayJob" if name.startswith("job") else "RayCluster")


def cluster_spec(name: str) -> dict[str, Any]:
    spec = ray_object(name)["spec"]
    return dict(spec.get("rayClusterSpec", spec))


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    """KubeRay's own schema of a kind, closed: its API server drops a field it does not know without a word."""
    folder = Path(os.environ.get("DISTJOINT_SCHEMAS", ROOT.parent / "shared/schemas"))
    if not (folder / KINDS[kind]).exists():
        pytest.skip(f"{folder / KINDS[kind]} is absent; DISTJOINT_SCHEMAS names the folder of KubeRay's CRDs")
    definition = yaml.load((folder / KINDS[kind]).read_text(), yaml.CSafeLoader)
    (schema,) = (
        version["schema"]["openAPIV3Schema"] for version in definition["spec"]["versions"] if version["name"] == "v1"
    )
    close(schema)
    return jsonschema.Draft202012Validator(schema)


def close(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            close(part)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)


def errors(document: dict[str, Any]) -> list[str]:
    found = validator(document["kind"]).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def launcher(name: str, gpu: bool = False) -> dict[str, Any]:
    """A launcher file; with `gpu` the node type that it holds as a comment is switched on."""
    text = (CLUSTER / "launcher" / name).read_text()
    if gpu:
        text, count = re.subn(r"(?m)^  # (?=gpu-worker:|  )", "  ", text)
        assert count > 5
    config: dict[str, Any] = yaml.safe_load(text)
    assert ("gpu-worker" in config["available_node_types"]) == gpu
    return config


def launcher_errors(config: dict[str, Any]) -> list[str]:
    """What Ray's launcher says, and for AWS the EC2 API, whose part Ray passes on unread."""
    try:
        from ray.autoscaler._private.util import prepare_config, validate_config

        validate_config(prepare_config(copy.deepcopy(config)))
    except (jsonschema.ValidationError, ValueError) as error:
        return [str(error)]
    if config["provider"]["type"] != "aws":
        return []
    import botocore.session
    import botocore.validate

    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    reports = (
        botocore.validate.ParamValidator().validate(node["node_config"] | {"MinCount": 1, "MaxCount": 1}, shape)
        for node in config["available_node_types"].values()
    )
    return [report.generate_report() for report in reports if report.has_errors()]


def handed_on(entrypoint: str) -> list[str]:
    """The words of an entry point, after the two shells and Ray that hand the line on."""
    # KubeRay writes the entry point into a shell's line; `ray job submit` quotes the words again for Ray's own shell.
    return shlex.split(subprocess.list2cmdline(shlex.split(entrypoint)))


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters of a `distjoint COMMAND ...` line, by the command line's own parser."""
    assert words[0] == "distjoint"
    command = typer.main.get_command(cli.app).commands[words[1]]  # type: ignore[attr-defined]
    context = command.make_context(words[1], words[2:])
    return dict(context.params)


def strings(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(value, f"{path}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from strings(value, f"{path}/{number}")
    elif isinstance(node, str):
        yield path, node


def literal_secrets(document: Any) -> list[str]:
    """Where a document holds a secret itself: a value of a variable or a field whose name says so, or a known form."""
    found = []
    for path, value in strings(document):
        parts = path.split("/")
        known = re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[A-Z_]*(KEY|SECRET|TOKEN|PASSWORD)=\S", value)
        # A reference names a Secret; what it names is no secret.
        reference = any(part in ("secretRef", "secretKeyRef") for part in parts) or parts[-1] == "name"
        if known or (SECRET.search(parts[-1]) and not reference and value not in NO_SECRETS):
            found.append(path)
    found += [
        f"{path}: {entry['name']}"
        for path, entry in entries(document)
        if SECRET.search(str(entry.get("name", ""))) and "value" in entry
    ]
    return found


def entries(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from entries(value, f"{path}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from entries(value, f"{path}/{number}")


# Kubernetes


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlay_is_what_kuberay_accepts(name: str) -> None:
    documents = overlay(name)
    assert [kind for kind in KINDS if any(document["kind"] == kind for document in documents)] == [
        "RayJob" if name.startswith("job") else "RayCluster"
    ]
    assert errors(ray_object(name)) == []


def rename(*path: str | int) -> Callable[[dict[str, Any]], None]:
    """A slip: the last letter of a key is missing."""

    def slip(node: Any) -> None:
        for part in path[:-1]:
            node = node[part]
        node[str(path[-1])[:-1]] = node.pop(path[-1])

    return slip


def replace(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def slip(node: Any) -> None:
        for part in path[:-1]:
            node = node[part]
        assert path[-1] in node
        node[path[-1]] = value

    return slip


@pytest.mark.parametrize(
    ("name", "slip"),
    [
        ("cluster-cpu", rename("spec", "workerGroupSpecs", 0, "minReplicas")),
        ("cluster-cpu", rename("spec", "authOptions", "mode")),
        ("cluster-gpu", rename("spec", "workerGroupSpecs", 0, "template", "spec", "tolerations")),
        ("cluster-gpu", replace("spec", "workerGroupSpecs", 0, "replicas", value="four")),
        ("job-cpu", rename("spec", "entrypoint")),
        ("job-cpu", rename("spec", "rayClusterSpec", "autoscalerOptions", "version")),
        ("job-gpu", rename("spec", "submitterPodTemplate", "spec", "containers", 0, "securityContext")),
        ("job-gpu", replace("spec", "rayClusterSpec", "authOptions", "mode", value="tokens")),
    ],
)
def test_a_slip_in_a_resource_is_found(name: str, slip: Callable[[dict[str, Any]], None]) -> None:
    document = ray_object(name)
    slip(document)
    assert errors(document) != []


def test_a_slip_in_a_kustomization_is_found(tmp_path: Path) -> None:
    shutil.copytree(CLUSTER / "kuberay", tmp_path / "kuberay")
    broken = tmp_path / "kuberay/components/gpu/kustomization.yaml"
    assert kustomize(tmp_path / "kuberay/overlays/job-gpu").returncode == 0
    broken.write_text(broken.read_text().replace("patches:", "patchs:"))
    assert "patchs" in kustomize(tmp_path / "kuberay/overlays/job-gpu").stderr


@pytest.mark.parametrize("name", OVERLAYS)
def test_version_and_image_are_the_pinned_ones(name: str) -> None:
    (pin,) = re.findall(r"(?m)^ray==(.+)$", (ROOT / "constraints.txt").read_text())
    spec = cluster_spec(name)
    assert spec["rayVersion"] == pin
    images = {value for path, value in strings(overlay(name)) if path.endswith("/image")}
    flavour = "cpu" if name.endswith("cpu") else "cuda"
    assert images == {f"registry.example.com/distjoint:{distjoint.__version__}-{flavour}"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_cluster_asks_for_a_token_and_keeps_workers_off_the_head(name: str) -> None:
    spec = cluster_spec(name)
    assert spec["authOptions"]["mode"] == "token"
    assert spec["enableInTreeAutoscaling"]
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    head, workers = (group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]))
    assert "tolerations" not in head
    for pod in (head, workers):
        assert pod["serviceAccountName"] == one(overlay(name), "ServiceAccount")["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
    gpus = workers["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
    assert gpus == ("1" if name.endswith("gpu") else None), "one worker to a GPU"


@pytest.mark.parametrize("name", ["job-cpu", "job-gpu"])
def test_job_trains_with_as_many_workers_as_its_cluster_has(name: str) -> None:
    job = ray_object(name)
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    asked = parsed(handed_on(job["spec"]["entrypoint"]))
    counts = {asked["workers"], *(group[key] for key in ("replicas", "minReplicas", "maxReplicas"))}
    assert len(counts) == 1
    assert asked["go_on"]  # the second attempt finds the run of the first
    assert asked["dataset"].startswith("s3://")


def test_a_slip_in_the_entrypoint_is_found() -> None:
    entrypoint = ray_object("job-cpu")["spec"]["entrypoint"]
    with pytest.raises(Exception, match="No such option: --worker"):
        parsed(handed_on(entrypoint.replace("--workers", "--worker")))


def test_cluster_has_room_for_the_job_at_any_time() -> None:
    (group,) = cluster_spec("cluster-cpu")["workerGroupSpecs"]
    asked = parsed(handed_on(ray_object("job-cpu")["spec"]["entrypoint"]))
    assert group["minReplicas"] == group["replicas"] == asked["workers"] <= group["maxReplicas"]


def test_configuration_is_valid_and_where_the_job_looks(tmp_path: Path) -> None:
    documents = overlay("job-cpu")
    asked = parsed(handed_on(one(documents, "RayJob")["spec"]["entrypoint"]))
    head = one(documents, "RayJob")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = (volume for volume in head["volumes"] if "configMap" in volume)
    (mount,) = (mount for mount in head["containers"][0]["volumeMounts"] if mount["name"] == volume["name"])
    config_map = one(documents, "ConfigMap")
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    file = Path(asked["config"]).relative_to(mount["mountPath"])
    (tmp_path / "joint.yaml").write_text(config_map["data"][str(file)])
    assert load_config(str(tmp_path / "joint.yaml")).train.memory is not None


@pytest.mark.parametrize("name", OVERLAYS)
def test_keys_may_come_from_a_secret(name: str, tmp_path: Path) -> None:
    shutil.copytree(CLUSTER / "kuberay", tmp_path / "kuberay")
    folder = tmp_path / "kuberay/overlays" / name
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("# - ../../components/s3-keys", "- ../../components/s3-keys"))
    (document,) = (document for document in rendered(folder) if document["kind"] in KINDS)
    assert errors(document) == []
    references = [value for path, value in strings(document) if path.endswith("/secretRef/name")]
    assert references == ["distjoint-s3"] * 2
    assert literal_secrets(document) == []


# Virtual machines


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("name", LAUNCHER)
def test_launcher_file_is_what_ray_and_the_cloud_accept(name: str, gpu: bool) -> None:
    assert launcher_errors(launcher(name, gpu)) == []


@pytest.mark.parametrize(
    ("name", "slip"),
    [
        ("aws.yaml", rename("idle_timeout_minutes")),
        ("aws.yaml", rename("available_node_types", "worker", "min_workers")),
        ("aws.yaml", rename("available_node_types", "worker", "node_config", "InstanceType")),
        ("aws.yaml", rename("available_node_types", "worker", "node_config", "InstanceMarketOptions", "MarketType")),
        ("gcp.yaml", rename("worker_setup_commands")),
        ("gcp.yaml", rename("available_node_types", "worker", "resources")),
        ("gcp.yaml", replace("head_node_type", value="heads")),
        ("gcp.yaml", replace("max_workers", value=3)),
    ],
)
def test_a_slip_in_a_launcher_file_is_found(name: str, slip: Callable[[dict[str, Any]], None]) -> None:
    config = launcher(name)
    slip(config)
    assert len(launcher_errors(config)) == 1


@pytest.mark.parametrize("name", LAUNCHER)
def test_launcher_starts_a_head_that_stays_and_workers_that_may_go(name: str) -> None:
    config = launcher(name)
    nodes = config["available_node_types"]
    spot = {kind: "spot" in str(node["node_config"]).lower() for kind, node in nodes.items()}
    assert spot == {"head": False, "worker": True}
    assert nodes["head"]["resources"]["CPU"] == 0
    for start in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token ray start" in start[-1]
    assert "dashboard-host" not in str(config), "the Jobs API would be open to the network"


@pytest.mark.parametrize("name", LAUNCHER)
def test_launcher_mounts_what_a_node_installs(name: str) -> None:
    mounts = launcher(name)["file_mounts"]
    local = {place.removeprefix("~/distjoint/"): source for place, source in mounts.items() if "distjoint" in place}
    assert all((ROOT / source).exists() for source in local.values())
    # pyproject.toml names the readme and the licence, so that a build without them fails.
    assert {"distjoint", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "node.sh"} == set(local)
    script = CLUSTER / "launcher/node.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0


# Both


def test_no_file_holds_a_secret() -> None:
    for file in sorted(CLUSTER.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            assert literal_secrets(document) == [], file
    for name in OVERLAYS:
        assert literal_secrets(overlay(name)) == [], name


@pytest.mark.parametrize(
    "planted",
    [
        {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "abc"}]},
        {"data": {"AWS_SECRET_ACCESS_KEY": "abc"}},
        {"run": "export RAY_AUTH_TOKEN=abc; ray start"},
        {"gcp_credentials": {"type": "service_account", "credentials": "-----BEGIN PRIVATE KEY-----"}},
    ],
)
def test_a_planted_secret_is_found(planted: dict[str, Any]) -> None:
    assert literal_secrets(planted)


def test_readme_names_commands_and_files_that_exist() -> None:
    text = (CLUSTER / "README.md").read_text()
    lines = re.findall(r"(?m)^distjoint submit .* -- (.*)$", text)
    assert len(lines) >= 3
    for line in lines:
        parsed(["distjoint", *shlex.split(line)])
    for path in re.findall(r"`((?:launcher|kuberay|components|base)/[^`]+)`|cluster/([\w./-]+\w)", text):
        place = path[0] or path[1]
        assert (CLUSTER / place).exists() or (CLUSTER / "kuberay" / place).exists(), place
