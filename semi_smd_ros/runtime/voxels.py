# SPDX-License-Identifier: Apache-2.0
"""Thinning points to one per voxel."""

from __future__ import annotations

import numpy as np

# Voxels are counted from -2^20 to 2^20 along each axis, so that three numbers make one 63 bit key.
_BITS = 21
_HALF = 1 << (_BITS - 1)
# 2^64 divided by the golden ratio: multiplying by it spreads keys that differ little (Knuth, TAOCP 3, 6.4).
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def voxel_keys(xyz_3n: np.ndarray, size_m: float) -> np.ndarray:
    """One int64 per point (3,N): equal for points of the same cube of `size_m` metres, a million cubes far."""
    cells = np.floor(xyz_3n * np.float32(1 / size_m)).astype(np.int64)
    np.clip(cells, -_HALF, _HALF - 1, out=cells)
    cells += _HALF
    keys: np.ndarray = (cells[0] << 2 * _BITS) | (cells[1] << _BITS) | cells[2]
    return keys


def first_of_each(keys_n: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the first occurrence of every key. A hash table, since sorting a million keys takes longer
    than all the rest of a cloud."""
    order = np.arange(keys_n.size)
    # Neighbouring pixels mostly share their voxel: what repeats the key before it is out at once.
    if keys_n.size:
        order = order[np.append(True, keys_n[1:] != keys_n[:-1])]
    keys = keys_n[order]
    bits = max(4, int(keys.size).bit_length() + 1)
    found = []
    while keys.size:
        slots = (keys.astype(np.uint64) * _SPREAD >> np.uint64(64 - bits)).astype(np.intp)
        rank = np.arange(keys.size, dtype=np.int32)
        table = np.empty(1 << bits, np.int32)
        # Of several writes to a slot the last one stays, so the first of a voxel's points is written last.
        table[slots[::-1]] = rank[::-1]
        winner = table[slots]
        found.append(order[winner == rank])
        # Different keys in one slot: those who lost it try again among themselves.
        others = keys != keys[winner]
        order, keys = order[others], keys[others]
        bits = max(4, int(keys.size).bit_length() + 1)
    return np.sort(np.concatenate(found)) if found else order
