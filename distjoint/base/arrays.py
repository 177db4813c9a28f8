"""Types of numpy arrays, by the number they hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Offsets = NDArray[np.int32]
"""Offsets of rows within a shard, as the dataset's files hold them."""
TokenIds = NDArray[np.int32]
"""Words of a text by number: provisional ids, later rows; -1 between documents."""
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
