"""The README's sentences on what was found; their wording follows from comparing the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from solesearch.core.measures import (
    DRAWN,
    GALLERIES,
    NOT_RUN,
    PROFILES,
    Measure,
    compare,
    measure,
    precision_rows,
    time_ratios,
    title,
    untrained_rows,
)
from solesearch.core.model_names import CONTROLS, MODEL_NAMES, PROPOSED, is_plain_network
from solesearch.core.published import CHAPTER_TIME_S, published_row
from solesearch.evaluation.tables import read_latency

REAL_FIRST = ("paper", "zappos", "sample")
AGREEMENT = 2.0  # a time ratio agrees within this factor; our choice: two machines, 20-30 % from run to run
TRAINING = {
    "higher": "the gap of {gap} is larger than the seeds' range: training helps here",
    "lower": "the gap of {gap} is larger than the seeds' range: training does not help here",
    "within": "the gap of {gap} is not clear of the seeds' range: nothing is claimed for or against training",
    "unknown": "with one seed there is no range to hold the gap of {gap} against, so nothing is claimed",
}
CONTROL = {
    "higher": "so the trained discriminator beats every feature that nobody trained",
    "lower": "so the trained discriminator does not beat a feature that nobody trained",
    "within": "too close to the trained discriminator to claim a difference",
    "unknown": "and with one seed nothing is claimed on which of the two is better",
}
NETWORK = {
    "higher": "{gap} below the trained discriminator, which beats it",
    "lower": "{gap} above the trained discriminator, which does not reach it",
    "within": "too close to the trained discriminator to claim a difference",
    "unknown": "and with one seed nothing is claimed on which of the two is better",
}
EXCLUSION = {
    "higher": "a rise of {gap}",
    "lower": "{gap} less, which is what the query's own product had brought",
    "within": "a difference of {gap}, not clear of the seeds' range",
    "unknown": "a difference of {gap}, from one seed",
}


def findings(profiles: Sequence[str]) -> list[str]:
    """Return the sentences on what was found, real photographs first.

    The wording follows from the comparison of the numbers (`compare`); no outcome is written down here.
    """
    done = {profile: rows for profile in profiles if (rows := precision_rows(profile)) is not None}
    order = [profile for profile in (*REAL_FIRST, *profiles) if profile in done]
    order = list(dict.fromkeys(order))
    if not order:
        return [f"Nothing to report: {', '.join(profiles)} {NOT_RUN}."]
    first, *others = order
    told = [training_finding, control_finding, network_finding, exclusion_finding]
    sentences = [tell(first, done[first]) for tell in told]
    sentences += [training_finding(profile, done[profile]) for profile in others[:1]]
    sentences += [paper_finding(first, done[first])] if first not in DRAWN else [_missing_finding(profiles)]
    sentences.append(time_finding(first))
    return [sentence for sentence in sentences if sentence]


def place(profile: str) -> str:
    """Return the words that a sentence uses for a profile's photos."""
    return PROFILES[profile][1] if profile in PROFILES else f"the photos of profile {profile}"


def _gap(first: Measure, second: Measure) -> str:
    return f"{abs(first.mean - second.mean):.3f}"


def training_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the trained discriminator and its untrained twin; None where one is missing."""
    trained, untrained = (measure(rows, model, "naive") for model in ("infogan", "untrained_discriminator"))
    if not trained or not untrained:
        return None
    verdict = TRAINING[compare(trained, untrained)].format(gap=_gap(trained, untrained))
    return (
        f"On {place(profile)} ({trained.queries:,} queries, naive gallery) the trained discriminator reaches "
        f"{trained}, its untrained twin {untrained}; {verdict}."
    )


def control_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the best feature that nobody trained; None where there is nothing to compare."""
    trained = measure(rows, "infogan", "naive")
    controls = {name: found for name in CONTROLS if (found := measure(rows, name, "naive"))}
    if not trained or not controls:
        return None
    best = max(controls, key=lambda name: controls[name].mean)
    verdict = CONTROL[compare(trained, controls[best])]
    return f"The best control there is {MODEL_NAMES[best]} with {controls[best]}, {verdict}."


def network_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the best ImageNet network; None where none has real weights on the same photos.

    A network without ImageNet weights, retrained, under another scaling, or judged on other photos than the
    proposed model (another n) takes no part.
    """
    trained = measure(rows, PROPOSED, "naive")
    plain = rows[rows["model"].map(is_plain_network).astype(bool)]
    untrained = untrained_rows(profile, plain)
    judged = {
        name: measure(plain, name, "naive") for name in plain["model"].unique() if name not in untrained
    }
    alike = {name: one for name, one in judged.items() if one and trained and one.queries == trained.queries}
    if not alike:
        return None
    best = max(alike, key=lambda name: alike[name].mean)
    verdict = NETWORK[compare(trained, alike[best])].format(gap=_gap(trained, alike[best]))
    paper, own = published_row(best), published_row(PROPOSED)
    prints = (
        ""
        if paper is None
        else f"; P prints {paper['precision']:.2f} for it and {own['precision']:.2f} for its own"
    )
    return (
        f"Of the ImageNet networks that have real weights here ({', '.join(sorted(alike))}), {best} is the "
        f"best with {alike[best]}, {verdict}{prints}."
    )


def time_finding(profile: str) -> str | None:
    """Return the sentence on the networks' times as multiples of the proposed model's; None without them."""
    latency = read_latency(profile)
    ratios = pd.DataFrame() if latency is None else time_ratios(latency).drop(PROPOSED, errors="ignore")
    ratios = ratios.dropna(subset=["measured", "paper"]) if len(ratios) else ratios
    if ratios.empty:
        return None
    off = {name: np.abs(np.log(ratios["measured"] / ratios[name])) for name in ("paper", "chapter")}
    alike, other = (int((gaps <= np.log(AGREEMENT)).sum()) for gaps in off.values())
    outside = off["paper"][off["paper"] > np.log(AGREEMENT)].sort_values(ascending=False).index
    named = [
        f"{name} ({ratios['paper'][name]:.3g} in P, {ratios['measured'][name]:.3g} here)" for name in outside
    ]
    furthest = f"; furthest off: {', '.join(named[:3])}" if named else ""
    return (
        f"As multiples of the proposed model's time, the times of {alike} of {len(ratios)} networks lie "
        f"within a factor of {AGREEMENT:g} of P's (batch 1, profile {profile}){furthest}. Against the "
        f"{CHAPTER_TIME_S:g} s that C gives for the proposed model, {other} do."
    )


def exclusion_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on the gallery without the query's own product; None where it was not judged."""
    naive, excluded = (measure(rows, "infogan", gallery) for gallery in GALLERIES)
    if not naive or not excluded:
        return None
    verdict = EXCLUSION[compare(excluded, naive)].format(gap=_gap(excluded, naive))
    return f"Without the query's own product in the gallery, the trained one reaches {excluded}: {verdict}."


def paper_finding(profile: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence that sets P's published precision beside the measured one."""
    trained, paper = measure(rows, "infogan", "naive"), published_row("infogan")
    if not trained:
        return None
    return (
        f"P prints {paper['precision']:.2f} for its network on eight classes of UT-Zap50K; which 10,000 "
        f"photos and which k is not stated, so {trained.mean:.3f} neither confirms nor refutes it."
    )


def _missing_finding(profiles: Sequence[str]) -> str | None:
    absent = [title(name) for name in profiles if name not in DRAWN]
    return f"{', '.join(absent)}: {NOT_RUN}, so nothing here speaks of photographs." if absent else None
