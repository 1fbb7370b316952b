"""The ledger is whole, and every kind of verdict is what the rule says on worked numbers."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from small_world import difference_rows, interval_rows, retrieval_rows, tables, write_results

from solesearch.claims import verdicts
from solesearch.claims.evidence import Evidence, Measured
from solesearch.claims.ledger import WHOLE, Claim, read_ledger
from solesearch.claims.verdicts import NOT_REPRODUCED, NOT_TESTABLE, PARTLY, REPRODUCED, judge_within
from solesearch.core.errors import InputError
from solesearch.core.measures import TENSORFLOW
from solesearch.core.published import published
from solesearch.pipeline.charts import CHARTS

OF_ALL = {"table": "retrieval", "column": "value", "where": WHOLE}
PRECISION = {**OF_ALL, "where": {"model": "infogan", **WHOLE}}
TIMES = {"runtime": TENSORFLOW, "batch": 1}


def claim(**changes) -> Claim:
    """A claim on the proposed model's precision; a change to None leaves a field out."""
    values = {
        "id": "P-x", "section": "4", "claim": "words", "about": "photographs", "expected": "0.84 ± 0.02",
        "measure": PRECISION, "within": (0.82, 0.86),
    }  # fmt: skip
    return Claim(**{key: value for key, value in {**values, **changes}.items() if value is not None})


def judged(one: Claim, profile: str = "paper") -> verdicts.Finding:
    return verdicts.judge(one, Evidence.of(profile))


# --- the ledger ---


def test_ledger_holds_the_whole_table_of_the_paper_and_names_figures_that_there_are() -> None:
    claims = {one.id: one for one in read_ledger()}
    assert len(claims) == 95
    for row in published().to_dict("records"):
        name = row["model"]
        assert np.mean(claims[f"P-T2-precision-{name}"].span) == pytest.approx(row["precision"])
        assert np.mean(claims[f"P-T2-size-{name}"].span) == pytest.approx(row["size_mb"])
        ratio = row["time_s"] / (0.22 if name == "Proposed" else 0.004)
        low, high = claims[f"P-T2-time-{name}"].span
        assert (low * high) ** 0.5 == pytest.approx(ratio) and high / low == pytest.approx(4)
    assert sorted(claims["P-precision-ordering"].correlation.values()) == sorted(published()["precision"])
    assert {one.shown_in for one in claims.values()} <= {"", *CHARTS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"about": "shoes"}, "entry 2 (P-x): about: Input should be"),
        ({"within": None}, "is no number, so `within` has to say"),
        ({"paired": ["hog"], "order": ["a", "b"], "within": None}, "one check a claim, not order and paired"),
        ({"measure": {"table": "retrieval"}}, "measure.column: is missing"),
        ({"needs": ["luck"]}, "needs.0: Input should be"),
        ({"verdict": "reproduced"}, "verdict: is no key here"),
        ({"id": "P-good"}, "id P-good is there twice"),
    ],
)
def test_bad_entry_is_one_clear_line(tmp_path, change: dict, words: str) -> None:
    entry = claim().model_dump(exclude_defaults=True) | {"within": [0.82, 0.86]}
    wrong = {key: value for key, value in {**entry, **change}.items() if value is not None}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([{**entry, "id": "P-good"}, wrong]))
    with pytest.raises(InputError) as caught:
        read_ledger(path)
    assert str(caught.value).startswith("claims.yaml") and "\n" not in str(caught.value)
    assert words in str(caught.value)


# --- the rule ---


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict", "words"),
    [
        (0.84, 0.82, 0.86, REPRODUCED, "the whole interval"),
        (0.84, 0.60, 0.99, PARTLY, "reaches beyond"),  # wide: never reproduced
        (0.87, 0.85, 0.89, NOT_REPRODUCED, "chance is not ruled out"),
        (0.95, 0.94, 0.96, NOT_REPRODUCED, "the whole interval misses"),
    ],
)
def test_value_against_tolerance(value: float, low: float, high: float, verdict: str, words: str) -> None:
    finding = judge_within(Measured(value, low, high), 0.82, 0.86)
    assert (finding.verdict, words in finding.reason) == (verdict, True)


@pytest.mark.parametrize(
    ("value", "span", "reason"),
    [
        (0, (-np.inf, 0.001), "the value lies within the tolerance, 0.001 or below"),
        (0.1, (0.5, np.inf), "the whole interval misses 0.5 or above"),
        (4096, (1536, 1536), "not 1536"),
    ],
)
def test_limits_are_told_in_words(value: float, span: tuple, reason: str) -> None:
    assert judge_within(Measured.of([value]), *span).reason == reason


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.9, 0.89, 0.91), (0.8, 0.79, 0.81), REPRODUCED),
        ((0.9, 0.7, 0.95), (0.8, 0.75, 0.85), PARTLY),
        ((0.8, 0.7, 0.95), (0.9, 0.75, 0.95), NOT_REPRODUCED),
    ],
)
def test_order_of_a_pair(first: tuple, second: tuple, verdict: str) -> None:
    pair = (Measured(*first), Measured(*second))
    assert verdicts.judge_pairs([pair]).verdict == verdict
    broken = verdicts.judge_pairs([pair, pair[::-1]])  # one wrong pair breaks an order
    assert (broken.verdict, broken.measured.value) == (NOT_REPRODUCED, 0.5)


# --- with tables ---


def test_precision_has_the_interval_widened_to_the_seeds(workspace) -> None:
    write_results("paper")
    finding = judged(claim())
    assert (finding.measured.low, finding.measured.high) == pytest.approx((0.83, 0.85))
    assert finding.verdict == REPRODUCED
    assert judged(claim(within=(0.835, 0.845))).verdict == PARTLY
    assert judged(claim(within=(0.68, 0.72))).verdict == NOT_REPRODUCED


def test_drawn_photos_decide_nothing_about_photographs_but_show_the_number(workspace) -> None:
    write_results("sample")
    finding = judged(claim(), "sample")
    assert (finding.verdict, finding.reason) == (NOT_TESTABLE, verdicts.SYNTHETIC)
    assert finding.measured.value == pytest.approx(0.84)
    length = {"table": "mechanics", "column": "value", "where": {"check": "features paper-128x128"}}
    code = claim(about="code", expected=1536, measure=length, within=None)
    assert judged(code, "sample").verdict == NOT_REPRODUCED
    table = verdicts.verdicts("sample").set_index("claim")["verdict"]
    photographs = [one.id for one in read_ledger() if one.about == "photographs"]
    assert set(table[photographs]) == {NOT_TESTABLE}


def test_values_of_eight_classes_need_those(workspace) -> None:
    classes = tables()["catalogue"]
    write_results("paper", catalogue=classes[classes["label"].isin(["heels", "boots"])])
    finding = judged(claim(needs=["paper_classes"]), "paper")
    assert finding.reason == "the 2 classes of this profile are not the papers' eight"
    write_results("paper", catalogue=classes.assign(photos=50_025 / len(classes)))
    whole = judged(claim(needs=["paper_classes", "whole_tree"]))
    assert whole.verdict == REPRODUCED and "classes" not in whole.reason


def test_most_of_the_classes_are_judged_and_said_to_be_a_part(workspace) -> None:
    classes = tables()["catalogue"]
    six = classes[~classes["label"].isin(["heels", "slippers"])]
    unlabelled = six.head(1).assign(label="unlabelled", split="training", photos=0)
    six = pd.concat([six.assign(photos=12_000 / len(six)), unlabelled])
    write_results("paper", catalogue=six)
    finding = judged(claim(needs=["paper_classes"]))
    assert finding.verdict == REPRODUCED
    assert finding.reason.endswith("; six of P's eight classes, 12,000 of 50,025 photos")
    finding = judged(claim(needs=["paper_classes", "whole_tree"]))
    assert finding.verdict == NOT_TESTABLE and finding.reason.startswith("a part of UT-Zap50K is here: six")
    write_results("paper", catalogue=six[six["label"].isin(["boots", "flats", "sandals", "sports"])])
    assert "not the papers' eight" in judged(claim(needs=["paper_classes"])).reason


def network(**changes) -> Claim:
    measure = {**OF_ALL, "where": {"model": "VGG16", **WHOLE}}
    return claim(measure=measure, within=(0.73, 0.77), **changes)


def test_networks_need_imagenet_weights_and_all_the_photos(workspace) -> None:
    write_results("paper")
    assert judged(network()).verdict == REPRODUCED
    write_results("paper", networks=pd.DataFrame({"model": ["VGG16"], "weights": ["untrained"]}))
    assert judged(network()).reason == "no ImageNet weights for VGG16"
    few = pd.concat([retrieval_rows({("infogan", 1): 0.8}), retrieval_rows({("VGG16", 0): 0.75}, n=40)])
    write_results("paper", retrieval=few)
    finding = judged(network())
    assert (finding.verdict, finding.measured.value) == (NOT_TESTABLE, 0.75)
    assert "judged on 40 of 100 test photos" in finding.reason
    order = claim(order=["infogan", "VGG16"], measure=OF_ALL, within=None)
    assert "galleries differ" in judged(order).reason


@pytest.mark.parametrize(
    ("within", "verdict"), [((27, 110), REPRODUCED), ((13, 51), PARTLY), ((100, 400), NOT_REPRODUCED)]
)
def test_times_are_compared_as_ratios(workspace, within: tuple, verdict: str) -> None:
    """100 ms against 2 ms are 50; the ends are 100 / 2.1 and 104 / 2."""
    write_results("sample")
    measure = {"table": "latency", "column": "median_ms", "where": {"model": "VGG16", **TIMES}}
    finding = judged(claim(about="time", measure=measure, over={"model": "infogan"}, within=within), "sample")
    assert finding.verdict == verdict
    ends = (finding.measured.value, finding.measured.low, finding.measured.high)
    assert ends == pytest.approx((50, 100 / 2.1, 52))
    assert "100 against 2 ms" in finding.reason


def test_missing_tables_and_rows_are_reasons(workspace) -> None:
    paths = write_results("paper")
    measure = {"table": "latency", "column": "median_ms", "where": {"model": "VGG19", **TIMES}}
    one = claim(about="time", measure=measure, over={"model": "infogan"}, within=(1, 2))
    assert "no row of model VGG19" in judged(one).reason
    paths.result("latency").unlink()
    assert judged(one).reason == "no table results/paper/networks/latency.csv here"


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ({"a": (-0.2, "lower"), "b": (-0.1, "lower")}, REPRODUCED),
        ({"a": (-0.2, "lower"), "b": (-0.1, "undecided")}, PARTLY),
        ({"a": (-0.2, "lower"), "b": (0.01, "undecided")}, NOT_REPRODUCED),
        ({"a": (-0.2, "lower"), "b": (0.2, "higher")}, NOT_REPRODUCED),
        ({"a": (-0.2, "lower"), "b": (-0.2, "not compared")}, NOT_TESTABLE),
    ],
)
def test_paired_differences_decide_who_is_ahead(workspace, rows: dict, verdict: str) -> None:
    write_results("paper", differences=difference_rows(rows))
    finding = judged(claim(paired=["a", "b"], measure=None, within=None))
    assert finding.verdict == verdict
    if verdict != NOT_TESTABLE:
        assert finding.measured.value == max(gap for gap, _ in rows.values())


def test_correlation_takes_the_intervals_into_account(workspace) -> None:
    values = {f"m{place}": 0.1 * place for place in range(1, 9)}
    rows = retrieval_rows({(name, 0): value for name, value in values.items()})
    one = claim(measure=OF_ALL, correlation=values, within=None)
    write_results("paper", retrieval=rows, intervals=interval_rows(values, half=0.01))
    sure = judged(one)
    assert (sure.verdict, sure.measured.value) == (REPRODUCED, pytest.approx(1))
    write_results("paper", retrieval=rows, intervals=interval_rows(values, half=0.4))
    assert judged(one).verdict == PARTLY
    reverse = claim(measure=OF_ALL, correlation={name: -value for name, value in values.items()}, within=None)
    assert judged(reverse).verdict == NOT_REPRODUCED


def test_correlations_agree_with_scipy() -> None:
    values = np.random.default_rng(0).random((3, 9)).round(1)  # with ties
    claimed = np.arange(9.0)
    for ranked, theirs in ((True, scipy.stats.spearmanr), (False, scipy.stats.pearsonr)):
        ours = verdicts.correlations(values, claimed, ranked=ranked)
        assert ours == pytest.approx([theirs(row, claimed).statistic for row in values])


def test_steps_and_the_last_tenth_of_a_training(workspace) -> None:
    write_results("paper")
    steps = {"table": "checkpoints", "column": "step", "where": {"model": "infogan", "chosen": True}}
    assert judged(claim(measure=steps, within=(300, 2500))).verdict == PARTLY  # 250 and 500, mean 375
    assert judged(claim(measure=steps, within=(200, 600))).verdict == REPRODUCED
    assert "training ends at step 2,500" in judged(claim(measure=steps, after_step=2500)).reason
    tail = {"table": "training", "column": "mutual_information", "statistic": "last_tenth"}
    finding = judged(claim(measure=tail, within=(-np.inf, 1 / 3)))  # 0.5 - step / 5000 over 2,260 to 2,500
    assert (finding.verdict, finding.measured.value) == (REPRODUCED, pytest.approx(0.5 - 2380 / 5000))


def test_tiers_and_groups_and_what_was_retrained(workspace) -> None:
    values = {"VGG16": 0.7, "VGG16+one_unit": 0.8, "ResNet50": 0.6, "ResNet50+one_unit": 0.9, "hog": 0.5}
    rows = retrieval_rows({(name, 0): value for name, value in values.items()})
    weights = pd.DataFrame({"model": list(values), "weights": "placed"})
    write_results("paper", retrieval=rows, intervals=interval_rows(values), networks=weights)
    one = claim(order=["retrained", "plain", "hog"], measure=OF_ALL, within=None)
    evidence = Evidence.of("paper")
    assert judged(one).verdict == REPRODUCED
    means = [verdicts._group_mean(one, evidence, name).value for name in ("retrained", "plain")]
    assert means == pytest.approx([0.85, 0.65])
    tiers = claim(order=[["VGG16", "ResNet50"], "hog"], measure=OF_ALL, within=None)
    assert judged(tiers).reason.startswith("2 of 2 pairs")
    drawn = weights.assign(weights=["placed", "placed", "untrained", "untrained", "placed"])
    write_results("paper", retrieval=rows, intervals=interval_rows(values), networks=drawn)
    assert judged(one).reason == "no ImageNet weights for ResNet50+one_unit, ResNet50"


def test_damaged_table_is_named(workspace) -> None:
    paths = write_results("paper")
    paths.result("latency").write_text('model,runtime\n"a')
    with pytest.raises(InputError, match=r"latency\.csv: damaged"):
        Evidence.of("paper").table("latency")
    paths.result("mechanics").write_text("check\nx\n")
    measure = {"table": "mechanics", "column": "value", "where": {"check": "x"}}
    with pytest.raises(InputError, match="lacks the column value"):
        judged(claim(about="code", measure=measure))


# --- the table and the report ---


def test_table_scorecard_and_report(workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results("paper")
    claims = [
        claim(id="P-a"),
        claim(id="P-b", within=(0, 0.1), claim="a < b | c"),
        claim(id="C-c", expected=8, measure=None, within=None, reason="why"),
    ]
    monkeypatch.setattr(verdicts, "read_ledger", lambda: claims)
    table = verdicts.verdicts("paper")
    assert " ".join(table.columns) == "claim paper expected measured low high verdict reason"
    assert table["verdict"].tolist() == [REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE]
    numbers = table[["expected", "measured", "low", "high"]].to_numpy().tolist()
    assert numbers[::2] == [["0.84 ± 0.02", "0.84", "0.83", "0.85"], ["8", "", "", ""]]
    assert table.loc[2, "reason"] == "why"
    score = verdicts.scorecard(table).set_index("verdict")
    assert score.loc[REPRODUCED].tolist() == [1, 0, 1] and score.loc[PARTLY, "all"] == 0
    assert [verdicts.number(value) for value in (12544.0, 1.72589, 0.0)] == ["12544", "1.726", "0"]
    report = verdicts.markdown_report("paper", table)
    assert r"a < b \| c (4)" in report and "0.84 (0.83 to 0.85)" in report
    assert "| ✓ reproduced | 1 | 0 | 1 |" in report


def test_report_holds_every_claim_after_the_scorecard(workspace) -> None:
    paths = write_results("paper")
    chart = paths.chart("precision_bars").with_suffix(".png")
    chart.parent.mkdir(parents=True)
    chart.touch()
    table = verdicts.write_verdicts("paper")
    report = verdicts.report_file(paths).read_text()
    assert all(name in report for name in table["claim"])
    assert report.index("– not testable here") < report.index("| P-")
    assert "](../../../figures/paper/charts/precision_bars.png)" in report
    assert "`dvc repro evaluate@paper`" in report
    lines = [re.split(r"(?<!\\)\|", line) for line in report.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in lines} == {6, 10}  # the scorecard, and eight columns
