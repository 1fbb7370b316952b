"""Annotators that are no people: a stated rule plus noise, to test the study and to run it on drawn photos.

The rule. A row's appeal is `TASTE` times the share of its photos that have the query's class, less
`POSITION` for every row above it (what stands higher is liked a little better), plus Gumbel noise of scale
`NOISE`. The best row is ticked, and every other within `MARGIN` of it; none if the best is below `CONTENT`.
A careless annotator ticks each row with probability one half and never looks. Whatever is made of these
answers says "simulated": it measures the rule, not the models.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from solesearch.people.answers import COLUMNS, SIMULATED
from solesearch.people.human_study import HumanStudySettings

TASTE, POSITION, NOISE, MARGIN, CONTENT = 4.0, 0.1, 0.5, 0.7, 0.8  # our choice, in units of appeal
CARELESS_TICKS = 0.5
SECONDS, CARELESS_SECONDS, SPREAD = 6.0, 1.5, 0.4  # median time of an answer; SPREAD of its logarithm
WHEN = "2000-01-01T00:00:00.000+00:00"  # no time at all: the same key gives the same bytes


def ticks(same_class: np.ndarray, *, k: int, random: np.random.Generator) -> np.ndarray:
    """Return which rows a careful simulated annotator ticks, bool [rows].

    `same_class` int [rows]: how many of each row's k photos have the query's class, from above to below.
    """
    places = np.arange(len(same_class))
    noise = random.gumbel(scale=NOISE, size=len(same_class))
    appeal = TASTE * same_class / k - POSITION * places + noise
    return (appeal >= appeal.max() - MARGIN) & (appeal.max() >= CONTENT)


def simulate(key: pd.DataFrame, *, k: int, settings: HumanStudySettings) -> pd.DataFrame:
    """Return simulated answers to every task of a key, columns as answers.COLUMNS.

    The last `simulated_careless` of the `simulated_annotators` are careless. Follows from `settings.seed`.
    """
    tasks = [(task, rows.sort_values("row")) for task, rows in key.groupby("task", sort=True)]
    lines, careful = [], settings.simulated_annotators - settings.simulated_careless
    for number in range(settings.simulated_annotators):
        random = np.random.default_rng([settings.seed, number])
        median = SECONDS if number < careful else CARELESS_SECONDS
        for task, rows in tasks:
            if number < careful:
                chosen = ticks(rows["same_class"].to_numpy(), k=k, random=random)
            else:
                chosen = random.random(len(rows)) < CARELESS_TICKS
            letters = "".join(rows["row"].to_numpy()[chosen])
            milliseconds = int(1000 * median * np.exp(SPREAD * random.standard_normal()))
            name = f"{SIMULATED}{number + 1:02d}"
            lines.append((rows["plan"].iloc[0], name, task, letters, milliseconds, WHEN))
    return pd.DataFrame(lines, columns=COLUMNS)
