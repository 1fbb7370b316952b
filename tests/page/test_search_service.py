"""Searches: against plain loops over all photos, with a showcase made by hand and no TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from page_world import PHOTOS, TEST, draw_photo, make_showcase, photo_table, png

from solesearch.core import files
from solesearch.core.embedding import load_embedding
from solesearch.core.errors import InputError
from solesearch.page.search_service import Answer, SearchService, similarity
from solesearch.page.uploads import PageSettings, read_upload

MODELS = ["infogan", "mean_colour", "pixels"]


@pytest.fixture
def service(workspace: Path) -> SearchService:
    return SearchService(make_showcase())


def nearest(
    service: SearchService, vector: np.ndarray, model: str, *, without: set[str], k: int
) -> list[tuple[str, float]]:
    """Return (id, distance) of the k nearest of all photos a model knows, by a plain loop."""
    held = load_embedding(service.folder, model)
    found = [
        (name, float(np.sqrt(((row.astype(float) - vector) ** 2).sum())))
        for name, row in zip(held.ids, held.vectors, strict=True)
        if name not in without
    ]
    return sorted(found, key=lambda pair: pair[1])[:k]


def check(answers: list[Answer], expected: list[tuple[str, float]]) -> None:
    assert [answer.photo.id for answer in answers] == [name for name, _ in expected]
    distances = [answer.distance for answer in answers]  # summed in single precision
    np.testing.assert_allclose(distances, [distance for _, distance in expected], rtol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_answers_agree_with_a_plain_loop(service: SearchService, model: str) -> None:
    table, held = photo_table().set_index("id"), load_embedding(service.folder, model)
    for name, vector in zip(held.ids, held.vectors, strict=True):
        [row] = service.search_photo(name, [model], k=5)
        check(row.answers, nearest(service, vector, model, without={name}, k=5))
        for answer in row.answers:
            assert answer.same_class == (answer.photo.label == table.loc[name, "label"])
        own = set(table.index[table["group"] == table.loc[name, "group"]])
        [row] = service.search_photo(name, [model], k=5, leave_out_product=True)
        check(row.answers, nearest(service, vector, model, without=own, k=5))


def test_an_exact_duplicate_answers_and_the_query_does_not(service: SearchService) -> None:
    held = load_embedding(service.folder, "infogan")
    held.vectors[1] = held.vectors[0]
    files.write_array(service.folder / "infogan.npy", held.vectors)
    [row] = service.search_photo(held.ids[0], ["infogan"], k=3)
    assert (row.answers[0].photo.id, row.answers[0].distance) == (held.ids[1], 0)
    assert held.ids[0] not in [answer.photo.id for answer in row.answers]


def test_models_side_by_side_answer_from_the_same_photos(service: SearchService) -> None:
    """boots/00.png is a training photo, which `pixels` has no vector of: it is embedded when asked."""
    assert photo_table().set_index("id").loc["boots/00.png", "split"] == "training"
    assert [row.among for row in service.search_photo("boots/00.png", MODELS[:2], k=1)] == [PHOTOS] * 2
    rows = service.search_photo("boots/00.png", MODELS, k=TEST)
    assert {row.among for row in rows} == {TEST}
    assert {answer.photo.split for row in rows for answer in row.answers} == {"test"}
    vector = draw_photo("boots", 0).reshape(-1) / 255
    check(rows[2].answers, nearest(service, vector, "pixels", without=set(), k=TEST))


def test_an_uploaded_catalogue_photo_finds_itself(service: SearchService) -> None:
    photo = service.photos[2]
    upload = read_upload(png(draw_photo(photo.label, photo.number)), PageSettings.load("sample"))
    for row in service.search_upload(upload, MODELS, k=3):
        assert row.answers[0].photo == photo and row.answers[0].distance == pytest.approx(0, abs=1e-5)
        assert {answer.same_class for answer in row.answers} == {None}


def test_similarity_is_a_share_of_pairs_that_falls_with_distance(service: SearchService) -> None:
    pairs = np.array([1, 2, 3, 4], dtype=np.float32)
    assert similarity(np.array([0, 0.5, 1, 2.5, 4, 9]), pairs).tolist() == [100, 100, 75, 50, 0, 0]
    shown = [Answer(service.photos[0], 1.0, value, None).nearer_than for value in (99.99, 100)]
    assert shown == ["99.9\u00a0%", "100.0\u00a0%"]  # never rounded up to "nearer than all"


def test_bad_questions_get_one_line(service: SearchService) -> None:
    for photo in ("no/such.png", "../../params.yaml", ""):
        with pytest.raises(InputError, match="no photo of that id"):
            service.search_photo(photo, ["infogan"], k=1)
    for k in (0, -1, PHOTOS):
        with pytest.raises(InputError, match="k must lie between 1 and 23"):
            service.search_photo("boots/00.png", ["infogan"], k=k)
    with pytest.raises(InputError, match="not on this page; there are infogan, mean_colour, pixels"):
        service.search_photo("boots/00.png", ["VGG16"], k=1)
    (service.photo_folder / "boots/00.png").unlink()
    with pytest.raises(
        InputError, match=r"^boots/00\.png: its file is gone or damaged; run `make repro` again$"
    ):
        service.embed_file("boots/00.png", "infogan")


def test_samples_prefer_test_photos_of_the_class(service: SearchService) -> None:
    found = service.sample(label="heels", count=8, seed=1)
    assert {photo.label for photo in found} == {"heels"}
    assert [photo.split for photo in found] == ["test"] * 3 + ["training"] * 5
    assert found == service.sample(label="heels", count=8, seed=1)
    assert found != service.sample(label="heels", count=8, seed=2)


def test_missing_damaged_and_foreign_showcases_are_named(workspace: Path) -> None:
    paths = make_showcase()
    note = paths.showcase / "showcase.json"
    facts = json.loads(note.read_text())
    held = load_embedding(paths.showcase, "infogan")
    (paths.showcase / "infogan.ids.txt").write_text("".join(f"{name}\n" for name in reversed(held.ids)))
    with pytest.raises(InputError, match=r"infogan\.npy: of other photos"):
        SearchService(paths).search_photo(held.ids[0], ["infogan"], k=1)
    for text in (json.dumps({**facts, "photos": PHOTOS + 1}), json.dumps({**facts, "models": []}), "{", "{}"):
        note.write_text(text)
        with pytest.raises(InputError, match=r"showcase\.json: damaged, or not of these photos"):
            SearchService(paths)
    note.unlink()
    with pytest.raises(InputError, match="stage showcase writes it"):
        SearchService(paths)


SERVED = """
import sys
from starlette.testclient import TestClient
from solesearch.page.web_page import open_page
slow = ("tensorflow", "keras", "skimage", "sklearn", "matplotlib", "solesearch.evaluation.study")
print(*[name for name in slow if name in sys.modules], "at start")
client = TestClient(open_page("smoke"))
for path in ("/", "/answers?photo=boots/00.png&model=infogan&model=pixels", "/study/", "/study/results"):
    assert client.get(path).status_code == 200, path
photo, kind = sys.stdin.buffer.read(), {"content-type": "application/octet-stream"}
token = client.post("/upload", content=photo, headers=kind).json()["token"]
assert client.get("/answers", params={"upload": token, "model": "infogan"}).status_code == 200
print(*[name for name in ("tensorflow", "keras") if name in sys.modules], "when served")
"""


def test_the_page_starts_and_serves_without_tensorflow(workspace: Path) -> None:
    """Nor does it wait at its start for what the first search alone needs."""
    make_showcase()
    command, photo = [sys.executable, "-c", SERVED], png(draw_photo("boots", 1))
    ended = subprocess.run(command, input=photo, capture_output=True, check=True)
    assert ended.stdout.decode().splitlines() == ["at start", "when served"]
