"""Rows of recommended photos, ready to be drawn: unseen queries, models side by side, best and worst, bags.

Queries are test photos, named in params.yaml or drawn by its seed. Other photos of the query's own product
are left out everywhere but in the rows that show what they would hide.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.core.settings import GallerySettings
from solesearch.evaluation.study import Study, model_vectors, models, same_product
from solesearch.figures.galleries import GalleryRow, Neighbour
from solesearch.index.faiss_index import FaissIndex
from solesearch.networks.weights import UNTRAINED

EXTREMES = 3  # best and as many worst queries
PAIRS = 3  # queries that are answered with and without their own product
NAIVE_ROW, OTHERS_ROW = "any photo (naive)", "other products only"


def pick_queries(photos: pd.DataFrame, *, queries: int, seed: int) -> list[str]:
    """Return ids of `queries` photos drawn by `seed`: one of each class in turn, until enough are chosen."""
    shuffled = photos.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    ordered = shuffled.assign(turn=turn).sort_values(["turn", "label"], kind="stable")
    return ordered["id"].head(queries).tolist()


def choose_queries(
    study: Study,
    *,
    queries: int,
    seed: int,
    query_ids: Sequence[str] = (),
    labels: Collection[str] | None = None,
) -> list[str]:
    """Return ids of test photos: those of `query_ids` first, then drawn ones until there are `queries`.

    More ids than `queries` are all taken. `labels` keeps queries of these classes only. Raises InputError
    for an id that names no photo, or one that is not a test photo.
    """
    named = checked_ids(study, query_ids)
    photos, _ = study.split("test")
    if labels is not None:
        photos = photos[photos["label"].isin(labels)]
    mine = set(photos["id"])
    first = [query for query in named if query in mine]
    rest = photos[~photos["id"].isin(first)]
    return first + pick_queries(rest, queries=max(0, queries - len(first)), seed=seed)


def checked_ids(study: Study, query_ids: Sequence[str]) -> list[str]:
    """Return `query_ids` without repetition; raises InputError for the first that is not a test photo."""
    split = dict(zip(study.photos["id"], study.photos["split"], strict=True))
    for query in query_ids:
        if query not in split:
            raise InputError(
                f"params.yaml, gallery.query_ids: no photo {query!r} in the catalogue; "
                f"{study.paths.photos} lists the ids"
            )
        if split[query] != "test":
            raise InputError(
                f"params.yaml, gallery.query_ids: {query!r} is a {split[query]} photo; name test photos"
            )
    return list(dict.fromkeys(query_ids))


def recommend(
    study: Study, index: FaissIndex, query: str, *, k: int, name: str, leave_out_product: bool = True
) -> GalleryRow:
    """Return the k photos of `index` nearest to photo `query`, with pixels and labels to draw."""
    row = {photo: number for number, photo in enumerate(study.photos["id"])}
    own, labels = same_product(study, query), study.photos["label"]
    neighbours = [
        Neighbour(
            study.pixels[row[found.id]], labels[row[found.id]], found.distance, found.id, found.id in own
        )
        for found in index.search_by_id(query, k=k, leave_out=own if leave_out_product else frozenset())
    ]
    return GalleryRow(name, study.pixels[row[query]], labels[row[query]], neighbours)


def unseen_rows(
    study: Study, index: FaissIndex, *, queries: int, k: int, seed: int, query_ids: Sequence[str] = ()
) -> list[GalleryRow]:
    """Return a row for each of `queries` test photos, answered from the whole catalogue (P Fig 5)."""
    chosen = choose_queries(study, queries=queries, seed=seed, query_ids=query_ids)
    return [recommend(study, index, query, k=k, name="") for query in chosen]


def product_rows(
    study: Study, index: FaissIndex, *, k: int, seed: int, query_ids: Sequence[str] = ()
) -> list[GalleryRow]:
    """Return two rows for each of `PAIRS` test photos: the nearest of all photos, then of other products.

    The queries are the first ones of `unseen_rows`.
    """
    chosen = choose_queries(study, queries=PAIRS, seed=seed, query_ids=query_ids)[:PAIRS]
    return [
        recommend(study, index, query, k=k, name=name, leave_out_product=name == OTHERS_ROW)
        for query in chosen
        for name in (NAIVE_ROW, OTHERS_ROW)
    ]


def bag_classes(study: Study, bag_labels: Collection[str]) -> list[str]:
    """Return the catalogue's classes that count as bags; letters' case makes no difference."""
    wanted = {label.casefold() for label in bag_labels}
    return [label for label in sorted(study.photos["label"].unique()) if label.casefold() in wanted]


def bag_rows(study: Study, index: FaissIndex, settings: GallerySettings) -> list[GalleryRow]:
    """Return a row for each of some test photos of bags, answered from the whole catalogue (C Fig 8.8).

    Shoes may answer, too: C's index holds both. No rows where the catalogue has no bag among its test photos.
    """
    chosen = choose_queries(
        study,
        queries=settings.queries,
        seed=settings.seed,
        query_ids=settings.query_ids,
        labels=bag_classes(study, settings.bag_labels),
    )
    return [recommend(study, index, query, k=settings.k, name="") for query in chosen]


def no_bags(study: Study, bag_labels: Collection[str]) -> str:
    """Return the sentence that stands for the picture of bags where there are none."""
    classes = ", ".join(sorted(study.photos["label"].unique()))
    return (
        f"No picture of handbags (C Fig 8.8): none of the classes {classes} counts as bags "
        f"(params.yaml, gallery.bag_labels: {', '.join(bag_labels)})."
    )


def test_photo_index(study: Study, model: str, *, seed: int) -> FaissIndex:
    """Return an index of a model's vectors of the test photos."""
    photos, vectors = model_vectors(study, model, seed=seed)
    return FaissIndex.build(Embedding(photos["id"].tolist(), vectors), factory="Flat")


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


def answers_of_models(study: Study, queries: Sequence[str], *, k: int) -> dict[str, list[GalleryRow]]:
    """Return query id -> its row from every model shown, answered from the test photos.

    Each model's index is built once and let go: twenty of 10,000 photos would fill the memory.
    """
    answers: dict[str, list[GalleryRow]] = {query: [] for query in queries}
    for model, seed in shown_models(study):
        index = test_photo_index(study, model, seed=seed)
        for query, rows in answers.items():
            rows.append(recommend(study, index, query, k=k, name=model))
    return answers


def model_rows(study: Study, *, seed: int, k: int, query_ids: Sequence[str] = ()) -> list[GalleryRow]:
    """Return one query's row from every model shown, answered from the test photos (P Fig 4, C Fig 8.6)."""
    query = choose_queries(study, queries=1, seed=seed, query_ids=query_ids)[0]
    return answers_of_models(study, [query], k=k)[query]


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
