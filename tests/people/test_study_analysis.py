"""The study's numbers against worked ones; exclusions, agreement and charts that say who answered."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_world import RESAMPLES, given, planned, settings, write_small_plan

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures.registry import CHARTS
from solesearch.people import answers, human_study, study_analysis, study_figures
from solesearch.people.simulated_annotators import simulate, ticks


def key_of(tasks: dict[str, tuple[int, str, str, dict[str, str]]]) -> pd.DataFrame:
    """Return a key from {task: (query, kind, repeats, {row: model})}."""
    rows = [
        ("p", task, kind, repeats, query, row, model, 0, "1 2", 1)
        for task, (query, kind, repeats, models) in tasks.items()
        for row, model in models.items()
    ]
    return pd.DataFrame(rows, columns=human_study.KEY)


KEY = key_of({
    "t1": (7, "first", "", {"A": "hog", "B": "infogan"}),
    "t2": (8, "first", "", {"A": "infogan", "B": "attention_check", "C": "hog"}),
    "t3": (7, "repeat", "t1", {"A": "infogan", "B": "hog"}),
})  # fmt: skip


def said(*lines: tuple[str, str, str]) -> pd.DataFrame:
    rows = [("p", *line, 1000 * place, "") for place, line in enumerate(lines, start=1)]
    table = pd.DataFrame(rows, columns=["plan", "annotator", "task", "rows", "milliseconds", "answered_at"])
    return table[answers.COLUMNS]


# ann: hog; infogan and hog; infogan (the repeat: now the other one). bo: both; hog; hog.
ANSWERS = said(
    ("ann", "t1", "A"), ("ann", "t2", "AC"), ("ann", "t3", "A"),
    ("bo", "t1", "AB"), ("bo", "t2", "C"), ("bo", "t3", "B"),
)  # fmt: skip
JUDGED = study_analysis.judge(ANSWERS, KEY)


def agreement(judged: pd.DataFrame) -> pd.DataFrame:
    return study_analysis.agreement_table(judged, RESAMPLES).set_index("measure")


def test_win_rate_counts_first_showings_only() -> None:
    table = study_analysis.win_table(JUDGED, RESAMPLES).set_index("model")
    assert table.index.tolist() == ["hog", "infogan"]
    # four answers to t1 and t2: hog ticked in all, infogan in two
    assert table["win_rate"].to_dict() == {"hog": 1.0, "infogan": 0.5}
    assert table["ticked"].to_dict() == {"hog": 4, "infogan": 2}
    assert set(table["shown"]) == {4} and set(table["queries"]) == {2} and set(table["annotators"]) == {2}
    assert table.loc["infogan", "low"] <= 0.5 <= table.loc["infogan", "high"]
    assert table.loc["hog", ["low", "high"]].tolist() == [1.0, 1.0]


def test_ticked_rows_beat_unticked_ones() -> None:
    ticked = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
    # the first answer: 0 beats 1 and 2; the second: 0 and 1 beat 2; the others compare nothing
    assert study_analysis.comparisons(ticked).tolist() == [[0, 1, 2], [0, 0, 1], [0, 0, 0]]


def test_strengths_on_worked_numbers() -> None:
    # 30 wins against 10, and ALPHA added to each: log odds log(30.1 / 10.1), half to each side of 0
    odds = math.log((30 + study_analysis.ALPHA) / (10 + study_analysis.ALPHA))
    found = study_analysis.strengths(np.array([[0, 30], [10, 0]]))
    assert found == pytest.approx([odds / 2, -odds / 2], abs=1e-4)
    never = study_analysis.strengths(np.array([[0, 5], [0, 0]]))
    assert np.isfinite(never).all() and never[0] > never[1]
    true = np.array([1.0, 0.2, -0.4, -0.8])  # many wins recover the strengths that made them
    chance = 1 / (1 + np.exp(true[None, :] - true[:, None]))
    assert study_analysis.strengths(10_000 * chance) == pytest.approx(true, abs=0.01)


def test_intervals_resample_queries_not_answers() -> None:
    """Ten annotators who all say the same of two queries know no more than one does."""
    one = np.array([[1, 0], [0, 1]], dtype=bool)
    few = study_analysis.strength_intervals(one, np.array([0, 1]), RESAMPLES)
    many = study_analysis.strength_intervals(one.repeat(10, axis=0), np.repeat([0, 1], 10), RESAMPLES)
    assert (many[1] - many[0] >= few[1] - few[0]).all()


def test_agreement_on_worked_numbers() -> None:
    table = agreement(JUDGED)
    # rows judged by both in t1, t2: hog 1 1, infogan 0 1, infogan 1 0, hog 1 1.
    # observed agreement (1 + 0 + 0 + 1) / 4 = .5; ticked 6 of 8: chance .75^2 + .25^2 = .625
    assert table.loc["fleiss_kappa", "value"] == pytest.approx((0.5 - 0.625) / (1 - 0.625))
    assert table.loc["fleiss_kappa", "n"] == 4
    # repeat of t1. ann: hog 1 then 0, infogan 0 then 1; bo: hog 1 then 1, infogan 1 then 0
    assert table.loc["repeat_agreement", "value"] == pytest.approx(1 / 4)
    assert table.loc["repeat_agreement", "n"] == 4
    # Cohen: first ticked 3 of 4, again 2 of 4: chance .75 * .5 + .25 * .5 = .5; (.25 - .5) / .5
    assert table.loc["repeat_kappa", "value"] == pytest.approx(-0.5)
    assert table.loc["none", "value"] == 0 and table.loc["none", "n"] == 6
    alone = agreement(JUDGED[JUDGED["annotator"] == "ann"])
    assert math.isnan(alone.loc["fleiss_kappa", "value"]) and alone.loc["fleiss_kappa", "n"] == 4


def test_position_bias_evens_models_out() -> None:
    """t2 has a check and is left out; t1 and t3 hold each model once above and once below."""
    table = agreement(JUDGED)
    # above: hog 1 1 (t1), infogan 1 0 (t3): 3 of 4; below: infogan 0 1, hog 0 1: 2 of 4
    assert table.loc["position 1", "value"] == pytest.approx(0.75)
    assert table.loc["position 2", "value"] == pytest.approx(0.5)
    assert table.loc["position 1", "n"] == 4
    # hog stands above only: what hog is liked for is not what the place is liked for
    rows = {"A": "hog", "B": "infogan"}
    key = key_of({"a": (0, "first", "", rows), "b": (1, "first", "", rows)})
    even = agreement(study_analysis.judge(said(("ann", "a", "A"), ("ann", "b", "A")), key))
    assert even.loc["position 1", "value"] == even.loc["position 2", "value"] == 0.5


def test_who_counts_nowhere_and_why() -> None:
    """eve ticks the random row, the others are too few, too fast, or never met one."""
    eve = said(("eve", "t1", "B"), ("eve", "t2", "B"), ("eve", "t3", ""))
    few = said(("few", "t2", "A"))
    fast = said(("fast", "t1", "A"), ("fast", "t2", "A")).assign(milliseconds=499)
    blind = said(("blind", "t1", "A"), ("blind", "t3", "A"))
    options = {"source": "people", "settings": settings(), "resampling": RESAMPLES}
    tables = study_analysis.study_tables(pd.concat([ANSWERS, eve, few, fast, blind]), KEY, **options)
    without = study_analysis.study_tables(ANSWERS, KEY, **options)
    for name in ("human_study", "human_study_agreement"):
        pd.testing.assert_frame_equal(tables[name], without[name])
    annotators = tables["human_study_annotators"].set_index("annotator")
    assert annotators["reason"].to_dict() == {
        "ann": "", "bo": "", "eve": "ticked 1 of 1 attention checks", "few": "fewer than 2 tasks",
        "fast": "median below 500 ms", "blind": "met no attention check",
    }  # fmt: skip
    assert (annotators["kept"] == (annotators["reason"] == "")).all()
    assert annotators.loc["eve", ["tasks", "none", "median_ms"]].tolist() == [3, 1, 2000]
    with pytest.raises(InputError, match=r"none of 1 annotators counts.*ticked 1 of 1"):
        study_analysis.study_tables(eve, KEY, **options)


# --- simulated annotators --------------------------------------------------------------------------------


def test_simulated_annotators_follow_their_rule() -> None:
    draw = np.random.default_rng(0)
    shares = np.mean([ticks(np.array([5, 0, 4]), k=5, random=draw) for _ in range(500)], axis=0)
    assert shares[0] > 0.95 and shares[1] < 0.02 < shares[2] < 0.7
    nothing = np.array([ticks(np.zeros(4, int), k=5, random=draw) for _ in range(500)])
    assert (~nothing.any(axis=1)).mean() > 0.2
    equal = np.mean([ticks(np.full(4, 3), k=5, random=draw) for _ in range(3000)], axis=0)
    assert equal[0] > equal[3]  # what stands higher is liked a little better


def test_simulation_is_drawn_from_the_seed_and_named() -> None:
    key = planned(settings())[1].assign(plan="p")
    first, again = (simulate(key, k=3, settings=settings()) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert first["annotator"].str.startswith(answers.SIMULATED).all()
    assert len(first) == 4 * key["task"].nunique()
    assert not first.equals(simulate(key, k=3, settings=settings(seed=5)))


def test_missing_answers_are_simulated_and_committed_ones_are_people(workspace: Path) -> None:
    paths = Paths.of("smoke")
    plan, key = write_small_plan(paths)
    assert study_analysis.answers_of(paths, plan, key, settings())[1] == "simulated"
    answers.AnswerStore(paths.answer_store).record(given())
    answers.export(paths)
    table, source = study_analysis.answers_of(paths, plan, key, settings())
    assert source == "people" and table["annotator"].tolist() == ["ann"]


# --- charts ----------------------------------------------------------------------------------------------

NAMES = ("human_study_wins", "human_study_positions")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    key, rules = planned(settings())[1].assign(plan="p"), settings(most_failed_checks=0.9)
    table = simulate(key, k=3, settings=rules)
    return study_analysis.study_tables(table, key, source="simulated", settings=rules, resampling=RESAMPLES)


def texts(name: str, tables: dict[str, pd.DataFrame]) -> str:
    [table] = CHARTS[name].tables
    figure = getattr(study_figures, name)(tables[table], profile="smoke")
    found = figure.findobj(lambda part: hasattr(part, "get_text"))
    return " ".join(text.get_text() for text in found).replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_says_who_answered(tables: dict[str, pd.DataFrame], name: str) -> None:
    simulated = texts(name, tables)
    assert "SIMULATED annotators" in simulated and "simulated: a rule plus noise, no people" in simulated
    people = texts(name, {key: table.assign(answers="people") for key, table in tables.items()})
    assert "simulated" not in people.lower() and "people" in people
    mixed = {key: table.assign(answers=["people", *table["answers"][1:]]) for key, table in tables.items()}
    with pytest.raises(InputError, match="answers must be all people or all simulated"):
        texts(name, mixed)
    with pytest.raises(InputError, match="table human_study"):
        texts(name, {key: table.iloc[:0] for key, table in tables.items()})


@pytest.mark.parametrize("name", NAMES)
def test_one_person_who_ticked_nothing_twice_can_be_drawn(name: str) -> None:
    """The least there can be: no repeat met, no kappa, nothing ticked in some places."""
    alone = said(("ann", "t1", "A"), ("ann", "t2", ""))
    options = {"source": "people", "settings": settings(), "resampling": RESAMPLES}
    words = texts(name, study_analysis.study_tables(alone, KEY, **options))
    assert "nan" not in words and "people" in words
