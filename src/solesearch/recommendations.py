"""Rows of recommended photos, ready to be drawn: unseen queries, models side by side, best and worst."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from solesearch import files
from solesearch.embedding import Embedding
from solesearch.galleries import GalleryRow, Neighbour
from solesearch.index import FlatIndex
from solesearch.study import Study, model_vectors, models, same_product
from solesearch.weights import UNTRAINED

EXTREMES = 3  # best and as many worst queries


def pick_queries(photos: pd.DataFrame, *, queries: int, seed: int) -> list[str]:
    """Return ids of `queries` photos drawn by `seed`: one of each class in turn, until enough are chosen."""
    shuffled = photos.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    ordered = shuffled.assign(turn=turn).sort_values(["turn", "label"], kind="stable")
    return ordered["id"].head(queries).tolist()


def recommend(
    study: Study, index: FlatIndex, query: str, *, k: int, name: str, leave_out_product: bool = True
) -> GalleryRow:
    """Return the k photos of `index` nearest to photo `query`, with pixels and labels to draw."""
    row = {photo: number for number, photo in enumerate(study.photos["id"])}
    leave_out = same_product(study, query) if leave_out_product else frozenset()
    labels = study.photos["label"]
    neighbours = [
        Neighbour(study.pixels[row[found.id]], labels[row[found.id]], found.distance, found.id)
        for found in index.search_by_id(query, k=k, leave_out=leave_out)
    ]
    return GalleryRow(name, study.pixels[row[query]], labels[row[query]], neighbours)


def unseen_rows(study: Study, index: FlatIndex, *, queries: int, k: int, seed: int) -> list[GalleryRow]:
    """Return a row for each of `queries` test photos, answered from the whole catalogue (P Fig 5)."""
    photos, _ = study.split("test")
    chosen = pick_queries(photos, queries=queries, seed=seed)
    return [recommend(study, index, query, k=k, name="") for query in chosen]


def test_photo_index(study: Study, model: str, *, seed: int) -> FlatIndex:
    """Return an index of a model's vectors of the test photos."""
    photos, vectors = model_vectors(study, model, seed=seed)
    return FlatIndex.build(Embedding(photos["id"].tolist(), vectors))


def shown_models(study: Study) -> list[tuple[str, int]]:
    """Return (model, seed) of those worth a row: the first seed's, the controls, networks with their weights.

    A network without ImageNet weights has nothing to recommend, and one that embedded a part of the test
    photos answers from fewer: neither is shown beside the others.
    """
    table, test = study.networks.overview(), len(study.split("test")[0])
    whole = (table["photos"] >= test) & (table["weights"] != UNTRAINED)
    shown = set(table.loc[whole & (table["model"] == table["network"]), "model"])
    hidden = set(table["model"]) - shown
    return [
        (name, seed) for name, seed in models(study) if seed in (0, study.seeds[0]) and name not in hidden
    ]


def model_rows(study: Study, *, seed: int, k: int) -> list[GalleryRow]:
    """Return one query's row from every model shown, answered from the test photos (P Fig 4, C Fig 8.6)."""
    photos, _ = study.split("test")
    [query] = pick_queries(photos, queries=1, seed=seed)
    wanted = shown_models(study)
    return [
        recommend(study, test_photo_index(study, model, seed=number), query, k=k, name=model)
        for model, number in wanted
    ]


def extreme_rows(study: Study, *, k: int) -> list[GalleryRow]:
    """Return the proposed model's best and worst test queries, by average precision without own products."""
    queries = files.read_table(study.paths.run / "evaluation" / "queries.csv", made_by="stage evaluate")
    mine = queries[
        (queries["model"] == "infogan")
        & (queries["seed"] == study.seeds[0])
        & (queries["gallery"] == "product_excluded")
    ].dropna(subset=["average_precision"])
    ranked = mine.sort_values(["average_precision", "id"], ascending=[False, True])["id"].tolist()
    index = test_photo_index(study, "infogan", seed=study.seeds[0])
    return [
        recommend(study, index, query, k=k, name=name)
        for name, query in (*labelled("best", ranked[:EXTREMES]), *labelled("worst", ranked[-EXTREMES:]))
    ]


def labelled(word: str, queries: Sequence[str]) -> list[tuple[str, str]]:
    """Return (`word` 1, first query), (`word` 2, second), ..."""
    return [(f"{word} {number}", query) for number, query in enumerate(queries, start=1)]
