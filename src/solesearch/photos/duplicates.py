"""Equal and nearly equal photos: exact ones by sha256, near ones by perceptual hash."""

from __future__ import annotations

from itertools import chain

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

COLUMNS = ("first", "second", "kind", "distance", "same_product")
BITS = 64  # length of a perceptual hash
BLOCK = 64  # rows of the distance table held at once; 64 x 50,000 differences are 26 MB
MOST_PAIRS = 1_000_000  # a table nobody reads, and memory nobody has


def perceptual_hash(image: Image.Image) -> np.uint64:
    """Return the 64 bits of imagehash.phash (signs of the lowest 8x8 cosine terms of a 32x32 grey copy)."""
    bits = imagehash.phash(image).hash
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))


def close_pairs(hashes: np.ndarray, *, distance: int, most: int = MOST_PAIRS) -> tuple[np.ndarray, int]:
    """Return every pair i < j of uint64 hashes [n] with a Hamming distance <= `distance`, and that distance.

    Pairs are int64 [pairs, 3]: i, j, distance; sorted by i, then j. Where there are more than `most`, the
    distance is lowered to the largest that has no more (-1: not even equal hashes), and returned as such.
    Every pair is compared, in blocks of rows: XOR and popcount take 10 s for 50,000 hashes, are exact at
    any distance and need no index (four bands of 16 bits would be exact only up to 3).
    """
    found = [np.empty((0, 3), np.int64)]
    for start in range(0, len(hashes), BLOCK):
        distances = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[None, start:])
        first, second = np.nonzero(np.triu(distances <= distance, k=1))
        found.append(np.stack([first + start, second + start, distances[first, second]], axis=1))
        while sum(map(len, found)) > most:
            distance -= 1
            found = [pairs[pairs[:, 2] <= distance] for pairs in found]
    return np.concatenate(found).astype(np.int64), distance


def find_duplicates(photos: pd.DataFrame, hashes: np.ndarray, *, distance: int) -> tuple[pd.DataFrame, int]:
    """Return pairs of equal (`exact`) and nearly equal (`near`) photos by id, and the distance looked to.

    `photos` has id, product and sha256, sorted by id; `hashes` is uint64 [n] in the same order; `distance`
    is the largest Hamming distance (0 to 64 bits) of a near pair. Columns: first, second (ids), kind,
    distance, same_product (false where a product is unknown). k equal files give k - 1 rows, each copy
    beside the first; near pairs are looked for among the first ones alone, so copies do not multiply them.
    The distance is lower than asked for where the pairs would be too many (see `close_pairs`).
    """
    names, products = photos["id"].to_numpy(object), photos["product"].to_numpy(object)
    firsts: dict[str, int] = {}
    original = np.array([firsts.setdefault(digest, row) for row, digest in enumerate(photos["sha256"])], int)
    copies = np.flatnonzero(original != np.arange(len(photos)))
    kept = np.flatnonzero(original == np.arange(len(photos)))
    near, reported = close_pairs(hashes[kept], distance=distance)
    exact_pairs = ((original[row], row, "exact", 0) for row in copies)
    near_pairs = ((kept[i], kept[j], "near", bits) for i, j, bits in near)
    rows = [
        (names[i], names[j], kind, int(bits), bool(products[i]) and products[i] == products[j])
        for i, j, kind, bits in chain(exact_pairs, near_pairs)
    ]
    return pd.DataFrame(sorted(rows), columns=list(COLUMNS)), reported
