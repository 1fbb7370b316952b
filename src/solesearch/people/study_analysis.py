"""What the human study says: win rates, strengths, agreement, consistency, position bias, exclusions.

C section 8.4.3 describes such a study and prints no number, so there is nothing to compare with. All
intervals resample queries, because answers about one query stand or fall together. Every table has a column
`answers`: `people`, or `simulated` where data/answers/<profile>.csv does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.people.answers import read_answers
from solesearch.people.human_study import ATTENTION, FIRST, REPEAT, HumanStudySettings, Plan
from solesearch.people.simulated_annotators import simulate
from solesearch.retrieval.uncertainty import Resampling, intervals_of_means

PEOPLE, SIMULATED = "people", "simulated"
# Wins added to every pair, in both directions: a model that never won or never lost would else have an
# infinite strength. Our choice.
ALPHA = 0.1
ANNOTATORS = ["annotator", "tasks", "checks", "failed", "none", "median_ms", "kept", "reason"]
TABLES = ("human_study", "human_study_agreement", "human_study_annotators")
NAN = float("nan")


def answers_of(
    paths: Paths, plan: Plan, key: pd.DataFrame, settings: HumanStudySettings
) -> tuple[pd.DataFrame, str]:
    """Return (answers, `people`) from data/answers/<profile>.csv, or (answers, `simulated`) without it.

    Raises InputError that names file and line when an answer is not to this plan.
    """
    if paths.answers.is_file():
        return read_answers(paths.answers, plan), PEOPLE
    return simulate(key, k=plan.k, settings=settings), SIMULATED


def judge(answers: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Return a line an annotator, task and row: the key's columns, `ticked` (bool), `position` from above."""
    lines = answers.rename(columns={"rows": "letters"}).drop(columns=["plan", "answered_at"])
    lines = lines.merge(key, on="task")
    ticked = [row in letters for row, letters in zip(lines["row"], lines["letters"], strict=True)]
    return lines.assign(ticked=ticked, position=lines["row"].map(ord) - ord("A"))


def annotator_table(judged: pd.DataFrame, settings: HumanStudySettings) -> pd.DataFrame:
    """Return one row an annotator (columns ANNOTATORS): what was answered, and who is left out for what.

    Left out is who answered too few tasks, met no attention check, ticked too many of those met, or was too
    fast in the median. The rule stands in params.yaml and was fixed before any answer.
    """
    tasks = judged.drop_duplicates(["annotator", "task"]).groupby("annotator")
    met = judged[judged["model"] == ATTENTION].groupby("annotator")["ticked"]
    table = tasks.agg(
        tasks=("task", "size"), none=("letters", lambda letters: (letters == "").sum()),
        median_ms=("milliseconds", "median"),
    )  # fmt: skip
    counts = pd.DataFrame({"checks": met.size(), "failed": met.sum()}, index=table.index)
    table = table.join(counts.fillna(0).astype(int)).reset_index()
    failed, checks = table["failed"], table["checks"]
    rules = [
        (table["tasks"] < settings.fewest_tasks, f"fewer than {settings.fewest_tasks} tasks"),
        (checks == 0, "met no attention check"),
        (failed / checks > settings.most_failed_checks,
         "ticked " + failed.astype(str) + " of " + checks.astype(str) + " attention checks"),
        (table["median_ms"] < settings.shortest_median_ms, f"median below {settings.shortest_median_ms} ms"),
    ]  # fmt: skip
    table["reason"] = np.select(*zip(*rules, strict=True), default="")
    return table.assign(kept=table["reason"] == "")[ANNOTATORS]


# --- which model -----------------------------------------------------------------------------------------


def first_showings(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the lines that compare models: repeats and attention checks say nothing new about them."""
    return judged[(judged["kind"] == FIRST) & (judged["model"] != ATTENTION)]


def comparisons(ticked: np.ndarray) -> np.ndarray:
    """Return how often model i beat model j, float64 [m, m], from ticked bool [a, m].

    In one answer every ticked row beats every unticked one; rows that share a state are not compared, so an
    answer of all or none says nothing here.
    """
    wins = ticked.astype(float)
    return wins.T @ (1 - wins)


def strengths(beaten: np.ndarray) -> np.ndarray:
    """Return Bradley-Terry strengths, float64 [m], from a matrix [m, m] of how often i beat j.

    Logarithms, centred on 0: a beats b with probability 1 / (1 + exp(b - a)). Fitted by choix's iterative
    Luce spectral ranking (Maystre and Grossglauser 2015).
    """
    import choix

    evened = np.asarray(beaten, float) + ALPHA * (1 - np.eye(len(beaten)))
    found = choix.ilsr_pairwise_dense(evened, max_iter=500)
    return found - found.mean()


def strength_intervals(ticked: np.ndarray, units: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Return (low, high) of the strengths, float64 [2, m], over resampled queries (`units`, int [a])."""
    single = np.stack([comparisons(ticked[units == unit]) for unit in range(units.max() + 1)])
    random, count = np.random.default_rng(resampling.seed), len(single)
    weights = random.multinomial(count, np.full(count, 1 / count), size=resampling.resamples)
    drawn = [strengths(np.tensordot(weight, single, axes=1)) for weight in weights]
    tail = (1 - resampling.confidence) / 2
    return np.quantile(drawn, [tail, 1 - tail], axis=0)


def win_table(judged: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Return one row a model, the most often ticked first.

    win_rate: the share of the answers shown its row that ticked it, [0, 1]. Several rows of a task may win.
    """
    lines = first_showings(judged)
    wide = lines.pivot(index=["annotator", "task", "query"], columns="model", values="ticked")
    ticked, units = wide.to_numpy(bool), pd.factorize(wide.index.get_level_values("query"))[0]
    low, high = intervals_of_means(ticked.astype(float), units, resampling)
    strength_low, strength_high = strength_intervals(ticked, units, resampling)
    table = pd.DataFrame({
        "model": wide.columns, "win_rate": ticked.mean(axis=0), "low": low, "high": high,
        "strength": strengths(comparisons(ticked)), "strength_low": strength_low,
        "strength_high": strength_high, "shown": len(ticked), "ticked": ticked.sum(axis=0),
        "annotators": judged["annotator"].nunique(), "queries": units.max() + 1,
    })  # fmt: skip
    return table.sort_values(["win_rate", "model"], ascending=[False, True], ignore_index=True)


# --- how well people agree -------------------------------------------------------------------------------


def fleiss(judged: pd.DataFrame) -> tuple[float, int]:
    """Return (Fleiss' kappa of ticked or not, number of rows judged by all), NaN with fewer than 2 people.

    Only first showings that every annotator answered, since the measure wants as many judgements of each.
    """
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    lines = first_showings(judged)
    wide = lines.pivot(index=["task", "row"], columns="annotator", values="ticked").dropna().astype(int)
    if wide.shape[1] < 2 or wide.empty:
        return NAN, len(wide)
    counts, _ = aggregate_raters(wide.to_numpy(), n_cat=2)
    with np.errstate(invalid="ignore"):
        return float(fleiss_kappa(counts)), len(wide)


def repeated_rows(judged: pd.DataFrame) -> pd.DataFrame:
    """Return rows shown twice to the same annotator: query, ticked, ticked_again."""
    lines = judged[judged["model"] != ATTENTION]
    again = lines.loc[lines["kind"] == REPEAT, ["annotator", "repeats", "model", "ticked"]]
    first = lines.loc[lines["kind"] == FIRST, ["annotator", "task", "query", "model", "ticked"]]
    again = again.rename(columns={"repeats": "task", "ticked": "ticked_again"})
    return first.merge(again, on=["annotator", "task", "model"])[["query", "ticked", "ticked_again"]]


def cohen(first: pd.Series, again: pd.Series) -> float:
    """Return Cohen's kappa of two bool judgements of the same rows; NaN where chance alone agrees wholly."""
    chance = first.mean() * again.mean() + (1 - first.mean()) * (1 - again.mean())
    return float(((first == again).mean() - chance) / (1 - chance)) if chance < 1 else NAN


def agreement_table(judged: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Return a row a measure: kappa over annotators, consistency over repeats, answers of none, by place."""
    repeats, tasks = repeated_rows(judged), judged.drop_duplicates(["annotator", "task"])
    alike, none = repeats["ticked"] == repeats["ticked_again"], tasks["letters"] == ""
    kappa, items = fleiss(judged)
    again = cohen(repeats["ticked"], repeats["ticked_again"])
    lines = [
        ("fleiss_kappa", "Fleiss' kappa of ticked or not", kappa, NAN, NAN, items),
        ("repeat_agreement", "rows judged alike twice", *mean(alike, repeats["query"], resampling)),
        ("repeat_kappa", "Cohen's kappa of rows judged twice", again, NAN, NAN, len(repeats)),
        ("none", "answers that ticked no row", *mean(none, tasks["query"], resampling)),
    ]
    for position, rows in by_position(judged):
        words = f"rows ticked in place {position + 1} from above, models evened out"
        lines.append((f"position {position + 1}", words, *mean(rows["ticked"], rows["query"], resampling)))
    return pd.DataFrame(lines, columns=["measure", "what", "value", "low", "high", "n"])


def mean(values: pd.Series, queries: pd.Series, resampling: Resampling) -> tuple[float, float, float, int]:
    """Return (mean, low, high, n) of `values` over resampled queries; NaN without any."""
    if values.empty:
        return NAN, NAN, NAN, 0
    column, units = values.to_numpy(float)[:, None], pd.factorize(queries)[0]
    low, high = intervals_of_means(column, units, resampling)[:, 0]
    return column.mean(), low, high, len(column)


def by_position(judged: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield (place from above, its rows); tasks with an attention check have one more and are left out.

    Which model stands where is drawn at random and differs by chance, so each model's own mean is taken off
    and the mean of all put back: what remains is the place.
    """
    checked = judged.loc[judged["model"] == ATTENTION, "task"]
    rows = judged[~judged["task"].isin(checked)].astype({"ticked": float})
    ticked, own = rows["ticked"], rows.groupby("model")["ticked"].transform("mean")
    yield from rows.assign(ticked=ticked - own + ticked.mean()).groupby("position", sort=True)


# --- tables ----------------------------------------------------------------------------------------------


def study_tables(
    answers: pd.DataFrame,
    key: pd.DataFrame,
    *,
    source: str,
    settings: HumanStudySettings,
    resampling: Resampling,
) -> dict[str, pd.DataFrame]:
    """Return the three tables of the study (TABLES) from its answers, each with the column `answers`.

    Raises InputError that names a reason when no annotator counts: then nothing may be said.
    """
    judged = judge(answers, key)
    annotators = annotator_table(judged, settings)
    judged = judged[judged["annotator"].isin(annotators.loc[annotators["kept"], "annotator"])]
    if not (judged["kind"] == FIRST).any():
        raise InputError(
            f"human study: none of {len(annotators)} annotators counts ({annotators['reason'].iloc[0]}); "
            "collect more answers, or see human_study in params.yaml"
        )
    tables = (win_table(judged, resampling), agreement_table(judged, resampling), annotators)
    return {name: table.assign(answers=source) for name, table in zip(TABLES, tables, strict=True)}
