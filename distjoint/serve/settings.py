"""Settings of a server: which run, how many replicas, and what they take."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distjoint.serve.limits import RequestLimits

WAITING = 100
"""Requests that may wait for a replica."""


class ServeSettings(BaseModel):
    """What a server serves, and how; also the `args` of a Ray Serve configuration.

    run               folder or URL of a run, that every replica sees
    dataset           where its dataset lies now, if it was moved
    memory            of each replica: vectors that take more stay in their files
    replicas          processes that answer, a core each
    max_waiting       requests that may wait for a replica; more are refused with status 503
    plugins           modules that add scorers, losses, ..., imported by each replica
    storage_options   of URLs; never printed
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    dataset: str | None = None
    memory: str = "2GB"
    replicas: int = Field(1, ge=1)
    max_waiting: int = Field(WAITING, ge=0)
    max_k: int = Field(RequestLimits.k, ge=1)
    max_batch: int = Field(RequestLimits.batch, ge=1)
    max_body: int = Field(RequestLimits.body, ge=1)
    max_text: int = Field(RequestLimits.text, ge=1)
    plugins: list[str] = []
    storage_options: dict[str, Any] = Field({}, repr=False)

    @property
    def limits(self) -> RequestLimits:
        return RequestLimits(self.max_k, self.max_batch, self.max_body, self.max_text)
