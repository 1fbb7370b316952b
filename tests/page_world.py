"""A showcase made by hand, without TensorFlow: 24 small photos of three classes, three models, a map."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from PIL import Image

from solesearch.core import files
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.paths import Paths
from solesearch.page.page_process import PageProcess
from solesearch.page.search_service import PIXELS, SIGNED, pairs_file
from solesearch.people.serving import first_free_port
from solesearch.photos.photo import to_signed
from solesearch.retrieval.controls import control_features

HEIGHT, WIDTH = 32, 48
COLOURS = {"boots": (200, 40, 40), "heels": (40, 160, 60), "sandals": (50, 60, 200)}
PHOTOS, TEST = 24, 9
PROFILE = "smoke"


def draw_photo(label: str, shade: int) -> np.ndarray:
    """Return a sole of a class's colour on white, uint8 [HEIGHT, WIDTH, 3]; shades tell photos apart."""
    photo = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    colour = np.clip(np.array(COLOURS[label]) + 2 * shade, 0, 255)
    photo[12:26, 6 : 30 + shade // 2] = colour
    return photo


def photo_table() -> pd.DataFrame:
    """Return photos.csv of the showcase: test photos first, numbers as in stage prepare's table."""
    labels = [list(COLOURS)[number % 3] for number in range(PHOTOS)]
    table = pd.DataFrame({"number": range(PHOTOS), "label": labels})
    table["id"] = [f"{label}/{number:02d}.png" for number, label in enumerate(labels)]
    # Photos 0, 3, 6 are one product, 1, 4, 7 another, and so on: three photos a product.
    table["group"] = [f"{label}-{number // 9}" for number, label in enumerate(labels)]
    table["split"] = ["test" if number >= PHOTOS - TEST else "training" for number in range(PHOTOS)]
    table = table.assign(position=0)
    late = (table["split"] != "test").to_numpy()
    return table.iloc[np.argsort(late, kind="stable")].reset_index(drop=True)


def mean_network() -> bytes:
    """Return an ONNX network that gives the mean of each channel: [b, h, w, 3] in [-1, 1] -> [b, 3]."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", HEIGHT, WIDTH, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["b", 3])
    node = helper.make_node("ReduceMean", ["images"], ["features"], axes=[1, 2], keepdims=0)
    graph = helper.make_graph([node], "mean", [images], [features])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def make_showcase() -> Paths:
    """Write photos and a whole showcase of the profile `smoke` below $SOLESEARCH_ROOT; return its paths."""
    paths, table = Paths.of(PROFILE), photo_table()
    folder = paths.showcase
    pixels = np.stack([draw_photo(*pair) for pair in zip(table["label"], table["number"], strict=True)])
    for name, photo in zip(table["id"], pixels, strict=True):
        (paths.drawn / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(paths.drawn / name)
    files.write_table(folder / "photos.csv", table)
    vectors = {
        "infogan": to_signed(pixels).mean(axis=(1, 2)).astype(np.float32),
        "mean_colour": control_features("mean_colour", pixels),
        "pixels": control_features("pixels", pixels[:TEST]),
    }
    models = []
    for name, held in vectors.items():
        save_embedding(folder, name, Embedding(table["id"].tolist()[: len(held)], held))
        files.write_array(pairs_file(folder, name), all_pairs(held[:TEST]))
        learned = name == "infogan"
        models.append({
            "name": name, "title": name.replace("_", " "), "photos": len(held), "dimensions": held.shape[1],
            "file": "infogan.onnx" if learned else "", "takes": SIGNED if learned else PIXELS,
            "size": [HEIGHT, WIDTH],
        })  # fmt: skip
    (folder / "infogan.onnx").write_bytes(mean_network())
    points = np.random.default_rng(0).random((PHOTOS, 2))
    files.write_table(folder / "map.csv", table[["id", "label"]].assign(x=points[:, 0], y=points[:, 1]))
    files.write_json(folder / "showcase.json", {
        "catalogue": "0123456789abcdef", "synthetic": True, "photos": PHOTOS,
        "photo_folder": str(paths.drawn.relative_to(paths.root)), "fit": "stretch", "exclusion_window": 0,
        "checkpoint": {"seed": 1, "step": 4}, "models": models,
    })  # fmt: skip
    return paths


@contextmanager
def served_showcase(repository: Path, root: Path) -> Iterator[PageProcess]:
    """Serve a showcase made by hand below `root`, in a process of its own, as `make app` does."""
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SOLESEARCH_ROOT", str(root))
        make_showcase()
        with PageProcess(PROFILE, port=first_free_port([0])) as running:
            yield running


def all_pairs(vectors: np.ndarray) -> np.ndarray:
    """Return the distances of all pairs, float32, ascending."""
    far = [np.linalg.norm(one - other) for number, one in enumerate(vectors) for other in vectors[:number]]
    return np.sort(np.array(far, dtype=np.float32))


def png(photo: np.ndarray, **options) -> bytes:
    """Return a photo as PNG."""
    return encoded(Image.fromarray(photo), "PNG", **options)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """Return an image as a file of `kind`."""
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()
