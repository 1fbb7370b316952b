"""Which queries are shown and what they are answered with, against plain loops; no network takes part."""

import numpy as np
import pandas as pd
import pytest

from solesearch.core import files
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import GallerySettings
from solesearch.evaluation.study import EvaluationSettings, Study
from solesearch.figures.galleries import GalleryRow
from solesearch.index import recommendations
from solesearch.index.faiss_index import FaissIndex
from solesearch.index.recommendations import NAIVE_ROW, OTHERS_ROW
from solesearch.networks.comparison import OVERVIEW

SETTINGS = GallerySettings(
    queries=4, k=3, seed=3, query_ids=[], page_queries=5, bag_labels=["bags", "handbag"]
)


@pytest.fixture
def study(workspace) -> Study:
    """Four products of each of two classes, three colours each; the last two are for testing."""
    rows = [
        (
            f"{label}/{product}-{colour}.jpg",
            label,
            f"{label}/{product}",
            "test" if product > 1 else "training",
        )
        for label in ("Bags", "boots")
        for product in range(4)
        for colour in ("red", "blue", "grey")
    ]
    photos = pd.DataFrame(rows, columns=["id", "label", "group", "split"]).assign(position=0)
    paths, draw = Paths.of("smoke"), np.random.default_rng(5)
    for model in ("infogan", "untrained_discriminator"):
        vectors = draw.normal(size=(24, 4)).astype(np.float32)
        save_embedding(paths.embeddings, f"{model}-seed-1", Embedding(photos["id"].tolist(), vectors))
    network = dict.fromkeys(OVERVIEW, "") | {"model": "VGG16", "network": "VGG16", "weights": "untrained"}
    files.write_table(paths.networks / "networks.csv", pd.DataFrame([{**network, "photos": 12}]))
    pixels = draw.integers(0, 255, (24, 32, 48, 3)).astype(np.uint8)
    evaluation = EvaluationSettings(exclusion_window=0, ks=[1], choose_gallery="naive", choose_k=1)
    return Study(paths, photos, pixels, evaluation, None, [1])


@pytest.fixture
def index(study: Study) -> FaissIndex:
    return FaissIndex.build(vectors_of(study))


def vectors_of(study: Study) -> Embedding:
    ids = study.photos["id"].tolist()
    return Embedding(ids, np.load(study.paths.embeddings / "infogan-seed-1.npy"))


def nearest(study: Study, query: str, *, k: int, others: bool) -> list[str]:
    """The k nearest photos by a plain loop; `others`: those of the query's product do not count."""
    vectors, group = vectors_of(study), dict(zip(study.photos["id"], study.photos["group"], strict=True))
    mine = vectors.vectors[vectors.ids.index(query)]
    found = []
    for photo, vector in zip(vectors.ids, vectors.vectors, strict=True):
        if photo != query and not (others and group[photo] == group[query]):
            found.append((sum((float(a) - float(b)) ** 2 for a, b in zip(mine, vector, strict=True)), photo))
    return [photo for _, photo in sorted(found)[:k]]


def query_of(study: Study, row: GalleryRow) -> str:
    """The id of a row's query, found by its pixels."""
    return study.photos["id"][int(np.flatnonzero((study.pixels == row.query_pixels).all(axis=(1, 2, 3)))[0])]


def test_named_queries_come_first_and_the_rest_is_drawn(study: Study) -> None:
    photos, _ = study.split("test")
    assert recommendations.choose_queries(study, queries=4, seed=3) == recommendations.pick_queries(
        photos, queries=4, seed=3
    )
    named = ["boots/2-grey.jpg", "boots/3-red.jpg", "boots/2-grey.jpg"]
    chosen = recommendations.choose_queries(study, queries=4, seed=3, query_ids=named)
    assert chosen[:2] == named[:2] and len(chosen) == len(set(chosen)) == 4
    assert recommendations.choose_queries(study, queries=1, seed=3, query_ids=named) == named[:2]
    bags = recommendations.choose_queries(study, queries=9, seed=3, query_ids=named, labels=["Bags"])
    assert len(bags) == 6 and all(query.startswith("Bags/") for query in bags)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("boots/9-red.jpg", r"gallery.query_ids: no photo 'boots/9-red.jpg' in the catalogue; .*photos.csv"),
        ("boots/1-red.jpg", "gallery.query_ids: 'boots/1-red.jpg' is a training photo; name test photos"),
    ],
)
def test_ids_that_cannot_be_queries_are_named(
    study: Study, index: FaissIndex, query: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        recommendations.unseen_rows(study, index, queries=2, k=2, seed=1, query_ids=[query])


def test_other_products_beside_the_naive_row_by_a_plain_loop(study: Study, index: FaissIndex) -> None:
    rows = recommendations.product_rows(study, index, k=20, seed=3, query_ids=["Bags/2-blue.jpg"])
    assert [row.name for row in rows] == [NAIVE_ROW, OTHERS_ROW] * recommendations.PAIRS
    assert query_of(study, rows[0]) == query_of(study, rows[1]) == "Bags/2-blue.jpg"
    for row in rows:
        query, others = query_of(study, row), row.name == OTHERS_ROW
        assert [found.id for found in row.neighbours] == nearest(study, query, k=20, others=others)
        own = {found.id for found in row.neighbours if found.same_product}
        product = query.rpartition("-")[0]
        assert own == {found.id for found in row.neighbours if found.id.startswith(f"{product}-")}
        assert bool(own) != others, "20 of 23 photos cannot miss two colourways of these queries"


def test_bags_are_asked_by_any_of_their_names(study: Study, index: FaissIndex) -> None:
    assert recommendations.bag_classes(study, ["bags", "handbag"]) == ["Bags"]
    rows = recommendations.bag_rows(study, index, SETTINGS)
    assert [row.query_label for row in rows] == ["Bags"] * 4
    assert [len(row.neighbours) for row in rows] == [3] * 4
    assert {found.label for row in rows for found in row.neighbours} == {"Bags", "boots"}, "shoes may answer"


def test_a_catalogue_without_bags_gives_a_sentence(study: Study, index: FaissIndex) -> None:
    study.photos.loc[study.photos["label"] == "Bags", "label"] = "slippers"
    assert recommendations.bag_rows(study, index, SETTINGS) == []
    assert recommendations.no_bags(study, ["bags", "handbag"]) == (
        "No picture of handbags (C Fig 8.8): none of the classes boots, slippers counts as bags "
        "(params.yaml, gallery.bag_labels: bags, handbag)."
    )


def test_every_query_is_answered_by_every_model_from_test_photos(study: Study) -> None:
    wanted = recommendations.choose_queries(study, queries=3, seed=3)
    answers = recommendations.answers_of_models(study, wanted, k=2)
    shown = [model for model, _ in recommendations.shown_models(study)]
    assert shown[0] == "infogan" and "hog" in shown and "VGG16" not in shown
    test = set(study.split("test")[0]["id"])
    for query, rows in answers.items():
        assert [row.name for row in rows] == shown
        assert all(query_of(study, row) == query for row in rows)
        assert {found.id for row in rows for found in row.neighbours} <= test - {query}
    alone = recommendations.model_rows(study, seed=3, k=2)
    assert [[found.id for found in row.neighbours] for row in alone] == [
        [found.id for found in row.neighbours] for row in answers[wanted[0]]
    ]
