"""Making a plan: the dataset or its sizes, the run that would train on it, and what that takes where it would run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from distjoint.base.errors import UsageError
from distjoint.base.machine import available_memory
from distjoint.base.progress import Silent
from distjoint.base.sizes import bytes_of, in_bytes
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.plan.forecast import Epoch, memory_and_epoch
from distjoint.plan.imagined import ImaginedDataset, imagine
from distjoint.plan.nodes import Node, node_of
from distjoint.plan.options import PlanOptions
from distjoint.plan.result import PartBytes, Plan
from distjoint.plan.speed import probe, quoted
from distjoint.recipes.load import load_config
from distjoint.runs.folder import RunInfo
from distjoint.train.build import scheme_of
from distjoint.train.memory import Memory, limit_that_fits, memory_of, typical_round
from distjoint.train.on_storage import checkpoint_bytes
from distjoint.train.plan import plan as plan_run

_MOST_WORKERS = 256
_FAST_LOOPBACK = 8.0
"""Gbit/s between workers of one machine, by gloo."""


def make_plan(options: PlanOptions) -> Plan:
    """`plan`, of checked options."""
    progress = options.progress or Silent()
    config = _configuration(options)
    node, available = _node(options)
    data = _dataset(options, options.workers)
    scheme = Scheme.of(
        config, data.manifest.counts.get("cells", 0) > 0, data.manifest.counts.get("triples/train", 0) > 0
    )
    info = plan_run(data, _what(options), config, options.workers, node.memory)
    speed = probe(config, data, info.groups, options.probe_seconds, progress) if options.probe else quoted(scheme)
    beside = options.workers if _shares(options) else 1
    memory, epoch = memory_and_epoch(info, data, options.workers, node, speed, beside)
    checkpoint = checkpoint_bytes(info, data)
    made = Plan(
        what=_what(options),
        counts=dict(data.manifest.counts),
        parts=_parts(info, data),
        dataset=data.bytes if isinstance(data, ImaginedDataset) else sum(file.bytes for file in data.manifest.files),
        checkpoint=checkpoint,
        checkpoints=checkpoint * (config.train.keep + (1 if config.train.validate_every else 0)),
        shards=data.layout.shards,
        groups=info.groups,
        lanes=info.lanes,
        workers=options.workers,
        coupling=info.coupling,
        memory=memory,
        available=available,
        epoch=epoch,
        epochs=config.train.epochs,
        speed=speed,
        node=node,
        bound=_bound(memory, available, epoch),
        advice=(),
        assumptions=_assumptions(options, data, node, epoch),
    )
    return replace(made, advice=tuple(_advice(made, info, options, data)))


def _configuration(options: PlanOptions) -> Config:
    given = options.config
    if isinstance(given, Config):
        if options.recipe or options.dim:
            raise UsageError("a Config is a whole configuration; leave out recipe and dim, or give a mapping")
        return given
    settings: dict[str, Any] = dict(given or {})
    if options.dim is not None:
        if settings.get("model.dim", options.dim) != options.dim:
            raise UsageError(f"--dim {options.dim} and --set model.dim={settings['model.dim']}: give one of them")
        settings["model.dim"] = options.dim
    return load_config(overrides=settings, recipe=options.recipe)


def _dataset(options: PlanOptions, workers: int) -> Dataset:
    if options.dataset is not None:
        return Dataset.open(options.dataset, options.storage_options)
    return imagine(options.sizes(), workers, options.shards)


def _what(options: PlanOptions) -> str:
    return options.dataset if options.dataset is not None else "sizes"


def _shares(options: PlanOptions) -> bool:
    """Whether workers share this machine: nobody says what nodes they would have."""
    return options.node is None and options.memory is None


def _node(options: PlanOptions) -> tuple[Node, int]:
    """The node of a worker, and the memory that a worker may take: of this machine what is free now."""
    node = node_of(options.node)
    here = _shares(options)
    memory = bytes_of("--memory", options.memory) if options.memory is not None else node.memory
    if memory <= 0:
        raise UsageError(f"--memory {options.memory}: a node has some; write it like 64GB")
    share = options.workers if here else 1
    cores = options.cores or max(1, node.cores // share)
    network = options.network or (_FAST_LOOPBACK if here and options.workers > 1 else node.network)
    available = available_memory() // share if here else memory
    price = node.price if options.price is None else options.price
    disk = options.disk or node.disk
    return Node(node.name, cores, memory, network, disk, price), available


def _parts(info: RunInfo, data: Dataset) -> tuple[PartBytes, ...]:
    """The table's parts, with what each takes."""
    scheme, rows = scheme_of(info), {"word": data.layout.with_word, "entity": data.layout.with_entity}
    found = []
    states = {*scheme.optimizer.state(scheme.dim), "state"}
    for part in scheme.parts:
        holds = "text" if part.made else "optimizer" if _is_state(part.name, states) else "vectors"
        row = 4 * max(part.width, 1)
        found.append(PartBytes(part.name, part.of, holds, row, row * rows[part.of]))
    return tuple(found)


def _is_state(name: str, states: set[str]) -> bool:
    last = name.rpartition(".")[2] if "." in name else ""
    return last.removeprefix("graph_") in states


def _bound(memory: Memory, available: int, epoch: Epoch) -> str:
    if memory.total > available:
        return "memory"
    seconds = {"compute": epoch.compute, "disk": epoch.disk, "network": epoch.network}
    return max(seconds, key=lambda name: seconds[name])


def _assumptions(options: PlanOptions, data: Dataset, node: Node, epoch: Epoch) -> tuple[str, ...]:
    said = []
    if isinstance(data, ImaginedDataset):
        said.append("samples lie evenly over partitions, as 'prepare' spreads them")
        if options.tokens is not None and options.cells is None:
            said.append("co-occurrence counts as 57 M tokens of books have, times tokens^0.75; --cells says it better")
    if node.cores > 2:
        said.append(
            f"{node.cores} cores are {node.cores} times one; two are 1.9 times one where it was measured, more were not"
        )
    if options.node and options.price is None:
        said.append(
            f"{node.name} costs {node.price} USD an hour, a list price of when this was written; --price says yours"
        )
    if _shares(options) and options.workers > 1:
        said.append("all workers share this machine; --node says where else")
    if epoch.sampled:
        said.append("some rounds stand for all, and the first workers for the others")
    said.append("no start, no validation, no waiting for a store")
    return tuple(said)


def _advice(made: Plan, info: RunInfo, options: PlanOptions, data: Dataset) -> list[str]:
    """What makes it fit, where it does not; else what makes it faster."""
    if not made.fits:
        return _to_fit(made, info, options, data)
    most = data.layout.shards // 2
    if made.lanes < made.workers:
        return [
            f"{made.workers - made.lanes} of {made.workers} workers idle: {data.layout.shards} shards have "
            f"{made.lanes} lanes"
        ]
    if made.bound == "compute" and most > made.workers:
        return [f"more workers: up to {most} with {data.layout.shards} shards, each with its lane"]
    if made.bound == "compute":
        return [f"more workers, of a dataset with --shards {8 * made.workers}: each needs two shards"]
    if made.bound == "network" and made.epoch.summed > made.epoch.sent:
        every = info.config.train.sync_batches
        share = made.epoch.summed / (made.epoch.summed + made.epoch.sent)
        return [
            f"--set train.sync_batches={8 * every}: gradients of relations are {share:.0%} of what is sent, "
            f"summed after every {every} batches"
        ]
    if made.bound == "network":
        return ["a faster network, or fewer workers of more cores: what is sent goes by the table, not by the samples"]
    return ["more memory a node (train.memory), a faster disk, or more workers: shards wait on disk"]


def _to_fit(made: Plan, info: RunInfo, options: PlanOptions, data: Dataset) -> list[str]:
    """What makes a run fit: a limit to the table's memory, more workers, larger nodes."""
    beside, threads = (made.workers if _shares(options) else 1), info.config.train.threads or made.node.cores
    where = {"beside": beside, "available": made.node.memory, "threads": threads}
    limit = limit_that_fits(info, data, made.workers, made.available, **where)
    found = [f"--set train.memory={limit}: shards wait on disk"] if limit else []
    workers = made.workers * max(2, 1 << (made.table // made.workers // made.available).bit_length())
    while not _shares(options) and workers <= _MOST_WORKERS:
        other = data if options.dataset is not None else imagine(options.sizes(), workers, options.shards)
        try:
            changed = plan_run(other, made.what, info.config, workers, made.node.memory)
        except UsageError:  # too few shards for so many
            break
        memory = memory_of(changed, other, workers, [typical_round(changed)], **where)
        if memory.total <= made.available:
            found.append(f"--workers {workers}: {in_bytes(memory.total)} a worker")
            break
        workers *= 2
    more = in_bytes(made.memory.total - made.available)
    return [*found, f"nodes with {more} more memory (--node, --memory), or a smaller model.dim"]
