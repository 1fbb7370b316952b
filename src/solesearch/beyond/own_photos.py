"""`make learn DATA=folder`: the best kind of model, learned from a folder of photos alone.

No class, no product, no other stage: a dictionary of gradient patches (dictionary.py) and components oriented
by neighbours (post_processing.py), with the settings of profile `photos`. What is learned lies where a growth
of that profile would, and is searched like one (growth.py): runs/photos/growth/<name>/ gets best.onnx with
its card, the photos' vectors best.npy, their index, and problems.csv.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from solesearch.beyond.dictionary import learned_trunk
from solesearch.beyond.export import CHECKED, check_alike, network_file
from solesearch.beyond.growth import NewPhotos, folder_name, made_once, read_new_photos
from solesearch.beyond.methods import JudgingSettings, Method
from solesearch.beyond.post_processing import fit_methods
from solesearch.beyond.variants import DictionarySettings
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.provenance import code_digest
from solesearch.cost.embedder_file import BEST_NAME, CARD, EmbedderFile
from solesearch.cost.onnx_model import save_onnx
from solesearch.evaluation.study import BEST_EMBEDDING, BEST_INDEX
from solesearch.photos.catalog import CatalogSettings

PROFILE, RECIPE, SEED = "photos", "code_root_oriented", 1


def learn(folder: Path, *, name: str = "") -> dict[str, Any]:
    """Learn a model from the photos below `folder`, whatever its folders are called; return the summary.

    Done once for the same photos, settings and code. Raises InputError before anything is learned, and for
    too few photos.
    """
    name, catalog = folder_name(folder, name), CatalogSettings.load(PROFILE)
    judging, dictionary = JudgingSettings.load(PROFILE), DictionarySettings.load(PROFILE)
    new = read_new_photos(folder.expanduser(), name=name, settings=catalog, known={})
    method = judging.methods[RECIPE]
    if len(new.photos) <= method.whitened:
        raise InputError(
            f"{folder}: {len(new.photos)} photos that can be read, and vectors of {method.whitened} numbers "
            "need more; add photos, or lower ladder.judging.code_dimensions in params.yaml"
        )
    config = {
        "code": code_digest("solesearch.beyond.own_photos"),
        "photos": new.sha256,
        "catalog": catalog.model_dump(mode="json"),
        "dictionary": dictionary.model_dump(),
        "method": {**dataclasses.asdict(method), "layers": list(method.layers)},
        "fitting_photos": judging.fitting_photos,
    }
    work = partial(write_model, new, catalog=catalog, judging=judging, dictionary=dictionary)
    paths = Paths.of(PROFILE)
    return made_once(paths, paths.growth / name, config, work)


def write_model(
    new: NewPhotos,
    folder: Path,
    *,
    catalog: CatalogSettings,
    judging: JudgingSettings,
    dictionary: DictionarySettings,
) -> dict[str, Any]:
    """Learn from the photos, write model, vectors and index into `folder`, and return the summary's facts."""
    started, method = time.monotonic(), judging.methods[RECIPE]
    new.write(folder)
    trunk, _ = learned_trunk(new.pixels, dictionary, seed=SEED)
    [fitted] = fit_methods(trunk, [method], new.pixels[judging.fitting_rows(len(new.pixels))])
    content, function = network_file(trunk, fitted, image_size=catalog.image_size)
    card = learned_card(method, new, catalog)
    save_onnx(folder / BEST_NAME, content, metadata={CARD: json.dumps(card)})
    model = EmbedderFile(folder / BEST_NAME)
    check_alike(function(new.pixels[:CHECKED]).numpy(), model.embed(new.pixels[:CHECKED]))
    embedding = Embedding(new.photos["id"].tolist(), model.embed(new.pixels))
    save_embedding(folder, BEST_EMBEDDING, embedding)
    from solesearch.index.faiss_index import FaissIndex  # after TensorFlow

    index = FaissIndex.build(embedding)
    index.save(folder / BEST_INDEX)
    return {
        "photos": len(new.photos),
        "left_out": int((new.problems["action"] == "left out").sum()),
        "index": index.description,
        "seconds": round(time.monotonic() - started, 1),
    }


def learned_card(method: Method, new: NewPhotos, catalog: CatalogSettings) -> dict[str, Any]:
    """Return the file's card: nobody judged this model, so it says so."""
    return {
        "model": f"dictionary of gradients: {method.title}",
        "variant": "dictionary",
        "recipe": RECIPE,
        "seed": SEED,
        "catalog": catalog.model_dump(mode="json"),
        "profile": PROFILE,
        "photographs": new.sha256,
        "training_photos": len(new.photos),
        "judged": None,
    }


def main() -> int:
    """Learn a model from a folder of photos; solesearch.beyond.growth searches among them."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.beyond.own_photos", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the photos, in folders or not")
    parser.add_argument("--name", default="", help="of what is learned; default: the folder's name")
    given = parser.parse_args()

    def work() -> None:
        summary = learn(given.folder, name=given.name)
        place = f"runs/{PROFILE}/growth/{summary['name']}"
        print(
            f"learned from {summary['photos']} photos, {summary['left_out']} left out "
            f"({place}/problems.csv); {place}/{BEST_NAME}, {summary['seconds']:.0f} s\n"
            f"search: python -m solesearch.beyond.growth {PROFILE} --name {summary['name']} --search PHOTO"
        )

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
