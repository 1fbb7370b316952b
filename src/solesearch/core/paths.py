"""Every path of the project, in one place; nothing else joins folder names."""

from __future__ import annotations

import os
from pathlib import Path

from solesearch.core.errors import InputError


def repository_root() -> Path:
    """Return the folder that holds params.yaml: $SOLESEARCH_ROOT, or the nearest one above the caller.

    Jupyter starts in `notebooks/`, papermill in the caller's folder, so relative paths cannot serve.
    Raises InputError when there is none.
    """
    named = os.environ.get("SOLESEARCH_ROOT")
    start = Path(named) if named else Path.cwd()
    for folder in (start, *start.resolve().parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder.resolve()
    raise InputError(f"{start}: no params.yaml here or above; run from inside the repository")


# Stage of dvc.yaml -> the results tables that it writes into its folder below results/<profile>/.
STAGE_TABLES = {
    "weights": ("weights",),
    "networks": ("latency", "networks", "retraining", "sizes"),
    "index": ("index",),
    "evaluate": (
        *("catalogue", "checkpoints", "differences", "intervals", "macro_differences", "macro_intervals"),
        *("retrieval", "seed_spread", "training"),
    ),
    "likeness": ("attributes", "likeness"),
    "human_study": ("human_study", "human_study_agreement", "human_study_annotators"),
    "claims": ("claims", "leakage", "mechanics", "near_duplicates", "oracle", "readings"),
    "ladder": ("ladder", "ladder_effects", "ladder_goals", "ladder_schedule"),
    "latent_codes": ("latent_codes",),
    "growth": ("growth", "growth_seconds"),
    "speed": ("training_speed",),  # `make speed`, no stage
}
STAGE_OF = {table: stage for stage, tables in STAGE_TABLES.items() for table in tables}
# Pictures that show photos or generated images -> their stage; all others are of stage galleries.
PICTURE_STAGES = {
    "near_duplicates": "claims",
    "likeness": "likeness",
    "nearest_training": "latent_codes",
    "traversals": "latent_codes",
}


class Paths:
    """Where one profile keeps its data, intermediate files, results and figures."""

    def __init__(self, profile: str, root: Path):
        """Name them all: below data/ what a user brings, below runs/ what is computed and not committed."""
        self.profile, self.root = profile, root
        self.data = root / "data" / profile  # the photographs of a profile that brings its own
        # what people answered in the human study: primary data, committed, never an output; and the same as
        # it comes in (SQLite, ignored by Git and DVC), from which the export writes it
        self.answers = root / "data" / "answers" / f"{profile}.csv"
        self.answer_store = self.answers.with_suffix(".sqlite")

        self.run = root / "runs" / profile
        self.catalogue = self.run / "catalogue"  # stage prepare
        self.drawn = self.catalogue / "drawn"  # the photos of a synthetic profile
        self.photos = self.catalogue / "photos.csv"  # a row a photo
        self.problems = self.catalogue / "problems.csv"  # a row a file that was left out or looked odd
        self.duplicates = self.catalogue / "duplicates.csv"  # pairs of photos that are equal or nearly so
        self.attributes = self.catalogue / "attributes.csv"  # what a manifest tells beyond class, product
        self.manifest = self.catalogue / "manifest.json"  # count and digest of the photographs
        self.pixels = self.catalogue / "pixels.npy"  # uint8 [n, height, width, 3], in the order of photos.csv
        self.gan = self.run / "infogan"  # stage train: log, checkpoints and samples, a folder a seed
        self.training_seconds = self.run / "training-seconds"  # no output of a stage, since they differ
        self.set_aside = self.run / "set-aside"  # trainings whose settings changed; never deleted
        self.networks = self.run / "networks"  # each ImageNet network's vectors, ids, and what decided them
        self.embeddings = self.run / "embeddings"  # stage embed: <model>.npy float32 [n, d], <model>.ids.txt
        # precision on validation of each checkpoint, and which was chosen
        self.checkpoints = self.embeddings / "checkpoints.csv"
        self.queries = self.run / "evaluation" / "queries.csv"  # precisions by query, model, seed and gallery
        self.index = self.run / "index"  # the FAISS index of the proposed model and its ids
        self.human_study = self.run / "human_study"  # plan.json for the page, key.csv that it never reads
        self.claims = self.run / "claims"  # pairs of the leakage audit, trainings of other readings
        self.ladder = self.run / "ladder"  # a folder a variant
        self.showcase = self.run / "showcase"  # what the web page answers from; showcase.json comes last
        self.growth = self.run / "growth"  # what `make add` adds, a folder a name; of no stage
        self.growth_experiment = self.run / "growth_experiment"  # trainings that go on with new photos
        self.notebooks = self.run / "notebooks"  # executed copies

        self.results = root / "results" / profile  # committed tables
        self.metrics = self.results / "evaluate" / "metrics.json"  # for `dvc metrics`
        # of the photographs behind the results
        self.photo_manifest = self.results / "evaluate" / "manifest.json"
        self.figures = root / "figures" / profile  # committed charts, and pictures of synthetic catalogues
        self.galleries = self.figures / "galleries"

    @classmethod
    def of(cls, profile: str) -> Paths:
        """Return the paths of `profile` below the repository's root."""
        return cls(profile, repository_root())

    def gan_seed(self, seed: int) -> Path:
        """Return the training folder of one seed."""
        return self.gan / f"seed-{seed}"

    def ladder_seed(self, variant: str, seed: int) -> Path:
        """Return the training folder of one seed of one variant."""
        return self.ladder / variant / f"seed-{seed}"

    def result(self, name: str) -> Path:
        """Return the path of one results table, say `retrieval`, in its stage's folder."""
        return self.results / STAGE_OF[name] / f"{name}.csv"

    def picture(self, name: str) -> Path:
        """Return where a picture of photos or generated images is saved, without its suffix."""
        return self.figures / PICTURE_STAGES.get(name, "galleries") / name

    def chart(self, name: str) -> Path:
        """Return where a chart is saved, without its suffix, say `loss_curves`."""
        return self.figures / "charts" / name
