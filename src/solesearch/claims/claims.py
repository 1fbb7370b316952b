"""The ledger of what the two papers claim, and the verdict on each claim, computed from a profile's tables.

The rule. Every measured number has an interval: precision that of a bootstrap over products, widened to the
range of the training seeds; a time from its median to its 95th percentile; other numbers the range of their
rows. A claimed value has a tolerance that was fixed in the ledger. Then

- reproduced: the *whole interval* lies within the tolerance, so a wide interval can never reproduce anything;
- partly: the value lies within the tolerance, but its interval reaches beyond it;
- not reproduced: the value misses the tolerance (the reason says whether its interval still reaches it);
- not testable here: this profile cannot speak of it, and the reason says why. The number is shown anyway.

An order is reproduced when the intervals of every pair are apart in the claimed direction, partly when only
the values are, and not when a value or an interval contradicts it. Against the proposed model paired
differences decide (see uncertainty.py). A drawn catalogue decides no claim about photographs, in either way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import yaml

from solesearch.claims.evidence import BASES, PROPOSED, STATISTICS, Evidence, Measured, MissingEvidenceError
from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.model_names import network_row
from solesearch.core.paths import Paths
from solesearch.core.settings import fill, load_section
from solesearch.retrieval.uncertainty import HIGHER, LOWER, NOT_COMPARED

REPRODUCED, NOT_REPRODUCED, PARTLY = "reproduced", "not reproduced", "partly"
NOT_TESTABLE = "not testable here"
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_TESTABLE)
PAPERS = ("P", "C")
SUBJECTS = ("photographs", "code", "time", "size", "elsewhere")
NEEDS = ("paper_classes", "handbags")
COLUMNS = ["claim", "paper", "expected", "measured", "low", "high", "verdict", "reason"]
SYNTHETIC = "synthetic catalogue: it cannot speak of photographs"
PARTLY_RANK = 0.5  # a rank correlation below this is no resemblance of order
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DRAWS = 2000  # orders drawn within the intervals


# --- the ledger ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One line of claims.yaml, whose head explains the fields."""

    id: str
    paper: str
    section: str
    claim: str
    about: str
    check: str
    expected: Any
    figure: str
    command: str
    measure: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[str] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    direction: str = ""
    tolerance: Mapping[str, float] = field(default_factory=dict)
    needs: Sequence[str] = ()
    after_step: int = 0
    reason: str = ""


def ledger_file() -> Path:
    """Return the ledger that ships with the package."""
    return Path(__file__).with_name("claims.yaml")


def read_ledger(path: Path | None = None) -> list[Claim]:
    """Return the claims of a ledger; raises InputError with one line that names the first bad entry."""
    path = path or ledger_file()
    try:
        entries = yaml.load(
            path.read_text(encoding="utf-8"), Loader=LOADER
        )  # a safe one, in C where there is
    except (OSError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise InputError(f"{path.name}: cannot be read as YAML ({words}); mend or restore it") from error
    listed = entries.get("claims") if isinstance(entries, dict) else None
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path.name}: needs a list `claims` with at least one entry")
    claims, seen = [], set()
    for number, entry in enumerate(listed, start=1):
        claim = _claim(entry, where=f"{path.name}, entry {number}")
        if claim.id in seen:
            raise InputError(f"{path.name}, entry {number}: id {claim.id} is there twice; rename one")
        seen.add(claim.id)
        claims.append(claim)
    return claims


def _claim(entry: Any, *, where: str) -> Claim:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: not a mapping; write `- id: ...`")
    where = f"{where} ({entry.get('id', 'without id')})"
    known = {one.name for one in fields(Claim)}
    wanted = ("id", "paper", "section", "claim", "about", "check", "expected", "figure", "command")
    missing = [name for name in wanted if entry.get(name) in (None, "") and name != "figure"]
    unknown = sorted(entry.keys() - known)
    if missing or unknown or "figure" not in entry:
        missing += ["figure"] * ("figure" not in entry)
        raise InputError(
            f"{where}: missing {', '.join(missing) or 'nothing'}; unknown {', '.join(unknown) or 'nothing'}"
        )
    claim = Claim(**entry)
    fault = _fault(claim)
    if fault:
        raise InputError(f"{where}: {fault}")
    return claim


def _fault(claim: Claim) -> str:
    """Return what is wrong with a claim, or nothing."""
    choices = {"paper": PAPERS, "about": SUBJECTS, "check": tuple(NEEDED)}
    for name, known in choices.items():
        if getattr(claim, name) not in known:
            return f"{name} {getattr(claim, name)!r} is none of {', '.join(known)}"
    if unknown := [need for need in claim.needs if need not in NEEDS]:
        return f"needs {unknown[0]!r} is none of {', '.join(NEEDS)}"
    return _check_fault(claim)


NEEDED: dict[str, tuple[str, ...]] = {
    "value": ("measure", "tolerance"),
    "ratio": ("measure", "against", "tolerance"),
    "range": ("measure",),
    "below": ("measure",),
    "above": ("measure",),
    "order": ("measure", "models", "direction"),
    "extreme": ("measure", "models", "direction"),
    "paired": ("models", "direction"),
    "rank": ("measure", "against", "tolerance"),
    "none": ("reason",),
}


def _check_fault(claim: Claim) -> str:
    needed = NEEDED[claim.check]
    if lacking := [name for name in needed if not getattr(claim, name)]:
        return f"check {claim.check} needs {', '.join(lacking)}"
    if claim.check in ("value", "ratio", "below", "above") and not isinstance(claim.expected, int | float):
        return f"check {claim.check} needs a number as expected, not {claim.expected!r}"
    if claim.measure and not {"file", "column"} <= claim.measure.keys():
        return "measure needs file and column"
    if claim.measure.get("statistic", "mean") not in STATISTICS:
        return f"statistic {claim.measure['statistic']!r} is none of {', '.join(STATISTICS)}"
    allowed = {"value": ("absolute", "relative"), "ratio": ("factor",), "rank": ("correlation",)}
    if claim.tolerance and (
        len(claim.tolerance) != 1 or next(iter(claim.tolerance)) not in allowed.get(claim.check, ())
    ):
        return f"tolerance of check {claim.check} is one of {', '.join(allowed.get(claim.check, ('none',)))}"
    return ""


# --- verdicts --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What one check gave: the measured number with its interval (None: no number), verdict and reason."""

    verdict: str
    reason: str
    measured: Measured | None = None


def judge_within(measured: Measured, *, low: float, high: float) -> Finding:
    """Hold a number against the tolerated span low..high (the rule of this module)."""
    limits = f"{number(low)} to {number(high)}"
    if low <= measured.low and measured.high <= high:
        exact = measured.low == measured.high
        words = "the value lies" if exact else "the whole interval lies"
        words = "equal" if low == high else f"{words} within the tolerance, {limits}"
        return Finding(REPRODUCED, words, measured)
    if low <= measured.value <= high:
        words = "the value lies within the tolerance, its interval reaches beyond"
        return Finding(PARTLY, f"{words} {limits}", measured)
    if measured.high < low or measured.low > high:
        words = f"not {number(low)}" if low == high else f"outside {limits} with its whole interval"
        return Finding(NOT_REPRODUCED, words, measured)
    words = "but its interval reaches them, so chance is not ruled out"
    return Finding(NOT_REPRODUCED, f"the value lies outside {limits}, {words}", measured)


def number(value: float) -> str:
    """Return a number as text: whole ones in full, others with four digits."""
    whole = abs(value) < 1e9 and value == round(value)
    return str(round(value)) if whole else f"{value:.4g}"


def span(claim: Claim) -> tuple[float, float]:
    """Return the tolerated span around the expected number."""
    [(kind, amount)] = claim.tolerance.items()
    expected = float(claim.expected)
    if kind == "factor":
        return expected / amount, expected * amount
    margin = amount if kind == "absolute" else abs(expected) * amount
    return expected - margin, expected + margin


def check_value(claim: Claim, evidence: Evidence) -> Finding:
    """A number, within a tolerance."""
    low, high = span(claim)
    return judge_within(evidence.measure(claim.measure), low=low, high=high)


def check_ratio(claim: Claim, evidence: Evidence) -> Finding:
    """A ratio of two numbers of one table, within a factor; the absolute numbers go into the reason."""
    above, below = evidence.measure(claim.measure), evidence.measure({**claim.measure, **claim.against})
    low, high = span(claim)
    found = judge_within(above.over(below), low=low, high=high)
    unit = str(claim.measure["column"]).rpartition("_")[2]
    reason = f"{above.value:.3g} against {below.value:.3g} {unit}: {found.reason}"
    return Finding(found.verdict, reason, found.measured)


def check_range(claim: Claim, evidence: Evidence) -> Finding:
    """All values within the expected [low, high]; some of them: partly."""
    low, high = claim.expected
    column, where = claim.measure["column"], claim.measure.get("where", {})
    values = evidence.rows(claim.measure["file"], where, [column])[column].drop_duplicates()
    inside = values.between(low, high)
    words = f"{int(inside.sum())} of {len(inside)} lie within {low:g} to {high:g}"
    verdict = REPRODUCED if inside.all() else PARTLY if inside.any() else NOT_REPRODUCED
    return Finding(verdict, words, Measured.of(values))


def check_below(claim: Claim, evidence: Evidence) -> Finding:
    """A number below (above) the expected one with its whole interval."""
    measured, limit = evidence.measure(claim.measure), float(claim.expected)
    sign = 1 if claim.check == "below" else -1
    end, other = (measured.high, measured.low) if sign > 0 else (measured.low, measured.high)
    if sign * end < sign * limit:
        return Finding(REPRODUCED, f"{claim.check} {limit:.4g} with the whole interval", measured)
    if sign * measured.value < sign * limit:
        return Finding(PARTLY, f"the value is {claim.check} {limit:.4g}, its interval is not", measured)
    reaches = "" if sign * other >= sign * limit else ", though its interval reaches there"
    return Finding(NOT_REPRODUCED, f"not {claim.check} {limit:.4g}{reaches}", measured)


def check_pairs(claim: Claim, evidence: Evidence) -> Finding:
    """An order (each model beats the next), or an extreme (the first beats all others)."""
    names = list(claim.models)
    values = {name: _group(claim, evidence, name) for name in names}
    _stop_when_photos_differ(values)
    pairs = pairwise(names) if claim.check == "order" else [(names[0], name) for name in names[1:]]
    sign = 1 if claim.direction == HIGHER else -1
    return judge_pairs([(values[first], values[second]) for first, second in pairs], sign=sign)


def _group(claim: Claim, evidence: Evidence, name: str) -> Measured:
    where = claim.measure.get("where", {})
    members = evidence.members(claim.groups[name]) if name in claim.groups else [name]
    found = [evidence.measure({**claim.measure, "where": {**where, "model": member}}) for member in members]
    ends = [(one.value, one.low, one.high) for one in found]
    value, low, high = (float(number) for number in np.mean(ends, axis=0))
    return Measured(value, low, high, min(one.queries for one in found))


def _stop_when_photos_differ(values: Mapping[str, Measured]) -> None:
    """Raise MissingEvidenceError when models were judged on different numbers of photos."""
    counts = {name: one.queries for name, one in values.items()}
    fewest, most = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[fewest] != counts[most]:
        raise MissingEvidenceError(
            f"{fewest} was judged on {counts[fewest]:,} photos, {most} on {counts[most]:,}: galleries differ"
        )


def judge_pairs(pairs: Sequence[tuple[Measured, Measured]], *, sign: int) -> Finding:
    """Hold pairs against the claim that the first of each is higher (sign 1) or lower (sign -1)."""
    gaps = [sign * (first.value - second.value) for first, second in pairs]
    apart = [_gap(first, second) if sign > 0 else _gap(second, first) for first, second in pairs]
    against = [_gap(second, first) if sign > 0 else _gap(first, second) for first, second in pairs]
    held, total = sum(gap > 0 for gap in gaps), len(pairs)
    measured = Measured(held / total, sum(apart) / total, 1 - sum(against) / total)
    words = f"{held} of {total} pairs are in the claimed order, {sum(apart)} with intervals apart"
    if sum(apart) == total:
        return Finding(REPRODUCED, words, measured)
    return Finding(PARTLY if held == total else NOT_REPRODUCED, words, measured)


def _gap(higher: Measured, lower: Measured) -> bool:
    return higher.low > lower.high


def check_paired(claim: Claim, evidence: Evidence) -> Finding:
    """Paired differences from the proposed model: `direction` is what each of `models` should be."""
    where = {"gallery": "naive", "metric": "precision", "k": 5, **claim.measure.get("where", {})}
    rows = [
        evidence.rows("differences", {**where, "model": name}).iloc[0]
        for name in evidence.members(claim.models)
    ]
    table = pd.DataFrame(rows)
    left_out = table[table["conclusion"] == NOT_COMPARED]
    if len(left_out):
        row = left_out.iloc[0]
        raise MissingEvidenceError(f"{row['model']} is not compared: {row['reason']}")
    sign = -1 if claim.direction == LOWER else 1
    nearest = table.loc[(sign * table["difference"]).idxmin()]
    measured = Measured(*(float(nearest[name]) for name in ("difference", "low", "high")))
    clear, total = int((table["conclusion"] == claim.direction).sum()), len(table)
    opposite = {LOWER: HIGHER, HIGHER: LOWER}[claim.direction]
    words = f"{clear} of {total} clearly {claim.direction}; nearest: {nearest['model']}"
    if clear == total:
        return Finding(REPRODUCED, words, measured)
    if (table["conclusion"] == opposite).any() or sign * measured.value <= 0:
        verdict = NOT_REPRODUCED
        names = ", ".join(table.loc[table["conclusion"] == opposite, "model"]) or "none"
        return Finding(verdict, f"{words}; clearly {opposite}: {names}", measured)
    return Finding(PARTLY, f"{words} ({nearest['reason']})", measured)


def check_rank(claim: Claim, evidence: Evidence) -> Finding:
    """A correlation between measured values and those of `against`: of ranks, or linear (direction: linear).

    Its interval comes from values drawn within the intervals of the measured ones.
    """
    where = claim.measure.get("where", {})
    found = [evidence.measure({**claim.measure, "where": {**where, "model": name}}) for name in claim.against]
    _stop_when_photos_differ(dict(zip(claim.against, found, strict=True)))
    wanted = np.array(list(claim.against.values()), dtype=float)
    middle = np.array([one.value for one in found])
    spread = np.array([(one.high - one.low) / 2 / scipy.stats.norm.ppf(0.975) for one in found])
    drawn = np.random.default_rng(0).normal(middle, spread, size=(DRAWS, len(found)))
    ranked = claim.direction != "linear"
    low, high = np.quantile(correlations(drawn, wanted, ranked=ranked), [0.025, 0.975])
    [value] = correlations(middle[None, :], wanted, ranked=ranked)
    measured = Measured(float(value), float(low), float(high))
    enough = float(claim.tolerance["correlation"])
    words = f"{len(found)} models; at least {enough:g} is asked for, with the whole interval"
    if measured.low >= enough:
        return Finding(REPRODUCED, words, measured)
    return Finding(PARTLY if measured.value >= PARTLY_RANK else NOT_REPRODUCED, words, measured)


def correlations(values: np.ndarray, wanted: np.ndarray, *, ranked: bool) -> np.ndarray:
    """Return the correlation of each row of values [d, m] with wanted [m], float64 [d].

    Pearson's, or Spearman's (Pearson's of the ranks) if `ranked`.
    """
    if ranked:
        values, wanted = scipy.stats.rankdata(values, axis=1), scipy.stats.rankdata(wanted)
    values, wanted = values - values.mean(axis=1, keepdims=True), wanted - wanted.mean()
    return values @ wanted / np.sqrt((values**2).sum(axis=1) * (wanted**2).sum())


CHECKING = {
    "value": check_value, "ratio": check_ratio, "range": check_range, "below": check_below,
    "above": check_below, "order": check_pairs, "extreme": check_pairs, "paired": check_paired,
    "rank": check_rank,
}  # fmt: skip


def networks_of(claim: Claim, evidence: Evidence) -> list[str]:
    """Return the ImageNet networks that a claim speaks of, retrained ones included; patterns are expanded."""
    named = [*claim.models, *claim.against, str(claim.measure.get("where", {}).get("model", ""))]
    members = [name for name in named if name not in claim.groups]
    members += [name for group in claim.groups.values() for name in group]
    plain = [name for name in members if "*" not in name and not name.startswith(BASES)]
    patterns = [name for name in members if name not in plain]
    found = [*plain, *(evidence.members(patterns) if patterns else [])]
    return [name for name in dict.fromkeys(found) if name and network_row(name)]


def obstacle(claim: Claim, evidence: Evidence) -> str:
    """Return why a profile cannot decide a claim, or nothing; raises MissingEvidenceError."""
    if claim.check == "none":
        return claim.reason
    if claim.about == "photographs" and evidence.synthetic:
        return SYNTHETIC
    return _missing_weights(claim, evidence) or _missing_photos(claim, evidence)


def _missing_weights(claim: Claim, evidence: Evidence) -> str:
    if claim.about != "photographs":  # times and sizes do not depend on the weights' values
        return ""
    lacking = [name for name in networks_of(claim, evidence) if evidence.untrained_network(name)]
    return f"no ImageNet weights for {', '.join(lacking)}" if lacking else ""


def _missing_photos(claim: Claim, evidence: Evidence) -> str:
    if "paper_classes" in claim.needs and not evidence.has_paper_classes():
        return f"the {len(evidence.labels())} classes of this profile are not the papers' eight"
    if "handbags" in claim.needs and "handbags" not in evidence.labels():
        return "no handbags among these photos"
    if claim.after_step and evidence.last_step() <= claim.after_step:
        return f"training ends at step {evidence.last_step():,}, and the claim is about later ones"
    return ""


def judge(claim: Claim, evidence: Evidence) -> Finding:
    """Return the verdict on one claim; what cannot be decided here still shows its number, if it has one."""
    found, missing = None, ""
    if claim.check != "none":
        try:
            found = CHECKING[claim.check](claim, evidence)
        except MissingEvidenceError as error:
            missing = str(error)
    try:
        reason = obstacle(claim, evidence) or missing or _on_fewer_photos(claim, found, evidence)
    except MissingEvidenceError as error:
        reason = str(error)
    if reason or found is None:
        return Finding(NOT_TESTABLE, reason, found.measured if found else None)
    return found


def _on_fewer_photos(claim: Claim, found: Finding | None, evidence: Evidence) -> str:
    """Return why a network that was judged on some of the test photos cannot be held against the paper."""
    queries = found.measured.queries if found and found.measured else 0
    if not queries or claim.measure.get("file") != "retrieval":
        return ""
    where = {**claim.measure["where"], "model": PROPOSED}
    whole = int(evidence.rows("retrieval", where)["n"].min())
    return (
        f"judged on {queries:,} of {whole:,} test photos, so its gallery differs" if queries < whole else ""
    )


# --- the table -------------------------------------------------------------------------------------------


def verdicts(profile: str, *, ledger: Sequence[Claim] | None = None) -> pd.DataFrame:
    """Return a profile's verdicts (columns COLUMNS), a row a claim, from its committed tables alone.

    Numbers are text (see `number`), "" where there is none. Raises InputError for a bad ledger or table.
    """
    evidence, rows = Evidence.of(profile), []
    for claim in ledger if ledger is not None else read_ledger():
        found = judge(claim, evidence)
        numbers = ["", "", ""]
        if found.measured:
            ends = (found.measured.value, found.measured.low, found.measured.high)
            numbers = [number(end) for end in ends]
        rows.append((claim.id, claim.paper, expected_words(claim), *numbers, found.verdict, found.reason))
    return pd.DataFrame(rows, columns=COLUMNS)


def expected_words(claim: Claim) -> str:
    """Return the expected value or relation with its tolerance, as the report shows it."""
    expected = claim.expected
    if claim.check == "range":
        return f"{expected[0]:g} to {expected[1]:g}"
    if claim.check in ("below", "above"):
        return f"{claim.check} {expected:g}"
    if not claim.tolerance or not isinstance(expected, int | float):
        return str(expected)
    [(kind, amount)] = claim.tolerance.items()
    sign = {"absolute": f"± {amount:g}", "relative": f"± {amount:.0%}", "factor": f"within {amount:g}x"}[kind]
    return number(expected) if amount == 0 else f"{number(expected)} {sign}"


def scorecard(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many claims of each paper got which verdict: a row a verdict, columns P, C, all."""
    counts = pd.crosstab(table["verdict"], table["paper"]).reindex(
        index=list(VERDICTS), columns=list(PAPERS), fill_value=0
    )
    counts.columns.name = counts.index.name = None
    return counts.assign(all=counts.sum(axis=1)).rename_axis("verdict").reset_index()


# --- the stage -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimSettings:
    """How many pairs are pictured and which readings are trained; `params.yaml` holds the values."""

    worst_pairs: int
    reading_steps: int
    costly_readings: list[str]

    def __post_init__(self) -> None:
        """Raise InputError for an impossible value."""
        if self.worst_pairs < 2 or self.reading_steps < 0:
            raise InputError("params.yaml, claims: worst_pairs from 2, reading_steps from 0")


def load_claim_settings(profile: str, overrides: dict[str, Any] | None = None) -> ClaimSettings:
    """Return section `claims` of a profile; raises InputError for a missing, unknown or impossible value."""
    return fill(ClaimSettings, load_section(profile, "claims", overrides), where=f"{profile}.claims")


def write_tables(paths: Paths, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables to results/<profile>/<name>.csv."""
    for name, table in tables.items():
        files.write_table(paths.result(name), table)


def write_claims(profile: str) -> pd.DataFrame:
    """Write claims.csv, claims.md and claims.html of a profile; return the verdicts."""
    from solesearch.claims.claims_report import html_report, markdown_report

    evidence, ledger = Evidence.of(profile), read_ledger()
    table = verdicts(profile, ledger=ledger)
    files.write_table(evidence.paths.result("claims"), table)
    folder = evidence.paths.results / "claims"
    files.write_text(folder / "claims.md", markdown_report(profile, table, ledger))
    files.write_text(folder / "claims.html", html_report(profile, table, ledger))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Compute the verdicts of profiles again from their committed tables: no photos, no training."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.claims.claims", description=main.__doc__)
    parser.add_argument("profiles", nargs="+", metavar="PROFILE")

    def work() -> None:
        for profile in parser.parse_args(arguments).profiles:
            print(profile)
            print(scorecard(write_claims(profile)).to_string(index=False))

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
