"""A profile small enough for tests, with known numbers: tables by hand, or 24 photos and a network."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from onnx import TensorProto, helper
from PIL import Image

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, save_variables
from solesearch.core.paths import Paths
from solesearch.cost.embedder_file import CARD
from solesearch.cost.onnx_model import save_onnx
from solesearch.evaluation import study
from solesearch.gan.infogan import build_discriminator
from solesearch.gan.training import load_gan
from solesearch.photos.catalog import CatalogSettings
from solesearch.photos.sources import PAPER_CLASSES

TENSORFLOW = "TensorFlow (tf.function)"


def open_small_study(size: tuple[int, int] = (32, 48)) -> study.Study:
    """24 photos of two classes (dark and light), two products each split, checkpoints 0, 4, 8 of one seed."""
    paths, draw = Paths.of("smoke"), np.random.default_rng(0)
    label = np.array(["dark", "light"] * 12)
    pixels = draw.integers(0, 60, (24, *size, 3)) + np.where(label == "dark", 0, 190)[:, None, None, None]
    files.write_array(paths.pixels, pixels.astype(np.uint8))
    split = ["training"] * 4 + ["validation"] * 8 + ["test"] * 12
    photos = pd.DataFrame({"id": [f"{n:02d}.png" for n in range(24)], "label": label, "product": ""})
    photos = photos.assign(group=[str(n // 4) for n in range(24)], position=0, split=split)
    files.write_table(paths.photos, photos)
    files.write_table(
        paths.duplicates, pd.DataFrame(columns=["first", "second", "kind", "distance", "same_product"])
    )
    paths.drawn.mkdir(parents=True, exist_ok=True)
    for name, photo in zip(photos["id"], pixels.astype(np.uint8), strict=True):
        Image.fromarray(photo).save(paths.drawn / name)
    settings = load_gan("smoke", image_size=size)
    for step in (0, 4, 8):
        save_variables(
            checkpoint_file(paths.gan_seed(1), step), build_discriminator(settings, seed=step).variables
        )
    config = {"settings": {"noise": settings.noise}, "seed": 1, "threads": 1, "training_photos": 4}
    files.write_json(paths.gan_seed(1) / "config.json", config)
    opened = study.Study.open("smoke")
    checkpoints = study.judge_checkpoints(opened, split="validation")
    files.write_table(paths.checkpoints, study.mark_chosen(checkpoints, gallery="naive", k=5))
    for model, step in (("infogan", study.read_chosen(paths)[1]), ("untrained_discriminator", 0)):
        study.embed_learned(opened, model=model, seed=1, step=step)
    return opened


def write_results(profile: str, **changes: pd.DataFrame) -> Paths:
    """Write the tables of a profile by hand: precision .83 and .85 by seed, VGG16 at .75, HOG at .9."""
    paths = Paths.of(profile)
    for name, table in {**tables(), **changes}.items():
        files.write_table(paths.result(name), table)
    stages = {"06_evaluate": {"seconds": 60.0, "peak_memory_mb": 1}}
    run = {"cpu": "one", "cores": 2, "memory_gb": 1.0, "versions": {"numpy": "2"}, "git_commit": "no git"}
    (paths.results / "run.json").write_text(json.dumps({**run, "stages": stages}))
    return paths


def retrieval_rows(values: dict[tuple[str, int], float], *, n: int = 100) -> pd.DataFrame:
    """Return results rows of both galleries for {(model, seed): precision@5}."""
    rows = [
        (model, seed, gallery, "precision", 5, part, value, n)
        for (model, seed), value in values.items()
        for gallery in ("naive", "product_excluded")
        for part in ("all", "heels")
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "gallery", "metric", "k", "class", "value", "n"])


def interval_rows(values: dict[str, float], *, half: float = 0.004) -> pd.DataFrame:
    """Return intervals of the mean over the seeds, `half` to each side."""
    rows = [
        (model, seed, gallery, "precision", 5, value, value - half, value + half, 100, 20)
        for model, value in values.items()
        for gallery in ("naive", "product_excluded")
        for seed in ("1", "all")
    ]
    names = ["model", "seed", "gallery", "metric", "k", "value", "low", "high", "n", "units"]
    return pd.DataFrame(rows, columns=names)


def difference_rows(conclusions: dict[str, tuple[float, str]]) -> pd.DataFrame:
    """Return paired differences in the naive gallery: {model: (difference, conclusion)}."""
    rows = [
        (
            model,
            "naive",
            "precision",
            5,
            gap,
            gap - 0.01,
            gap + 0.01,
            0.001,
            0.01,
            0.02,
            100,
            20,
            conclusion,
            "why",
        )
        for model, (gap, conclusion) in conclusions.items()
    ]
    return pd.DataFrame(rows, columns=[
        "model", "gallery", "metric", "k", "difference", "low", "high", "p", "p_holm", "seed_spread", "n",
        "units", "conclusion", "reason",
    ])  # fmt: skip


def tables() -> dict[str, pd.DataFrame]:
    """Return the default tables of `write_results`."""
    seeds = {
        ("infogan", 1): 0.83,
        ("infogan", 2): 0.85,
        ("VGG16", 0): 0.75,
        ("hog", 0): 0.9,
        ("random", 0): 0.1,
    }
    means = {"infogan": 0.84, "VGG16": 0.75, "hog": 0.9}
    catalogue = pd.DataFrame(
        [(label, split, 10, 2) for label in PAPER_CLASSES for split in ("training", "validation", "test")],
        columns=["label", "split", "photos", "products"],
    )
    times = pd.DataFrame(
        [("infogan", TENSORFLOW, 1, 2.0, 2.1), ("VGG16", TENSORFLOW, 1, 100.0, 104.0)],
        columns=["model", "runtime", "batch", "median_ms", "p95_ms"],
    )
    return {
        "catalogue": catalogue,
        "retrieval": retrieval_rows(seeds),
        "intervals": interval_rows(means),
        "differences": difference_rows({"VGG16": (-0.09, "lower"), "hog": (0.06, "higher")}),
        "latency": times.assign(images_per_s=1.0, parameters=1, file_mb=1.0, machine="one"),
        "networks": pd.DataFrame({"model": ["VGG16"], "weights": ["placed"]}),
        "sizes": pd.DataFrame(
            [
                ("infogan", "training checkpoint", 5_500_000, 22.0),
                ("VGG16", "with classifier", 138_357_544, 528.0),
            ],
            columns=["model", "what", "parameters", "megabytes"],
        ),
        "mechanics": pd.DataFrame(
            [("features paper-64x96", 1536, ""), ("features paper-128x128", 4096, "")],
            columns=["check", "value", "what"],
        ),
        "training": pd.DataFrame(
            [
                (seed, step, 0.7, 0.7, 0.7, 0.5 - step / 5000)
                for seed in (1, 2)
                for step in range(10, 2501, 10)
            ],
            columns=["seed", "step", "d_real", "d_fake", "generator", "mutual_information"],
        ),
        "checkpoints": pd.DataFrame(
            [("infogan", seed, step, "naive", "precision", 5, 0.8, 50, step == 250 * seed)
             for seed in (1, 2) for step in (0, 250, 500)],
            columns=["model", "seed", "step", "gallery", "metric", "k", "value", "n", "chosen"],
        ),
    }  # fmt: skip


def paint(path: Path) -> None:
    """Change a picture by a black square of 60 pixels."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    pixels[80:140, 80:140] = 0
    Image.fromarray(pixels).save(path)


def write_embedder_file(path: Path, *, card: dict | None = None, **catalog) -> Path:
    """Write a model as stage ladder does: the mean of each channel, uint8 [b, h, w, 3] -> float32 [b, 3]."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", "h", "w", 3])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["b", 3])
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["vectors"], axes=[1, 2], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "mean", [images], [vectors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    read = CatalogSettings.load("smoke").replaced(**catalog)
    facts = {"model": "mean colour", "catalog": read.model_dump(mode="json")}
    save_onnx(path, model.SerializeToString(), metadata={CARD: json.dumps({**facts, **(card or {})})})
    return path
