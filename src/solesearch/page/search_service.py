"""Searches for the web page: a showcase opened once, asked by many at a time. Neither TensorFlow nor Gradio.

Distances are exact Euclidean ones. A similarity is read off random pairs of test photos, the same pairs for
every model: 99.5 says that 99.5 % of such pairs lie farther apart than query and answer do. It falls when the
distance grows, and unlike the distance it can be read across models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import load_embedding
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.cost.onnx_model import OnnxModel
from solesearch.index.brute_force import ExactIndex
from solesearch.page.uploads import Upload
from solesearch.photos.photo import load_pixels, to_signed
from solesearch.retrieval.retrieval import excluded_pairs

PIXELS, SIGNED = "uint8 pixels", "float32 in [-1, 1]"  # what a model takes
STAGE = "stage showcase"
TYPES = {"id": str, "label": str, "split": str, "group": str}


@dataclass(frozen=True)
class Model:
    """One model that can be asked, as showcase.json describes it."""

    name: str
    title: str  # as readers see it
    photos: int  # it knows the first so many of photos.csv
    dimensions: int
    file: str  # its ONNX network; "" for features that are computed (controls.py)
    takes: str  # PIXELS or SIGNED
    height: int  # of the input, pixels
    width: int


@dataclass(frozen=True)
class Photo:
    """One photo of the catalogue; `number` is its row in stage prepare's photos.csv."""

    number: int
    id: str
    label: str
    split: str


@dataclass(frozen=True)
class Answer:
    """One photo that was found, how far it is, and how that distance reads."""

    photo: Photo
    distance: float  # Euclidean, in the model's own unit
    similarity: float  # percent of random pairs that are farther apart, 0 to 100
    same_class: bool | None  # None where the query's class is unknown


@dataclass(frozen=True)
class AnswerRow:
    """What one model answers."""

    model: Model
    among: int  # photos that it was looked for in
    answers: list[Answer]


def pairs_file(folder: Path, model: str) -> Path:
    """Return where a model's distances of random pairs lie."""
    return folder / f"{model}.pairs.npy"


def read_showcase(folder: Path) -> dict[str, Any]:
    """Return showcase.json; raises InputError when the stage has not been run, or was killed."""
    path = folder / "showcase.json"
    if not path.is_file():
        raise not_made_yet(path, made_by=STAGE)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged; delete it and run `make repro`") from error


def similarity(distance: float, pairs: np.ndarray) -> float:
    """Return which percentage of `pairs` (distances, ascending) is larger than `distance`, 0 to 100."""
    return 100.0 * (len(pairs) - int(np.searchsorted(pairs, distance, side="right"))) / len(pairs)


class SearchService:
    """One profile's showcase. Every method may be called from several threads at once."""

    def __init__(self, paths: Paths, facts: Mapping[str, Any], photos: pd.DataFrame):
        """Take what `open` read."""
        self.paths, self.facts, self.folder = paths, facts, paths.showcase
        known = {field.name for field in fields(Model)}
        self.models = [Model(**{key: entry[key] for key in known}) for entry in facts["models"]]
        self._table = photos
        columns = (photos[name] for name in ("number", "id", "label", "split"))
        self.photos = [Photo(int(number), *rest) for number, *rest in zip(*columns, strict=True)]
        self.test_photos = int((photos["split"] == "test").sum())
        self._row = {photo.id: row for row, photo in enumerate(self.photos)}
        self._row_of_number = {photo.number: row for row, photo in enumerate(self.photos)}
        self._opened: dict[str, OpenedModel] = {}
        self._lock = Lock()

    @classmethod
    def open(cls, paths: Paths) -> SearchService:
        """Read a profile's showcase; vectors and networks follow when a model is first asked.

        Raises InputError when the stage has not been run or its files do not fit together.
        """
        facts = read_showcase(paths.showcase)
        table = files.read_table(
            paths.showcase / "photos.csv", made_by=STAGE, dtype=TYPES, keep_default_na=False
        )
        if len(table) != facts["photos"] or not facts["models"]:
            raise InputError(
                f"{paths.showcase}: its files do not fit together; delete it and run `make repro`"
            )
        return cls(paths, facts, table)

    # --- photos ------------------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> list[str]:
        """The classes, in alphabetical order."""
        return sorted({photo.label for photo in self.photos})

    def photo(self, photo: str) -> Photo:
        """Return a photo by its id; raises InputError for an unknown one."""
        if photo not in self._row:
            raise InputError(
                f"{photo!r}: no photo of that id in the catalogue; ids look like {self.photos[0].id}"
            )
        return self.photos[self._row[photo]]

    def numbered(self, number: int) -> Photo:
        """Return a photo by its number; raises InputError for an unknown one."""
        if number not in self._row_of_number:
            raise InputError(f"photo {number}: the catalogue has no such number")
        return self.photos[self._row_of_number[number]]

    def photo_file(self, photo: Photo) -> Path:
        """Return where the original file of a photo of this catalogue lies; the id comes from photos.csv."""
        return self.photo_folder / photo.id

    @cached_property
    def photo_folder(self) -> Path:
        """The folder below which ids are paths."""
        return self.paths.root / self.facts["photo_folder"]

    def sample(self, *, label: str = "", count: int, seed: int) -> list[Photo]:
        """Return up to `count` photos of a class ("": of all), drawn by `seed`, test photos before others."""
        draw = np.random.default_rng(seed)
        fitting = [photo for photo in self.photos if label in ("", photo.label)]
        shuffled = [fitting[row] for row in draw.permutation(len(fitting))]
        return sorted(shuffled, key=lambda photo: photo.split != "test")[:count]

    def map_points(self) -> list[tuple[Photo, float, float]]:
        """Return (photo, x, y) of every point of the map, coordinates in [0, 1]."""
        table = files.read_table(self.folder / "map.csv", made_by=STAGE, dtype={"id": str})
        return [(self.photo(name), x, y) for name, x, y in table.itertuples(index=False)]

    # --- searches ----------------------------------------------------------------------------------------

    def model(self, name: str) -> Model:
        """Return a model by its name; raises InputError for one that the showcase does not hold."""
        for model in self.models:
            if model.name == name:
                return model
        raise InputError(
            f"model {name!r}: not on this page; there are {', '.join(m.name for m in self.models)}"
        )

    def common_photos(self, models: Iterable[str]) -> int:
        """Return how many photos all of `models` know: rows side by side answer from those alone."""
        return min(self.model(name).photos for name in models)

    def search_photo(
        self, photo: str, model: str, *, k: int, leave_out_product: bool = False, among: int | None = None
    ) -> AnswerRow:
        """Return the k photos nearest to a catalogue photo, itself left out by its id, nearest first.

        `among` looks at the first so many photos only (see `common_photos`); `leave_out_product` leaves out
        the other photos of the query's product, too. Raises InputError for an unknown id or model, or a k
        that is out of reach.
        """
        query, opened = self.photo(photo), self._open(model)
        row = self._row[photo]
        known = row < opened.model.photos
        # A model of the test photos may be asked about another one: that is embedded now.
        vector = opened.vectors[row] if known else self.embed_file(photo, model)
        unwanted = self._own_product(row) if leave_out_product else frozenset({photo})
        return self._answer(opened, vector, k=k, among=among, unwanted=unwanted, label=query.label)

    def search_upload(self, upload: Upload, model: str, *, k: int, among: int | None = None) -> AnswerRow:
        """Return the k photos nearest to an uploaded one; raises InputError as `search_photo` does."""
        opened = self._open(model)
        one = opened.model
        vector = opened.embed(upload.pixels((one.height, one.width), fit=self.facts["fit"]))
        return self._answer(opened, vector, k=k, among=among, unwanted=frozenset(), label="")

    def embed_file(self, photo: str, model: str) -> np.ndarray:
        """Return the features of a catalogue photo's file, float32 [d], as an upload's are computed."""
        opened, path = self._open(model), self.photo_file(self.photo(photo))
        size = (opened.model.height, opened.model.width)
        try:
            return opened.embed(load_pixels(path, size=size, fit=self.facts["fit"]))
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{photo}: its file is gone or damaged; run `make repro` again") from error

    def warm_up(self, models: Iterable[str]) -> None:
        """Load what the first search and the first upload of each model would wait for."""
        for name in models:
            opened = self._open(name)
            opened.embed(np.zeros((opened.model.height, opened.model.width, 3), dtype=np.uint8))

    def _own_product(self, row: int) -> frozenset[str]:
        """Return the ids that the product-excluded gallery leaves out, the photo itself among them."""
        [own] = excluded_pairs(
            self._table,
            queries=np.array([row]),
            gallery="product_excluded",
            window=self.facts["exclusion_window"],
        )
        return frozenset(self.photos[one].id for one in np.flatnonzero(own))

    def _open(self, name: str) -> OpenedModel:
        model = self.model(name)
        with self._lock:
            if name not in self._opened:
                self._opened[name] = OpenedModel(model, self.folder, [photo.id for photo in self.photos])
            return self._opened[name]

    def _answer(
        self, opened: OpenedModel, vector: np.ndarray, *, k: int, among: int | None,
        unwanted: frozenset[str], label: str,
    ) -> AnswerRow:  # fmt: skip
        among = min(among or opened.model.photos, opened.model.photos)
        hidden = sum(self._row[one] < among for one in unwanted)
        if not 1 <= k <= among - hidden:
            raise InputError(f"k must lie between 1 and {among - hidden} here; got {k}")
        found = opened.index(among).search(vector, k=k + hidden)
        kept = [one for one in found if one.id not in unwanted][:k]
        return AnswerRow(opened.model, among, [self._read(one, opened, label) for one in kept])

    def _read(self, found: Any, opened: OpenedModel, label: str) -> Answer:
        photo = self.photos[self._row[found.id]]
        same = photo.label == label if label else None
        return Answer(photo, found.distance, similarity(found.distance, opened.pairs), same)


class OpenedModel:
    """A model's vectors, pairs and network, each loaded when it is first needed."""

    def __init__(self, model: Model, folder: Path, ids: list[str]):
        """Read vectors; raises InputError when they are not those of the showcase's photos."""
        held = load_embedding(folder, model.name)
        if held.ids != ids[: model.photos] or held.vectors.shape != (model.photos, model.dimensions):
            raise InputError(
                f"{folder / model.name}.npy: of other photos; delete {folder} and run `make repro`"
            )
        self.model, self.vectors, self._folder = model, held.vectors, folder
        self._ids, self._lock = held.ids, Lock()
        self._indexes: dict[int, ExactIndex] = {}
        self.pairs = files.read_array(pairs_file(folder, model.name), made_by=STAGE)

    def index(self, among: int) -> ExactIndex:
        """Return an exact index of the first `among` photos; it looks at the vectors, without a copy."""
        with self._lock:
            if among not in self._indexes:
                self._indexes[among] = ExactIndex(self.vectors[:among], self._ids[:among])
            return self._indexes[among]

    @cached_property
    def _network(self) -> OnnxModel:
        return OnnxModel(self._folder / self.model.file, threads=1)  # visitors side by side, a thread each

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features, float32 [d], of uint8 pixels [height, width, 3] of the model's input size."""
        images = pixels[None]
        if not self.model.file:
            from solesearch.retrieval.controls import (
                control_features,
            )  # scikit-image: a second that searches do not need

            return control_features(self.model.name, images)[0]
        with self._lock:
            network = self._network
        return network.embed(to_signed(images) if self.model.takes == SIGNED else images)[0]


def shown_similarity(value: float) -> str:
    """Return a similarity with one decimal, rounded down: 100.0 only where no random pair is as near."""
    return f"{math.floor(value * 10) / 10:.1f}\u00a0%"
