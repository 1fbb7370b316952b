"""The plan of the human study (C section 8.4.3, Fig 8.9): which queries, which rows, in which order.

A task shows one query photo and one row of nearest photos from every model. The plan is blinded: rows are
letters in an order drawn anew for each task, photos are numbers (rows of photos.csv), and neither models nor
classes are named. What the letters stand for is in a key of its own, which the page never reads. Some queries
come twice, in another order of rows; some tasks hold a row more, random photos of other classes, which nobody
who looks would tick.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from solesearch.core import files
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.progress import tell
from solesearch.core.settings import Section

if TYPE_CHECKING:
    from solesearch.evaluation.study import Study

ATTENTION = "attention_check"  # stands for a model in the key
FIRST, REPEAT = "first", "repeat"
LETTERS = "ABCDEFGHI"  # a row's letter is its place from above; keys 1 to 9 tick it
KEY = ["plan", "task", "kind", "repeats", "query", "row", "model", "seed", "photos", "same_class"]
STAGE = "stage human_study"


class HumanStudySettings(Section, section="human_study"):
    """What is asked and who counts; `params.yaml`, section `human_study`, holds the values."""

    queries: int = Field(ge=2)
    k: int = Field(ge=1, le=10)
    models: list[str] = Field(max_length=len(LETTERS) - 1)  # one more row is an attention check
    repeats: float = Field(ge=0, le=0.5)
    attention_checks: int = Field(ge=1)
    seed: int = Field(ge=0)
    most_failed_checks: float = Field(ge=0, lt=1)
    shortest_median_ms: int = Field(ge=0)
    fewest_tasks: int = Field(ge=0)
    simulated_annotators: int = Field(ge=2)
    simulated_careless: int = Field(ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError("models must name each model once")
        if self.attention_checks > self.queries:
            raise ValueError("attention_checks must lie between 1 and queries")
        if self.simulated_careless > self.simulated_annotators:
            raise ValueError("simulated_careless are some of the simulated_annotators")
        return self


class Task(BaseModel):
    """One query and the rows shown below it, all of them photo numbers."""

    query: int
    rows: dict[str, list[int]] = Field(min_length=1)  # letter -> k photos


def by_name(tasks: Any) -> Any:
    """Return tasks by their names; plans of version 0.1 list them, each with its name in it."""
    if isinstance(tasks, list) and all(isinstance(task, dict) and "task" in task for task in tasks):
        return {task["task"]: task for task in tasks}
    return tasks


class Plan(BaseModel):
    """What the page loads."""

    id: str = Field(validation_alias=AliasChoices("id", "plan"))
    profile: str
    k: int
    catalogue: str  # digest of the photos' ids in their order, so that numbers keep their meaning
    tasks: Annotated[dict[str, Task], BeforeValidator(by_name)] = Field(min_length=1)


# --- planning, without photos ----------------------------------------------------------------------------


def schedule(queries: int, *, repeats: float, random: np.random.Generator) -> list[tuple[int, str]]:
    """Return (query's place, first or repeat) in the order shown.

    Repeats are drawn from the first half and come at least half the queries later, so that nobody
    remembers the first answer; round(`repeats` * `queries`) of them, at least one unless `repeats` is 0.
    """
    count = max(1, round(repeats * queries)) if repeats else 0
    gap = queries // 2
    chosen = random.choice(queries - gap, size=count, replace=False)
    places = [(float(place), place, FIRST) for place in range(queries)]
    places += [(place + gap + 0.5 + random.uniform(0, gap), int(place), REPEAT) for place in chosen]
    return [(place, kind) for _, place, kind in sorted(places)]


def checked_tasks(order: Sequence[tuple[int, str]], *, checks: int, random: np.random.Generator) -> set[int]:
    """Return the places in `order` that get an attention check: one in each of `checks` equal parts.

    Only first showings get one, so that a repeat shows what the first showing did.
    """
    first = [place for place, (_, kind) in enumerate(order) if kind == FIRST]
    return {int(random.choice(part)) for part in np.array_split(first, checks)}


def plan_tasks(
    queries: Sequence[int],
    rows: Mapping[tuple[str, int], np.ndarray],
    labels: np.ndarray,
    *,
    distractors: np.ndarray,
    settings: HumanStudySettings,
) -> tuple[dict[str, Task], pd.DataFrame]:
    """Return (tasks as in Plan, key without its column plan).

    `queries` are photo numbers [q]; `rows` {(model, seed): int [q, k]} their nearest photos; `labels` the
    class of every photo [n]; `distractors` the numbers that attention checks are drawn from. All chance
    follows from `settings.seed`.
    """
    random = np.random.default_rng(settings.seed)
    order = schedule(len(queries), repeats=settings.repeats, random=random)
    checks = checked_tasks(order, checks=settings.attention_checks, random=random)
    names = [f"t{number:03d}" for number in range(1, len(order) + 1)]
    first = {query: name for name, (query, kind) in zip(names, order, strict=True) if kind == FIRST}
    tasks, key = {}, []
    for place, (name, (query, kind)) in enumerate(zip(names, order, strict=True)):
        number = int(queries[query])
        shown = {model: np.asarray(nearest[query]) for model, nearest in rows.items()}
        if place in checks:
            shown[ATTENTION, 0] = random_row(number, labels, distractors, k=settings.k, random=random)
        models = list(shown)
        letters = {
            letter: models[at] for letter, at in zip(LETTERS, random.permutation(len(models)), strict=False)
        }
        tasks[name] = Task(
            query=number, rows={letter: shown[model].tolist() for letter, model in letters.items()}
        )
        for letter, model in letters.items():
            same_class = int((labels[shown[model]] == labels[number]).sum())
            photos, repeated = " ".join(map(str, shown[model])), first[query] if kind == REPEAT else ""
            key.append((name, kind, repeated, number, letter, *model, photos, same_class))
    return tasks, pd.DataFrame(key, columns=KEY[1:])


def random_row(
    query: int, labels: np.ndarray, distractors: np.ndarray, *, k: int, random: np.random.Generator
) -> np.ndarray:
    """Return k random photo numbers whose class is not the query's; raises InputError with too few."""
    others = distractors[labels[distractors] != labels[query]]
    if len(others) < k:
        raise InputError(
            f"human study: an attention check needs {k} test photos of other classes than "
            f"{labels[query]}, there are {len(others)}; lower human_study.k"
        )
    return random.choice(others, size=k, replace=False)


# --- planning, from a study ------------------------------------------------------------------------------


def study_models(study: Study, settings: HumanStudySettings) -> list[tuple[str, int]]:
    """Return (model, seed) of every row shown.

    Shown are those that galleries show, too (recommendations.shown_models): the first seed's, controls, and
    ImageNet networks with weights that embedded all test photos. An empty `models` takes all of them.
    Raises InputError for a name that is no model, or when fewer than two remain.
    """
    from solesearch.core.model_names import MODEL_NAMES, network_row
    from solesearch.index.recommendations import shown_models

    seeds = dict(shown_models(study))
    asked = settings.models or list(seeds)
    unknown = [name for name in asked if name not in MODEL_NAMES and network_row(name) is None]
    if unknown:
        raise InputError(f"params.yaml, human_study.models: {unknown[0]!r} is no model of this study")
    models = [(name, seeds[name]) for name in asked if name in seeds]
    if not 2 <= len(models) < len(LETTERS):
        raise InputError(
            f"human study: 2 to {len(LETTERS) - 1} models are compared, here {len(models)} can be shown; "
            "change human_study.models in params.yaml, or see weights/README.md"
        )
    return models


def nearest_rows(study: Study, model: str, *, seed: int, queries: Sequence[str], k: int) -> np.ndarray:
    """Return photo numbers int [q, k]: for each query id its nearest test photos, its product left out.

    They are the photos that the galleries show (recommendations.py). Raises InputError for a k out of reach.
    """
    from solesearch.evaluation.study import model_vectors
    from solesearch.index.recommendations import nearest_photos

    photos, vectors = model_vectors(study, model, seed=seed)
    numbers = pd.Index(study.photos["id"]).get_indexer(photos["id"])
    return np.array([numbers[nearest_photos(study, photos, vectors, query, k=k)[1]] for query in queries])


def catalogue_digest(photos: pd.DataFrame) -> str:
    """Return a digest of the photos' ids in their order: equal digests, equal photo numbers."""
    return hashlib.sha256("\n".join(photos["id"]).encode()).hexdigest()[:16]


def make_plan(study: Study, settings: HumanStudySettings) -> tuple[Plan, pd.DataFrame]:
    """Return a new plan and its key (columns KEY), the same for the same settings and embeddings."""
    from solesearch.index.recommendations import pick_queries

    test, _ = study.split("test")
    if settings.queries > len(test):
        raise InputError(
            f"params.yaml, human_study.queries: {settings.queries} asked for, there are {len(test)} "
            "test photos"
        )
    chosen = pick_queries(test, queries=settings.queries, seed=settings.seed)
    numbers = pd.Series(np.arange(len(study.photos)), index=study.photos["id"])
    rows = {
        (model, seed): nearest_rows(study, model, seed=seed, queries=chosen, k=settings.k)
        for model, seed in study_models(study, settings)
    }
    labels, distractors = study.photos["label"].to_numpy(), numbers[test["id"]].to_numpy()
    tasks, key = plan_tasks(
        numbers[chosen].tolist(), rows, labels, distractors=distractors, settings=settings
    )
    shown = json.dumps({name: task.model_dump() for name, task in tasks.items()}, sort_keys=True)
    digest = hashlib.sha256((shown + key.to_csv(index=False)).encode()).hexdigest()[:12]
    catalogue = catalogue_digest(study.photos)
    plan = Plan(id=digest, profile=study.paths.profile, k=settings.k, catalogue=catalogue, tasks=tasks)
    key.insert(0, "plan", plan.id)
    return plan, key


# --- files -----------------------------------------------------------------------------------------------


class PlanFiles(NamedTuple):
    """Where a plan lies, and its key, which the page never reads."""

    plan: Path
    key: Path

    @classmethod
    def shown(cls, paths: Paths) -> Self:
        """Return the pair that the page goes by, which stage human_study writes."""
        return cls(paths.human_study / "plan.json", paths.human_study / "key.csv")

    @classmethod
    def kept(cls, paths: Paths) -> Self:
        """Return the pair beside the committed answers, since answers mean nothing without them."""
        folder = paths.answers.parent
        return cls(folder / f"{paths.profile}.plan.json", folder / f"{paths.profile}.key.csv")

    def write(self, plan: Plan, key: pd.DataFrame) -> None:
        """Write key and plan, each whole or not at all; the key first, so that no plan is without one."""
        files.write_table(self.key, key)
        files.write_json(self.plan, plan.model_dump())

    def read(self) -> tuple[Plan, pd.DataFrame]:
        """Return plan and key (columns KEY); InputError when they are not whole, or not of each other."""
        plan = read_plan(self.plan)
        types = {name: str for name in KEY} | {"query": int, "seed": int, "same_class": int}
        key = files.read_table(self.key, made_by=STAGE, dtype=str, keep_default_na=False)
        rows = {(name, letter) for name, task in plan.tasks.items() for letter in task.rows}
        if (
            list(key) != KEY
            or {*key["plan"]} != {plan.id}
            or {*zip(key["task"], key["row"], strict=True)} != rows
        ):
            raise InputError(f"{self.key}: is not the key of plan {plan.id}; run {STAGE} again")
        return plan, key.astype(types)


def read_plan(path: Path) -> Plan:
    """Return a plan; raises InputError that names the file when it is missing or not whole."""
    if not path.is_file():
        raise not_made_yet(path, made_by=STAGE)
    try:
        return Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise InputError(
            f"{path}: not a whole plan ({where}: {first['msg']}); delete it and run {STAGE} again"
        ) from error


def set_foreign_study_aside(paths: Paths, *, catalogue: str) -> None:
    """Move answers, plan and key of other photos than the catalogue's to data/answers/set-aside/.

    The plan is the one beside committed answers, or else the last one that the page showed. Nothing is
    deleted; one line says where it lies.
    """
    kept, shown = PlanFiles.kept(paths), PlanFiles.shown(paths)
    last = kept if kept.plan.is_file() else shown
    held = sorted(paths.answers.parent.glob(f"{paths.profile}.*"))  # CSV, plan, key, store
    if not held or not last.plan.is_file() or (plan := read_plan(last.plan)).catalogue == catalogue:
        return
    name = f"{paths.profile}-{plan.id}-{time.strftime('%Y%m%dT%H%M%S')}"
    target = paths.answers.parent / "set-aside" / name
    target.mkdir(parents=True)
    if last == shown:
        for path, name in zip(shown, kept, strict=True):
            shutil.copy2(path, target / name.name)
    for path in held:
        path.replace(target / path.name)
    where = target.relative_to(paths.root).as_posix()
    tell(f"the human study was planned on other photographs; its answers are kept in {where}/")


def plan_overview(plan: Plan, key: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model: tasks, queries, and the mean share of photos of the query's class [0, 1]."""
    rows = key.assign(share=key["same_class"] / plan.k).groupby("model", sort=False)
    return rows.agg(
        tasks=("task", "nunique"), queries=("query", "nunique"), same_class=("share", "mean")
    ).reset_index()
