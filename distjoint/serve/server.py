"""The server: replicas of the application on Ray Serve, behind its HTTP proxy, on this machine until it is stopped.

Ray Serve takes requests, hands them to replicas, starts those anew that die, and counts. `build` is for a configuration
of Ray Serve, such as a RayService on Kubernetes.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Progress
from distjoint.base.ray_session import ray_session
from distjoint.registry import load_plugins
from distjoint.results.embeddings import load
from distjoint.serve.answering import Answering
from distjoint.serve.app import make_app
from distjoint.serve.settings import ServeSettings
from distjoint.storage import use_options

NAME = "distjoint"
"""Of the application and of its deployment, as Ray Serve's status and metrics have it."""
_AT_ONCE = 4
"""Requests that a replica has at a time: one is answered, the others are read or written meanwhile."""
_ENDING = 10.0
"""Seconds that requests have to be answered after the server was asked to stop."""
_CHECKED = 2.0
"""Seconds between two looks at whether a replica lives."""
_METRICS = "ray_serve_"
_SECONDS = 5.0
"""How long Ray's own metrics are waited for."""


def application(settings: ServeSettings) -> serve.Application:
    """The replicas that answer, for Ray Serve to run."""

    def make() -> Any:
        load_plugins(settings.plugins)
        use_options(settings.storage_options)
        answering = Answering(load(settings.run, dataset=settings.dataset, memory=settings.memory), settings.limits)
        answering.warm()
        return make_app(answering, node_metrics)

    deployment: Any = serve.deployment(
        name=NAME,
        num_replicas=settings.replicas,
        max_ongoing_requests=_AT_ONCE,
        max_queued_requests=settings.max_waiting,
        max_constructor_retry_count=1,
        health_check_period_s=_CHECKED,
        graceful_shutdown_timeout_s=_ENDING,
        graceful_shutdown_wait_loop_s=0.2,
        ray_actor_options={"num_cpus": 1},
        logging_config=LoggingConfig(log_level="WARNING", enable_access_log=False),
    )
    return deployment(serve.ingress(make)()).bind()


def build(args: dict[str, Any]) -> serve.Application:
    """The same for a configuration of Ray Serve, whose `args` are `ServeSettings`.

    raises   pydantic's ValidationError for a key that there is not, or a wrong value
    """
    return application(ServeSettings.model_validate(args))


def node_metrics() -> str:
    """Ray Serve's metrics of this node, in the text format of Prometheus; Ray gathers them every few seconds.

    raises   DistjointError where Ray does not give them
    """
    mine = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == mine)
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as reply:
            text = reply.read().decode()
    except OSError as error:
        raise DistjointError(f"Ray's metrics cannot be read ({error})") from error
    wanted = re.compile(rf"(# (HELP|TYPE) )?{_METRICS}")
    return "".join(line for line in text.splitlines(keepends=True) if wanted.match(line))


def run_server(
    settings: ServeSettings, host: str, port: int, timeout: float, progress: Progress, ready: Callable[[str], None]
) -> None:
    """Serve a run on this machine until this process is told to stop by Ctrl-C or SIGTERM.

    port     0 for a free one
    timeout  seconds after which a request is given up
    ready    told the URL once questions are answered
    raises   DistjointError for a run that cannot be loaded, or a port that is taken; KeyboardInterrupt where it is told
             to stop before it is ready
    """
    if address := os.environ.get("RAY_ADDRESS"):
        raise UsageError(
            f"RAY_ADDRESS is {address}, and 'serve' runs on this machine alone: unset it, or see docs/serve.md for a "
            "cluster"
        )
    load(settings.run, dataset=settings.dataset, memory=1)  # what is wrong with the run, in a sentence
    port = _free_port(host, port)
    # While Ray starts it is not interrupted: it may lose what a handler raises, or leave processes behind.
    with _told_to_stop(at_once=False) as early, ray_session(progress, dashboard=False), _told_to_stop() as late:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if settings.replicas > cores:
            raise UsageError(f"--replicas {settings.replicas}: Ray counts {cores} cores here, and a replica takes one")
        try:
            if not early:
                _start(settings, host, port, timeout, progress)
            if told := [*early, *late]:
                raise KeyboardInterrupt(told[0])
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            with _waiting():
                signal.pause()
        finally:
            for each in (signal.SIGINT, signal.SIGTERM):  # the end is under way, and is bounded
                signal.signal(each, signal.SIG_IGN)
            progress.say("stopping")
            with suppress(Exception):  # lets requests be answered; the rest ends with Ray
                serve.delete(NAME)


def _start(settings: ServeSettings, host: str, port: int, timeout: float, progress: Progress) -> None:
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with progress.task(f"starting {settings.replicas} replica{'s' if settings.replicas > 1 else ''}"):
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": port, "request_timeout_s": timeout},
            logging_config=quiet,
        )
        try:
            serve.run(application(settings), name=NAME, route_prefix="/", logging_config=quiet)
        except RuntimeError as error:
            status = serve.status().applications.get(NAME)
            said = [str(error), *(each.message for each in status.deployments.values())] if status else [str(error)]
            raise DistjointError(cause_of("\n".join(said))) from error


def cause_of(text: str) -> str:
    """Why replicas did not start: the sentence of the error in what Ray says of it."""
    found = re.findall(r"distjoint\.base\.errors\.\w+: (.+)", text) or re.findall(r"(?m)^\w*Error: (.+)", text)
    return found[-1] if found else f"replicas did not start: {text.strip()}"


def _free_port(host: str, port: int) -> int:
    """A port that can be listened to. raises DistjointError where it cannot"""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise DistjointError(
            f"--host {host} --port {port}: {error.strerror or error}; --port 0 takes a free one"
        ) from error


@contextmanager
def _told_to_stop(at_once: bool = True) -> Iterator[list[int]]:
    """List signals SIGINT and SIGTERM as they come.

    at_once   make each a KeyboardInterrupt with its number too
    """
    told: list[int] = []

    def stop(number: int, _: object) -> None:
        told.append(number)
        if at_once:
            raise KeyboardInterrupt(number)

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _waiting() -> Iterator[None]:
    """Take a KeyboardInterrupt for the end that a server is meant to have."""
    try:
        yield
    except KeyboardInterrupt:
        return
