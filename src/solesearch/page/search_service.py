"""Searches for the web page: a showcase opened once, asked by many at a time, without TensorFlow.

Distances are exact Euclidean ones. A similarity is read off random pairs of test photos, the same pairs for
every model: 99.5 says that 99.5 % of such pairs lie farther apart than query and answer do. It falls when the
distance grows, and unlike the distance it can be read across models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import load_embedding
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.cost.onnx_model import OnnxModel
from solesearch.page.uploads import Upload
from solesearch.photos.photo import decode_photos, fit_to, to_signed
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
    size: tuple[int, int]  # height and width of the input, pixels
    why: str = ""  # it is on from the start


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

    @property
    def nearer_than(self) -> str:
        """The similarity with one decimal, rounded down: 100.0 only where no random pair is as near."""
        return f"{math.floor(self.similarity * 10) / 10:.1f}\u00a0%"


@dataclass(frozen=True)
class AnswerRow:
    """What one model answers."""

    model: Model
    among: int  # photos that it was looked for in
    answers: list[Answer]


def pairs_file(folder: Path, model: str) -> Path:
    """Return where a model's distances of random pairs lie."""
    return folder / f"{model}.pairs.npy"


def similarity(distances: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return which percentage of `pairs` (distances, ascending) is larger than each distance, 0 to 100."""
    return 100 * (len(pairs) - np.searchsorted(pairs, distances, side="right")) / len(pairs)


class SearchService:
    """One profile's showcase. Every method may be called from several threads at once."""

    def __init__(self, paths: Paths):
        """Read the showcase; vectors and networks follow when a model is first asked.

        Raises InputError when the stage has not been run, was killed, or its files do not fit together.
        """
        self.folder, facts = paths.showcase, paths.showcase / "showcase.json"
        if not facts.is_file():
            raise not_made_yet(facts, made_by=STAGE)
        options = {"made_by": STAGE, "dtype": TYPES, "keep_default_na": False}
        try:
            self.facts = json.loads(facts.read_text(encoding="utf-8"))
            self._table = files.read_table(self.folder / "photos.csv", **options)
            self.models = {entry["name"]: Model(**entry) for entry in self.facts["models"]}
            fits = len(self._table) == self.facts["photos"] and bool(self.models)
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise InputError(f"{facts}: damaged, or not of these photos; delete it and run `make repro`")
        self.profile, self.photo_folder = paths.profile, paths.root / self.facts["photo_folder"]
        rows = self._table[["number", "id", "label", "split"]].itertuples(index=False)
        self.photos = [Photo(*row) for row in rows]
        self.labels = sorted({photo.label for photo in self.photos})
        self._row = {photo.id: row for row, photo in enumerate(self.photos)}
        self._numbered = {photo.number: photo for photo in self.photos}
        # Read when a model is first asked, and kept. Visitors search side by side, a thread each.
        self.vectors = cache(self._vectors)
        self.pairs = cache(lambda model: files.read_array(pairs_file(self.folder, model), made_by=STAGE))
        self._network = cache(lambda file: OnnxModel(self.folder / file, threads=1))

    def _vectors(self, model: str) -> np.ndarray:
        """Return a model's vectors, float32 [photos, d]; InputError when they are not of these photos."""
        facts, held = self.model(model), load_embedding(self.folder, model)
        ids = [photo.id for photo in self.photos[: facts.photos]]
        if held.ids != ids or held.vectors.shape != (facts.photos, facts.dimensions):
            raise InputError(
                f"{self.folder / model}.npy: of other photos; delete {self.folder} and run `make repro`"
            )
        return held.vectors

    def photo(self, photo: str) -> Photo:
        """Return a photo by its id; raises InputError for an unknown one."""
        if photo not in self._row:
            raise InputError(
                f"{photo!r}: no photo of that id in the catalogue; ids look like {self.photos[0].id}"
            )
        return self.photos[self._row[photo]]

    def photo_file(self, number: int) -> Path:
        """Return where a photo lies, by its number; raises InputError for an unknown one."""
        if number not in self._numbered:
            raise InputError(f"photo {number}: the catalogue has no such number")
        return self.photo_folder / self._numbered[number].id

    def sample(self, *, label: str = "", count: int, seed: int) -> list[Photo]:
        """Return up to `count` photos of a class ("": of all), drawn by `seed`, test photos before others."""
        fitting = [photo for photo in self.photos if label in ("", photo.label)]
        if not fitting:
            raise InputError(f"class {label!r}: not in this catalogue; there are {', '.join(self.labels)}")
        order = np.random.default_rng(seed).permutation(len(fitting))
        return sorted((fitting[row] for row in order), key=lambda photo: photo.split != "test")[:count]

    def map_table(self) -> pd.DataFrame:
        """Return the map, a row a photo: id, label, x and y in [0, 1]; y grows downwards."""
        options = {"made_by": STAGE, "dtype": TYPES, "keep_default_na": False}
        return files.read_table(self.folder / "map.csv", **options)

    def model(self, name: str) -> Model:
        """Return a model by its name; raises InputError for one that the showcase does not hold."""
        if name not in self.models:
            raise InputError(f"model {name!r}: not on this page; there are {', '.join(self.models)}")
        return self.models[name]

    def search_photo(
        self, photo: str, models: Iterable[str], *, k: int, leave_out_product: bool = False
    ) -> list[AnswerRow]:
        """Return from each model the k photos nearest to a catalogue photo, itself left out by its id.

        All answer from the photos that each of them knows. `leave_out_product` leaves out the other photos of
        the query's product, too. Raises InputError for an unknown id or model, or a k that is out of reach.
        """
        query, row = self.photo(photo), self._row[photo]
        # A model of the test photos may be asked about another one: that is embedded now.
        vectors = {
            model: self.vectors(model)[row]
            if row < self.model(model).photos
            else self.embed_file(photo, model)
            for model in models
        }
        gallery, window = "product_excluded" if leave_out_product else "naive", self.facts["exclusion_window"]
        [own] = excluded_pairs(self._table, queries=np.array([row]), gallery=gallery, window=window)
        return self._answers(vectors, k=k, hidden=np.flatnonzero(own).tolist(), label=query.label)

    def search_upload(self, upload: Upload, models: Iterable[str], *, k: int) -> list[AnswerRow]:
        """Return what `search_photo` does for an uploaded photo, whose class is not known."""
        fitted = {
            model: fit_to(upload.image, size=self.model(model).size, fit=self.facts["fit"])
            for model in models
        }
        return self._answers({model: self.embed(pixels, model) for model, pixels in fitted.items()}, k=k)

    def embed(self, pixels: np.ndarray, model: str) -> np.ndarray:
        """Return the features, float32 [d], of uint8 pixels [height, width, 3] of the model's input size."""
        from solesearch.retrieval.controls import control_features  # scikit-image: not while the page starts

        facts, images = self.model(model), pixels[None]
        if not facts.file:
            return control_features(model, images)[0]
        return self._network(facts.file).embed(to_signed(images) if facts.takes == SIGNED else images)[0]

    def embed_file(self, photo: str, model: str) -> np.ndarray:
        """Return the features of a catalogue photo's file, float32 [d], as an upload's are computed."""
        decoding = {"folder": self.photo_folder, "size": self.model(model).size, "fit": self.facts["fit"]}
        try:
            [pixels] = decode_photos([self.photo(photo).id], **decoding)
        except InputError as error:  # names a path of this machine, which is no visitor's business
            raise InputError(f"{photo}: its file is gone or damaged; run `make repro` again") from error
        return self.embed(pixels, model)

    def warm_up(self) -> None:
        """Load what the first search and the first upload of each model would wait for."""
        for name, model in self.models.items():
            self._answers({name: self.embed(np.zeros((*model.size, 3), np.uint8), name)}, k=1)

    def _answers(
        self, vectors: dict[str, np.ndarray], *, k: int, hidden: Sequence[int] = (), label: str = ""
    ) -> list[AnswerRow]:
        """Return what each model answers to its vector of the query; `hidden` are rows that may not answer.

        FAISS compares the vectors as they lie there: no index to build, no copy a visitor.
        """
        import faiss  # after TensorFlow, where a notebook has both

        if not vectors:
            raise InputError("Choose at least one model.")
        among = min(self.model(name).photos for name in vectors)
        unseen = sum(row < among for row in hidden)
        if not 1 <= k <= among - unseen:
            raise InputError(f"k must lie between 1 and {among - unseen} here; got {k}")
        answers = []
        for name, vector in vectors.items():
            query = np.ascontiguousarray(vector[None], dtype=np.float32)
            squared, rows = faiss.knn(query, self.vectors(name)[:among], k + unseen)
            shown = ~np.isin(rows[0], hidden)
            distances, photos = np.sqrt(squared[0][shown]), [self.photos[row] for row in rows[0][shown]]
            same = [photo.label == label if label else None for photo in photos]
            shares = similarity(distances, self.pairs(name)).tolist()
            found = map(Answer, photos, distances.tolist(), shares, same)
            answers.append(AnswerRow(self.model(name), among, list(found)[:k]))
        return answers
