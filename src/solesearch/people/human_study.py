"""The plan of the human study (C section 8.4.3, Fig 8.9): which queries, which rows, in which order.

A task shows one query photo and one row of nearest photos from every model. The plan is blinded: rows are
letters in an order drawn anew for each task, photos are numbers (rows of photos.csv), and neither models nor
classes are named. What the letters stand for is in a key of its own, which the page never reads. Some queries
come twice, in another order of rows; some tasks hold a row more, random photos of other classes, which nobody
who looks would tick. How a plan follows from a profile's embeddings says planning.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from solesearch.core import files
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.settings import Section, first_problem

ATTENTION = "attention_check"  # stands for a model in the key
FIRST, REPEAT = "first", "repeat"
LETTERS = "ABCDEFGHI"  # a row's letter is its place from above; keys 1 to 9 tick it
Letter = Annotated[str, Field(pattern=f"^[{LETTERS}]$")]
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
    rows: dict[Letter, list[int]] = Field(min_length=1)  # letter -> k photos


def by_name(tasks: Any) -> Any:
    """Return tasks by their names; older plans, which people may have committed, list them."""
    if isinstance(tasks, list) and all(isinstance(task, dict) and "task" in task for task in tasks):
        return {task["task"]: task for task in tasks}
    return tasks


class Plan(BaseModel):
    """What the page loads."""

    id: str = Field(validation_alias=AliasChoices("id", "plan"))
    profile: str
    k: int
    catalogue: str  # digest of the photos' ids in their order, so that numbers keep their meaning
    tasks: Annotated[dict[str, Task], BeforeValidator(by_name)] = Field(min_length=1)  # in the order shown


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
    first_shown, tasks, key = {}, {}, []
    for place, (query, kind) in enumerate(order):
        name, number = f"t{place + 1:03d}", queries[query]
        shown = {model: nearest[query] for model, nearest in rows.items()}
        if place in checks:
            shown[ATTENTION, 0] = random_row(number, labels, distractors, k=settings.k, random=random)
        models = list(shown)
        drawn = {
            letter: models[at] for letter, at in zip(LETTERS, random.permutation(len(models)), strict=False)
        }
        original = first_shown.setdefault(query, name)
        tasks[name] = Task(query=number, rows={row: shown[model].tolist() for row, model in drawn.items()})
        for row, model in drawn.items():
            same_class = int((labels[shown[model]] == labels[number]).sum())
            photos, repeats = " ".join(map(str, shown[model])), original if kind == REPEAT else ""
            key.append((name, kind, repeats, number, row, *model, photos, same_class))
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
        key = files.read_table(self.key, made_by=STAGE, dtype=str, keep_default_na=False)
        rows = {(plan.id, name, row) for name, task in plan.tasks.items() for row in task.rows}
        if list(key) != KEY or {*zip(key["plan"], key["task"], key["row"], strict=True)} != rows:
            raise InputError(f"{self.key}: is not the key of plan {plan.id}; run {STAGE} again")
        return plan, key.astype({"query": int, "seed": int, "same_class": int})


def read_plan(path: Path) -> Plan:
    """Return a plan; raises InputError that names the file when it is missing or not whole."""
    if not path.is_file():
        raise not_made_yet(path, made_by=STAGE)
    try:
        return Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        words = problem_line(error)
        raise InputError(f"{path}: not a whole plan ({words}); delete it and run {STAGE} again") from error


def problem_line(error: ValidationError) -> str:
    """Return the first field that is no good and why, in one line."""
    place, words, _ = first_problem(error)
    where = ".".join(map(str, place)).removeprefix("query.").removeprefix("path.") or "content"
    return f"{where}: {words}"
