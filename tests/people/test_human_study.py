"""The plan: every model once a task, blinded, repeats and checks as asked, the same from the same seed."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as drawn
from hypothesis import settings as budget
from hypothesis import strategies as some
from study_world import LABELS, MODELS, given, planned, settings, write_small_plan

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.people import human_study, planning
from solesearch.people.answers import AnswerStore, export
from solesearch.people.human_study import ATTENTION, FIRST, REPEAT, PlanFiles
from solesearch.people.planning import prepare_plan

studies = some.builds(
    settings,
    queries=some.integers(2, 24),
    k=some.integers(1, 5),
    repeats=some.sampled_from([0.0, 0.1, 0.25, 0.5]),
    attention_checks=some.integers(1, 2),
    seed=some.integers(0, 10_000),
)


@budget(max_examples=25, deadline=None)
@drawn(studies)
def test_every_task_shows_every_model_once_and_repeats_and_checks_are_as_asked(rules) -> None:
    tasks, key = planned(rules)
    for task, rows in key.groupby("task"):
        assert {*rows["model"]} - {ATTENTION} == {name for name, _ in MODELS} and rows["model"].is_unique
        assert sorted(rows["row"]) == sorted(tasks[task].rows) == list("ABCDE"[: len(rows)])
    for line in key.itertuples():
        photos, label = tasks[line.task].rows[line.row], LABELS[tasks[line.task].query]
        assert line.photos == " ".join(map(str, photos))
        assert line.same_class == sum(LABELS[photo] == label for photo in photos)
    kinds = key.drop_duplicates("task").set_index("task")
    repeats, order = kinds[kinds["kind"] == REPEAT], list(tasks)
    assert len(repeats) == (max(1, round(rules.repeats * rules.queries)) if rules.repeats else 0)
    assert (kinds["kind"] == FIRST).sum() == rules.queries
    for task, original in repeats["repeats"].items():
        assert tasks[original].query == tasks[task].query
        assert order.index(task) - order.index(original) > rules.queries // 2 - 1
        first, again = (key[(key["task"] == name) & (key["model"] != ATTENTION)] for name in (original, task))
        assert first.set_index("model")["photos"].to_dict() == again.set_index("model")["photos"].to_dict()
    checks = key[key["model"] == ATTENTION]
    assert len(checks) == checks["task"].nunique() == rules.attention_checks
    assert (checks["same_class"] == 0).all() and (checks["kind"] == FIRST).all()


def test_the_order_of_rows_is_drawn_from_the_seed_and_favours_no_model() -> None:
    many = [planned(settings(queries=24, repeats=0.0, seed=seed)) for seed in range(8)]
    assert planned(settings(queries=24, repeats=0.0, seed=1))[0] == many[1][0] != many[2][0]
    rows = pd.concat([key for _, key in many])
    rows = rows[rows["model"] != ATTENTION]
    places = rows["row"].map(ord).groupby(rows["model"]).mean()
    assert places.max() - places.min() < 0.25  # 192 tasks: a standard error of .06


def test_what_the_page_loads_names_neither_model_nor_class(workspace: Path) -> None:
    paths = Paths.of("smoke")
    plan, key = write_small_plan(paths)
    path = PlanFiles.shown(paths).plan
    text = path.read_text()
    for secret in [*(name for name, _ in MODELS), ATTENTION, *LABELS, FIRST, REPEAT, "model", "label"]:
        assert secret not in text
    assert human_study.read_plan(path) == plan and set(key["plan"]) == {plan.id}
    content = json.loads(text)
    older = {**content, "tasks": [{"task": name, **task} for name, task in content["tasks"].items()]}
    path.write_text(json.dumps({"plan": older.pop("id"), **older}))  # as people may have committed it
    assert human_study.read_plan(path) == plan
    path.write_text(text.replace('"A"', '"<b>"', 1))  # a plan comes from another machine, too
    with pytest.raises(InputError, match="not a whole plan"):
        human_study.read_plan(path)
    assert {frozenset(task) for task in json.loads(text)["tasks"].values()} == {frozenset({"query", "rows"})}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ["hog", "hog"]}, "once"),
        ({"models": list("abcdefghi")}, "at most 8"),
        ({"attention_checks": 11}, "attention_checks"),
        ({"simulated_careless": 9}, "simulated"),
    ],
)
def test_an_impossible_study_is_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=f"human_study.*{words}"):
        settings(**change)


def test_a_plan_that_is_not_whole_or_not_of_its_key_is_named(workspace: Path) -> None:
    pair = PlanFiles.shown(Paths.of("smoke"))
    for text in ("", "[]", '{"id":"x","profile":"s","k":1,"catalogue":"c","tasks":{}}'):
        files.write_text(pair.plan, text)
        with pytest.raises(InputError, match=r"plan\.json: .*run stage human_study"):
            human_study.read_plan(pair.plan)
    plan, key = write_small_plan(Paths.of("smoke"))
    for foreign in (key.assign(plan="other"), key.iloc[1:], key.drop(columns="model")):
        pair.write(plan, foreign)
        with pytest.raises(InputError, match=r"key\.csv: is not the key of plan p1an"):
            pair.read()


def test_too_few_photos_of_other_classes_are_named() -> None:
    labels, draw = np.array(["boots"] * 23 + ["flats"]), np.random.default_rng(0)
    with pytest.raises(InputError, match="needs 3 test photos of other classes than boots, there are 1"):
        human_study.random_row(0, labels, np.arange(24), k=3, random=draw)


# --- from a study's files --------------------------------------------------------------------------------


class SmallStudy:
    """What `make_plan` asks of a study: 24 test photos, controls computed from their pixels."""

    def __init__(self, paths: Paths):
        self.paths, draw = paths, np.random.default_rng(1)
        self.photos = pd.DataFrame({"id": [f"{label}/{n:02d}.jpg" for n, label in enumerate(LABELS)]})
        self.photos = self.photos.assign(
            label=LABELS, group=[str(n // 2) for n in range(24)], position=0, split="test"
        )
        self.pixels = draw.integers(0, 255, (24, 32, 48, 3)).astype(np.uint8)
        self.seeds, self.evaluation = [1], SimpleNamespace(exclusion_window=0)
        overview = pd.DataFrame(
            [("VGG19", "VGG19", "untrained", 24), ("MobileNetV2", "MobileNetV2", "placed", 5)],
            columns=["model", "network", "weights", "photos"],
        )
        self.networks = SimpleNamespace(overview=lambda: overview)

    def split(self, name: str) -> tuple[pd.DataFrame, np.ndarray]:
        return self.photos, self.pixels


@pytest.fixture
def small(workspace: Path) -> SmallStudy:
    return SmallStudy(Paths.of("smoke"))


ASKED = {"models": ["VGG19", "MobileNetV2", "hog", "pixels", "mean_colour"]}


def test_plan_leaves_out_networks_without_weights_and_the_own_product(small: SmallStudy) -> None:
    rules = settings(**ASKED)  # VGG19 has no weights; MobileNetV2 embedded a part of the photos only
    assert planning.study_models(small, rules) == [("hog", 0), ("pixels", 0), ("mean_colour", 0)]
    plan, key = planning.make_plan(small, rules)
    for line in key[key["model"] != ATTENTION].to_dict("records"):
        assert all(int(photo) // 2 != line["query"] // 2 for photo in line["photos"].split())
    assert {LABELS[task.query] for task in plan.tasks.values()} == {"boots", "flats", "heels"}


def test_nearest_rows_are_those_of_a_plain_loop(small: SmallStudy) -> None:
    query = small.photos["id"][4]
    [found] = planning.nearest_rows(small, "mean_colour", seed=0, queries=[query], k=3)
    means = small.pixels.mean(axis=(1, 2)) / 255
    others = [n for n in range(24) if n // 2 != 2]
    assert found.tolist() == sorted(others, key=lambda n: float(((means[n] - means[4]) ** 2).sum()))[:3]


def test_a_study_that_cannot_be_is_named(small: SmallStudy) -> None:
    for change, words in [
        ({"models": ["hog", "HOG9"]}, "'HOG9' is no model"),
        ({"models": ["hog", "VGG19"]}, "2 to 8 models are compared, here 1"),
        ({**ASKED, "queries": 25}, "25 asked for, there are 24 test photos"),
    ]:
        with pytest.raises(InputError, match=words):
            planning.make_plan(small, settings(**change))


def answer_once(paths: Paths, plan: str) -> None:
    AnswerStore(paths.answer_store).record(given().model_copy(update={"plan": plan}))


def test_answers_keep_their_plan(small: SmallStudy) -> None:
    """Answers waiting for export forbid another plan; once exported, theirs is taken whatever changes."""
    first, _ = prepare_plan(small, settings(**ASKED))
    answer_once(small.paths, first.id)
    assert prepare_plan(small, settings(**ASKED))[0] == first
    other = settings(**ASKED, seed=99)
    with pytest.raises(InputError, match=f"1 answers to plan {first.id}.*answers export smoke"):
        prepare_plan(small, other)
    export(small.paths)
    assert prepare_plan(small, other)[0] == first


@pytest.mark.parametrize("exported", [True, False])
def test_other_photographs_begin_a_new_study_and_the_old_one_is_kept(
    small: SmallStudy, capsys: pytest.CaptureFixture, exported: bool
) -> None:
    """And so are the answers of a profile whose name begins with this one's."""
    old, key = prepare_plan(small, settings(**ASKED))
    paths, neighbour = small.paths, Paths("smoke.v2", small.paths.root)
    for each in (paths, neighbour):
        answer_once(each, old.id)
        PlanFiles.shown(each).write(old, key)
        if exported:
            export(each)
    beside = sorted(paths.answers.parent.glob("smoke.v2*"))
    small.photos = small.photos.iloc[::-1].reset_index(drop=True)
    new, _ = prepare_plan(small, settings(**ASKED))
    assert new.catalogue != old.catalogue
    assert prepare_plan(small, settings(**ASKED))[0] == new
    assert not paths.answers.exists() and not paths.answer_store.exists()
    assert sorted(paths.answers.parent.glob("smoke.v2*")) == beside != []
    [aside] = (paths.answers.parent / "set-aside").iterdir()
    assert f"its answers are kept in data/answers/set-aside/{aside.name}/" in capsys.readouterr().out
    kept_plan, kept_key = PlanFiles(aside / "smoke.plan.json", aside / "smoke.key.csv").read()
    assert kept_plan == old and kept_key.equals(key)
    assert AnswerStore(aside / "smoke.sqlite").table()["plan"].tolist() == [old.id]
    assert (aside / "smoke.csv").is_file() == exported
