"""The showcase: its parts against plain loops, and a whole one of a small study with real networks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_world import open_small_study, write_embedder_file

from solesearch.beyond.export import embed_catalogue
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.networks.comparison import OVERVIEW
from solesearch.page import showcase
from solesearch.page.search_service import SearchService
from solesearch.page.uploads import PageSettings, read_upload


def settings(**changed) -> showcase.ShowcaseSettings:
    values = {
        "model_megabytes": 64,
        "pairs": 500,
        "map_photos": 5000,
        "map_components": 10,
        "map_perplexity": 8,
        "seed": 1,
    }
    return showcase.ShowcaseSettings(**(values | changed))


def test_test_photos_come_first_and_numbers_stay() -> None:
    photos = pd.DataFrame(
        {"id": list("abcde"), "split": ["training", "test", "validation", "test", "training"]}
    )
    table = showcase.ordered(photos)
    assert table["id"].tolist() == list("bdace")
    assert table["number"].tolist() == [1, 3, 0, 2, 4]


def test_pairs_are_of_different_photos_and_the_same_for_every_model() -> None:
    points = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    distances = showcase.pair_distances(points, pairs=3000, seed=1)
    assert distances.dtype == np.float32 and np.all(np.diff(distances) >= 0)
    values, counts = np.unique(distances, return_counts=True)
    assert values.tolist() == [1, 2, 3]  # never 0: no photo is paired with itself
    assert np.all(np.abs(counts - 1000) < 120)  # each pair as often as the others
    np.testing.assert_array_equal(showcase.pair_distances(points * 2, pairs=3000, seed=1), distances * 2)
    with pytest.raises(InputError, match="1 test photos make no pair"):
        showcase.pair_distances(points[:1], pairs=3, seed=1)


def test_the_map_keeps_neighbours_together() -> None:
    draw = np.random.default_rng(0)
    heaps = np.repeat(np.eye(3, 20) * 40, 15, axis=0) + draw.standard_normal((45, 20))
    points = showcase.project(heaps.astype(np.float32), settings())
    assert points.shape == (45, 2) and points.min() == 0 and points.max() == 1
    for row, point in enumerate(points):
        near = np.argsort(((points - point) ** 2).sum(axis=1))[1:6]
        assert {number // 15 for number in near} == {row // 15}
    assert showcase.project(heaps[:4].astype(np.float32), settings()).shape == (4, 2)


def contents(folder: Path) -> dict[str, bytes]:
    """Return file name -> bytes of everything below a folder."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.slow
def test_a_whole_showcase(workspace: Path) -> None:
    """Vectors, networks and map of 24 photos; an upload of a photo finds it, whatever the model."""
    study = open_small_study()
    files.write_table(study.paths.networks / "networks.csv", pd.DataFrame(columns=OVERVIEW))
    files.write_json(study.paths.manifest, {"sha256": "0" * 64})
    with pytest.raises(InputError, match=r"best.onnx: not there yet; stage ladder writes it"):
        showcase.build("smoke")
    embed_catalogue(study, write_embedder_file(study.paths.ladder / "best.onnx"))
    table = showcase.build("smoke")
    assert table["model"].tolist()[:3] == [
        *("InfoGAN (proposed)", "Best without labels: mean colour", "Discriminator, untrained")
    ]
    assert set(table["answers from photos"]) == {24}
    service, built = SearchService(study.paths), contents(study.paths.showcase)
    showcase.build("smoke")
    assert contents(study.paths.showcase) == built and len(built) > 10, "made twice, the same bytes"
    assert "random" not in service.models
    upload = read_upload(
        service.photo_file(service.photos[0].number).read_bytes(), PageSettings.load("smoke")
    )
    for row in service.search_upload(upload, service.models, k=2):
        assert row.answers[0].photo == service.photos[0], row.model.name
    small = showcase.build("smoke", settings(model_megabytes=0, map_photos=10))
    assert dict(zip(small["model"], small["answers from photos"], strict=True))["HOG"] == 12
    assert len(SearchService(study.paths).map_table()) == 10
    first, second = (service.photo_file(photo.number) for photo in service.photos[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match="embeds the file otherwise than the stages before did"):
        showcase.check_models(SearchService(study.paths))
