"""Compiled loops of co-occurrence counting; `cooccurrence` says what for."""

from __future__ import annotations

import numpy as np

from distjoint.backends.cpu.compiled import exact


@exact
def renumber(tokens, table, out):  # type: ignore[no-untyped-def]
    """Map provisional ids to rows; words without one (-1 in `table`) are dropped. Returns how many were written."""
    written = 0
    for token in tokens:
        if token < 0:
            if written == 0 or out[written - 1] >= 0:
                out[written] = -1
                written += 1
        elif table[token] >= 0:
            out[written] = table[token]
            written += 1
    return written


@exact
def occurrences(tokens, begin, end, wanted):  # type: ignore[no-untyped-def]
    """Where each row occurs in `tokens[begin:end]`: positions int32, and int64[rows + 1] where each row's start."""
    starts = np.zeros(wanted.size + 1, np.int64)
    for position in range(begin, end):
        token = tokens[position]
        if token >= 0 and wanted[token]:
            starts[token + 1] += 1
    starts = np.cumsum(starts)
    cursor = starts.copy()
    positions = np.empty(starts[-1], np.int32)
    for position in range(begin, end):
        token = tokens[position]
        if token >= 0 and wanted[token]:
            positions[cursor[token]] = position
            cursor[token] += 1
    return positions, starts


@exact
def count_rows(tokens, positions, starts, rows, first, weights, symmetric, sums, columns, values, ends):  # type: ignore[no-untyped-def]
    """Count whole rows into `columns` and `values` until done or out of room; returns the next row to count.

    rows      int32[n]: the rows, of which the first `first` are done
    weights   float64[window + 1]: what a neighbour at each distance adds
    sums      float64[words], zero: where a row is summed up
    ends      int64[n + 1]: row k's cells are [ends[k], ends[k + 1])
    """
    window = weights.size - 1
    for k in range(first, rows.size):
        row, written = rows[k], ends[k]
        seen = starts[row + 1] - starts[row]
        if columns.size - written < min(sums.size, seen * 2 * window):
            return k
        for at in range(starts[row], starts[row + 1]):
            position = positions[at]
            for distance in range(1, min(window, tokens.size - 1 - position) + 1):
                column = tokens[position + distance]
                if column < 0:
                    break
                if sums[column] == 0.0:
                    columns[written] = column
                    written += 1
                sums[column] += weights[distance]
            if symmetric:
                for distance in range(1, min(window, position) + 1):
                    column = tokens[position - distance]
                    if column < 0:
                        break
                    if sums[column] == 0.0:
                        columns[written] = column
                        written += 1
                    sums[column] += weights[distance]
        for at in range(ends[k], written):
            values[at] = sums[columns[at]]
            sums[columns[at]] = 0.0
        ends[k + 1] = written
    return rows.size


@exact
def merge_rows(counted_columns, counted_values, bounds, sums, columns, values, ends, first):  # type: ignore[no-untyped-def]
    """Sum up rows that were counted segment by segment.

    bounds    int64[segments, rows + 1]: where each row's cells lie in `counted_*`, per segment
    first     the rows go to `ends[first:]`
    """
    written = ends[first]
    for k in range(bounds.shape[1] - 1):
        begin = written
        for segment in range(bounds.shape[0]):
            for at in range(bounds[segment, k], bounds[segment, k + 1]):
                column = counted_columns[at]
                if sums[column] == 0.0:
                    columns[written] = column
                    written += 1
                sums[column] += counted_values[at]
        for at in range(begin, written):
            values[at] = sums[columns[at]]
            sums[columns[at]] = 0.0
        ends[first + k + 1] = written


@exact
def count_columns(tokens, positions, starts, rows, window, symmetric, seen):  # type: ignore[no-untyped-def]
    """Number of cells of some rows. seen: int32[words], -1 everywhere."""
    cells = 0
    for k in range(rows.size):
        row = rows[k]
        for at in range(starts[row], starts[row + 1]):
            position = positions[at]
            for distance in range(1, min(window, tokens.size - 1 - position) + 1):
                column = tokens[position + distance]
                if column < 0:
                    break
                if seen[column] != k:
                    seen[column] = k
                    cells += 1
            if symmetric:
                for distance in range(1, min(window, position) + 1):
                    column = tokens[position - distance]
                    if column < 0:
                        break
                    if seen[column] != k:
                        seen[column] = k
                        cells += 1
    return cells


@exact
def arrange(ends, row_offsets, columns, values, column_tile, column_offset, tiles, seed):  # type: ignore[no-untyped-def]
    """Sort a tile's rows into blocks by the tile of the column, each block in random order.

    row_offsets     int32[rows]: offset within its shard of each row
    column_tile, column_offset   int32[words]: of every column
    returns         row, column int32[cells] as offsets within their shards, count float32[cells],
                    int64[tiles + 1] where each block starts
    """
    cells = ends[-1]
    starts = np.zeros(tiles + 1, np.int64)
    for at in range(cells):
        starts[column_tile[columns[at]] + 1] += 1
    starts = np.cumsum(starts)
    cursor = starts.copy()
    out_row, out_column = np.empty(cells, np.int32), np.empty(cells, np.int32)
    out_count = np.empty(cells, np.float32)
    for k in range(row_offsets.size):
        for at in range(ends[k], ends[k + 1]):
            column = columns[at]
            place = cursor[column_tile[column]]
            cursor[column_tile[column]] = place + 1
            out_row[place], out_column[place] = row_offsets[k], column_offset[column]
            out_count[place] = values[at]
    state = np.uint64(seed)
    for tile in range(tiles):
        begin = starts[tile]
        for at in range(starts[tile + 1] - 1, begin, -1):
            # splitmix64; the high half scaled to [0, at - begin].
            state += np.uint64(0x9E3779B97F4A7C15)
            mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            drawn = (mixed >> np.uint64(32)) * np.uint64(at - begin + 1)
            other = begin + np.int64(drawn >> np.uint64(32))
            out_row[at], out_row[other] = out_row[other], out_row[at]
            out_column[at], out_column[other] = out_column[other], out_column[at]
            out_count[at], out_count[other] = out_count[other], out_count[at]
    return out_row, out_column, out_count, starts
