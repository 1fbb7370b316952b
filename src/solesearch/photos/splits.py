"""Who is trained on, chosen with and tested on; and which photos count as the query's own product."""

from __future__ import annotations

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError

SPLITS = ("training", "validation", "test")
UNLABELLED = "unlabelled"  # photos outside the label map: they serve training and nothing else


def exclusion_groups(photos: pd.DataFrame, *, positions: bool, unique_products: bool) -> pd.DataFrame:
    """Return `photos` with columns group (text) and position (int), which the product-excluded gallery reads.

    `photos` has id, label, product ("" where unknown) and place (int, the running or given number inside
    its label). A known product is the group, made unique by its label unless `unique_products`, at position
    0. Without products the label is the group and the place the position if `positions`; else each photo is
    a group of its own.
    """
    known = photos["product"] != ""
    product = photos["product"] if unique_products else photos["label"] + "/" + photos["product"]
    in_series = positions and not known.any()
    other, place = (photos["label"], photos["place"]) if in_series else (photos["id"], 0)
    return photos.assign(group=product.where(known, other), position=place)


def assign_splits(
    photos: pd.DataFrame, *, way: str, seed: int, shares: tuple[float, float], test_photos: int = 0
) -> pd.Series:
    """Return each photo's split, in the table's order and with its index.

    `photos` has id, label, group and place; `shares` are (training, validation), the rest is tested, but no
    more than `test_photos` where that is not 0: then training and validation share what is left as they
    stand to each other. Unlabelled photos are trained on. Ways: `positions`, contiguous blocks of each class
    by place; `products`, no group in two splits; `photos`, at random as P tests ("10,000 random photos").
    Raises InputError when a class misses from a split.
    """
    labelled = photos[photos["label"] != UNLABELLED]
    if 0 < test_photos < (1 - sum(shares)) * len(labelled):
        left = (1 - test_photos / len(labelled)) / sum(shares)
        shares = (shares[0] * left, shares[1] * left)
    if way == "positions":
        chosen = _by_positions(labelled, shares)
    elif way == "products":
        chosen = _by_products(labelled, shares, seed)
    else:
        chosen = _by_photos(labelled, shares, seed)
    stop_when_class_missing(labelled["label"], chosen)
    return chosen.reindex(photos.index, fill_value=SPLITS[0])


def _blocks(count: int, shares: tuple[float, float]) -> np.ndarray:
    """Return `count` split names in three blocks; their ends are the added shares of `count`, rounded."""
    ends = [round(shares[0] * count), round((shares[0] + shares[1]) * count), count]
    return np.repeat(np.array(SPLITS, object), np.diff(ends, prepend=0))


def _by_positions(photos: pd.DataFrame, shares: tuple[float, float]) -> pd.Series:
    parts = [
        pd.Series(_blocks(len(rows), shares), index=rows.sort_values(["place", "id"]).index, dtype=object)
        for _, rows in photos.groupby("label")
    ]
    return pd.concat(parts).reindex(photos.index)


def _by_photos(photos: pd.DataFrame, shares: tuple[float, float], seed: int) -> pd.Series:
    order = np.random.default_rng(seed).permutation(len(photos))
    names = _blocks(len(photos), shares)
    return pd.Series(names, index=photos.index[order], dtype=object).reindex(photos.index)


def _by_products(photos: pd.DataFrame, shares: tuple[float, float], seed: int) -> pd.Series:
    """Deal out whole groups, class by class, each to the split that is furthest below its share.

    A group with photos of two classes is dealt with its most frequent one. No split of a class overshoots
    its share by a whole group or more, but that the last groups go where there is none yet.
    """
    wanted = np.array([*shares, 1 - sum(shares)])
    of_group = pd.crosstab(photos["group"], photos["label"]).idxmax(axis=1)
    size = photos.groupby("group").size()
    random, split_of = np.random.default_rng(seed), {}
    for _, groups in of_group.groupby(of_group):
        have, total = np.zeros(3), int(size[groups.index].sum())
        for dealt, name in enumerate(groups.index[random.permutation(len(groups))]):
            empty = have == 0
            open_to = empty if len(groups) - dealt <= empty.sum() else [True] * 3
            chosen = int(np.argmax(np.where(open_to, wanted * total - have, -np.inf)))
            have[chosen] += size[name]
            split_of[name] = SPLITS[chosen]
    return photos["group"].map(split_of).astype(object)


def stop_when_class_missing(labels: pd.Series, splits: pd.Series) -> None:
    """Raise InputError when a class has no photo in one of the three splits."""
    table = pd.crosstab(labels, splits).reindex(columns=list(SPLITS), fill_value=0)
    short = [(label, name) for label in table.index for name in SPLITS if table.loc[label, name] == 0]
    if short:
        label, name = short[0]
        more = f" (and {len(short) - 1} more such)" if len(short) > 1 else ""
        raise InputError(
            f"class {label}: {table.loc[label].sum()} photos are too few, none is left for {name}{more}; "
            "add photos, or change the shares or the split in params.yaml, catalog"
        )
