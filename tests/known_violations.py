"""Violations of the rules of test_rooms.py that are known, by rule. A violation that is mended must be taken out.

In rooms that are being rewritten (train, backends, couplings, model, table, evaluate, results, data, cli) and their
tests. When this is empty, the file goes, and with it `KNOWN` in test_rooms.py.
"""

from __future__ import annotations

KNOWN: dict[str, set[str]] = {
    "names": {
        "Names: distjoint/data/triples.py, distjoint/data/vocabulary.py",
        "Tally: distjoint/data/cooccurrence.py, distjoint/train/tally.py",
    },
    "direction": {},
    "private": {
        "distjoint/data/ray_driver.py: vocabulary._matched",
        "distjoint/data/ray_driver.py: vocabulary._tally",
        "tests/test_prepare_continue.py: partition._Hashed",
        "tests/test_prepare_dataset.py: dataset._read",
        "tests/test_prepare_dataset.py: dataset._span",
        "tests/test_prepare_dataset.py: partition._Hashed",
        "tests/test_prepare_graph.py: triples_module._distinct",
        "tests/test_prepare_ray.py: monkeypatch.setattr(ray_driver, '_PART_LEAST', 200000)",
        "tests/test_prepare_ray.py: monkeypatch.setattr(ray_driver, '_PART_LEAST', 5000)",
        "tests/test_prepare_ray.py: monkeypatch.setattr(ray_driver, '_PART_MOST', 5000)",
        "tests/test_prepare_ray.py: ray_driver._Text",
    },
    "types": {
        "distjoint/data/cooccurrence.py: Int64s = NDArray[np.int64]",
        "distjoint/data/output.py: Int64s = NDArray[np.int64]",
        "distjoint/data/rows.py: Int64s = NDArray[np.int64]",
        "distjoint/data/spool.py: Int32s = NDArray[np.int32]",
        "distjoint/data/tokens.py: Int32s = NDArray[np.int32]",
        "distjoint/data/tokens.py: Int64s = NDArray[np.int64]",
        "distjoint/data/vocabulary.py: Int64s = NDArray[np.int64]",
    },
    "absent": {
    },
}
