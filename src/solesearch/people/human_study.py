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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.progress import tell
from solesearch.core.settings import fill, load_section

if TYPE_CHECKING:
    from pathlib import Path

    from solesearch.evaluation.study import Study

ATTENTION = "attention_check"  # stands for a model in the key
FIRST, REPEAT = "first", "repeat"
LETTERS = "ABCDEFGHI"  # a row's letter is its place from above; keys 1 to 9 tick it
KEY = ["plan", "task", "kind", "repeats", "query", "row", "model", "seed", "photos", "same_class"]
STAGE = "stage human_study"


@dataclass(frozen=True)
class HumanStudySettings:
    """What is asked and who counts; `params.yaml`, section `human_study`, holds the values."""

    queries: int
    k: int
    models: list[str]
    repeats: float
    attention_checks: int
    seed: int
    most_failed_checks: float
    shortest_median_ms: int
    fewest_tasks: int
    simulated_annotators: int
    simulated_careless: int

    def __post_init__(self) -> None:
        """Raise InputError for a study that cannot be planned or judged."""
        rules = {
            "queries must be at least 2": self.queries >= 2,
            "k must lie between 1 and 10": 1 <= self.k <= 10,
            "models must name each model once": len(set(self.models)) == len(self.models),
            f"at most {len(LETTERS) - 1} models fit beside an attention check": len(self.models)
            < len(LETTERS),
            "repeats must lie between 0 and 0.5": 0 <= self.repeats <= 0.5,
            "attention_checks must lie between 1 and queries": 1 <= self.attention_checks <= self.queries,
            "seed must be 0 or more": self.seed >= 0,
            "most_failed_checks must lie between 0 and 1": 0 <= self.most_failed_checks < 1,
            "shortest_median_ms and fewest_tasks must be 0 or more": min(
                self.shortest_median_ms, self.fewest_tasks
            )
            >= 0,
            "at least 2 simulated_annotators, simulated_careless among them": self.simulated_annotators >= 2
            and 0 <= self.simulated_careless <= self.simulated_annotators,
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(f"params.yaml, human_study: {rule}; got {self}")


def load_human_study(profile: str, overrides: dict[str, Any] | None = None) -> HumanStudySettings:
    """Return section `human_study` of a profile; raises InputError for a missing or impossible value."""
    values = load_section(profile, "human_study", overrides)
    return fill(HumanStudySettings, values, where=f"{profile}.human_study")


@dataclass(frozen=True)
class Plan:
    """What the page loads. `tasks`: task -> {"query": photo number, "rows": {letter: [k photo numbers]}}."""

    id: str
    profile: str
    k: int
    catalogue: str  # digest of the photos' ids in their order, so that numbers keep their meaning
    tasks: dict[str, dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return what plan.json holds."""
        return {
            "plan": self.id, "profile": self.profile, "k": self.k, "catalogue": self.catalogue,
            "tasks": [{"task": task, **shown} for task, shown in self.tasks.items()],
        }  # fmt: skip


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
    strangers: np.ndarray,
    settings: HumanStudySettings,
) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Return (tasks as in Plan, key without its column plan).

    `queries` are photo numbers [q]; `rows` {(model, seed): int [q, k]} their nearest photos; `labels` the
    class of every photo [n]; `strangers` the numbers that attention checks are drawn from. Everything random
    follows from `settings.seed`.
    """
    random = np.random.default_rng(settings.seed)
    order = schedule(len(queries), repeats=settings.repeats, random=random)
    checks = checked_tasks(order, checks=settings.attention_checks, random=random)
    names = {place: f"t{number:03d}" for number, place in enumerate(range(len(order)), start=1)}
    first = {query: names[place] for place, (query, kind) in enumerate(order) if kind == FIRST}
    tasks, key = {}, []
    for place, (query, kind) in enumerate(order):
        number, task = int(queries[query]), names[place]
        shown = {model: np.asarray(found[query]) for model, found in rows.items()}
        if place in checks:
            shown[ATTENTION, 0] = random_row(number, labels, strangers, k=settings.k, random=random)
        models = list(shown)
        letters = dict(zip(LETTERS, random.permutation(len(models)), strict=False))
        lines = {letter: (*models[at], shown[models[at]]) for letter, at in letters.items()}
        tasks[task] = {
            "query": number,
            "rows": {letter: [int(one) for one in photos] for letter, (_, _, photos) in lines.items()},
        }
        repeated = first[query] if kind == REPEAT else ""
        key += [
            (task, kind, repeated, number, letter, model, seed, " ".join(map(str, photos)),
             int((labels[photos] == labels[number]).sum()))
            for letter, (model, seed, photos) in lines.items()
        ]  # fmt: skip
    return tasks, pd.DataFrame(key, columns=KEY[1:])


def random_row(
    query: int, labels: np.ndarray, strangers: np.ndarray, *, k: int, random: np.random.Generator
) -> np.ndarray:
    """Return k random photo numbers whose class is not the query's; raises InputError with too few."""
    others = strangers[labels[strangers] != labels[query]]
    if len(others) < k:
        raise InputError(
            f"human study: an attention check needs {k} test photos of other classes than "
            f"{labels[query]}, there are {len(others)}; lower human_study.k"
        )
    return random.choice(others, size=k, replace=False)


# --- planning, from a study ------------------------------------------------------------------------------


def study_models(study: Study, settings: HumanStudySettings) -> tuple[list[tuple[str, int]], list[str]]:
    """Return ((model, seed) of every row shown, models asked for that cannot be shown).

    Shown are those that galleries show, too (recommendations.shown_models): the first seed's, controls, and
    ImageNet networks with weights that embedded all test photos. An empty `models` takes all of them.
    Raises InputError for a name that is no model, or when fewer than two remain.
    """
    from solesearch.core.model_names import MODEL_NAMES, network_row
    from solesearch.index.recommendations import shown_models

    shown = shown_models(study)
    seeds = dict(shown)
    wanted = settings.models or [model for model, _ in shown]
    unknown = [name for name in wanted if name not in MODEL_NAMES and network_row(name) is None]
    if unknown:
        raise InputError(f"params.yaml, human_study.models: {unknown[0]!r} is no model of this study")
    found = [(name, seeds[name]) for name in wanted if name in seeds]
    if not 2 <= len(found) < len(LETTERS):
        raise InputError(
            f"human study: 2 to {len(LETTERS) - 1} models are compared, here {len(found)} can be shown; "
            "change human_study.models in params.yaml, or see weights/README.md"
        )
    return found, [name for name in wanted if name not in seeds]


def nearest_rows(study: Study, model: str, *, seed: int, queries: Sequence[str], k: int) -> np.ndarray:
    """Return photo numbers int [q, k]: for each query id its nearest test photos, its product left out.

    They are the photos that the galleries show (recommendations.py). Raises InputError for a k out of reach.
    """
    from solesearch.evaluation.study import same_product
    from solesearch.index.recommendations import test_photo_index

    index = test_photo_index(study, model, seed=seed)
    number = {photo: row for row, photo in enumerate(study.photos["id"])}
    found = [index.search_by_id(query, k=k, leave_out=same_product(study, query)) for query in queries]
    return np.array([[number[one.id] for one in row] for row in found])


def catalogue_digest(photos: pd.DataFrame) -> str:
    """Return a digest of the photos' ids in their order: equal digests, equal photo numbers."""
    return hashlib.sha256("\n".join(photos["id"]).encode()).hexdigest()[:16]


def make_plan(study: Study, settings: HumanStudySettings) -> tuple[Plan, pd.DataFrame]:
    """Return a new plan and its key (columns KEY), the same for the same settings and embeddings."""
    from solesearch.index.recommendations import pick_queries

    test, _ = study.split("test")
    if settings.queries > len(test):
        raise InputError(
            f"params.yaml, human_study.queries: {settings.queries} asked for, there are {len(test)} test "
            "photos"
        )
    models, _ = study_models(study, settings)
    chosen = pick_queries(test, queries=settings.queries, seed=settings.seed)
    numbers = pd.Series(np.arange(len(study.photos)), index=study.photos["id"])
    rows = {
        (model, seed): nearest_rows(study, model, seed=seed, queries=chosen, k=settings.k)
        for model, seed in models
    }
    tasks, key = plan_tasks(
        numbers[chosen].tolist(),
        rows,
        study.photos["label"].to_numpy(),
        strangers=numbers[test["id"]].to_numpy(),
        settings=settings,
    )
    written = json.dumps(tasks, sort_keys=True) + key.to_csv(index=False)
    plan = Plan(
        id=hashlib.sha256(written.encode()).hexdigest()[:12],
        profile=study.paths.profile,
        k=settings.k,
        catalogue=catalogue_digest(study.photos),
        tasks=tasks,
    )
    key.insert(0, "plan", plan.id)
    return plan, key


# --- files -----------------------------------------------------------------------------------------------


def plan_file(folder: Path) -> Path:
    """Return what the page loads."""
    return folder / "plan.json"


def key_file(folder: Path) -> Path:
    """Return what the letters stand for; the page never reads it."""
    return folder / "key.csv"


def kept_plan(paths: Paths) -> tuple[Path, Path]:
    """Return plan and key that lie beside the committed answers, since answers mean nothing without them."""
    folder = paths.answers.parent
    return folder / f"{paths.profile}.plan.json", folder / f"{paths.profile}.key.csv"


def write_plan(plan: Plan, key: pd.DataFrame, *, plan_path: Path, key_path: Path) -> None:
    """Write key and plan, each whole or not at all; the key first, so that no plan is without one."""
    files.write_table(key_path, key)
    files.write_json(plan_path, plan.as_json())


def read_plan(path: Path) -> Plan:
    """Return a plan; raises InputError that names the file when it is missing or not whole."""
    if not path.is_file():
        raise not_made_yet(path, made_by=STAGE)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        tasks = {
            str(one["task"]): {
                "query": int(one["query"]),
                "rows": {str(row): [int(photo) for photo in photos] for row, photos in one["rows"].items()},
            }
            for one in read["tasks"]
        }
        plan = Plan(str(read["plan"]), str(read["profile"]), int(read["k"]), str(read["catalogue"]), tasks)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a whole plan ({error!r}); delete it and run {STAGE} again") from error
    if not plan.tasks or not all(shown["rows"] for shown in plan.tasks.values()):
        raise InputError(f"{path}: has no task, or one without rows; delete it and run {STAGE} again")
    return plan


def read_key(path: Path, *, plan: Plan) -> pd.DataFrame:
    """Return the key (columns KEY) of `plan`; raises InputError when it is another plan's or not whole."""
    types = {name: str for name in KEY} | {"query": int, "seed": int, "same_class": int}
    try:
        key = files.read_table(path, made_by=STAGE, dtype=types, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a whole key ({error}); run {STAGE} again") from error
    if missing := [name for name in KEY if name not in key]:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; run {STAGE} again")
    rows = {(task, row) for task, shown in plan.tasks.items() for row in shown["rows"]}
    if set(key["plan"]) != {plan.id} or set(zip(key["task"], key["row"], strict=True)) != rows:
        raise InputError(f"{path}: is not the key of plan {plan.id}; run {STAGE} again")
    return key


def prepare_plan(study: Study, settings: HumanStudySettings) -> tuple[Plan, pd.DataFrame]:
    """Put plan and key into runs/<profile>/human_study/ and return them.

    A plan that lies beside committed answers is taken as it is: what people saw must not change after them.
    Where it numbers other photos than the catalogue's, a new study begins and the old one is set aside.
    Otherwise the plan is made from the settings. Raises InputError when answers not exported yet belong to
    another plan of the same photos.
    """
    from solesearch.people.answers import AnswerStore

    _set_foreign_study_aside(study)
    plan_path, key_path = kept_plan(study.paths)
    folder = study.paths.human_study
    if plan_path.is_file():
        plan = read_plan(plan_path)
        key = read_key(key_path, plan=plan)
    else:
        plan, key = make_plan(study, settings)
    store = study.paths.answer_store
    waiting = AnswerStore(store).count_by_plan() if store.is_file() else {}
    if foreign := {name: count for name, count in waiting.items() if name != plan.id}:
        raise InputError(
            f"{store}: holds {sum(foreign.values())} answers to plan {next(iter(foreign))}, not {plan.id}; "
            f"run `python -m solesearch.people.answers export {study.paths.profile}`, which keeps that plan "
            "with them, or move the file away"
        )
    write_plan(plan, key, plan_path=plan_file(folder), key_path=key_file(folder))
    return plan, key


def _set_foreign_study_aside(study: Study) -> None:
    """Move answers, plan and key of other photos than the catalogue's to data/answers/set-aside/.

    The plan is the one beside committed answers, or else the last one that the page showed. Nothing is
    deleted; one line says where it lies.
    """
    paths, (plan_path, key_path) = study.paths, kept_plan(study.paths)
    held = [path for path in (paths.answers, plan_path, key_path) if path.is_file()]
    held += sorted(paths.answers.parent.glob(f"{paths.answer_store.name}*"))  # SQLite's own two, too
    shown = plan_path if plan_path.is_file() else plan_file(paths.human_study)
    if not held or not shown.is_file():
        return
    plan = read_plan(shown)
    if plan.catalogue == catalogue_digest(study.photos):
        return
    name = f"{paths.profile}-{plan.id}-{time.strftime('%Y%m%dT%H%M%S')}"
    target = paths.answers.parent / "set-aside" / name
    target.mkdir(parents=True)
    if shown != plan_path:
        shutil.copy2(shown, target / plan_path.name)
        shutil.copy2(key_file(paths.human_study), target / key_path.name)
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
