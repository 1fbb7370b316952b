"""Adding a folder of new photos to a profile (C: the system grows by new product images) and searching there.

Everything goes to runs/<profile>/growth/<name>, a folder that no stage of the pipeline owns; what the stages
made is read and left as it was, so `dvc repro` stays up to date. Each growth starts from the catalogue as the
pipeline left it, not from an earlier growth. To keep photos for good, put them beside the others and run the
pipeline.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.model_names import BEST, PROPOSED
from solesearch.core.paths import Paths
from solesearch.core.provenance import code_digest
from solesearch.core.settings import Section, check_known, load_section
from solesearch.core.workers import run_trainings
from solesearch.cost.embedder_file import EmbedderFile, best_file
from solesearch.evaluation.study import BEST_INDEX, Study, read_chosen
from solesearch.gan.continuation import continue_training, last_discriminator, last_state
from solesearch.gan.trainer import TrainingFolder, claim, made_with
from solesearch.photos.catalog import PROBLEM_COLUMNS, CatalogSettings, examine_all
from solesearch.photos.labels_file import class_name
from solesearch.photos.photo import SUFFIXES, PhotoRefusedError, fit_to, open_checked, read_file
from solesearch.photos.sources import PASSED_OVER, walk_photos
from solesearch.photos.splits import UNLABELLED

SKIPPED = "skipped"
MODELS = {"infogan": PROPOSED, "best": BEST}  # as the command calls them
NETWORK_FILES = {PROPOSED: "discriminator.npz", BEST: "best.onnx"}  # what a growth keeps of its network
SUMMARY = "growth.json"  # written last: a folder that has it is whole
NAME = re.compile(r"\w[\w.-]*")


class GrowthSettings(Section, section="growth"):
    """How a catalogue grows; `params.yaml`, section `growth`, holds the values and their sources."""

    steps: NonNegativeInt  # training steps on old and new photos; 0 leaves the network as it is
    new_class: str  # the class that the experiment adds whole; "": the last one by name


# --- the new photos --------------------------------------------------------------------------------------


class NewPhotos(NamedTuple):
    """What a folder brings: m photos that can be read and are not there yet."""

    photos: pd.DataFrame  # id (<name>/<file below the folder>), file, label, width, height, sha256
    pixels: np.ndarray  # uint8 [m, h, w, 3], decoded as the catalogue was
    problems: pd.DataFrame  # file, problem, action

    @property
    def sha256(self) -> str:
        """The digest of all photos' bytes and ids."""
        lines = "".join(f"{row.sha256}  {row.id}\n" for row in self.photos.itertuples())
        return hashlib.sha256(lines.encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Keep photos.csv, problems.csv and pixels.npy in a folder."""
        files.write_table(folder / "photos.csv", self.photos)
        files.write_table(folder / "problems.csv", self.problems)
        files.write_array(folder / "pixels.npy", self.pixels)


def read_new_photos(
    folder: Path, *, name: str, settings: CatalogSettings, known: Mapping[str, str]
) -> NewPhotos:
    """Read, check and decode every photo below `folder`, sorted by name; m photos stay.

    `known` maps the sha256 of photos that are there already to their ids; the same bytes are skipped, and so
    is a second copy in the folder itself. The label is the top folder's name in lower case and judges nothing
    here. Raises InputError when there is no folder, no photo in it, or none that is readable and new.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that holds the new photos")
    names, problems = walk_photos(folder)
    if not names:
        raise InputError(f"{folder}: holds no photos; wanted files that end in {', '.join(SUFFIXES)}")
    seen, rows, pixels = dict(known), [], []
    for file, photo in zip(names, examine_all(folder, names, settings), strict=True):
        problems += [(file, *remark) for remark in photo.remarks]
        if photo.facts is None:
            continue
        digest, photo_id = photo.facts["sha256"], f"{name}/{file}"
        if digest in seen:
            problems.append((file, f"the same bytes as {seen[digest]}", SKIPPED))
            continue
        seen[digest] = photo_id
        label = class_name(file.split("/")[0]) if "/" in file else UNLABELLED
        rows.append({"id": photo_id, "file": file, "label": label, **photo.facts})
        pixels.append(photo.pixels)
    if not rows:
        first = ": ".join(next(line for line in problems if line[2] != PASSED_OVER)[:2])
        raise InputError(
            f"{folder}: none of its {len(names)} photos is readable and new ({first}); add others"
        )
    table = pd.DataFrame(sorted(problems), columns=list(PROBLEM_COLUMNS))
    return NewPhotos(pd.DataFrame(rows), np.stack(pixels), table)


# --- adding them -----------------------------------------------------------------------------------------


def add_folder(
    profile: str, folder: Path, *, model: str = PROPOSED, steps: int | None = None, name: str = ""
) -> dict[str, Any]:
    """Add the photos below `folder` to a profile under a name of their own; return the summary.

    `steps` (None: params.yaml) trains the first seed's InfoGAN on from its last state on old and new photos
    and builds a new index over all of them. With 0 steps the chosen discriminator embeds the new photos alone
    and they are added to the served index, which is not built anew; so it is with the best model without
    labels (`model` BEST), which has no steps. A killed run goes on when the same command is given again.
    Raises InputError before anything is computed.
    """
    if model == BEST and steps:
        raise InputError(
            f"STEPS={steps}: the best model without labels is not trained on step by step; leave it out, or "
            "put the photos beside the profile's others and run the pipeline: it learns in minutes"
        )
    study, name = Study.open(profile), folder_name(folder, name)
    steps = 0 if model == BEST else GrowthSettings.load(profile, steps=steps).steps
    new = read_addable(study, folder.expanduser(), name=name)
    config = config_of(study, new, model=model, steps=steps)
    work = partial(grow, study, new, model=model, steps=steps)
    return made_once(study.paths, study.paths.growth / name, config, work)


def made_once(
    paths: Paths, final: Path, config: dict[str, Any], work: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Return the summary of `work`, done in a folder that gets the name `final` when it is whole.

    What a killed run left there is used if it was made with the same `config`, and so is what is done. Raises
    InputError where `final` was made with another one.
    """
    if not final.exists():
        unfinished = final.with_name(f".{final.name}.partial")
        claim(unfinished, config, set_aside=paths.set_aside)
        summary = work(unfinished)
        files.write_json(unfinished / SUMMARY, {"name": final.name, **summary})
        unfinished.replace(final)
    if not ((final / SUMMARY).is_file() and made_with(final, config)):
        raise InputError(
            f"{final}: is there already, from other photos, model, steps, training or code; "
            "choose another --name, or move it away"
        )
    return json.loads((final / SUMMARY).read_text(encoding="utf-8"))


def folder_name(folder: Path, name: str) -> str:
    """Return the name under which a folder's photos are kept; InputError for one that is none."""
    name = name or folder.expanduser().resolve().name
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r}: no name for a folder; choose one of letters and digits with --name")
    return name


def read_addable(study: Study, folder: Path, *, name: str) -> NewPhotos:
    """Return a folder's photos that the catalogue lacks; InputError where they would not go with its own."""
    catalog = CatalogSettings.load(study.paths.profile)
    if tuple(study.pixels.shape[1:3]) != catalog.image_size:
        raise InputError(
            f"{study.paths.pixels}: photos of {study.pixels.shape[1:3]}, while catalog.preset "
            f"{catalog.preset} makes {catalog.image_size}; run the pipeline again"
        )
    known = dict(zip(study.photos["sha256"], study.photos["id"], strict=True))
    new = read_new_photos(folder, name=name, settings=catalog, known=known)
    if taken := sorted(set(study.photos["id"]) & set(new.photos["id"])):
        raise InputError(f"{taken[0]}: the catalogue has a photo of that id; choose another --name")
    return new


def config_of(study: Study, new: NewPhotos, *, model: str, steps: int) -> dict[str, Any]:
    """Return what decides a growth's result: code, photos, steps, and the network that it starts from."""
    network, step = starting_network(study, model=model, steps=steps)
    return {
        "code": code_digest("solesearch.beyond.growth"),
        "photos": new.sha256,
        "catalogue": files.digest(study.paths.photos),
        "model": model,
        "seed": study.seeds[0],
        "steps": steps,
        "started_from": {"step": step, "sha256": files.digest(network)},
    }


def starting_network(study: Study, *, model: str, steps: int) -> tuple[Path, int]:
    """Return the file that a growth starts from, and its step.

    InfoGAN's last state, or its chosen checkpoint for 0 steps; the best model's exported file, at 0.
    """
    if model == BEST:
        return best_file(study.paths), 0
    if steps:
        return last_state(study.paths, study.seeds[0])
    step = read_chosen(study.paths)[study.seeds[0]]
    return checkpoint_file(study.paths.gan_seed(study.seeds[0]), step), step


def grow(study: Study, new: NewPhotos, folder: Path, *, model: str, steps: int) -> dict[str, Any]:
    """Write the photos, train on if asked, embed, extend or build the index; return the summary's facts."""
    paths, seed, started = study.paths, study.seeds[0], time.monotonic()
    new.write(folder)
    training = folder / "infogan" / f"seed-{seed}"
    if steps:
        wanted = (paths, training, seed, steps, folder / "pixels.npy")
        run_trainings(continue_training, {f"seed {seed}": wanted}, at_once=1)
        network = last_discriminator(training)
        step = int(network.stem.rpartition("-")[2])
    else:
        network, step = starting_network(study, model=model, steps=0)
    with files.replacing(folder / NETWORK_FILES[model]) as temporary:
        shutil.copyfile(network, temporary)
    served = paths.ladder / BEST_INDEX if model == BEST else paths.index
    index = grown_index(study, new, network, served=None if steps else served)
    index.save(folder / "index")
    actions = new.problems["action"]
    return {
        "profile": paths.profile,
        "added": len(new.photos),
        "known_already": int((actions == SKIPPED).sum()),
        "left_out": int((actions == "left out").sum()),
        "model": model,
        "steps": steps,
        "network_step": step,
        "photos": len(index),
        "index": index.description,
        "training_seconds": TrainingFolder(paths, training).seconds,
        "seconds": round(time.monotonic() - started, 1),
    }


def embedding_of(study: Study, network: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return what embeds photos, uint8 [n, h, w, 3] to float32 [n, d]: an exported file, or a checkpoint.

    A checkpoint brings TensorFlow, which has to be imported before FAISS.
    """
    return EmbedderFile(network).embed if network.suffix == ".onnx" else study.embedder.load(network).embed


def grown_index(study: Study, new: NewPhotos, network: Path, *, served: Path | None):
    """Return an index over old and new photos.

    The `served` one with the new vectors added; None, one that is built over all photos, embedded anew, since
    another network's vectors do not mix with the old ones.
    """
    embed = embedding_of(study, network)
    vectors, ids = embed(new.pixels), new.photos["id"].tolist()
    from solesearch.index.faiss_index import FaissIndex

    if served:
        index = FaissIndex.load(served)
        index.add(Embedding(ids, vectors))
        return index
    options = load_section(study.paths.profile, "index")
    every = Embedding([*study.photos["id"], *ids], np.concatenate([embed(study.pixels), vectors]))
    return FaissIndex.build(every, factory=options["factory"], effort=options["effort"])


def summary_line(summary: dict[str, Any]) -> str:
    """Return a growth's summary as one line."""
    step = summary["network_step"]
    if summary["steps"]:
        network = f"InfoGAN trained on for {summary['steps']} steps to step {step}, all photos embedded anew"
    elif summary["model"] == BEST:
        network = "best model without labels, its index extended without a rebuild"
    else:
        network = f"network unchanged (step {step}), index extended without a rebuild"
    place = f"runs/{summary['profile']}/growth/{summary['name']}"
    return (
        f"{summary['added']} photos added, {summary['known_already']} known already, "
        f"{summary['left_out']} left out ({place}/problems.csv); {network}; "
        f"{summary['photos']:,} photos in {place}/index, {summary['seconds']:.0f} s"
    )


# --- searching -------------------------------------------------------------------------------------------


def grown_folder(paths: Paths, name: str) -> Path:
    """Return a whole growth's folder; raises InputError that says which there are."""
    folder = paths.growth / name
    if not (name and (folder / SUMMARY).is_file()):
        there = sorted(path.parent.name for path in paths.growth.glob(f"[!.]*/{SUMMARY}"))
        raise InputError(
            f"{paths.growth}: no growth named {name!r}; there are {', '.join(there) or 'none yet'}"
        )
    return folder


def search(profile: str, name: str, photo: Path, *, k: int = 5) -> pd.DataFrame:
    """Return the k photos of a grown catalogue nearest to a photo's file: columns id, distance, new.

    The photo is decoded as the catalogue was and embedded by the growth's own network. Raises InputError for
    an unknown name, a photo that cannot be read, or a k beyond the index.
    """
    folder = grown_folder(Paths.of(profile), name)
    if (exported := folder / NETWORK_FILES[BEST]).is_file():  # knows how photos are read; no stage is asked
        model = EmbedderFile(exported)
        catalog, embed = model.catalog, model.embed
    else:
        catalog = CatalogSettings.load(profile)
        embed = embedding_of(Study.open(profile), folder / NETWORK_FILES[PROPOSED])
    try:
        image, _ = open_checked(read_file(photo), min_side=catalog.min_side, max_pixels=catalog.max_pixels)
    except (OSError, PhotoRefusedError) as error:
        words = getattr(error, "strerror", None) or error
        raise InputError(f"{photo}: {words}; take another photo") from error
    pixels = fit_to(image, size=catalog.image_size, fit=catalog.fit)[None]
    vector = embed(pixels)[0]
    from solesearch.index.faiss_index import FaissIndex  # after TensorFlow

    neighbours = pd.DataFrame(FaissIndex.load(folder / "index").search(vector, k=k))
    new = files.read_table(folder / "photos.csv", made_by="make add")["id"]
    return neighbours.assign(new=neighbours["id"].isin(new))


def main() -> int:
    """Add a folder of new photos to a profile, or search among them (`--search PHOTO --name NAME`)."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.beyond.growth", description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("folder", type=Path, nargs="?", help="the new photos, in folders or not")
    parser.add_argument("--model", default="infogan", help=f"that embeds: {' or '.join(MODELS)} (infogan)")
    parser.add_argument("--steps", type=int, help="of training on old and new photos; 0: none (params.yaml)")
    parser.add_argument("--name", default="", help="of the growth; default: the folder's name")
    parser.add_argument("--search", type=Path, metavar="PHOTO", help="search a grown catalogue by a photo")
    parser.add_argument("-k", type=int, default=5, help="answers of a search (5)")
    given = parser.parse_args()
    if (given.folder is None) == (given.search is None):
        parser.error("name a folder of new photos, or a photo with --search and --name")

    def work() -> None:
        check_known([given.profile])
        if given.model not in MODELS:
            raise InputError(f"MODEL={given.model}: there are {', '.join(MODELS)}")
        if given.search:
            print(search(given.profile, given.name, given.search, k=given.k).to_string())
            return
        options = {"model": MODELS[given.model], "steps": given.steps, "name": given.name}
        summary = add_folder(given.profile, given.folder, **options)
        print(summary_line(summary))
        name = summary["name"]
        print(f"search: python -m solesearch.beyond.growth {given.profile} --name {name} --search PHOTO")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
