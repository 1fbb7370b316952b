"""The best model without labels as one ONNX file with a card: uint8 photos in, whitened vectors out.

Stage ladder writes it (`write_model`); page and commands use that file. `make export` copies it out.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.beyond.ablation import Ablation
from solesearch.beyond.effects import PAPER, Model
from solesearch.beyond.methods import PLAIN
from solesearch.beyond.post_processing import FittedMethod, embedding_function
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.cost.embedder_file import CARD, EmbedderFile
from solesearch.cost.onnx_model import export_features, save_onnx, with_plain_names
from solesearch.evaluation.study import Study, catalogue_summary
from solesearch.photos.catalog import CatalogSettings

PAPERS_MODEL = Model(PAPER, PLAIN)
CHECKED = 64  # photos whose vectors the file must give as TensorFlow does
ALIKE = 0.999  # least cosine
LARGE = 1024  # values of a weight that is worth halving


def card(ablation: Ablation, model: Model, *, seed: int, table: pd.DataFrame) -> dict[str, Any]:
    """Return what goes with the file: what it is, how photos are read, what it learned from, how judged."""
    study, profile = ablation.study, ablation.study.paths.profile
    judged = table[(table["split"] == "test") & (table["seed"] == "all")]
    mine = judged[(judged["variant"] == model.variant) & (judged["recipe"] == model.recipe)].iloc[0]
    measured = ["value", "low", "high", "macro", "macro_low", "macro_high"]
    return {
        "model": ablation.title(model),
        "variant": model.variant,
        "recipe": model.recipe,
        "seed": seed,
        "catalog": CatalogSettings.load(profile).model_dump(mode="json"),
        "profile": profile,
        "photographs": catalogue_summary(study.paths)["sha256"],
        "training_photos": int((study.photos["split"] == "training").sum()),
        "judged": {
            "measure": f"precision@{mine['k']}",
            "gallery": mine["gallery"],
            "queries": int(mine["n"]),
            **{name: round(float(mine[name]), 4) for name in measured},
        },
    }


def model_file(ablation: Ablation, model: Model, *, seed: int) -> tuple[bytes, Any]:
    """Return a model as `network_file` does."""
    size = ablation.study.gan.image_size
    return network_file(*ablation.fitted(model, seed=seed), image_size=size)


def network_file(network, fitted: FittedMethod, *, image_size: tuple[int, int]) -> tuple[bytes, Any]:
    """Return a network and a method as an ONNX file, weights in half precision, and the function it is of.

    Both take photos uint8 [n, h, w, 3] to vectors float32 [n, k].
    """
    function = embedding_function(network, fitted, image_size=image_size)
    return with_plain_names(with_half_weights(export_features(function))), function


def with_half_weights(content: bytes) -> bytes:
    """Return an ONNX network that keeps its large weights as float16: half the size, the same arithmetic.

    ONNX Runtime turns them back into float32 once, when it loads the file.
    """
    import onnx

    model = onnx.ModelProto.FromString(content)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) >= LARGE:
            name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def write_model(ablation: Ablation, model: Model, table: pd.DataFrame, path: Path) -> dict[str, Any]:
    """Write a model as an ONNX file with its card inside, and return the card. `table`: ladder.csv.

    The first seed that met the test photos is taken. Raises InputError where the file embeds otherwise than
    the network did.
    """
    study, seed = ablation.study, ablation.seeds(model.variant, split="test")[0]
    content, function = model_file(ablation, model, seed=seed)
    described = card(ablation, model, seed=seed, table=table)
    save_onnx(path, content, metadata={CARD: json.dumps(described)})
    pixels = np.asarray(study.pixels[:CHECKED])
    check_alike(function(pixels).numpy(), EmbedderFile(path).embed(pixels))
    return described


def embed_catalogue(study: Study, path: Path) -> Embedding:
    """Embed every photo with an exported model, write the vectors beside its file and return them."""
    embedding = Embedding(study.photos["id"].tolist(), EmbedderFile(path).embed(study.pixels))
    save_embedding(path.parent, path.stem, embedding)
    return embedding


def check_alike(wanted: np.ndarray, found: np.ndarray) -> None:
    """Raise InputError where the cosine of two vectors of one photo, float32 [n, k], is below ALIKE."""
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (wanted * found).sum(axis=1) / np.maximum(lengths, 1e-12)
    if (cosines < ALIKE).any():
        raise InputError(
            f"the exported file embeds a photo otherwise than the network did (cosine {cosines.min():.4f}); "
            "the pipeline's ONNX packages are not those of requirements.lock"
        )
