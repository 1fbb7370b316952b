"""A model as one file: a folder in, vectors out, and one clear line for everything that goes wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto
from PIL import Image
from small_world import write_embedder_file

from solesearch.core.embedding import load_embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.cost.embedder_file import EmbedderFile, best_file
from solesearch.photos.photo import fit_to


@pytest.fixture
def model(tmp_path: Path, workspace: Path) -> Path:
    return write_embedder_file(tmp_path / "mean.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seventy good photos of any size, one broken, one cut off, one tiny, and a text."""
    draw, place = np.random.default_rng(1), tmp_path / "photos"
    (place / "boots").mkdir(parents=True)
    for number in range(70):
        height, width = draw.integers(20, 90, 2)
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "boots" / f"{number:02d}.png")
    Image.new("RGB", (4, 4)).save(place / "tiny.png")
    whole = (place / "boots" / "00.png").read_bytes()
    (place / "broken.jpg").write_bytes(whole[:60])
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])  # its header is fine
    (place / "notes.txt").write_text("no photo")
    return place


def test_a_folder_is_embedded_as_photos_are_and_bad_ones_cost_a_line(model: Path, folder: Path) -> None:
    embedding, problems = EmbedderFile(model, threads=1).embed_folder(folder)
    assert embedding.ids == [f"boots/{number:02d}.png" for number in range(70)]
    for name, vector in zip(embedding.ids, embedding.vectors, strict=True):
        pixels = fit_to(Image.open(folder / name), size=(64, 96), fit="stretch")
        np.testing.assert_allclose(vector, pixels.mean(axis=(0, 1)), rtol=1e-4)
    assert problems["file"].tolist() == ["broken.jpg", "cut.png", "notes.txt", "tiny.png"]


def test_the_command_needs_no_tensorflow_and_no_project(model: Path, folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from solesearch.cost import embedder_file as tool; "
        "status = tool.main(); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, str(model), str(folder), "--out", "vectors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "70 photos, 3 numbers each, ids in mean.ids.txt; 4 remarks in mean.problems.csv" in done.stdout
    held = load_embedding(tmp_path / "vectors", "mean")
    assert held.vectors.shape == (70, 3) and held.vectors.dtype == np.float32
    missing = subprocess.run(
        [*command[:4], "nowhere"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert missing.returncode == 1 and missing.stderr.splitlines()[-1] == (
        "error: nowhere: no such folder; name the one that holds the photos"
    )


def test_what_is_no_such_file_is_said_in_one_line(model: Path, workspace: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.onnx: no such file; `make export` writes one"):
        EmbedderFile(model.with_name("nothing.onnx"))
    other = ModelProto.FromString(model.read_bytes())
    del other.metadata_props[:]
    (foreign := model.with_name("foreign.onnx")).write_bytes(other.SerializeToString())
    with pytest.raises(InputError, match="an ONNX network without a card"):
        EmbedderFile(foreign)
    (text := model.with_name("text.onnx")).write_text("no network")
    with pytest.raises(InputError, match=r"text.onnx: no ONNX network"):
        EmbedderFile(text)
    with pytest.raises(InputError, match=r"ladder/best.onnx: not there yet; stage ladder writes it"):
        best_file(Paths.of("smoke"))


def test_a_folder_without_a_photo_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no photo that can be read; wanted are .jpg"):
        EmbedderFile(model).embed_folder(tmp_path / "empty")
    (tmp_path / "empty" / "a.jpg").write_bytes(b"text")
    with pytest.raises(InputError, match=r"empty: no photo that can be read \(a.jpg: "):
        EmbedderFile(model).embed_folder(tmp_path / "empty")
