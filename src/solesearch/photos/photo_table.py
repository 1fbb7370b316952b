"""The photo table that stage prepare leaves: a row a photo, with its class, product and split."""

from __future__ import annotations

import pandas as pd

from solesearch.core import files
from solesearch.core.paths import Paths
from solesearch.photos.splits import SPLITS

COLUMNS = ("id", "label", "product", "group", "position", "split", "width", "height", "sha256")
TYPES = {"id": str, "label": str, "product": str, "group": str, "split": str, "sha256": str}


def read_photos(paths: Paths) -> pd.DataFrame:
    """Return photos.csv (COLUMNS; unknown products are ""); raises InputError when it is not there yet."""
    return files.read_table(paths.photos, made_by="stage prepare", dtype=TYPES, keep_default_na=False)


def class_counts(photos: pd.DataFrame) -> pd.DataFrame:
    """Return label, split, photos, products (known ones, each counted once) for every class and split."""
    order = {name: number for number, name in enumerate(SPLITS)}
    counts = photos.groupby(["label", "split"], as_index=False).agg(
        photos=("id", "size"), products=("product", lambda names: names[names != ""].nunique())
    )
    return counts.sort_values(["label", "split"], key=lambda column: column.replace(order), ignore_index=True)
