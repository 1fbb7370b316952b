"""The verdict on each claim of the ledger, computed from a profile's committed tables (RULE says how)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

from solesearch.claims.evidence import Evidence, Measured, MissingEvidenceError
from solesearch.claims.ledger import Claim, read_ledger
from solesearch.core import files
from solesearch.core.measures import NONE, markdown_table, title
from solesearch.core.model_names import PROPOSED, network_row
from solesearch.core.paths import Paths
from solesearch.photos.sources import PAPER_CLASSES
from solesearch.retrieval.uncertainty import HIGHER, LOWER, NOT_COMPARED

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
NOT_TESTABLE = "not testable here"
MARKS = {REPRODUCED: "✓", PARTLY: "≈", NOT_REPRODUCED: "✗", NOT_TESTABLE: "–"}
PAPERS = {"P": "Ay, Koyun, Demir, Aydin 2019", "C": "the book chapter by Ay and Aydin"}
COLUMNS = ["claim", "paper", "expected", "measured", "low", "high", "verdict", "reason"]
SYNTHETIC = "synthetic catalogue: it cannot speak of photographs"
CORRELATED = 0.9  # what counts as the same order, or as a straight line
DRAWS = 2000  # values drawn within their intervals
RULE = """\
Every measured number has an interval: precision that of a bootstrap over products, widened to the range of \
the training seeds; a time from its median to its 95th percentile; other numbers the range of their rows. A \
claimed value has a tolerance that was fixed in the ledger. Then

- reproduced: the *whole interval* lies within the tolerance, so a wide interval can never reproduce anything;
- partly: the value lies within the tolerance, but its interval reaches beyond it;
- not reproduced: the value misses the tolerance (the reason says whether its interval still reaches it);
- not testable here: this profile cannot speak of it, and the reason says why. The number is shown anyway.

An order is reproduced when the intervals of every pair are apart in the claimed direction, partly when only \
the values are, and not when a value contradicts it. Against the proposed model paired differences decide. A \
drawn catalogue decides no claim about photographs, in either way."""


@dataclass(frozen=True)
class Finding:
    """What one check gave: verdict, reason, and the measured number with its interval (None: no number)."""

    verdict: str
    reason: str
    measured: Measured | None = None


# --- the four checks -------------------------------------------------------------------------------------


def judge_within(measured: Measured, low: float, high: float) -> Finding:
    """Hold a number and its interval against the tolerated span low..high."""
    asked = f"{number(low)} to {number(high)}"
    if np.isinf([low, high]).any():
        asked = f"{number(high)} or below" if np.isinf(low) else f"{number(low)} or above"
    if low <= measured.low and measured.high <= high:
        exact = "value" if measured.low == measured.high else "whole interval"
        words = "equal" if low == high else f"the {exact} lies within the tolerance, {asked}"
        return Finding(REPRODUCED, words, measured)
    if low <= measured.value <= high:
        words = f"the value lies within the tolerance, its interval reaches beyond {asked}"
        return Finding(PARTLY, words, measured)
    if measured.high < low or measured.low > high:
        words = f"not {number(low)}" if low == high else f"the whole interval misses {asked}"
    else:
        words = f"the value misses {asked}, but its interval reaches there, so chance is not ruled out"
    return Finding(NOT_REPRODUCED, words, measured)


def check_value(claim: Claim, evidence: Evidence) -> Finding:
    """A number, or the ratio of two, within the span of the claim."""
    measured = evidence.measure(claim.measure)
    if not claim.over:
        return judge_within(measured, *claim.span)
    below = evidence.measure(claim.measure, **claim.over)
    finding = judge_within(measured.over(below), *claim.span)
    unit = claim.measure.column.rpartition("_")[2]
    reason = f"{measured.value:.3g} against {below.value:.3g} {unit}: {finding.reason}"
    return replace(finding, reason=reason)


def check_order(claim: Claim, evidence: Evidence) -> Finding:
    """Each model of a tier measures above each of the next tier; a group counts as the mean of its models."""
    values = {name: _group_mean(claim, evidence, name) for tier in claim.tiers for name in tier}
    _stop_when_photos_differ(values)
    pairs = [pair for tier, following in pairwise(claim.tiers) for pair in product(tier, following)]
    return judge_pairs([(values[above], values[below]) for above, below in pairs])


def _group_mean(claim: Claim, evidence: Evidence, name: str) -> Measured:
    members = evidence.members(name, claim.groups)
    measured = [evidence.measure(claim.measure, model=model) for model in members]
    value, low, high = np.mean([(one.value, one.low, one.high) for one in measured], axis=0)
    return Measured(float(value), float(low), float(high), min(one.queries for one in measured))


def _stop_when_photos_differ(values: Mapping[str, Measured]) -> None:
    """Raise MissingEvidenceError when models were judged on different numbers of photos."""
    counts = {name: measured.queries for name, measured in values.items()}
    fewest, most = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[fewest] != counts[most]:
        raise MissingEvidenceError(
            f"{fewest} was judged on {counts[fewest]:,} photos, {most} on {counts[most]:,}: galleries differ"
        )


def judge_pairs(pairs: Sequence[tuple[Measured, Measured]]) -> Finding:
    """Hold pairs against the claim that the first of each lies above the second."""
    held = sum(first.value > second.value for first, second in pairs)
    apart = sum(first.low > second.high for first, second in pairs)
    against = sum(second.low > first.high for first, second in pairs)
    total = len(pairs)
    verdict = REPRODUCED if apart == total else PARTLY if held == total else NOT_REPRODUCED
    words = f"{held} of {total} pairs are in the claimed order, {apart} with intervals apart"
    return Finding(verdict, words, Measured(held / total, apart / total, 1 - against / total))


def check_paired(claim: Claim, evidence: Evidence) -> Finding:
    """The paired difference of each model from the proposed one is clearly below 0."""
    where = {"gallery": "naive", "metric": "precision", "k": 5}
    models = [model for name in claim.paired for model in evidence.members(name, claim.groups)]
    table = pd.concat(evidence.rows("differences", {**where, "model": model}).head(1) for model in models)
    if len(left_out := table[table["conclusion"] == NOT_COMPARED]):
        row = left_out.iloc[0]
        raise MissingEvidenceError(f"{row['model']} is not compared: {row['reason']}")
    nearest = table.loc[table["difference"].idxmax()]
    measured = Measured(*nearest[["difference", "low", "high"]].astype(float))
    clear, above = (table["conclusion"] == conclusion for conclusion in (LOWER, HIGHER))
    words = f"{clear.sum()} of {len(table)} clearly lower; nearest: {nearest['model']}"
    if clear.all():
        return Finding(REPRODUCED, words, measured)
    if above.any() or measured.value >= 0:
        names = ", ".join(table.loc[above, "model"]) or "none"
        return Finding(NOT_REPRODUCED, f"{words}; clearly higher: {names}", measured)
    return Finding(PARTLY, f"{words} ({nearest['reason']})", measured)


def check_correlation(claim: Claim, evidence: Evidence) -> Finding:
    """Measured values correlate with the claimed ones; the interval is that of values drawn within theirs."""
    measured = {model: evidence.measure(claim.measure, model=model) for model in claim.correlation}
    _stop_when_photos_differ(measured)
    values, low, high = np.array([(one.value, one.low, one.high) for one in measured.values()]).T
    deviation = (high - low) / 2 / scipy.stats.norm.ppf(0.975)
    drawn = np.random.default_rng(0).normal(values, deviation, size=(DRAWS, len(values)))
    claimed = np.array(list(claim.correlation.values()))
    [value, *others] = correlations(np.stack([values, *drawn]), claimed, ranked=claim.ranked)
    finding = judge_within(Measured(value, *np.quantile(others, [0.025, 0.975])), CORRELATED, np.inf)
    return replace(finding, reason=f"{len(measured)} models; {finding.reason}")


def correlations(values: np.ndarray, claimed: np.ndarray, *, ranked: bool) -> np.ndarray:
    """Return the correlation of each row of values [d, m] with claimed [m], float64 [d].

    Pearson's, or Spearman's (Pearson's of the ranks) if `ranked`.
    """
    if ranked:
        values, claimed = scipy.stats.rankdata(values, axis=1), scipy.stats.rankdata(claimed)
    return scipy.stats.pearsonr(values, claimed[None], axis=1).statistic


# --- one claim -------------------------------------------------------------------------------------------


def check(claim: Claim, evidence: Evidence) -> Finding:
    """Make the check that a claim asks for; raises MissingEvidenceError where its numbers are not here."""
    if claim.reason:
        return Finding(NOT_TESTABLE, claim.reason)
    if claim.order:
        return check_order(claim, evidence)
    if claim.paired:
        return check_paired(claim, evidence)
    return check_correlation(claim, evidence) if claim.correlation else check_value(claim, evidence)


def judge(claim: Claim, evidence: Evidence) -> Finding:
    """Return the verdict on one claim; what cannot be decided here still shows its number, if it has one."""
    finding, missing = Finding(NOT_TESTABLE, ""), ""
    try:
        finding = check(claim, evidence)
    except MissingEvidenceError as error:
        missing = str(error)
    try:
        reason = obstacle(claim, evidence) or missing or _on_fewer_photos(claim, finding, evidence)
    except MissingEvidenceError as error:
        reason = str(error)
    if reason:
        return replace(finding, verdict=NOT_TESTABLE, reason=reason)
    part = evidence.part_of_papers() if "paper_classes" in claim.needs else ""
    return replace(finding, reason=f"{finding.reason}; {part}") if part else finding


def obstacle(claim: Claim, evidence: Evidence) -> str:
    """Return why a profile cannot decide a claim, or nothing; raises MissingEvidenceError."""
    reason = claim.reason or (_wrong_photographs(claim, evidence) if claim.about == "photographs" else "")
    if not reason and claim.after_step:
        last = int(evidence.table("training")["step"].max())
        if last <= claim.after_step:
            return f"training ends at step {last:,}, and the claim is about later ones"
    return reason


def _wrong_photographs(claim: Claim, evidence: Evidence) -> str:
    """Return what is missing for a claim about photographs; times and sizes need none of it."""
    if evidence.synthetic:
        return SYNTHETIC
    lacking = [model for model in networks_of(claim, evidence) if evidence.without_weights(model)]
    if lacking:
        return f"no ImageNet weights for {', '.join(lacking)}"
    labels = evidence.classes() if claim.needs else set()
    unlike = not labels <= set(PAPER_CLASSES) or len(labels) <= len(PAPER_CLASSES) / 2
    if "paper_classes" in claim.needs and unlike:
        return f"the {len(labels)} classes of this profile are not the papers' eight"
    if "whole_tree" in claim.needs and (part := evidence.part_of_papers()):
        return f"a part of UT-Zap50K is here: {part}"
    if "handbags" in claim.needs and "handbags" not in labels:
        return "no handbags among these photos"
    return ""


def networks_of(claim: Claim, evidence: Evidence) -> list[str]:
    """Return the ImageNet networks that a claim speaks of, retrained ones included."""
    names = [*(name for tier in claim.tiers for name in tier), *claim.paired, *claim.correlation]
    names += [claim.measure.where.get("model", "")] if claim.measure else []
    models = [model for name in names for model in evidence.members(name, claim.groups)]
    return [model for model in dict.fromkeys(models) if network_row(model)]


def _on_fewer_photos(claim: Claim, finding: Finding, evidence: Evidence) -> str:
    """Return why a network that was judged on some of the test photos cannot be held against the paper."""
    if not (finding.measured and finding.measured.queries):
        return ""
    some, whole = finding.measured.queries, evidence.measure(claim.measure, model=PROPOSED).queries
    return f"judged on {some:,} of {whole:,} test photos, so its gallery differs" if some < whole else ""


# --- the table and its report ----------------------------------------------------------------------------


def verdicts(profile: str) -> pd.DataFrame:
    """Return a profile's verdicts (columns COLUMNS), a row a claim, from its committed tables alone.

    Numbers are text (see `number`), "" where there is none. Raises InputError for a bad ledger or table.
    """
    evidence, rows = Evidence.of(profile), []
    for claim in read_ledger():
        finding, numbers = judge(claim, evidence), [""] * 3
        if finding.measured:
            numbers = [number(getattr(finding.measured, end)) for end in ("value", "low", "high")]
        expected = claim.expected if isinstance(claim.expected, str) else number(claim.expected)
        rows.append((claim.id, claim.paper, expected, *numbers, finding.verdict, finding.reason))
    return pd.DataFrame(rows, columns=COLUMNS)


def number(value: float) -> str:
    """Return a number as text: whole ones in full, others with four digits."""
    whole = abs(value) < 1e9 and value == round(value)
    return str(round(value)) if whole else f"{value:.4g}"


def scorecard(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many claims of each paper got which verdict: a row a verdict, columns P, C, all."""
    counts = pd.crosstab(table["verdict"], table["paper"])
    counts = counts.reindex(index=list(MARKS), columns=list(PAPERS), fill_value=0).rename_axis(columns=None)
    return counts.assign(all=counts.sum(axis=1)).reset_index()


def markdown_report(profile: str, table: pd.DataFrame) -> str:
    """Return the report of a profile: scorecard, rule, then every claim by verdict."""
    claims = {claim.id: claim for claim in read_ledger()}
    papers = "; ".join(f"{name}: {words}" for name, words in PAPERS.items())
    score = [
        [f"{MARKS[row['verdict']]} {row['verdict']}", *(str(row[name]) for name in (*PAPERS, "all"))]
        for row in scorecard(table).to_dict("records")
    ]
    parts = [
        f"# What holds of the two papers: profile {title(profile)}",
        f"{len(table)} claims, judged by code from the tables beside this file. {papers}.",
        markdown_table(["Verdict", *PAPERS, "all"], score),
        f"## How a verdict is reached\n\n{RULE}",
    ]
    header = ["Claim", "In our words", "Expected", "Measured", "Verdict", "Reason", "Figure", "Command"]
    for verdict, mark in MARKS.items():
        rows = table[table["verdict"] == verdict].to_dict("records")
        if rows:
            parts.append(f"## {mark} {verdict.capitalize()} ({len(rows)})")
            cells = [_report_row(claims[row["claim"]], row, profile) for row in rows]
            parts.append(markdown_table(header, cells, left=len(header)))
    return "\n\n".join(parts) + "\n"


def _report_row(claim: Claim, row: Mapping[str, str], profile: str) -> list[str]:
    exact, paths = row["low"] == row["high"], Paths.of(profile)
    measured = row["measured"] if exact else f"{row['measured']} ({row['low']} to {row['high']})"
    picture = Path(f"{paths.chart(claim.shown_in)}.png")
    figure = claim.shown_in or NONE
    if picture.is_file():  # the others are drawn by `make figures`
        figure = f"[{figure}]({Path(os.path.relpath(picture, report_file(paths).parent)).as_posix()})"
    words = [claim.id, f"{claim.claim} ({claim.section})", row["expected"], measured or NONE]
    return [*words, row["verdict"], row["reason"], figure, f"`dvc repro {claim.stage}@{profile}`"]


def report_file(paths: Paths) -> Path:
    """Return where a profile's report lies."""
    return paths.result("claims").with_suffix(".md")


def write_verdicts(profile: str) -> pd.DataFrame:
    """Write the verdicts of a profile, claims.csv, and their report, claims.md; return the verdicts."""
    table, paths = verdicts(profile), Paths.of(profile)
    files.write_table(paths.result("claims"), table)
    files.write_text(report_file(paths), markdown_report(profile, table))
    return table
