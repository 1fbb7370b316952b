"""Retrieval by Euclidean distance and its measures: precision@k and mean average precision.

Query and gallery are the same photos (P section 4); the query itself is left out by its id. Two galleries:
`naive` leaves out the query alone, as the papers do; `product_excluded` also leaves out the other photos of
the query's product, because in UT-Zap50K three photos of four show a product that is there in another colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.retrieval.exact_search import QUERY_BLOCK, ranking

GALLERIES = ("naive", "product_excluded")


def excluded_pairs(photos: pd.DataFrame, *, queries: np.ndarray, gallery: str, window: int) -> np.ndarray:
    """Return a mask [q, n], True where gallery photo j may not answer query i.

    `photos` has n rows with the columns group and position; `queries` are row numbers [q].
    naive: j is i itself. product_excluded: same group and at most `window` positions apart (which holds
    for i itself, too).
    """
    itself = queries[:, None] == np.arange(len(photos))[None, :]
    if gallery == "naive":
        return itself
    if gallery != "product_excluded":
        raise InputError(f"gallery {gallery!r}: there are {', '.join(GALLERIES)}")
    group, _ = pd.factorize(photos["group"])
    position = photos["position"].to_numpy(dtype=np.int64)
    near = np.abs(position[queries, None] - position[None, :]) <= window
    return itself | ((group[queries, None] == group[None, :]) & near)


def answers(
    vectors: np.ndarray,
    photos: pd.DataFrame,
    *,
    k: int,
    galleries: Sequence[str],
    window: int,
    among: tuple[np.ndarray, pd.DataFrame] | None = None,
) -> dict[str, np.ndarray]:
    """Return for each gallery the k photos nearest to each of `photos`, int64 [q, k], ties in their order.

    Takes vectors float32 [q, d] and q rows with group and position, which are ranked once for all galleries.
    The answers, nearest first, are rows of `photos`, or of another table: `among` holds its vectors [n, d]
    and rows. -1 where fewer than k photos may answer.
    """
    others, table = among or (vectors, photos)
    both = pd.concat([photos, table], ignore_index=True) if among else photos
    found = {gallery: np.full((len(photos), k), -1) for gallery in galleries}
    for start in range(0, len(photos) if k <= len(table) else 0, QUERY_BLOCK):
        queries = np.arange(start, min(start + QUERY_BLOCK, len(photos)))
        order = ranking(vectors[queries], others)
        for gallery in galleries:
            excluded = excluded_pairs(both, queries=queries, gallery=gallery, window=window)
            rows, allowed = allowed_first(order, excluded[:, -len(table) :])
            enough = allowed[:, k - 1]
            found[gallery][queries[enough]] = rows[enough, :k]
    return found


def allowed_first(order: np.ndarray, excluded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a ranking int64 [q, n] with the photos of the mask `excluded` [q, n] (over rows) at its end.

    And a mask [q, n], True at the ranks that are left.
    """
    out = np.take_along_axis(excluded, order, axis=1)
    order = np.take_along_axis(order, np.argsort(out, axis=1, kind="stable"), axis=1)
    return order, np.arange(order.shape[1])[None, :] < (~out).sum(axis=1)[:, None]


def ranked_relevance(
    order: np.ndarray, photos: pd.DataFrame, *, queries: np.ndarray, excluded: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tell which photos of a ranking are hits.

    Takes `order` int64 [q, n], rows of `photos` nearest first for each of the row numbers `queries` [q], and
    the mask `excluded` [q, n] over rows. Returns (relevant, allowed): bool [q, n]; `relevant` says whether
    the photo at that rank has the query's label, `allowed` whether there is a photo at all (excluded ones
    are moved to the end).
    """
    order, allowed = allowed_first(order, excluded)
    labels = photos["label"].to_numpy()
    return (labels[order] == labels[queries][:, None]) & allowed, allowed


def precision_at(relevant: np.ndarray, allowed: np.ndarray, *, k: int) -> np.ndarray:
    """Return precision@k per query, float64 [q]: relevant among the first k, divided by k.

    NaN where fewer than k photos are allowed, since the query then cannot be judged.
    """
    hits = relevant[:, :k].sum(axis=1) / k
    return np.where(allowed.sum(axis=1) >= k, hits, np.nan)


def average_precision(relevant: np.ndarray) -> np.ndarray:
    """Return average precision per query, float64 [q]: the mean of precision@r over the ranks r of hits.

    NaN where the gallery holds no photo of the query's class.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    precision = np.cumsum(relevant, axis=1) / ranks
    count = relevant.sum(axis=1)
    total = (precision * relevant).sum(axis=1)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def evaluate(
    vectors: np.ndarray, photos: pd.DataFrame, *, gallery: str, window: int, ks: Sequence[int]
) -> pd.DataFrame:
    """Judge every photo as a query against the others of one gallery (leave one out); see `evaluate_each`."""
    return evaluate_each(vectors, photos, galleries=[gallery], window=window, ks=ks)[gallery]


def evaluate_each(
    vectors: np.ndarray,
    photos: pd.DataFrame,
    *,
    galleries: Sequence[str],
    window: int,
    ks: Sequence[int],
    also_excluded: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, pd.DataFrame]:
    """Judge every photo as a query against the others; the photos are ranked once for all `galleries`.

    Takes vectors float32 [n, d] in the order of `photos` (columns id, label, group, position). Returns for
    each gallery one row a query: id, label, precision_<k> for each k, average_precision; each in [0, 1] or
    NaN. `also_excluded` gives a mask [q, n] of more photos that may not answer the queries [q] (rows). Raises
    InputError for vectors that do not fit the photos, are not finite, or a k beyond the gallery.
    """
    _check(vectors, photos, ks)
    blocks: dict[str, list[pd.DataFrame]] = {gallery: [] for gallery in galleries}
    for start in range(0, len(photos), QUERY_BLOCK):
        queries = np.arange(start, min(start + QUERY_BLOCK, len(photos)))
        order = ranking(vectors[queries], vectors)
        for gallery in galleries:
            excluded = excluded_pairs(photos, queries=queries, gallery=gallery, window=window)
            if also_excluded:
                excluded |= also_excluded(queries)
            relevant, allowed = ranked_relevance(order, photos, queries=queries, excluded=excluded)
            judged = {f"precision_{k}": precision_at(relevant, allowed, k=k) for k in ks}
            judged["average_precision"] = average_precision(relevant)
            blocks[gallery].append(photos.iloc[queries][["id", "label"]].assign(**judged))
    return {gallery: pd.concat(parts, ignore_index=True) for gallery, parts in blocks.items()}


def _check(vectors: np.ndarray, photos: pd.DataFrame, ks: Sequence[int]) -> None:
    if len(vectors) != len(photos):
        raise InputError(f"{len(vectors)} vectors for {len(photos)} photos; run stage embed again")
    if not np.isfinite(vectors).all():
        broken = photos["id"].iloc[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])]
        raise InputError(f"the embedding of {broken} is not finite; run stage embed again")
    if not ks or min(ks) < 1 or max(ks) >= len(photos):
        raise InputError(
            f"k must lie between 1 and {len(photos) - 1} (photos less the query); got {list(ks)}"
        )


def measures(queries: pd.DataFrame) -> dict[str, tuple[str, int]]:
    """Return column -> (metric, k) of judged queries: precision_<k>, and average_precision as map, 0."""
    ks = [int(name.removeprefix("precision_")) for name in queries if name.startswith("precision_")]
    return {**{f"precision_{k}": ("precision", k) for k in ks}, "average_precision": ("map", 0)}


def summarise(queries: pd.DataFrame) -> pd.DataFrame:
    """Turn `evaluate`'s rows, with model, seed and gallery beside them, into results rows.

    Columns model, seed, gallery, metric, k, class, value, n. class `all` is the mean over queries (micro),
    `macro` the mean of the classes' means; n counts the queries that could be judged. metric is precision
    with its k, or map with k = 0 (the whole ranking).
    """
    rows = []
    for key, mine in queries.groupby(["model", "seed", "gallery"], sort=False):
        for column, (metric, k) in measures(queries).items():
            judged = mine.dropna(subset=[column])
            classes = judged.groupby("label")[column].agg(["mean", "size"])
            cells = [("all", judged[column].mean(), len(judged))]
            cells += [("macro", classes["mean"].mean(), len(judged)), *classes.itertuples(name=None)]
            rows += [(*key, metric, k, *cell) for cell in cells]
    return pd.DataFrame(rows, columns=["model", "seed", "gallery", "metric", "k", "class", "value", "n"])
