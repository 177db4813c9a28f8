"""Families of benchmarks whose folders are laid out in a way of their own; one file each."""

from __future__ import annotations

from distjoint.data.families.base import Benchmark, Family
from distjoint.data.families.ogb import Ogb, WikiKG90M
from distjoint.data.families.pykeen import PyKeen
from distjoint.data.families.wikidata5m import Wikidata5M

FAMILIES: tuple[type[Family], ...] = (Wikidata5M, PyKeen, Ogb, WikiKG90M)
"""The first one that knows a folder says what its files are."""

__all__ = ["FAMILIES", "Benchmark", "Family"]
