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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.provenance import code_digest
from solesearch.core.settings import check_known, fill, load_section
from solesearch.evaluation.study import Study, read_chosen
from solesearch.gan.continuation import (
    Continuation,
    continue_apart,
    last_discriminator,
    last_state,
    seconds_of,
)
from solesearch.gan.embedder import Embedder
from solesearch.gan.training import move_aside
from solesearch.photos.catalog import PROBLEM_COLUMNS, CatalogSettings, examine_all
from solesearch.photos.catalog import load_settings as load_catalog_settings
from solesearch.photos.labels_file import class_name
from solesearch.photos.photo import SUFFIXES, PhotoRefusedError, fit_to, open_checked, read_file
from solesearch.photos.sources import PASSED_OVER, walk_photos
from solesearch.photos.splits import UNLABELLED

SKIPPED = "skipped"
WEIGHTS = "discriminator.npz"
SUMMARY = "growth.json"  # written last: a folder that has it is whole
REQUEST = "request.json"
NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class GrowthSettings:
    """How a catalogue grows; `params.yaml`, section `growth`, holds the values and their sources."""

    steps: int  # training steps on old and new photos; 0 leaves the network as it is
    new_class: str  # the class that the experiment adds whole; "": the last one by name

    def __post_init__(self) -> None:
        """Raise InputError for a number of steps that is none."""
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            raise InputError(f"params.yaml, growth.steps: a whole number from 0; got {self.steps!r}")
        if not isinstance(self.new_class, str):
            raise InputError(
                f"params.yaml, growth.new_class: the name of a class or ''; got {self.new_class!r}"
            )


def load_growth_settings(profile: str, overrides: dict[str, Any] | None = None) -> GrowthSettings:
    """Return section `growth` of a profile; raises InputError naming what is wrong in it."""
    values = load_section(profile, "growth", overrides)
    return fill(GrowthSettings, values, where=f"{profile}.growth")


# --- the new photos --------------------------------------------------------------------------------------


class NewPhotos(NamedTuple):
    """What a folder brings: m photos that can be read and are not there yet."""

    photos: pd.DataFrame  # id (<name>/<file below the folder>), file, label, width, height, sha256
    pixels: np.ndarray  # uint8 [m, h, w, 3], decoded as the catalogue was
    problems: pd.DataFrame  # file, problem, action


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
        if (twin := seen.get(photo.facts["sha256"])) is not None:
            problems.append((file, f"the same bytes as {twin}", SKIPPED))
            continue
        seen[photo.facts["sha256"]] = f"{name}/{file}"
        label = class_name(file.split("/")[0]) if "/" in file else UNLABELLED
        rows.append({"id": f"{name}/{file}", "file": file, "label": label, **photo.facts})
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
    profile: str,
    folder: Path,
    *,
    steps: int | None = None,
    name: str = "",
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Add the photos below `folder` to a profile under a name of their own; return the summary.

    `steps` (None: params.yaml) trains the first seed's InfoGAN on from its last state on old and new photos
    and builds a new index over all of them. With 0 steps the chosen discriminator embeds the new photos alone
    and they are added to the served index, which is not built anew. A killed run goes on when the same
    command is given again. Raises InputError before anything is computed.
    """
    study, name = Study.open(profile, overrides), name or folder.expanduser().resolve().name
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r}: no name for a folder; choose one of letters and digits with --name")
    steps = load_growth_settings(profile, overrides).steps if steps is None else steps
    if steps < 0:
        raise InputError(f"steps: 0 or more; got {steps}")
    known = dict(zip(study.photos["sha256"], study.photos["id"], strict=True))
    catalog = load_catalog_settings(profile, overrides)
    stop_when_decoded_otherwise(study, catalog)
    new = read_new_photos(folder.expanduser(), name=name, settings=catalog, known=known)
    stop_when_ids_taken(study.photos["id"], new.photos["id"])
    request, final = request_of(study, new, steps=steps), study.paths.growth / name
    if final.exists():
        return finished(final, request)
    partial = study.paths.growth / f".{name}.partial"
    open_partial(partial, request, set_aside=study.paths.set_aside)
    write_photos(partial, new)
    summary = grow(study, new, partial, steps=steps, overrides=overrides)
    files.write_json(partial / SUMMARY, {"name": name, **summary})
    partial.replace(final)
    return finished(final, request)


def stop_when_decoded_otherwise(study: Study, catalog: CatalogSettings) -> None:
    """Raise InputError when the catalogue lies there in another size than params.yaml now asks for."""
    if tuple(study.pixels.shape[1:3]) != catalog.image_size:
        raise InputError(
            f"{study.paths.pixels}: photos of {study.pixels.shape[1:3]}, while catalog.preset "
            f"{catalog.preset} makes {catalog.image_size}; run the pipeline again"
        )


def stop_when_ids_taken(old: pd.Series, new: pd.Series) -> None:
    """Raise InputError when a new photo's id is one of the catalogue's."""
    taken = sorted(set(old) & set(new))
    if taken:
        raise InputError(f"{taken[0]}: the catalogue has a photo of that id; choose another --name")


def request_of(study: Study, new: NewPhotos, *, steps: int) -> dict[str, Any]:
    """Return what decides a growth's result: code, photos, steps, and the network that it starts from."""
    seed = study.seeds[0]
    if steps:
        network, step = last_state(study.paths, seed)
    else:
        step = read_chosen(study.paths)[seed]
        network = checkpoint_file(study.paths.gan_seed(seed), step)
    lines = "".join(f"{row.sha256}  {row.id}\n" for row in new.photos.itertuples())
    return {
        "code": code_digest("solesearch.beyond.growth"),
        "photos": hashlib.sha256(lines.encode()).hexdigest(),
        "catalogue": files.digest(study.paths.photos),
        "seed": seed,
        "steps": steps,
        "started_from": {"step": step, "sha256": files.digest(network)},
    }


def finished(final: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return a whole growth's summary; raises InputError when the folder holds another growth."""
    marks = (final / SUMMARY, final / REQUEST)
    if not all(mark.is_file() for mark in marks) or json.loads(marks[1].read_text()) != request:
        raise InputError(
            f"{final}: is there already, from other photos, steps, training or code; choose another --name, "
            "or move it away"
        )
    return json.loads(marks[0].read_text())


def open_partial(partial: Path, request: dict[str, Any], *, set_aside: Path) -> None:
    """Make the working folder; one that another request left behind is set aside, never deleted."""
    mark = partial / REQUEST
    if partial.exists() and not (mark.is_file() and json.loads(mark.read_text()) == request):
        move_aside(partial, set_aside)
    files.write_json(mark, request)


def write_photos(folder: Path, new: NewPhotos) -> None:
    """Write photos.csv, problems.csv and pixels.npy of the new photos."""
    files.write_table(folder / "photos.csv", new.photos)
    files.write_table(folder / "problems.csv", new.problems)
    files.write_array(folder / "pixels.npy", new.pixels)


def grow(
    study: Study, new: NewPhotos, folder: Path, *, steps: int, overrides: dict[str, Any] | None
) -> dict[str, Any]:
    """Train on if asked, embed, extend or build the index in `folder`; return the facts of the summary."""
    seed, training = study.seeds[0], folder / "infogan" / f"seed-{study.seeds[0]}"
    started = time.monotonic()
    if steps:
        wanted = Continuation(training, steps, folder / "pixels.npy")
        continue_apart(study.paths.profile, [wanted], seed=seed, overrides=overrides)
        weights = last_discriminator(training)
    else:
        weights = checkpoint_file(study.paths.gan_seed(seed), read_chosen(study.paths)[seed])
    with files.replacing(folder / WEIGHTS) as temporary:
        shutil.copyfile(weights, temporary)
    embedder = study.embedder.load(weights)  # TensorFlow is imported here, before FAISS
    added = Embedding(new.photos["id"].tolist(), embedder.embed(new.pixels))
    index = rebuilt_index(study, embedder, added) if steps else extended_index(study, added)
    index.save(folder / "index")
    actions = new.problems["action"]
    return {
        "profile": study.paths.profile,
        "added": len(new.photos),
        "known_already": int((actions == SKIPPED).sum()),
        "left_out": int((actions == "left out").sum()),
        "steps": steps,
        "network_step": int(weights.stem.rpartition("-")[2]),
        "photos": len(index),
        "index": index.description,
        "training_seconds": seconds_of(training),
        "seconds": round(time.monotonic() - started, 1),
    }


def extended_index(study: Study, added: Embedding):
    """Return the served index with the new vectors added; nothing of the old is embedded or built again."""
    from solesearch.index.faiss_index import FaissIndex

    index = FaissIndex.load(study.paths.index)
    index.add(added)
    return index


def rebuilt_index(study: Study, embedder: Embedder, added: Embedding):
    """Return a new index over old and new photos: another network's vectors do not mix with the old ones."""
    from solesearch.index.faiss_index import FaissIndex

    ids = [*study.photos["id"], *added.ids]
    vectors = np.concatenate([embedder.embed(study.pixels), added.vectors])
    options = load_section(study.paths.profile, "index")
    return FaissIndex.build(Embedding(ids, vectors), factory=options["factory"], effort=options["effort"])


def summary_line(summary: dict[str, Any]) -> str:
    """Return a growth's summary as one line."""
    network = (
        f"InfoGAN trained on for {summary['steps']} steps to step {summary['network_step']}, "
        "all photos embedded anew"
        if summary["steps"]
        else f"network unchanged (step {summary['network_step']}), index extended without a rebuild"
    )
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


def search(
    profile: str, name: str, photo: Path, *, k: int = 5, overrides: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Return the k photos of a grown catalogue nearest to a photo's file: columns id, distance, new.

    The photo is decoded as the catalogue was and embedded by the growth's own network. Raises InputError for
    an unknown name, a photo that cannot be read, or a k beyond the index.
    """
    study = Study.open(profile, overrides)
    folder, catalog = grown_folder(study.paths, name), load_catalog_settings(profile, overrides)
    try:
        image, _ = open_checked(read_file(photo), limits=catalog.limits)
    except (OSError, PhotoRefusedError) as error:
        raise InputError(
            f"{photo}: {getattr(error, 'strerror', None) or error}; take another photo"
        ) from error
    pixels = fit_to(image, size=catalog.image_size, fit=catalog.fit)[None]
    vector = study.embedder.load(folder / WEIGHTS).embed(pixels)[0]
    from solesearch.index.faiss_index import FaissIndex  # after TensorFlow

    found = pd.DataFrame(FaissIndex.load(folder / "index").search(vector, k=k))
    return found.assign(
        new=found["id"].isin(set(files.read_table(folder / "photos.csv", made_by="growth")["id"]))
    )


def main() -> int:
    """Add a folder of new photos to a profile, or search among them (`--search PHOTO --name NAME`)."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.beyond.growth", description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("folder", type=Path, nargs="?", help="the new photos, in folders or not")
    parser.add_argument(
        "--steps", type=int, help="training steps on old and new photos; 0: none (params.yaml)"
    )
    parser.add_argument("--name", default="", help="of the growth; default: the folder's name")
    parser.add_argument("--search", type=Path, metavar="PHOTO", help="search a grown catalogue by a photo")
    parser.add_argument("-k", type=int, default=5, help="answers of a search (5)")
    arguments = parser.parse_args()
    if (arguments.folder is None) == (arguments.search is None):
        parser.error("name a folder of new photos, or a photo with --search and --name")

    def work() -> None:
        check_known([arguments.profile])
        if arguments.search:
            print(search(arguments.profile, arguments.name, arguments.search, k=arguments.k).to_string())
            return
        summary = add_folder(arguments.profile, arguments.folder, steps=arguments.steps, name=arguments.name)
        print(summary_line(summary))
        print(
            f"search: python -m solesearch.beyond.growth {arguments.profile} --name {summary['name']} "
            "--search PHOTO"
        )

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
