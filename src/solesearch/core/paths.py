"""Every path of the project, in one place; nothing else joins folder names."""

from __future__ import annotations

import os
from dataclasses import dataclass
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
        *("catalogue", "checkpoints", "differences", "intervals", "retrieval", "seed_spread", "training"),
    ),
    "likeness": ("likeness",),
    "human_study": ("human_study", "human_study_agreement", "human_study_annotators"),
    "claims": ("claims", "leakage", "mechanics", "near_duplicates", "oracle", "readings"),
    "ladder": ("ladder", "ladder_effects", "ladder_goals"),
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


@dataclass(frozen=True)
class Paths:
    """Where one profile keeps its data, intermediate files, results and figures."""

    profile: str
    root: Path

    @classmethod
    def of(cls, profile: str) -> Paths:
        """Return the paths of `profile` below the repository's root."""
        return cls(profile, repository_root())

    @property
    def data(self) -> Path:
        """The photographs of a profile that brings its own."""
        return self.root / "data" / self.profile

    @property
    def run(self) -> Path:
        """Everything that is computed and not committed."""
        return self.root / "runs" / self.profile

    @property
    def catalogue(self) -> Path:
        """Stage 01: photos.csv, manifest.json, problems.csv, pixels.npy (and drawn photos)."""
        return self.run / "catalogue"

    @property
    def drawn(self) -> Path:
        """The drawn photos of a synthetic profile."""
        return self.catalogue / "drawn"

    @property
    def photos(self) -> Path:
        """The photo table, one row a photo."""
        return self.catalogue / "photos.csv"

    @property
    def problems(self) -> Path:
        """One line a file that was left out or looked odd."""
        return self.catalogue / "problems.csv"

    @property
    def duplicates(self) -> Path:
        """Pairs of photos that are equal or nearly so."""
        return self.catalogue / "duplicates.csv"

    @property
    def attributes(self) -> Path:
        """What a user's manifest tells of each photo beyond class and product; absent where it tells none."""
        return self.catalogue / "attributes.csv"

    @property
    def manifest(self) -> Path:
        """Count and digest of the photographs, to see that they are still the same."""
        return self.catalogue / "manifest.json"

    @property
    def pixels(self) -> Path:
        """Decoded photos, uint8 [n, height, width, 3], in the photo table's order."""
        return self.catalogue / "pixels.npy"

    @property
    def gan(self) -> Path:
        """Stage 02: one folder a seed."""
        return self.run / "infogan"

    def gan_seed(self, seed: int) -> Path:
        """Training log, checkpoints and samples of one seed."""
        return self.gan / f"seed-{seed}"

    @property
    def training_seconds(self) -> Path:
        """Seconds that each training took so far; outside the stages' outputs, since they differ."""
        return self.run / "training-seconds"

    @property
    def set_aside(self) -> Path:
        """Where training folders go whose settings changed; never deleted by the project."""
        return self.run / "set-aside"

    @property
    def embeddings(self) -> Path:
        """Stage 04: <model>.npy float32 [n, d] and <model>.ids.txt."""
        return self.run / "embeddings"

    @property
    def checkpoints(self) -> Path:
        """How precise each kept checkpoint is on the validation photos, and which was chosen."""
        return self.embeddings / "checkpoints.csv"

    @property
    def queries(self) -> Path:
        """Stage 06: one row a query, model, seed and gallery, with its precisions."""
        return self.run / "evaluation" / "queries.csv"

    @property
    def networks(self) -> Path:
        """Stage 03: <model>.npy, ids and what decided them, for each ImageNet network; networks.csv."""
        return self.run / "networks"

    @property
    def index(self) -> Path:
        """Stage 05: the FAISS index of the proposed model and its ids."""
        return self.run / "index"

    @property
    def showcase(self) -> Path:
        """Stage showcase: what the web page answers from; showcase.json is written last."""
        return self.run / "showcase"

    @property
    def growth(self) -> Path:
        """What `python -m solesearch.beyond.growth` adds, a folder a name; no stage owns it."""
        return self.run / "growth"

    @property
    def growth_experiment(self) -> Path:
        """Stage growth: trainings that go on with new photos; kept and resumed."""
        return self.run / "growth_experiment"

    @property
    def claims(self) -> Path:
        """Stage 09: the pairs of the leakage audit, and short trainings of other readings of the papers."""
        return self.run / "claims"

    @property
    def ladder(self) -> Path:
        """Stage 10: one folder a variant of the ablation ladder."""
        return self.run / "ladder"

    def ladder_seed(self, variant: str, seed: int) -> Path:
        """Log, trunk and samples of one seed of one variant."""
        return self.ladder / variant / f"seed-{seed}"

    @property
    def human_study(self) -> Path:
        """Stage 08: plan.json, which the page loads, and key.csv, which it never reads."""
        return self.run / "human_study"

    @property
    def answers(self) -> Path:
        """What people answered in the human study, as it is committed: primary data, never an output."""
        return self.root / "data" / "answers" / f"{self.profile}.csv"

    @property
    def answer_store(self) -> Path:
        """The answers as they come in (SQLite, ignored by Git and DVC); export writes `answers` from it."""
        return self.answers.with_suffix(".sqlite")

    @property
    def notebooks(self) -> Path:
        """Executed copies of the notebooks."""
        return self.run / "notebooks"

    @property
    def results(self) -> Path:
        """Committed tables."""
        return self.root / "results" / self.profile

    @property
    def figures(self) -> Path:
        """Committed charts, and pictures of synthetic catalogues: a folder a stage."""
        return self.root / "figures" / self.profile

    @property
    def galleries(self) -> Path:
        """Stage galleries: pictures that show photos."""
        return self.figures / "galleries"

    def picture(self, name: str) -> Path:
        """Return where a picture of photos or generated images is saved, without its suffix."""
        return self.figures / PICTURE_STAGES.get(name, "galleries") / name

    def chart(self, name: str) -> Path:
        """Return where a chart is saved, without its suffix, say `loss_curves`."""
        return self.figures / "charts" / name

    def result(self, name: str) -> Path:
        """Return the path of one results table, say `retrieval`, in its stage's folder."""
        return self.results / STAGE_OF[name] / f"{name}.csv"

    @property
    def metrics(self) -> Path:
        """Precision@5 of every model, as `dvc metrics` reads it."""
        return self.results / "evaluate" / "metrics.json"

    @property
    def photo_manifest(self) -> Path:
        """Count and digest of the photographs that the committed results are of."""
        return self.results / "evaluate" / "manifest.json"
