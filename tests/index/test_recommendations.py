"""Which queries are shown and what they are answered with, against plain loops; no network takes part."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from solesearch.core import files
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.core.model_names import BEST
from solesearch.core.paths import Paths
from solesearch.core.settings import GallerySettings
from solesearch.evaluation.study import EvaluationSettings, Study
from solesearch.index import recommendations
from solesearch.networks.comparison import OVERVIEW

SETTINGS = GallerySettings(queries=4, k=3, seed=3, query_ids=[], page_queries=5, bag_labels=["bags"])


@pytest.fixture
def study(workspace: Path) -> Study:
    """Four products of each of two classes, three colours each; the last two are for testing."""
    rows = [
        (f"{label}/{n}-{colour}.jpg", label, f"{label}/{n}", "test" if n > 1 else "training")
        for label in ("Bags", "boots")
        for n in range(4)
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


def plain_loop(study: Study, vectors: np.ndarray, query: str, *, k: int, others: bool) -> list[str]:
    """The k nearest photos by a plain loop; `others`: those of the query's product do not count."""
    group = dict(zip(study.photos["id"], study.photos["group"], strict=True))
    mine, found = vectors[study.photos["id"].tolist().index(query)], []
    for photo, vector in zip(study.photos["id"], vectors, strict=True):
        if photo != query and not (others and group[photo] == group[query]):
            found.append((sum((float(a) - float(b)) ** 2 for a, b in zip(mine, vector, strict=True)), photo))
    return [photo for _, photo in sorted(found)[:k]]


def choose(study: Study, queries: int, *query_ids: str, labels: list[str] | None = None) -> list[str]:
    settings = SETTINGS.model_copy(update={"query_ids": list(query_ids)})
    return recommendations.choose_queries(study, settings, queries=queries, labels=labels)


def test_queries_are_drawn_class_by_class() -> None:
    photos = pd.DataFrame({"id": list("abcdefgh"), "label": ["x"] * 6 + ["y"] * 2})
    chosen = recommendations.pick_queries(photos, queries=4, seed=1)
    assert sum(name in "gh" for name in chosen) == 2
    assert chosen == recommendations.pick_queries(photos, queries=4, seed=1)
    assert chosen != recommendations.pick_queries(photos, queries=4, seed=2)


def test_named_queries_come_first_and_the_rest_is_drawn(study: Study) -> None:
    photos, _ = study.split("test")
    assert choose(study, 4) == recommendations.pick_queries(photos, queries=4, seed=3)
    named = ["boots/2-grey.jpg", "boots/3-red.jpg", "boots/2-grey.jpg"]
    chosen = choose(study, 4, *named)
    assert chosen[:2] == named[:2] and len(chosen) == len(set(chosen)) == 4
    assert choose(study, 1, *named) == named[:2]
    bags = choose(study, 9, *named, labels=["Bags"])
    assert len(bags) == 6 and all(query.startswith("Bags/") for query in bags)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("boots/9-red.jpg", "'boots/9-red.jpg' is no photo of the catalogue; .*photos.csv"),
        ("boots/1-red.jpg", "'boots/1-red.jpg' is a training photo; name test photos"),
    ],
)
def test_ids_that_cannot_be_queries_are_named(study: Study, query: str, words: str) -> None:
    with pytest.raises(InputError, match=f"gallery.query_ids: {words}"):
        choose(study, 2, query)


@pytest.mark.parametrize("gallery", ["naive", "product_excluded"])
def test_answers_are_those_of_a_plain_loop(study: Study, gallery: str) -> None:
    vectors = np.load(study.paths.embeddings / "infogan-seed-1.npy")
    for query in ("Bags/2-blue.jpg", "boots/3-red.jpg"):
        options = {"k": 20, "gallery": gallery, "name": "a name"}
        row = recommendations.recommend(study, study.photos, vectors, query, **options)
        others = gallery == "product_excluded"
        expected = plain_loop(study, vectors, query, k=20, others=others)
        assert [found.id for found in row.neighbours] == expected
        number = study.photos["id"].tolist().index(query)
        assert (row.name, row.query_label) == ("a name", query.partition("/")[0])
        assert (row.query_pixels == study.pixels[number]).all()
        own = {found.id for found in row.neighbours if found.same_product}
        product = query.rpartition("-")[0]
        assert own == {found.id for found in row.neighbours if found.id.startswith(f"{product}-")}
        assert bool(own) != others, "20 of 23 photos cannot miss two colourways of these queries"
    with pytest.raises(InputError, match="k must lie between 1 and"):
        recommendations.recommend(study, study.photos, vectors, query, k=24, gallery=gallery)


def test_every_query_is_answered_by_every_model_from_test_photos(study: Study) -> None:
    shown = [model for model, _ in recommendations.shown_models(study)]
    assert shown[0] == "infogan" and "hog" in shown and "VGG16" not in shown
    queries = choose(study, 3)
    rows = recommendations.answers_of_models(study, queries, k=2)[queries[0]]
    assert [row.name for row in rows] == shown, "nothing was chosen yet"
    vectors = study.pixels.mean(axis=(1, 2)).astype(np.float32)
    save_embedding(study.paths.ladder, "best", Embedding(study.photos["id"].tolist(), vectors))
    answers, shown = recommendations.answers_of_models(study, queries, k=2), [shown[0], BEST, *shown[1:]]
    test = set(study.split("test")[0]["id"])
    for query, rows in answers.items():
        assert [row.name for row in rows] == shown
        assert {found.id for row in rows for found in row.neighbours} <= test - {query}


def test_best_and_worst_are_ranked_by_average_precision(study: Study) -> None:
    values = {"a": 3, "b": 1, "c": 5, "d": np.nan, "e": 2}
    rows = [("infogan", 1, "product_excluded", name, value) for name, value in values.items()]
    rows += [("hog", 0, "product_excluded", "z", 9), ("infogan", 2, "product_excluded", "z", 9)]
    table = pd.DataFrame(rows, columns=["model", "seed", "gallery", "id", "average_precision"])
    files.write_table(study.paths.queries, table)
    assert recommendations.best_and_worst(study) == [
        *(("best 1", "c"), ("best 2", "a"), ("best 3", "e")),
        *(("worst 1", "a"), ("worst 2", "e"), ("worst 3", "b")),
    ]
