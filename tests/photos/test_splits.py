"""Splits and exclusion groups: worked numbers, and properties over random catalogues."""

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solesearch.core.errors import InputError
from solesearch.photos.splits import SPLITS, UNLABELLED, assign_splits, exclusion_groups

SHARES = (0.6, 0.1)


def photo_table(sizes: dict[str, int], *, colours: int = 1) -> pd.DataFrame:
    """Return a table of `sizes` photos a class; every `colours` in a row are one product."""
    rows = [
        (f"{label}/{number:04d}.jpg", label, f"{label}/p{number // colours}", number + 1)
        for label, count in sizes.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "group", "place"])


def split_sizes(photos: pd.DataFrame, split: pd.Series) -> dict[str, list[int]]:
    return {
        label: [int((split[rows.index] == name).sum()) for name in SPLITS]
        for label, rows in photos.groupby("label")
    }


@pytest.mark.parametrize(
    ("count", "expected"), [(10, [6, 1, 3]), (1600, [960, 160, 480]), (13, [8, 1, 4]), (4, [2, 1, 1])]
)
def test_blocks_end_at_rounded_shares(count: int, expected: list[int]) -> None:
    photos = photo_table({"boot": count, "shoe": 100})
    split = assign_splits(photos, way="positions", seed=0, shares=SHARES)
    assert split_sizes(photos, split) == {"boot": expected, "shoe": [60, 10, 30]}


def test_blocks_follow_places_not_names() -> None:
    photos = photo_table({"boot": 10})
    photos["place"] = 11 - photos["place"]  # the last name comes first
    split = assign_splits(photos, way="positions", seed=0, shares=SHARES)
    assert split.tolist() == ["test"] * 3 + ["validation"] + ["training"] * 6


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 3), min_size=40, max_size=60), min_size=1, max_size=3),
    seed=st.integers(0, 10),
)
def test_no_product_in_two_splits_and_no_overshoot(sizes: list[list[int]], seed: int) -> None:
    rows = [
        (f"{label}-{product}-{colour}", str(label), f"{label}/{product}", 0)
        for label, products in enumerate(sizes)
        for product, colours in enumerate(products)
        for colour in range(colours)
    ]
    photos = pd.DataFrame(rows, columns=["id", "label", "group", "place"])
    split = assign_splits(photos, way="products", seed=seed, shares=(0.5, 0.2))
    splits_of_product: dict[str, set[str]] = {}
    for group, name in zip(photos["group"], split, strict=True):
        splits_of_product.setdefault(group, set()).add(name)
    assert all(len(names) == 1 for names in splits_of_product.values())
    for label, counts in split_sizes(photos, split).items():
        largest, total = max(sizes[int(label)]), sum(counts)
        for count, share in zip(counts, (0.5, 0.2, 0.3), strict=True):
            assert count < share * total + largest


def test_a_product_of_two_classes_stays_whole() -> None:
    photos = photo_table({"boot": 40, "shoe": 40}, colours=2)
    shared = photos["id"].isin(["boot/0000.jpg", "boot/0001.jpg", "shoe/0030.jpg"])
    photos.loc[shared, "group"] = "shared"
    for seed in range(10):
        split = assign_splits(photos, way="products", seed=seed, shares=SHARES)
        assert split[shared].nunique() == 1


@pytest.mark.parametrize("way", ["products", "photos"])
def test_the_seed_decides(way: str) -> None:
    photos = photo_table({"boot": 60, "shoe": 60}, colours=2)
    first, again, other = (assign_splits(photos, way=way, seed=seed, shares=SHARES) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_exactly_that_many_test_photos() -> None:
    photos = photo_table({"boot": 300, "shoe": 200, UNLABELLED: 50})
    split = assign_splits(photos, way="photos", seed=3, shares=(0.72, 0.08), test_photos=100)
    labelled = photos["label"] != UNLABELLED
    assert Counter(split[labelled]) == {"test": 100, "validation": 40, "training": 360}
    assert set(split[~labelled]) == {"training"}
    share_of_boots = (photos["label"][split == "test"] == "boot").mean()
    assert 0.45 < share_of_boots < 0.75  # random, not the first hundred


@pytest.mark.parametrize(("test_photos", "tested"), [(0, 400), (100, 100), (399, 399), (5000, 400)])
@pytest.mark.parametrize("way", ["photos", "products", "positions"])
def test_test_photos_are_never_more_than_their_share(way: str, test_photos: int, tested: int) -> None:
    photos = photo_table({"boot": 600, "shoe": 400}, colours=2)
    split = assign_splits(photos, way=way, seed=3, shares=(0.5, 0.1), test_photos=test_photos)
    sizes = split.value_counts()
    assert abs(sizes["test"] - tested) <= 4  # a product of each class, where they stay together
    assert sizes["training"] / sizes["validation"] == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize(
    ("sizes", "options", "words"),
    [
        (
            {"boot": 100, "shoe": 3},
            {"way": "positions"},
            "class shoe: 3 photos are too few, none is left for",
        ),
        ({"boot": 100, "shoe": 1}, {"way": "products"}, "class shoe: 1 photos .* 1 more such"),
    ],
)
def test_too_few_photos(sizes: dict[str, int], options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        assign_splits(photo_table(sizes), seed=0, shares=SHARES, **options)


def test_three_products_of_a_class_reach_all_three_splits() -> None:
    photos = photo_table({"boot": 12, "shoe": 40}, colours=4)
    split = assign_splits(photos, way="products", seed=1, shares=(0.5, 0.1))
    assert split_sizes(photos, split)["boot"] == [4, 4, 4]


def group_table(products: list[str]) -> pd.DataFrame:
    labels = ["boot", "boot", "shoe"]
    return pd.DataFrame({"id": ["b1", "b2", "s1"], "label": labels, "product": products, "place": [7, 9, 7]})


@pytest.mark.parametrize(
    ("products", "positions", "unique", "groups", "places"),
    [
        (["p", "p", "p"], False, False, ["boot/p", "boot/p", "shoe/p"], [0, 0, 0]),
        (["p", "p", "p"], True, True, ["p", "p", "p"], [0, 0, 0]),
        (["p", "", "p"], True, False, ["boot/p", "b2", "shoe/p"], [0, 0, 0]),
        (["", "", ""], True, False, ["boot", "boot", "shoe"], [7, 9, 7]),
        (["", "", ""], False, False, ["b1", "b2", "s1"], [0, 0, 0]),
    ],
)
def test_exclusion_groups(products, positions, unique, groups, places) -> None:
    result = exclusion_groups(group_table(products), positions=positions, unique_products=unique)
    assert result["group"].tolist() == groups
    assert result["position"].tolist() == places
