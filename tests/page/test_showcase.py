"""The showcase: its parts against plain loops, and a whole one of a small study with real networks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_world import make_showcase
from small_world import open_small_study

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.networks.comparison import OVERVIEW
from solesearch.page import page_figures, page_html, showcase
from solesearch.page.search_service import SearchService
from solesearch.page.uploads import UploadLimits, read_upload


def test_test_photos_come_first_and_numbers_stay() -> None:
    photos = pd.DataFrame(
        {"id": list("abcde"), "split": ["training", "test", "validation", "test", "training"]}
    )
    table = showcase.ordered(photos)
    assert table["id"].tolist() == list("bdace")
    assert table["number"].tolist() == [1, 3, 0, 2, 4]


def test_pairs_are_of_different_photos_and_the_same_for_every_model() -> None:
    one = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    distances = showcase.pair_distances(one, pairs=3000, seed=1)
    assert distances.dtype == np.float32 and np.all(np.diff(distances) >= 0)
    values, counts = np.unique(distances, return_counts=True)
    assert values.tolist() == [1, 2, 3]  # never 0: no photo is paired with itself
    assert np.all(np.abs(counts - 1000) < 120)  # each pair as often as the others
    np.testing.assert_array_equal(showcase.pair_distances(one * 2, pairs=3000, seed=1), distances * 2)
    with pytest.raises(InputError, match="1 test photos make no pair"):
        showcase.pair_distances(one[:1], pairs=3, seed=1)


def test_the_map_keeps_neighbours_together() -> None:
    draw = np.random.default_rng(0)
    heaps = np.repeat(np.eye(3, 20) * 40, 15, axis=0) + draw.standard_normal((45, 20))
    points = showcase.project(heaps.astype(np.float32), components=10, perplexity=8, seed=1)
    assert points.shape == (45, 2) and points.min() == 0 and points.max() == 1
    for row, point in enumerate(points):
        near = np.argsort(((points - point) ** 2).sum(axis=1))[1:6]
        assert {number // 15 for number in near} == {row // 15}
    assert showcase.project(heaps[:4].astype(np.float32), components=10, perplexity=8, seed=1).shape == (4, 2)


@pytest.mark.parametrize(
    "change", [{"pairs": 0}, {"map_photos": 1.5}, {"seed": -1}, {"map_perplexity": True}]
)
def test_settings(workspace: Path, change: dict) -> None:
    assert showcase.load_settings("sample").pairs == 20000
    with pytest.raises(InputError, match=rf"params\.yaml, showcase\.{next(iter(change))}"):
        showcase.load_settings("sample", {f"showcase.{name}": value for name, value in change.items()})


def test_the_notebooks_chart_and_table(workspace: Path) -> None:
    service = SearchService.open(make_showcase())
    table = page_figures.answer_table(service, "boots/00.png", models=["infogan", "pixels"], k=2)
    assert table["model"].tolist() == ["infogan"] * 2 + ["pixels"] * 2
    assert set(table["same class"]) <= {"yes", "no"}
    [axes] = page_figures.draw_map(service).axes
    assert [len(dots.get_offsets()) for dots in axes.collections] == [8, 8, 8]


def test_the_map_of_the_page_escapes_and_counts(workspace: Path) -> None:
    service = SearchService.open(make_showcase())
    drawn = page_html.feature_map(service.map_points()[:7], service.labels, model=service.models[0], total=24)
    assert drawn.count("<path d=") == 7 + 3 and "7 of 24 photos, drawn at random" in drawn
    look = page_html.look_of([f"class {number}" for number in range(40)])
    assert len(set(look.values())) == 40  # colour or shape differs


@pytest.mark.slow
def test_a_whole_showcase(workspace: Path) -> None:
    """Vectors, networks and map of 24 photos; an upload of a photo finds it, whatever the model."""
    study = open_small_study()
    files.write_table(study.paths.networks / "networks.csv", pd.DataFrame(columns=OVERVIEW))
    files.write_json(study.paths.manifest, {"sha256": "0" * 64})
    table = showcase.build("smoke")
    assert table["model"].tolist()[:3] == ["InfoGAN (proposed)", "Discriminator, untrained", "HOG"]
    assert set(table["answers from photos"]) == {24}
    service = SearchService.open(study.paths)
    assert "random" not in [model.name for model in service.models]
    data = (study.paths.drawn / service.photos[0].id).read_bytes()
    upload = read_upload(data, limits=UploadLimits(10**6, 10**6, 1))
    for model in service.models:
        [first, *_] = service.search_upload(upload, model.name, k=2).answers
        assert first.photo == service.photos[0], model.name
    small = showcase.build("smoke", {"showcase.model_megabytes": 0, "showcase.map_photos": 10})
    assert dict(zip(small["model"], small["answers from photos"], strict=True))["HOG"] == 12
    assert len(SearchService.open(study.paths).map_points()) == 10
    (study.paths.drawn / service.photos[0].id).write_bytes(
        (study.paths.drawn / service.photos[1].id).read_bytes()
    )
    with pytest.raises(InputError, match="embeds the file otherwise than the stages before did"):
        showcase.check_models(SearchService.open(study.paths))
