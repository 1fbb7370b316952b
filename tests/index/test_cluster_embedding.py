"""Embedding files with Ray (extra `cluster`): every photo once, with the vector that is computed here."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.index.cluster_embedding import FileEmbedder, embed_files, read_vectors
from solesearch.photos.photo import load_pixels
from solesearch.retrieval.controls import mean_colour

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[stores]'")
RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'")
DECODING = {"size": (16, 24), "fit": "stretch"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(4)
    for number in range(23):
        path = tmp_path / "photos" / f"{number:03d}.png"
        Image.fromarray(random.integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    return tmp_path / "photos"


def vectors_here(photos: Path) -> dict[str, list[float]]:
    paths = sorted(photos.glob("*.png"))
    vectors = mean_colour(np.stack([load_pixels(path, **DECODING) for path in paths]))
    return {path.name: vector for path, vector in zip(paths, vectors.tolist(), strict=True)}


def test_a_worker_keeps_the_order_of_its_batch(photos: Path) -> None:
    embed = FileEmbedder(photos, lambda: mean_colour, **DECODING)
    table = embed({"id": np.array(["004.png", "001.png"])})
    assert table["id"].to_pylist() == ["004.png", "001.png"]
    assert table["vector"].to_pylist()[1] == vectors_here(photos)["001.png"]


def test_missing_vectors_and_ray_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds no vectors"):
        list(read_vectors(tmp_path))
    monkeypatch.setattr("solesearch.index.cluster_embedding.find_spec", lambda name: None)
    with pytest.raises(InputError, match="Ray is not installed"):
        embed_files(["a"], tmp_path, worker={}, batch=4, workers=1)


@RAY
@pytest.mark.slow
def test_files_hold_every_photo_once_and_a_faulty_one_stops_them(photos: Path, tmp_path: Path) -> None:
    folder, wanted = tmp_path / "vectors", vectors_here(photos)
    worker = {"photos": photos, "load": lambda: mean_colour, **DECODING}
    embed_files(list(wanted), folder, worker=worker, batch=4, workers=2)
    parts = list(read_vectors(folder))
    found = {
        name: vector for part in parts for name, vector in zip(part.ids, part.vectors.tolist(), strict=True)
    }
    assert found == wanted and sum(len(part.ids) for part in parts) == 23
    (photos / "005.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"embedding stopped: .*005\.png"):
        embed_files(list(wanted), folder, worker=worker, batch=4, workers=2)
    assert sum(len(part.ids) for part in read_vectors(folder)) == 23  # what was there stays
