"""Rows of recommended photos, ready to be drawn: unseen queries, models side by side, best and worst, bags.

Queries are test photos, named in params.yaml or drawn by its seed. The answers are the nearest photos by
Euclidean distance, other photos of the query's own product left out unless the caller says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.model_names import BEST, NO_WEIGHTS, PROPOSED
from solesearch.core.settings import GallerySettings
from solesearch.evaluation.study import BEST_EMBEDDING, Study, model_vectors, models, same_product
from solesearch.figures.galleries import GalleryRow, Neighbour
from solesearch.retrieval.exact_search import nearest
from solesearch.retrieval.retrieval import excluded_pairs
from solesearch.retrieval.uncertainty import read_queries

STRICT = "product_excluded"


def pick_queries(photos: pd.DataFrame, *, queries: int, seed: int) -> list[str]:
    """Return ids of `queries` photos drawn by `seed`: one of each class in turn, until enough are chosen."""
    shuffled = photos.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    ordered = shuffled.assign(turn=turn).sort_values(["turn", "label"], kind="stable")
    return ordered["id"].head(queries).tolist()


def choose_queries(
    study: Study, settings: GallerySettings, *, queries: int, labels: Collection[str] | None = None
) -> list[str]:
    """Return ids of `queries` test photos: those of `gallery.query_ids` first, then drawn ones.

    More named ones than `queries` are all taken. `labels` keeps queries of these classes only. Raises
    InputError for an id that names no photo, or one that is not a test photo.
    """
    splits = study.photos.set_index("id")["split"]
    for query in settings.query_ids:
        if splits.get(query) != "test":
            what = f"is a {splits[query]} photo" if query in splits else "is no photo of the catalogue"
            raise InputError(
                f"params.yaml, gallery.query_ids: {query!r} {what}; name test photos of {study.paths.photos}"
            )
    photos, _ = study.split("test")
    photos = photos if labels is None else photos[photos["label"].isin(labels)]
    named = [query for query in dict.fromkeys(settings.query_ids) if query in set(photos["id"])]
    rest = photos[~photos["id"].isin(named)]
    return named + pick_queries(rest, queries=max(0, queries - len(named)), seed=settings.seed)


def nearest_photos(
    study: Study, photos: pd.DataFrame, vectors: np.ndarray, query: str, *, k: int, gallery: str = STRICT
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k of `photos` nearest to photo `query`, one of them: distances float64 [k], rows int64 [k].

    `photos` [n] are rows of the catalogue's table with vectors float32 [n, d]; `gallery` as in
    retrieval.excluded_pairs. Raises InputError where fewer than k may answer.
    """
    row, window = np.flatnonzero(photos["id"] == query), study.evaluation.exclusion_window
    excluded = excluded_pairs(photos, queries=row, gallery=gallery, window=window)
    if not 1 <= k <= (~excluded).sum():
        raise InputError(f"k must lie between 1 and {(~excluded).sum()}, what may answer {query}; got {k}")
    [distances], [rows] = nearest(vectors[row], vectors, k=k, excluded=excluded)
    return distances, rows


def recommend(
    study: Study, photos: pd.DataFrame, vectors: np.ndarray, query: str, *, name: str = "", **search
) -> GalleryRow:
    """Return what `nearest_photos` finds for photo `query` as a row to draw, `name` before it."""
    distances, rows = nearest_photos(study, photos, vectors, query, **search)
    shown = study.photos.reset_index().set_index("id").loc[[query, *photos["id"].iloc[rows]]]
    pixels, own = study.pixels[shown["index"]], same_product(study, query)
    neighbours = [
        Neighbour(picture, label, distance, photo, photo in own)
        for picture, photo, label, distance in zip(
            pixels[1:], shown.index[1:], shown["label"].iloc[1:], distances, strict=True
        )
    ]
    return GalleryRow(name, pixels[0], shown["label"].iloc[0], neighbours)


def shown_models(study: Study) -> list[tuple[str, int]]:
    """Return (model, seed) of those worth a row: the first seed's, the controls, networks with their weights.

    A network without ImageNet weights has nothing to recommend, and one that embedded a part of the test
    photos answers from fewer: neither is shown beside the others.
    """
    table, test = study.networks.overview(), len(study.split("test")[0])
    whole = (table["photos"] >= test) & (table["weights"] != NO_WEIGHTS)
    hidden = set(table.loc[~whole | (table["model"] != table["network"]), "model"])
    seeds = (0, study.seeds[0])
    return [(name, seed) for name, seed in models(study) if seed in seeds and name not in hidden]


def answers_of_models(study: Study, queries: Sequence[str], *, k: int) -> dict[str, list[GalleryRow]]:
    """Return query id -> its row from every model shown, answered from the test photos (P Fig 4, C Fig 8.6).

    The best model without labels stands second, where stage ladder has chosen it. Each model's vectors are
    read once and let go: twenty of 10,000 photos would fill the memory.
    """
    answers: dict[str, list[GalleryRow]] = {query: [] for query in queries}
    first, *others = shown_models(study)
    best = [(BEST, 0)] if (study.paths.ladder / f"{BEST_EMBEDDING}.npy").is_file() else []
    for model, seed in [first, *best, *others]:
        photos, vectors = model_vectors(study, model, seed=seed)
        for query, rows in answers.items():
            rows.append(recommend(study, photos, vectors, query, k=k, name=model))
    return answers


def best_and_worst(study: Study) -> list[tuple[str, str]]:
    """Return ("best 1", query id), ... and ("worst 1", id), ...: three of each of the proposed model's test
    queries, by average precision without own products."""
    mine = f"model == '{PROPOSED}' and seed == {study.seeds[0]} and gallery == '{STRICT}'"
    queries = read_queries(study.paths).query(mine).dropna(subset=["average_precision"])
    ranked = queries.sort_values(["average_precision", "id"], ascending=[False, True])["id"].tolist()
    return [
        (f"{word} {number}", query)
        for word, ids in {"best": ranked[:3], "worst": ranked[-3:]}.items()
        for number, query in enumerate(ids, start=1)
    ]
