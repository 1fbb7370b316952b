"""Photos decoded again at a network's input size, from wherever the profile keeps them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.photos.catalog import CatalogSettings, photo_folder
from solesearch.photos.photo import decode_photos, load_pixels


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (136, 102)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_photos_come_in_the_order_asked_for(tmp_path: Path) -> None:
    colours = {"a/red.png": (255, 0, 0), "b/green.png": (0, 255, 0), "b/blue.png": (0, 0, 255)}
    for name, colour in colours.items():
        save(tmp_path / name, colour)
    asked = ["b/blue.png", "a/red.png", "b/green.png"]
    pixels = decode_photos(asked, folder=tmp_path, size=(224, 224), fit="stretch")
    assert pixels.shape == (3, 224, 224, 3) and pixels.dtype == np.uint8
    assert [tuple(photo[112, 112]) for photo in pixels] == [colours[name] for name in asked]
    np.testing.assert_array_equal(
        pixels[1], load_pixels(tmp_path / "a/red.png", size=(224, 224), fit="stretch")
    )
    padded = decode_photos(asked, folder=tmp_path, size=(224, 224), fit="pad")
    assert tuple(padded[0, 0, 0]) == (255, 255, 255), "the proportions are kept on white"


@pytest.mark.parametrize("fault", ["gone", "damaged"])
def test_a_photo_that_changed_since_is_named(tmp_path: Path, fault: str) -> None:
    save(tmp_path / "a.png", (1, 2, 3))
    if fault == "gone":
        (tmp_path / "a.png").unlink()
    else:
        (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\.png: could be read by stage prepare, not now"):
        decode_photos(["a.png"], folder=tmp_path, size=(96, 96), fit="stretch")


def test_every_source_has_its_folder(workspace: Path) -> None:
    paths, settings = Paths.of("smoke"), CatalogSettings.load("smoke")
    with pytest.raises(InputError, match="the photographs are gone"):
        photo_folder(paths, settings)
    paths.drawn.mkdir(parents=True)
    assert photo_folder(paths, settings) == paths.drawn

    paths.data.mkdir(parents=True, exist_ok=True)
    assert photo_folder(paths, settings.model_copy(update={"source": "folders"})) == paths.data

    official = settings.model_copy(update={"source": "official"})
    (paths.catalogue / "extracted/ut-zap50k-images/Shoes").mkdir(parents=True)
    assert photo_folder(paths, official) == paths.catalogue / "extracted/ut-zap50k-images"
    (paths.data / "ut-zap50k-images/Boots").mkdir(parents=True)
    assert photo_folder(paths, official) == paths.data / "ut-zap50k-images"
