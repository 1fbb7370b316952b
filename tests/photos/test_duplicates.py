"""Duplicates: against imagehash's own distance and plain loops over all pairs."""

import io
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


@pytest.fixture
def images(tmp_path: Path) -> list[Image.Image]:
    paths = [write_photo(tmp_path / f"{number}.png", number=number) for number in range(6)]
    return [Image.open(path).convert("RGB") for path in paths]


def test_hash_keeps_imagehash_distances(images: list[Image.Image]) -> None:
    for first in images:
        for second in images:
            ours = np.bitwise_count(perceptual_hash(first) ^ perceptual_hash(second))
            assert ours == imagehash.phash(first) - imagehash.phash(second)


def plain_pairs(hashes: list[int], distance: int) -> list[tuple[int, int, int]]:
    pairs = []
    for i in range(len(hashes)):
        for j in range(i + 1, len(hashes)):
            bits = bin(hashes[i] ^ hashes[j]).count("1")
            if bits <= distance:
                pairs.append((i, j, bits))
    return pairs


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


def test_a_recompressed_photo_is_near_and_another_is_not(images: list[Image.Image]) -> None:
    again = io.BytesIO()
    images[0].save(again, "JPEG", quality=60)
    hashes = np.array([perceptual_hash(image) for image in (*images, Image.open(again))], np.uint64)
    pairs, _ = close_pairs(hashes, distance=4)
    assert pairs[:, :2].tolist() == [[0, len(images)]]
