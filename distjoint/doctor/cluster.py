"""Check of a Ray cluster: whether it answers, its version of Ray, its resources.

By its dashboard: joining it would need the same version here, and take long to fail.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from distjoint.doctor.findings import Finding, sentence, size

NAME = "Ray cluster"
_CONNECT = 5.0


def ray_cluster(address: str | None = None) -> Iterator[Finding]:
    """Version and resources of a cluster.

    address   a dashboard's http://HOST:8265, a cluster's HOST:6379, ray://HOST:10001, or `auto`
    """
    where = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or "local"
    if where == "local":
        yield Finding(NAME, "ok", "no address given: --workers starts Ray on this machine (--address tries a cluster)")
        return
    if where != "auto" and (refused := _refused(where)):
        fix = "give the dashboard's address as http://HOST:8265; is Ray up there, and the port open to this machine?"
        yield Finding(NAME, "problem", f"{where}: {refused}", fix)
        return
    import ray
    from ray.job_submission import JobSubmissionClient
    from ray.util.state import list_nodes

    with _address_set(where):
        try:
            client = JobSubmissionClient()
            version = json.loads(client._do_request("GET", "/api/version", timeout=_CONNECT).text)["ray_version"]
            nodes = [node for node in list_nodes(timeout=int(_CONNECT)) if node.state == "ALIVE"]
        except Exception as error:
            fix = "see that Ray's dashboard runs there; where the cluster asks for a token, set RAY_AUTH_TOKEN"
            yield Finding(NAME, "problem", f"{where}: {sentence(error)}", fix)
            return
    yield same_version(client.get_address(), version, ray.__version__, joining=not where.startswith("http"))
    yield resources([node.resources_total for node in nodes])


def _refused(address: str) -> str:
    """Why no connection can be made; empty where one can. Ray itself tries for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or {"https": 443, "ray": 10001}.get(parts.scheme, 80)
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT).close()
    except (OSError, ValueError) as error:
        return sentence(error)
    return ""


@contextmanager
def _address_set(address: str) -> Iterator[None]:
    """Put the address into the environment for a while: Ray's clients prefer that to an argument."""
    name = "RAY_API_SERVER_ADDRESS"
    before = os.environ.get(name)
    os.environ[name] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def same_version(address: str, there: str, here: str, joining: bool) -> Finding:
    """Finding about the versions of Ray there and here.

    joining   whether this process would be part of the cluster, not just send jobs to it
    """
    if there == here:
        return Finding(NAME, "ok", f"Ray {there} at {address}, as here")
    fix = f"pip install 'ray[default,train]=={there}'"
    return Finding(NAME, "problem" if joining else "warning", f"Ray {there} at {address}, {here} here", fix)


def resources(nodes: Sequence[Mapping[str, float]]) -> Finding:
    """Finding about the resources of all nodes together."""

    def total(name: str) -> float:
        return sum(node.get(name, 0) for node in nodes)

    found = f"{len(nodes)} nodes, {total('CPU'):g} CPUs, {total('GPU'):g} GPUs, {size(total('memory'))} of memory"
    if total("CPU"):
        return Finding(NAME, "ok", found)
    return Finding(NAME, "warning", found, "add worker nodes, or see that the autoscaler may")
