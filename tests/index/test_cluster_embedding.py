"""Embedding files with Ray (extra `cluster`): every photo once, with the vector that is computed here."""

import shutil
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_world import open_small_study

from solesearch.core.errors import InputError
from solesearch.index.cluster_embedding import PhotoEmbedder, embed_profile
from solesearch.retrieval.controls import mean_colour

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[stores]'")
RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'")


@pytest.fixture
def opened(workspace):
    """24 photos of a small study; the files below its folder are drawn at the catalogue's size."""
    return open_small_study((64, 96))


def test_a_worker_keeps_the_order_of_its_batch(opened) -> None:
    embed, names = PhotoEmbedder("smoke", "mean_colour"), ["04.png", "01.png"]
    table = embed({"id": np.array(names)})
    assert table["id"].to_pylist() == names
    assert table["vector"].to_pylist() == mean_colour(opened.pixels[[4, 1]]).tolist()


def test_the_discriminator_embeds_as_stage_embed_does(opened) -> None:
    table = PhotoEmbedder("smoke", "discriminator")({"id": np.array(["03.png"])})
    expected = np.load(opened.paths.embeddings / "infogan-seed-1.npy")[3]
    np.testing.assert_allclose(table["vector"].to_pylist()[0], expected, rtol=1e-4, atol=1e-5)


def test_unknown_features_and_missing_ray_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'sift': there are discriminator, mean_colour"):
        embed_profile("smoke", features="sift", batch=4, workers=1)
    monkeypatch.setattr("solesearch.index.cluster_embedding.find_spec", lambda name: None)
    with pytest.raises(InputError, match="Ray is not installed"):
        embed_profile("smoke", features="hog", batch=4, workers=1)


def test_photographs_that_are_gone_are_named_before_ray_starts(opened, monkeypatch) -> None:
    started = []
    ray = SimpleNamespace(init=lambda **options: started.append(options), __spec__="there")
    monkeypatch.setitem(sys.modules, "ray", ray)
    shutil.rmtree(opened.paths.drawn)
    with pytest.raises(InputError, match="the photographs are gone; put them back"):
        embed_profile("smoke", features="hog", batch=4, workers=1)
    assert not started


@RAY
@pytest.mark.slow
def test_files_hold_every_photo_once_and_a_faulty_one_stops_them(opened) -> None:
    folder = embed_profile("smoke", features="mean_colour", batch=4, workers=2)
    found = pd.read_parquet(folder).sort_values("id")
    assert found["id"].tolist() == opened.photos["id"].tolist()
    np.testing.assert_array_equal(np.stack(found["vector"]), mean_colour(opened.pixels))
    (opened.paths.drawn / "05.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"embedding stopped: .*05\.png"):
        embed_profile("smoke", features="mean_colour", batch=4, workers=2)
    assert len(pd.read_parquet(folder)) == 24  # what was there stays
