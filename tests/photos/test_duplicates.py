"""Duplicates: against imagehash's own distance and plain loops over all pairs."""

from itertools import combinations, product
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_tree import write_photo
from PIL import Image

from solesearch.photos import duplicates
from solesearch.photos.duplicates import close_pairs, find_duplicates, perceptual_hash


def test_hashes_keep_imagehash_distances_and_find_a_recompressed_photo(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{number}.png", number=number) for number in range(6)]
    Image.open(paths[0]).save(tmp_path / "again.jpg", quality=60)
    images = [Image.open(path).convert("RGB") for path in (*paths, tmp_path / "again.jpg")]
    hashes = np.array([perceptual_hash(image) for image in images], np.uint64)
    for (one, first), (two, second) in product(zip(images, hashes, strict=True), repeat=2):
        assert np.bitwise_count(first ^ second) == imagehash.phash(one) - imagehash.phash(two)
    pairs, _ = close_pairs(hashes, distance=4)
    assert pairs[:, :2].tolist() == [[0, 6]]


def plain_pairs(hashes: list[int], distance: int) -> list[tuple[int, int, int]]:
    pairs = ((i, j, (hashes[i] ^ hashes[j]).bit_count()) for i, j in combinations(range(len(hashes)), 2))
    return [pair for pair in pairs if pair[2] <= distance]


near_hashes = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 15) | st.just(2**63), max_size=30)


@given(hashes=near_hashes, distance=st.sampled_from([0, 1, 4, 31, 64]), block=st.integers(1, 9))
def test_close_pairs_are_those_of_a_plain_loop(hashes: list[int], distance: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "BLOCK", block)
        pairs, reported = close_pairs(np.array(hashes, np.uint64), distance=distance)
    assert [tuple(pair) for pair in pairs.tolist()] == plain_pairs(hashes, distance)
    assert reported == distance


@given(hashes=near_hashes, most=st.integers(0, 60))
def test_too_many_pairs_lower_the_distance_no_further_than_needed(hashes: list[int], most: int) -> None:
    pairs, reported = close_pairs(np.array(hashes, np.uint64), distance=5, most=most)
    assert [tuple(pair) for pair in pairs.tolist()] == plain_pairs(hashes, reported)
    assert len(pairs) <= most
    assert reported == 5 or len(plain_pairs(hashes, reported + 1)) > most


def test_find_duplicates_by_hand() -> None:
    rows = [
        ("a.jpg", "pump", "11"),
        ("b.jpg", "", "22"),
        ("c.jpg", "pump", "11"),
        ("d.jpg", "pump", "33"),
        ("e.jpg", "clog", "11"),
        ("f.jpg", "", "44"),
    ]
    photos = pd.DataFrame(rows, columns=["id", "product", "sha256"])
    hashes = np.array([0b0000, 0b1111, 0b0000, 0b0001, 0b0000, 0b1101], np.uint64)
    table, reported = find_duplicates(photos, hashes, distance=1)
    assert reported == 1
    assert table.values.tolist() == [
        ["a.jpg", "c.jpg", "exact", 0, True],
        ["a.jpg", "d.jpg", "near", 1, True],  # the copies c and e of a are not paired with d again
        ["a.jpg", "e.jpg", "exact", 0, False],
        ["b.jpg", "f.jpg", "near", 1, False],  # unknown products are not the same one
    ]
