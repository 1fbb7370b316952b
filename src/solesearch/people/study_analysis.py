"""What the human study says: win rates, strengths, agreement, consistency, position bias, exclusions.

C section 8.4.3 describes such a study and prints no number, so there is nothing to compare with. All
intervals resample queries, because answers about one query stand or fall together. Every table has a column
`answers`: `people`, or `simulated` where data/answers/<profile>.csv does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.people.answers import check_plan, read_answers
from solesearch.people.human_study import ATTENTION, FIRST, REPEAT, HumanStudySettings, Plan
from solesearch.people.simulated_annotators import simulate
from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals

PEOPLE, SIMULATED = "people", "simulated"
# Wins added to every pair, in both directions: a model that never won or never lost would else have an
# infinite strength. Our choice.
ALPHA = 0.1
WINS = [
    "model", "win_rate", "low", "high", "strength", "strength_low", "strength_high", "shown", "ticked",
    "annotators", "queries", "answers",
]  # fmt: skip
AGREEMENT = ["measure", "what", "value", "low", "high", "n", "answers"]
ANNOTATORS = ["annotator", "tasks", "checks", "failed", "none", "median_ms", "kept", "reason", "answers"]
TABLES = ("human_study", "human_study_agreement", "human_study_annotators")


@dataclass(frozen=True)
class Judged:
    """Answers joined with the key: a line an annotator, task and row, with `ticked` (bool) and `position`."""

    rows: pd.DataFrame
    source: str  # people or simulated

    @property
    def models(self) -> list[str]:
        """The compared models, in the order of their names."""
        return sorted(set(self.rows["model"]) - {ATTENTION})


def answers_of(
    paths: Paths, plan: Plan, key: pd.DataFrame, settings: HumanStudySettings
) -> tuple[pd.DataFrame, str]:
    """Return (answers, `people`) from data/answers/<profile>.csv, or (answers, `simulated`) without it.

    Raises InputError that names file, annotator and task when an answer is not to this plan.
    """
    if not paths.answers.is_file():
        return simulate(key, k=plan.k, settings=settings), SIMULATED
    answers = read_answers(paths.answers)
    check_plan(answers, plan, where=paths.answers)
    return answers, PEOPLE


def judge(answers: pd.DataFrame, key: pd.DataFrame, *, source: str) -> Judged:
    """Join answers (answers.COLUMNS) with the key (human_study.KEY)."""
    named = answers.rename(columns={"rows": "letters"}).drop(columns=["plan", "answered_at"])
    rows = named.merge(key, on="task", validate="many_to_many")
    ticked = [row in letters for row, letters in zip(rows["row"], rows["letters"], strict=True)]
    position = rows["row"].map(lambda letter: ord(letter) - ord("A"))
    return Judged(rows.assign(ticked=ticked, position=position), source)


# --- who counts ------------------------------------------------------------------------------------------


def annotator_table(judged: Judged, settings: HumanStudySettings) -> pd.DataFrame:
    """Return one row an annotator (columns ANNOTATORS): what was answered, and who is left out for what.

    Left out is who ticked the attention check in more than `most_failed_checks` of the checks met, met none,
    answered fewer than `fewest_tasks`, or took less than `shortest_median_ms` in the median. The rule stands
    in params.yaml and was fixed before any answer.
    """
    lines = []
    for name, rows in judged.rows.groupby("annotator", sort=True):
        tasks, checks = rows.drop_duplicates("task"), rows[rows["model"] == ATTENTION]
        facts = {
            "annotator": name,
            "tasks": len(tasks),
            "checks": len(checks),
            "failed": int(checks["ticked"].sum()),
            "none": int((tasks["letters"] == "").sum()),
            "median_ms": float(tasks["milliseconds"].median()),
        }
        reason = exclusion_reason(facts, settings)
        lines.append({**facts, "kept": not reason, "reason": reason, "answers": judged.source})
    return pd.DataFrame(lines, columns=ANNOTATORS)


def exclusion_reason(facts: dict, settings: HumanStudySettings) -> str:
    """Return why an annotator is left out, "" for one who is kept."""
    if facts["tasks"] < settings.fewest_tasks:
        return f"fewer than {settings.fewest_tasks} tasks"
    if facts["checks"] == 0:
        return "met no attention check"
    if facts["failed"] / facts["checks"] > settings.most_failed_checks:
        return f"ticked {facts['failed']} of {facts['checks']} attention checks"
    if facts["median_ms"] < settings.shortest_median_ms:
        return f"median below {settings.shortest_median_ms} ms"
    return ""


def kept_rows(judged: Judged, annotators: pd.DataFrame) -> Judged:
    """Return the rows of the annotators that count."""
    names = set(annotators.loc[annotators["kept"], "annotator"])
    return Judged(judged.rows[judged.rows["annotator"].isin(names)], judged.source)


# --- which model -----------------------------------------------------------------------------------------


def ticked_matrix(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Return (ticked bool [a, m], query int [a]) of the first showings: a answers, m models.

    Repeats and attention checks say nothing new about the models, so they are left out.
    """
    rows = judged.rows[(judged.rows["kind"] == FIRST) & (judged.rows["model"] != ATTENTION)]
    wide = rows.pivot(index=["annotator", "task", "query"], columns="model", values="ticked")
    return wide[judged.models].to_numpy(bool), wide.index.get_level_values("query").to_numpy()


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


def strength_intervals(ticked: np.ndarray, queries: np.ndarray, settings: Resampling) -> np.ndarray:
    """Return (low, high) of the strengths, float64 [2, m], over resampled queries int [a]."""
    units = pd.factorize(queries)[0]
    single = np.stack([comparisons(ticked[units == unit]) for unit in range(units.max() + 1)])
    random, count = np.random.default_rng(settings.seed), len(single)
    weights = random.multinomial(count, np.full(count, 1 / count), size=settings.resamples)
    drawn = [strengths(np.tensordot(weight, single, axes=1)) for weight in weights]
    tail = (1 - settings.confidence) / 2
    return np.quantile(drawn, [tail, 1 - tail], axis=0)


def win_table(judged: Judged, settings: Resampling) -> pd.DataFrame:
    """Return one row a model (columns WINS), the most often ticked first.

    win_rate: the share of the answers shown its row that ticked it, [0, 1]. Several rows of a task may win.
    """
    ticked, queries = ticked_matrix(judged)
    units = pd.factorize(queries)[0]
    options = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
    low, high = bootstrap_intervals(ticked.astype(float), units, **options)
    strength_low, strength_high = strength_intervals(ticked, queries, settings)
    table = pd.DataFrame({
        "model": judged.models, "win_rate": ticked.mean(axis=0), "low": low, "high": high,
        "strength": strengths(comparisons(ticked)), "strength_low": strength_low,
        "strength_high": strength_high, "shown": len(ticked), "ticked": ticked.sum(axis=0),
        "annotators": judged.rows["annotator"].nunique(), "queries": units.max() + 1,
        "answers": judged.source,
    })  # fmt: skip
    return table.sort_values(["win_rate", "model"], ascending=[False, True], ignore_index=True)[WINS]


# --- how well people agree -------------------------------------------------------------------------------


def fleiss(judged: Judged) -> tuple[float, int]:
    """Return (Fleiss' kappa of ticked or not, number of rows judged by all), NaN with fewer than 2 people.

    Only first showings that every annotator answered, since the measure wants as many judgements of each.
    """
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    rows = judged.rows[(judged.rows["kind"] == FIRST) & (judged.rows["model"] != ATTENTION)]
    wide = rows.pivot(index=["task", "row"], columns="annotator", values="ticked").dropna().astype(int)
    if wide.shape[1] < 2 or wide.empty:
        return float("nan"), len(wide)
    counts, _ = aggregate_raters(wide.to_numpy(), n_cat=2)
    with np.errstate(invalid="ignore"):
        return float(fleiss_kappa(counts)), len(wide)


def repeated_rows(judged: Judged) -> pd.DataFrame:
    """Return rows shown twice to the same annotator: annotator, query, model, ticked, ticked_again."""
    rows = judged.rows[judged.rows["model"] != ATTENTION]
    again = rows.loc[rows["kind"] == REPEAT, ["annotator", "repeats", "model", "ticked"]]
    again = again.rename(columns={"repeats": "task", "ticked": "ticked_again"})
    first = rows.loc[rows["kind"] == FIRST, ["annotator", "task", "query", "model", "ticked"]]
    return first.merge(again, on=["annotator", "task", "model"])[
        ["annotator", "query", "model", "ticked", "ticked_again"]
    ]


def cohen(first: np.ndarray, again: np.ndarray) -> float:
    """Return Cohen's kappa of two bool judgements of the same rows; NaN where it is not defined."""
    from statsmodels.stats.inter_rater import cohens_kappa

    counts = np.zeros((2, 2))
    np.add.at(counts, (first.astype(int), again.astype(int)), 1)
    if len(first) == 0 or (counts.sum(axis=0) * counts.sum(axis=1)).max() == len(first) ** 2:
        return float("nan")
    return float(cohens_kappa(counts, return_results=False))


def agreement_table(judged: Judged, settings: Resampling) -> pd.DataFrame:
    """Return columns AGREEMENT: kappa over annotators, consistency over repeats, ticks by position, none."""
    kappa, items = fleiss(judged)
    nothing = (float("nan"), float("nan"))
    lines = [("fleiss_kappa", "Fleiss' kappa of ticked or not", kappa, *nothing, items)]
    repeats = repeated_rows(judged)
    equal = (repeats["ticked"] == repeats["ticked_again"]).to_numpy(float)
    lines.append(_mean_line("repeat_agreement", "rows judged alike twice", equal, repeats["query"], settings))
    again = cohen(repeats["ticked"].to_numpy(bool), repeats["ticked_again"].to_numpy(bool))
    lines.append(("repeat_kappa", "Cohen's kappa of rows judged twice", again, *nothing, len(repeats)))
    tasks = judged.rows.drop_duplicates(["annotator", "task"])
    none = (tasks["letters"] == "").to_numpy(float)
    lines.append(_mean_line("none", "answers that ticked no row", none, tasks["query"], settings))
    lines += _position_lines(judged, settings)
    return pd.DataFrame(lines, columns=AGREEMENT[:-1]).assign(answers=judged.source)


def _mean_line(measure: str, what: str, values: np.ndarray, queries: pd.Series, settings: Resampling):
    if not len(values):
        return (measure, what, *[float("nan")] * 3, 0)
    options = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
    units = pd.factorize(queries)[0]
    low, high = bootstrap_intervals(values[:, None], units, **options)[:, 0]
    return (measure, what, values.mean(), low, high, len(values))


def _position_lines(judged: Judged, settings: Resampling) -> Iterator[tuple]:
    """Yield the share ticked at each place from above; tasks with an attention check have a place more.

    Which model stands where is drawn at random and differs by chance, so each model's own mean is taken off
    and the mean of all put back: what remains is the place.
    """
    checked = set(judged.rows.loc[judged.rows["model"] == ATTENTION, "task"])
    rows = judged.rows[~judged.rows["task"].isin(checked)]
    ticked = rows["ticked"].astype(float)
    even = ticked - ticked.groupby(rows["model"]).transform("mean") + ticked.mean()
    for position, found in rows.assign(even=even).groupby("position", sort=True):
        words = f"rows ticked in place {position + 1} from above, models evened out"
        values = found["even"].to_numpy()
        yield _mean_line(f"position {position + 1}", words, values, found["query"], settings)


# --- tables ----------------------------------------------------------------------------------------------


def study_tables(
    answers: pd.DataFrame,
    key: pd.DataFrame,
    *,
    source: str,
    settings: HumanStudySettings,
    resampling: Resampling,
) -> dict[str, pd.DataFrame]:
    """Return the three tables of the study (TABLES) from its answers.

    Raises InputError that names a reason when no annotator counts: then nothing may be said.
    """
    judged = judge(answers, key, source=source)
    annotators = annotator_table(judged, settings)
    kept = kept_rows(judged, annotators)
    if not (kept.rows["kind"] == FIRST).any():
        raise InputError(
            f"human study: none of {len(annotators)} annotators counts ({annotators['reason'].iloc[0]}); "
            "collect more answers, or see human_study in params.yaml"
        )
    wins, agreement = win_table(kept, resampling), agreement_table(kept, resampling)
    return dict(zip(TABLES, (wins, agreement, annotators), strict=True))


def write_study(paths: Paths, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables to results/<profile>/."""
    for name, table in tables.items():
        files.write_table(paths.result(name), table)
