"""From a profile's embeddings to the plan of its human study, and what happens to answers to another plan."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.model_names import MODEL_NAMES, network_row
from solesearch.core.paths import Paths
from solesearch.core.progress import tell
from solesearch.evaluation.study import Study, model_vectors
from solesearch.index.recommendations import nearest_photos, pick_queries, shown_models
from solesearch.people.answers import AnswerStore
from solesearch.people.human_study import (
    LETTERS,
    HumanStudySettings,
    Plan,
    PlanFiles,
    plan_tasks,
    read_plan,
)


def study_models(study: Study, settings: HumanStudySettings) -> list[tuple[str, int]]:
    """Return (model, seed) of every row shown.

    Shown are those that galleries show, too (recommendations.shown_models): the first seed's, controls, and
    ImageNet networks with weights that embedded all test photos. An empty `models` takes all of them.
    Raises InputError for a name that is no model, or when fewer than two remain.
    """
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
    photos, vectors = model_vectors(study, model, seed=seed)
    numbers = pd.Index(study.photos["id"]).get_indexer(photos["id"])
    return np.array([numbers[nearest_photos(study, photos, vectors, query, k=k)[1]] for query in queries])


def catalogue_digest(photos: pd.DataFrame) -> str:
    """Return a digest of the photos' ids in their order: equal digests, equal photo numbers."""
    return hashlib.sha256("\n".join(photos["id"]).encode()).hexdigest()[:16]


def make_plan(study: Study, settings: HumanStudySettings) -> tuple[Plan, pd.DataFrame]:
    """Return a new plan and its key (columns KEY), the same for the same settings and embeddings."""
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


def prepare_plan(study: Study, settings: HumanStudySettings) -> tuple[Plan, pd.DataFrame]:
    """Put plan and key into runs/<profile>/human_study/ and return them.

    A plan that lies beside committed answers is taken as it is: what people saw must not change after them.
    Where it numbers other photos than the catalogue's, a new study begins and the old one is set aside.
    Otherwise the plan is made from the settings. Raises InputError when answers not exported yet belong to
    another plan of the same photos.
    """
    set_foreign_study_aside(study.paths, catalogue=catalogue_digest(study.photos))
    kept, store = PlanFiles.kept(study.paths), study.paths.answer_store
    plan, key = kept.read() if kept.plan.is_file() else make_plan(study, settings)
    if store.is_file() and len(foreign := AnswerStore(store).table().query("plan != @plan.id")):
        raise InputError(
            f"{store}: holds {len(foreign)} answers to plan {foreign['plan'].iloc[0]}, not {plan.id}; "
            f"run `python -m solesearch.people.answers export {study.paths.profile}`, which keeps that plan "
            "with them, or move the file away"
        )
    PlanFiles.shown(study.paths).write(plan, key)
    return plan, key


def set_foreign_study_aside(paths: Paths, *, catalogue: str) -> None:
    """Move answers, plan and key of other photos than the catalogue's to data/answers/set-aside/.

    The plan is the one beside committed answers, or else the last one that the page showed. Nothing is
    deleted; one line says where it lies.
    """
    kept, shown, store = PlanFiles.kept(paths), PlanFiles.shown(paths), paths.answer_store
    last = kept if kept.plan.is_file() else shown
    stores = [store.with_name(store.name + log) for log in ("", "-wal", "-shm")]  # SQLite's own, after a kill
    held = [path for path in (paths.answers, *kept, *stores) if path.is_file()]
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
