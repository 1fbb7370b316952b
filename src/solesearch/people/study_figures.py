"""The charts of stage human_study. C section 8.4.3 prints no result, so none has a column of the papers'."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    NEUTRAL,
    QUIET,
    VERMILION,
    WHISKER,
    WIDTH,
    Chart,
    add_caption,
    bar_looks,
    checked,
    counted,
    forest,
    name_models,
)  # fmt: skip
from solesearch.figures.registry import chart
from solesearch.people.study_analysis import PEOPLE, SIMULATED

WHO = {PEOPLE: ("people", ""), SIMULATED: ("SIMULATED annotators", "simulated: a rule plus noise, no people")}


def who_answered(table: pd.DataFrame, *, name: str) -> tuple[str, str]:
    """Return (who, a note for the caption); raises InputError when a table mixes the two."""
    sources = set(table["answers"])
    if len(sources) != 1 or not sources <= WHO.keys():
        raise InputError(f"table {name}: answers must be all people or all simulated; got {sorted(sources)}")
    return WHO[sources.pop()]


@chart("human_study")
def human_study_wins(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw how often each model's row was ticked, and its Bradley-Terry strength, with intervals by query.

    `table`: as study_analysis.win_table, with `answers`. Raises InputError naming the table.
    """
    numbers = "win_rate low high strength strength_low strength_high shown annotators queries"
    checked(table, name="human_study", columns="model answers", numbers=numbers)
    who, note = who_answered(table, name="human_study")
    rows = table.sort_values(["win_rate", "model"], ascending=[True, False], kind="stable")
    figure = Chart(figsize=(WIDTH, 1.35 + 0.3 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    figure.suptitle(f"Rows ticked by {who}", x=0.008, ha="left", fontsize=9)
    forest(left, rows.rename(columns={"win_rate": "value"}).assign(marker=""), numbers=".2f")
    for place, (model, rate) in enumerate(zip(rows["model"], rows["win_rate"], strict=True)):
        left.barh(place, rate, height=0.62, **bar_looks(model))
    left.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6), xlabel="Share of its showings ticked")
    strengths = rows[["strength", "strength_low", "strength_high"]].set_axis(["value", "low", "high"], axis=1)
    forest(right, strengths.assign(colour=np.where(rows["model"] == PROPOSED, BLUE, "black")))
    right.axvline(0, color=QUIET, **DASHED)
    right.set_xlabel("Bradley-Terry strength (0: mean of the models)")
    name_models(left, rows["model"].tolist(), places=range(len(rows)))
    right.grid(visible=False, axis="y")
    counts = "n = {annotators:,} annotators, {queries:,} queries, {shown:,} answers".format(**rows.iloc[0])
    parts = [counts, "bars: 95 % intervals over queries", note, "C 8.4.3 prints no result to compare with"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("human_study_agreement")
def human_study_positions(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the share of rows ticked at each place from above: without position bias all are alike.

    `table`: as study_analysis.agreement_table, with `answers`. Raises InputError naming the table.
    """
    name = "human_study_agreement"
    checked(table, name=name, columns="measure answers", numbers="n")
    places = table[table["measure"].str.startswith("position ")]
    checked(places, name=name, columns="measure", numbers="value low high n")
    who, note = who_answered(table, name=name)
    number = places["measure"].str.removeprefix("position ").astype(int).to_numpy()
    figure = Chart(figsize=(WIDTH, 2.7), layout="constrained")
    axes = figure.subplots()
    axes.bar(number, places["value"], width=0.6, facecolor=NEUTRAL)
    ends = [(places["value"] - places["low"]).clip(lower=0), (places["high"] - places["value"]).clip(lower=0)]
    axes.errorbar(number, places["value"], yerr=ends, **WHISKER)
    mean = float(np.average(places["value"], weights=places["n"]))
    axes.axhline(mean, color=VERMILION, **DASHED, label=f"all places: {mean:.2f}")
    for place, value in zip(number, places["value"], strict=True):
        axes.text(place, 0.03, f"{value:.2f}", ha="center", fontsize=7)
    axes.set(xticks=number, xlabel="Place of the row, from above", ylabel="Share ticked", ylim=(0, 1))
    axes.set_title(f"Position bias of {who}")
    axes.legend(loc="upper right")
    words = {"fleiss_kappa": "Fleiss' kappa", "repeat_agreement": "judged alike twice"}
    values = table.set_index("measure")["value"].reindex(words).dropna()
    parts = [f"{words[measure]} {value:.2f}" for measure, value in values.items()]
    rows = counted(places["n"], "rows a place, models evened out")
    add_caption(figure, profile=profile, parts=[rows, *parts, note])
    return figure
