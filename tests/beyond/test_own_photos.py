"""A model learned from a folder of photos: what is written, done once, searched, refused in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from solesearch.beyond import growth, own_photos
from solesearch.core.embedding import load_embedding
from solesearch.core.errors import InputError
from solesearch.cost.embedder_file import EmbedderFile


@pytest.fixture
def folder(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty photos of ellipses and boxes of many sizes in no order, one broken; the smoke profile's sizes."""
    monkeypatch.setattr(own_photos, "PROFILE", "smoke")
    place, draw = tmp_path / "My photos", np.random.default_rng(3)
    place.mkdir()
    for number in range(40):
        image = Image.new("RGB", (60, 40), "white")
        left, top, width, height = draw.integers((2, 2, 12, 8), (20, 14, 36, 24))
        shape = ImageDraw.Draw(image)
        kind = shape.ellipse if number % 2 else shape.rectangle
        kind((left, top, left + width, top + height), fill=tuple(draw.integers(0, 200, 3).tolist()))
        image.save(place / f"{number:02d}.png")
    (place / "broken.jpg").write_bytes(b"no photo")
    return place


@pytest.mark.slow
def test_learned_once_and_searched(folder: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["own_photos", str(folder), "--name", "mine"])
    assert own_photos.main() == 0
    assert "learned from 40 photos, 1 left out (runs/smoke/growth/mine/problems.csv)" in (
        words := capsys.readouterr().out
    )
    assert "--name mine --search PHOTO" in words
    made = own_photos.Paths.of("smoke").growth / "mine"
    model, held = EmbedderFile(made / "best.onnx"), load_embedding(made, "best")
    assert model.card["judged"] is None and model.card["training_photos"] == 40
    assert held.vectors.shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(held.vectors, axis=1), 1, atol=1e-5)
    nearest = np.linalg.norm(held.vectors - held.vectors[7], axis=1).argsort()[:3]
    found = growth.search("smoke", "mine", folder / "07.png", k=3)
    assert found["id"].tolist() == [held.ids[row] for row in nearest]
    assert found["id"][0] == "mine/07.png" and found["distance"][0] == pytest.approx(0, abs=1e-3)

    written = (made / "best.onnx").stat().st_mtime_ns
    monkeypatch.setattr(own_photos, "learned_trunk", None)  # nothing may be learned again
    assert own_photos.learn(folder, name="mine")["photos"] == 40
    assert (made / "best.onnx").stat().st_mtime_ns == written
    (folder / "39.png").unlink()
    with pytest.raises(InputError, match=r"mine: is there already, from other photos"):
        own_photos.learn(folder, name="mine")
    with pytest.raises(InputError, match=r"no growth named 'yours'; there are mine"):
        growth.search("smoke", "yours", folder / "07.png")


def test_what_cannot_be_learned_from_is_one_clear_line(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'My photos': no name for a folder; choose one of letters"):
        own_photos.learn(folder)
    for number in range(16, 40):
        (folder / f"{number}.png").unlink()
    with pytest.raises(InputError, match=r"16 photos that can be read, and vectors of 16 numbers need more"):
        own_photos.learn(folder, name="few")
    assert not own_photos.Paths.of("smoke").growth.exists()
    with pytest.raises(InputError, match="no such folder"):
        own_photos.learn(folder / "nowhere")


def test_a_killed_work_is_begun_anew_and_never_taken_for_done(workspace: Path) -> None:
    """What stands under the final name is whole: the folder is renamed last."""
    paths, calls = own_photos.Paths.of("smoke"), []

    def work(unfinished: Path) -> dict[str, int]:
        calls.append(unfinished)
        (unfinished / "half").write_text("half")
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"photos": 3}

    final = paths.growth / "one"
    with pytest.raises(KeyboardInterrupt):
        growth.made_once(paths, final, {"photos": "a"}, work)
    assert not final.exists()
    assert growth.made_once(paths, final, {"photos": "a"}, work) == {"name": "one", "photos": 3}
    assert growth.made_once(paths, final, {"photos": "a"}, work)["photos"] == 3 and len(calls) == 2
    with pytest.raises(InputError, match="from other photos"):
        growth.made_once(paths, final, {"photos": "b"}, work)
