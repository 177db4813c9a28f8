"""The way from the first of a run's Ray workers to the callbacks, which live in the process that called `train`.

A small actor of Ray's: the worker asks it and waits, a thread of the driver takes what is asked and answers. So a
callback may hold what cannot be sent to another machine, keeps what it collects, and its `Stop` ends the run after the
same epoch as without Ray.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distjoint.base.progress import Progress
from distjoint.train.callbacks.telling import Hook, Tell

_POLL = 0.5
"""Seconds after which the driver looks whether the attempt has ended."""


class Mailbox:
    """Questions of one worker and their answers; the actor's own class."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[tuple[Hook, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[bool] = asyncio.Queue()

    async def ask(self, hook: Hook, what: Any) -> bool:
        """Leave a question and wait for its answer."""
        await self._asked.put((hook, what))
        return await self._answers.get()

    async def next(self, seconds: float) -> tuple[Hook, Any] | None:
        """The next question; None where none comes in time."""
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._asked.get(), seconds)
        return None

    async def answer(self, ends: bool) -> None:
        """Answer the question that was taken last."""
        await self._answers.put(ends)


class Ask:
    """`Tell` of a worker: sends what it is told to the driver, and waits for the answer.

    mailbox   handle of the actor
    """

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def __call__(self, hook: Hook, what: Any) -> bool:
        return bool(ray.get(self._mailbox.ask.remote(hook, what)))


@contextmanager
def answered(tell: Tell, epochs: int, done: int, progress: Progress) -> Iterator[Any]:
    """An actor whose questions are answered by the callbacks of this process, for the length of a `with` block.

    epochs   of the run, shown as a bar; `done` of them before
    yields   handle of the actor, for `Ask`
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
    ended = threading.Event()

    def answer() -> None:
        shown = done
        with progress.task("training", total=epochs) as bar, suppress(RayError):
            bar.advance(done)
            while not ended.is_set():
                asked = ray.get(mailbox.next.remote(_POLL))
                if asked is None:
                    continue
                if asked[0] == "on_epoch_end":
                    bar.advance(asked[1]["epoch"] - shown)
                    shown = asked[1]["epoch"]
                ray.get(mailbox.answer.remote(tell(*asked)))

    thread = threading.Thread(target=answer, name="callbacks", daemon=True)
    thread.start()
    try:
        yield mailbox
    finally:
        ended.set()
        thread.join()
        with suppress(RayError):
            ray.kill(mailbox)
