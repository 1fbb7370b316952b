"""The study's numbers against worked ones; exclusions, agreement and charts that say who answered."""

import math

import numpy as np
import pandas as pd
import pytest
from study_world import planned, settings, write_small_plan

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures import registry
from solesearch.figures.registry import drawn
from solesearch.people import answers, human_study, study_analysis, study_figures
from solesearch.people.answers import COLUMNS
from solesearch.people.simulated_annotators import simulate, ticks
from solesearch.people.study_analysis import Judged
from solesearch.retrieval.uncertainty import Resampling

RESAMPLING = Resampling(resamples=60, permutations=9, confidence=0.95, significance=0.05, seed=1)


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
    rows = [("p", name, task, letters, 1000 * (place + 1), "") for place, (name, task, letters) in
            enumerate(lines)]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


# ann: hog; infogan and hog; infogan (the repeat: now the other one). bo: both; hog; hog.
ANSWERS = said(
    ("ann", "t1", "A"), ("ann", "t2", "AC"), ("ann", "t3", "A"),
    ("bo", "t1", "AB"), ("bo", "t2", "C"), ("bo", "t3", "B"),
)  # fmt: skip


def judged(table: pd.DataFrame = ANSWERS) -> Judged:
    return study_analysis.judge(table, KEY, source="people")


def test_win_rate_counts_first_showings_only() -> None:
    table = study_analysis.win_table(judged(), RESAMPLING).set_index("model")
    assert table.index.tolist() == ["hog", "infogan"]
    # four answers to t1 and t2: hog ticked in all, infogan in two
    assert table["win_rate"].to_dict() == {"hog": 1.0, "infogan": 0.5}
    assert table["ticked"].to_dict() == {"hog": 4, "infogan": 2}
    assert set(table["shown"]) == {4} and set(table["queries"]) == {2} and set(table["annotators"]) == {2}
    assert table.loc["infogan", "low"] <= 0.5 <= table.loc["infogan", "high"]
    assert table.loc["hog", ["low", "high"]].tolist() == [1.0, 1.0]


def test_ticked_rows_beat_unticked_ones() -> None:
    ticked = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
    wanted = np.zeros((3, 3))
    for answer in ticked:
        for i in range(3):
            for j in range(3):
                wanted[i, j] += answer[i] and not answer[j]
    assert study_analysis.comparisons(ticked).tolist() == wanted.tolist()
    assert wanted.tolist() == [[0, 1, 2], [0, 0, 1], [0, 0, 0]]


def test_strength_of_two_models_is_the_log_of_their_odds() -> None:
    # 30 wins against 10, and ALPHA added to each: log odds log(30.1 / 10.1), half to each side of 0
    found = study_analysis.strengths(np.array([[0, 30], [10, 0]]))
    odds = math.log((30 + study_analysis.ALPHA) / (10 + study_analysis.ALPHA))
    assert found == pytest.approx([odds / 2, -odds / 2], abs=1e-4)
    never = study_analysis.strengths(np.array([[0, 5], [0, 0]]))
    assert np.isfinite(never).all() and never[0] > never[1]


def test_strengths_recover_the_model_that_made_the_wins() -> None:
    true = np.array([1.0, 0.2, -0.4, -0.8])
    chance = 1 / (1 + np.exp(true[None, :] - true[:, None]))
    found = study_analysis.strengths(np.where(np.eye(4), 0, 10_000 * chance))
    assert found == pytest.approx(true, abs=0.01)


def test_intervals_resample_queries_not_answers() -> None:
    """Ten annotators who all say the same of two queries know no more than one does."""
    one = np.array([[1, 0], [0, 1]], dtype=bool)
    few = study_analysis.strength_intervals(one, np.array([1, 2]), RESAMPLING)
    many = study_analysis.strength_intervals(one.repeat(10, axis=0), np.repeat([1, 2], 10), RESAMPLING)
    assert (many[1] - many[0] >= few[1] - few[0]).all()
    same = np.repeat([[True, False]], 20, axis=0)
    spread = study_analysis.strength_intervals(same, np.arange(20) % 5, RESAMPLING)
    assert np.ptp(spread, axis=0) == pytest.approx([0, 0], abs=1e-6)


def test_agreement_on_worked_numbers() -> None:
    table = study_analysis.agreement_table(judged(), RESAMPLING).set_index("measure")
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


def test_position_bias_evens_models_out() -> None:
    """t2 has a check and is left out; t1 and t3 hold each model once above and once below."""
    table = study_analysis.agreement_table(judged(), RESAMPLING).set_index("measure")
    # above: hog 1 1 (t1), infogan 1 0 (t3): 3 of 4; below: infogan 0 1, hog 0 1: 2 of 4
    assert table.loc["position 1", "value"] == pytest.approx(0.75)
    assert table.loc["position 2", "value"] == pytest.approx(0.5)
    assert table.loc["position 1", "n"] == 4
    # hog stands above only: what hog is liked for is not what the place is liked for
    key = key_of({name: (place, "first", "", {"A": "hog", "B": "infogan"}) for place, name in
                  enumerate(["a", "b"])})  # fmt: skip
    rows = study_analysis.judge(said(("ann", "a", "A"), ("ann", "b", "A")), key, source="people")
    even = study_analysis.agreement_table(rows, RESAMPLING).set_index("measure")
    assert even.loc["position 1", "value"] == even.loc["position 2", "value"] == 0.5


def test_one_annotator_has_no_kappa() -> None:
    alone = judged(ANSWERS[ANSWERS["annotator"] == "ann"])
    kappa, rows = study_analysis.fleiss(alone)
    assert math.isnan(kappa) and rows == 4


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"tasks": 1}, "fewer than 2 tasks"),
        ({"checks": 0, "failed": 0}, "met no attention check"),
        ({"failed": 2}, "ticked 2 of 4 attention checks"),
        ({"failed": 1}, ""),
        ({"median_ms": 499.0}, "median below 500 ms"),
    ],
)
def test_exclusions_state_their_reason(facts: dict, words: str) -> None:
    fine = {"tasks": 10, "checks": 4, "failed": 0, "median_ms": 2000.0}
    assert study_analysis.exclusion_reason({**fine, **facts}, settings()) == words


def test_who_ticks_the_random_row_counts_nowhere() -> None:
    careless = said(("eve", "t1", "B"), ("eve", "t2", "B"), ("eve", "t3", "B"))
    every = pd.concat([ANSWERS, careless], ignore_index=True)
    options = {"source": "people", "settings": settings(), "resampling": RESAMPLING}
    tables = study_analysis.study_tables(every, KEY, **options)
    without = study_analysis.study_tables(ANSWERS, KEY, **options)
    for name in ("human_study", "human_study_agreement"):
        pd.testing.assert_frame_equal(tables[name], without[name])
    eve = tables["human_study_annotators"].set_index("annotator").loc["eve"]
    assert not eve["kept"] and eve["reason"] == "ticked 1 of 1 attention checks"
    with pytest.raises(InputError, match=r"none of 1 annotators counts.*ticked 1 of 1"):
        study_analysis.study_tables(careless, KEY, **options)


# --- simulated annotators --------------------------------------------------------------------------------


def test_simulated_annotators_follow_their_rule() -> None:
    draw = np.random.default_rng(0)
    chosen = np.array([ticks(np.array([5, 0, 4]), k=5, random=draw) for _ in range(500)])
    shares = chosen.mean(axis=0)
    assert shares[0] > 0.95 and shares[1] < 0.02 < shares[2] < 0.7
    nothing = np.array([ticks(np.zeros(4, int), k=5, random=draw) for _ in range(500)])
    assert (~nothing.any(axis=1)).mean() > 0.2
    equal = np.array([ticks(np.full(4, 3), k=5, random=draw) for _ in range(3000)]).mean(axis=0)
    assert equal[0] > equal[3]  # what stands higher is liked a little better


def test_simulation_is_drawn_from_the_seed_and_named() -> None:
    key = planned(settings())[1].assign(plan="p")
    first, again = (simulate(key, k=3, settings=settings()) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert first["annotator"].str.startswith(answers.SIMULATED).all()
    assert len(first) == 4 * key["task"].nunique()
    assert not first.equals(simulate(key, k=3, settings=settings(seed=5)))


def test_missing_answers_are_simulated_and_committed_ones_are_people(workspace) -> None:
    paths, rules = Paths.of("smoke"), settings()
    plan, key = write_small_plan(paths)
    _, source = study_analysis.answers_of(paths, plan, key, rules)
    assert source == "simulated"
    store = answers.AnswerStore(paths.answer_store)
    store.record(answers.Answer(plan.id, "ann", "t001", "A", 900))
    answers.export(paths)
    table, source = study_analysis.answers_of(paths, plan, key, rules)
    assert source == "people" and table["annotator"].tolist() == ["ann"]
    answers.write_answers(paths.answers, table.assign(task="t999"))
    with pytest.raises(InputError, match=r"smoke\.csv: ann, t999: task 't999': not in the plan"):
        study_analysis.answers_of(paths, plan, key, rules)


# --- charts ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    key = planned(settings())[1].assign(plan="p")
    table = simulate(key, k=3, settings=settings())
    return study_analysis.study_tables(
        table, key, source="simulated", settings=settings(most_failed_checks=0.9), resampling=RESAMPLING
    )


def texts(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))


@pytest.mark.parametrize("name", ["human_study_wins", "human_study_positions"])
def test_chart_gives_the_same_bytes_twice_and_says_simulated(workspace, tables, name: str) -> None:
    paths = Paths.of("smoke")
    study_analysis.write_study(paths, tables)
    figure = study_figures.draw_chart(name, profile="smoke")
    again = drawn(registry.CHARTS[name], paths)
    assert again._repr_png_() == (paths.figures / f"{name}.png").read_bytes()
    assert "SIMULATED annotators" in texts(figure)
    assert "simulated: a rule plus noise, no people" in texts(figure).replace("\n", " ")


@pytest.mark.parametrize("name", ["human_study_wins", "human_study_positions"])
def test_one_person_who_ticked_nothing_twice_can_be_drawn(workspace, name: str) -> None:
    """The least there can be: no repeat met, no kappa, nothing ticked in some places."""
    paths, chart = Paths.of("smoke"), registry.CHARTS[name]
    alone = said(("ann", "t1", "A"), ("ann", "t2", ""))
    options = {"source": "people", "settings": settings(), "resampling": RESAMPLING}
    study_analysis.write_study(paths, study_analysis.study_tables(alone, KEY, **options))
    words = texts(drawn(chart, paths))
    assert "nan" not in words and "people" in words


@pytest.mark.parametrize("name", ["human_study_wins", "human_study_positions"])
def test_chart_of_people_does_not_say_simulated(tables, name: str) -> None:
    chart = registry.CHARTS[name]
    [table] = chart.tables
    figure = chart.draw(tables[table].assign(answers="people"), profile="smoke")
    assert "simulated" not in texts(figure).lower() and "people" in texts(figure)
    mixed = tables[table].copy()
    mixed.loc[0, "answers"] = "people"
    with pytest.raises(InputError, match=f"table {table}: answers must be all people or all simulated"):
        chart.draw(mixed, profile="smoke")
    with pytest.raises(InputError, match=f"table {table}"):
        chart.draw(tables[table].iloc[:0], profile="smoke")
