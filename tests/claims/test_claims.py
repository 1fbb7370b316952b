"""The ledger is whole, and every kind of verdict is what the rule says on worked numbers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from small_world import difference_rows, interval_rows, retrieval_rows, tables, write_results

from solesearch.claims import claims
from solesearch.claims.claims import NOT_REPRODUCED, NOT_TESTABLE, PARTLY, REPRODUCED, Claim
from solesearch.claims.evidence import Evidence, Measured
from solesearch.core.errors import InputError
from solesearch.core.published import published
from solesearch.pipeline import charts

PRECISION = {
    "file": "retrieval",
    "column": "value",
    "where": {"model": "infogan", "gallery": "naive", "metric": "precision", "k": 5, "class": "all"},
}
TIMES = {"runtime": "TensorFlow (tf.function)", "batch": 1}


def claim(**changes) -> Claim:
    values = {
        "id": "P-x", "paper": "P", "section": "4", "claim": "words", "about": "photographs", "check": "value",
        "expected": 0.84, "measure": PRECISION, "tolerance": {"absolute": 0.02}, "figure": "", "command": "c",
    }  # fmt: skip
    return Claim(**{**values, **changes})


def judged(one: Claim, profile: str = "paper") -> claims.Finding:
    return claims.judge(one, Evidence.of(profile))


# --- the ledger ---


def test_ledger_is_valid_and_holds_the_whole_table_of_the_paper() -> None:
    ledger = {one.id: one for one in claims.read_ledger()}
    assert len(ledger) >= 60
    for row in published().to_dict("records"):
        name = row["model"]
        assert ledger[f"P-T2-precision-{name}"].expected == row["precision"]
        assert ledger[f"P-T2-size-{name}"].expected == row["size_mb"]
        ratio = row["time_s"] / (0.22 if name == "Proposed" else 0.004)
        assert ledger[f"P-T2-time-{name}"].expected == pytest.approx(ratio, rel=1e-3)
    ranking = ledger["P-precision-ordering"].against
    assert sorted(ranking.values()) == sorted(published()["precision"])
    for one in ledger.values():
        assert not one.figure or one.figure in charts.CHARTS, one.id
        assert one.command.split()[0] in ("dvc", "make", "python"), one.id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"paper": "Q"}, "paper 'Q' is none of P, C"),
        ({"check": "guess"}, "check 'guess' is none of"),
        ({"about": "shoes"}, "about 'shoes' is none of"),
        ({"tolerance": None}, "check value needs tolerance"),
        ({"tolerance": {"factor": 2}}, "tolerance of check value is one of absolute, relative"),
        ({"expected": "high"}, "needs a number as expected, not 'high'"),
        ({"measure": {"file": "retrieval"}}, "measure needs file and column"),
        ({"measure": {**PRECISION, "statistic": "mode"}}, "statistic 'mode' is none of"),
        ({"needs": ["luck"]}, "needs 'luck' is none of"),
        ({"verdict": "reproduced"}, "unknown verdict"),
        ({"section": None}, "missing section"),
        ({"check": "none", "expected": 1, "reason": ""}, "check none needs reason"),
    ],
)
def test_bad_entry_is_one_clear_line(tmp_path, change: dict, words: str) -> None:
    entry = {key: value for key, value in dataclasses.asdict(claim()).items() if value not in ("", {}, ())}
    path = tmp_path / "claims.yaml"
    good = {**entry, "figure": "", "id": "good"}
    path.write_text(yaml.safe_dump({"claims": [good, {**entry, "figure": "", **change}]}))
    with pytest.raises(InputError) as caught:
        claims.read_ledger(path)
    assert str(caught.value).startswith("claims.yaml, entry 2 (P-x): ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("claims: [", "cannot be read as YAML"),
        ("other: 1", "needs a list `claims`"),
        ("claims: [3]", "entry 1: not a mapping"),
    ],
)
def test_file_that_is_no_ledger_is_named(tmp_path, text: str, words: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        claims.read_ledger(path)


def test_id_twice_is_refused(tmp_path) -> None:
    entry = {key: value for key, value in dataclasses.asdict(claim()).items() if value not in ("", {}, ())}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [{**entry, "figure": ""}] * 2}))
    with pytest.raises(InputError, match="id P-x is there twice"):
        claims.read_ledger(path)


# --- the rule ---


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict", "words"),
    [
        (0.84, 0.83, 0.85, REPRODUCED, "the whole interval"),
        (0.84, 0.82, 0.86, REPRODUCED, "the whole interval"),
        (0.84, 0.60, 0.99, PARTLY, "reaches beyond"),  # wide: never reproduced
        (0.85, 0.83, 0.87, PARTLY, "reaches beyond"),
        (0.87, 0.85, 0.89, NOT_REPRODUCED, "chance is not ruled out"),
        (0.95, 0.94, 0.96, NOT_REPRODUCED, "with its whole interval"),
        (0.30, 0.29, 0.31, NOT_REPRODUCED, "with its whole interval"),
    ],
)
def test_value_against_tolerance(value: float, low: float, high: float, verdict: str, words: str) -> None:
    found = claims.judge_within(Measured(value, low, high), low=0.82, high=0.86)
    assert (found.verdict, words in found.reason) == (verdict, True)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.9, 0.89, 0.91), (0.8, 0.79, 0.81), REPRODUCED),
        ((0.9, 0.7, 0.95), (0.8, 0.75, 0.85), PARTLY),
        ((0.8, 0.7, 0.95), (0.9, 0.75, 0.95), NOT_REPRODUCED),
        ((0.1, 0.1, 0.1), (0.9, 0.9, 0.9), NOT_REPRODUCED),
    ],
)
def test_order_of_a_pair(first: tuple, second: tuple, verdict: str) -> None:
    pair = (Measured(*first), Measured(*second))
    assert claims.judge_pairs([pair], sign=1).verdict == verdict
    assert claims.judge_pairs([pair[::-1]], sign=-1).verdict == verdict


def test_one_wrong_pair_breaks_an_order() -> None:
    high, low = Measured(0.9, 0.9, 0.9), Measured(0.1, 0.1, 0.1)
    found = claims.judge_pairs([(high, low), (low, high)], sign=1)
    assert found.verdict == NOT_REPRODUCED
    assert (found.measured.value, found.measured.low, found.measured.high) == (0.5, 0.5, 0.5)


# --- with tables ---


def test_precision_has_the_interval_widened_to_the_seeds(workspace) -> None:
    write_results("paper")
    found = judged(claim())
    assert (found.measured.low, found.measured.high) == pytest.approx((0.83, 0.85))
    assert found.verdict == REPRODUCED
    assert judged(claim(tolerance={"absolute": 0.005})).verdict == PARTLY
    assert judged(claim(expected=0.7)).verdict == NOT_REPRODUCED


def test_drawn_photos_decide_nothing_about_photographs_but_show_the_number(workspace) -> None:
    write_results("sample")
    for expected in (0.84, 0.1):
        found = judged(claim(expected=expected), "sample")
        assert (found.verdict, found.measured.value) == (NOT_TESTABLE, pytest.approx(0.84))
        assert "synthetic" in found.reason
    code = {"file": "mechanics", "column": "value", "where": {"check": "features paper-128x128"}}
    length = claim(about="code", expected=1536, measure=code, tolerance={"absolute": 0})
    assert judged(length, "sample").verdict == NOT_REPRODUCED


def test_no_claim_of_the_ledger_about_photographs_is_decided_by_drawn_ones(workspace) -> None:
    write_results("sample")
    table = claims.verdicts("sample")
    subject = {one.id: one.about for one in claims.read_ledger()}
    decided = table[table["claim"].map(subject) == "photographs"]
    assert set(decided["verdict"]) == {NOT_TESTABLE}
    assert len(decided) > 20


def test_values_of_eight_classes_need_those(workspace) -> None:
    classes = tables()["catalogue"]
    write_results("zappos", catalogue=classes[classes["label"].isin(["heels", "boots"])])
    found = judged(claim(needs=["paper_classes"]), "zappos")
    assert (found.verdict, found.reason) == (
        NOT_TESTABLE, "the 2 classes of this profile are not the papers' eight",
    )  # fmt: skip
    write_results("paper")
    assert judged(claim(needs=["paper_classes"])).verdict == REPRODUCED


def network(**changes) -> Claim:
    where = {**PRECISION["where"], "model": "VGG16"}
    return claim(expected=0.75, measure={**PRECISION, "where": where}, **changes)


def test_networks_need_imagenet_weights_and_all_the_photos(workspace) -> None:
    write_results("paper")
    assert judged(network()).verdict == REPRODUCED
    write_results("paper", networks=pd.DataFrame({"model": ["VGG16"], "weights": ["untrained"]}))
    assert judged(network()).reason == "no ImageNet weights for VGG16"
    few = pd.concat([retrieval_rows({("infogan", 1): 0.8}), retrieval_rows({("VGG16", 0): 0.75}, n=40)])
    write_results("paper", retrieval=few)
    found = judged(network())
    assert (found.verdict, found.measured.value) == (NOT_TESTABLE, 0.75)
    assert "judged on 40 of 100 test photos" in found.reason
    order = claim(check="extreme", models=["infogan", "VGG16"], direction="higher", tolerance={})
    assert "galleries differ" in judged(order).reason


def test_missing_tables_and_rows_are_reasons(workspace) -> None:
    paths = write_results("paper")
    ratio = claim(
        about="time", check="ratio", tolerance={"factor": 2}, expected=1,
        measure={"file": "latency", "column": "median_ms", "where": {"model": "VGG19", **TIMES}},
        against={"where": {"model": "infogan", **TIMES}},
    )  # fmt: skip
    assert "no row of model VGG19" in judged(ratio).reason
    paths.result("latency").unlink()
    found = judged(ratio)
    assert (found.verdict, found.reason) == (NOT_TESTABLE, "no table results/paper/latency.csv here")


@pytest.mark.parametrize(("expected", "verdict"), [(55, REPRODUCED), (25.5, PARTLY), (200, NOT_REPRODUCED)])
def test_times_are_compared_as_ratios(workspace, expected: float, verdict: str) -> None:
    """100 ms against 2 ms are 50; the ends are 100 / 2.1 and 104 / 2."""
    write_results("sample")
    where = {"model": "VGG16", **TIMES}
    found = judged(
        claim(
            about="time", check="ratio", expected=expected, tolerance={"factor": 2},
            measure={"file": "latency", "column": "median_ms", "where": where},
            against={"where": {**where, "model": "infogan"}},
        ),
        "sample",
    )  # fmt: skip
    assert found.verdict == verdict
    assert (found.measured.value, found.measured.low, found.measured.high) == pytest.approx(
        (50, 100 / 2.1, 52)
    )
    assert "100 against 2 ms" in found.reason


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
    one = claim(check="paired", models=["a", "b"], direction="lower", measure={}, tolerance={})
    found = judged(one)
    assert found.verdict == verdict
    if verdict != NOT_TESTABLE:
        assert found.measured.value == max(gap for gap, _ in rows.values())


def test_rank_correlation_takes_the_intervals_into_account(workspace) -> None:
    names = {f"m{place}": 0.1 * place for place in range(1, 9)}
    rows = retrieval_rows({(name, 0): value for name, value in names.items()})
    where = {key: value for key, value in PRECISION["where"].items() if key != "model"}
    one = claim(
        check="rank", measure={**PRECISION, "where": where}, against=names, tolerance={"correlation": 0.9}
    )
    write_results("paper", retrieval=rows, intervals=interval_rows(names, half=0.01))
    sure = judged(one)
    assert (sure.verdict, sure.measured.value) == (REPRODUCED, pytest.approx(1))
    write_results("paper", retrieval=rows, intervals=interval_rows(names, half=0.4))
    wide = judged(one)
    assert (wide.verdict, wide.measured.value) == (PARTLY, pytest.approx(1))
    reverse = dataclasses.replace(one, against={name: -value for name, value in names.items()})
    assert judged(reverse).verdict == NOT_REPRODUCED


def test_correlations_agree_with_scipy() -> None:
    values = np.random.default_rng(0).random((3, 9)).round(1)  # with ties
    wanted = np.arange(9.0)
    for ranked, theirs in ((True, scipy.stats.spearmanr), (False, scipy.stats.pearsonr)):
        ours = claims.correlations(values, wanted, ranked=ranked)
        assert ours == pytest.approx([theirs(row, wanted).statistic for row in values])


def test_ranges_limits_and_steps(workspace) -> None:
    write_results("paper")
    chosen = {"file": "checkpoints", "column": "step", "where": {"model": "infogan", "chosen": True}}
    steps = claim(check="range", expected=[500, 2500], measure=chosen, tolerance={})
    assert judged(steps).verdict == PARTLY  # 250 and 500
    assert judged(dataclasses.replace(steps, expected=[200, 600])).verdict == REPRODUCED
    assert judged(dataclasses.replace(steps, expected=[600, 900])).verdict == NOT_REPRODUCED
    late = judged(dataclasses.replace(steps, after_step=2500))
    assert (late.verdict, "training ends at step 2,500" in late.reason) == (NOT_TESTABLE, True)
    tail = {"file": "training", "column": "mutual_information", "statistic": "last_tenth"}
    below = claim(check="below", expected=1 / 3, measure=tail, tolerance={})
    found = judged(below)  # 0.5 - step / 5000 over steps 2,260 to 2,500
    assert (found.verdict, found.measured.value) == (REPRODUCED, pytest.approx(0.5 - 2380 / 5000))
    assert judged(dataclasses.replace(below, check="above")).verdict == NOT_REPRODUCED


def test_groups_are_means_and_patterns_find_what_was_judged(workspace) -> None:
    values = {"VGG16": 0.7, "VGG16+one_unit": 0.8, "ResNet50": 0.6, "ResNet50+one_unit": 0.9, "hog": 0.5}
    rows = retrieval_rows({(name, 0): value for name, value in values.items()})
    weights = pd.DataFrame({"model": list(values), "weights": "placed"})
    write_results("paper", retrieval=rows, intervals=interval_rows(values), networks=weights)
    where = {key: value for key, value in PRECISION["where"].items() if key != "model"}
    one = claim(
        check="order", models=["after", "before"], direction="higher", tolerance={},
        groups={"after": ["*+one_unit"], "before": ["bases of +one_unit"]},
        measure={**PRECISION, "where": where},
    )  # fmt: skip
    assert judged(one).verdict == REPRODUCED
    evidence = Evidence.of("paper")
    assert claims._group(one, evidence, "after").value == pytest.approx(0.85)
    assert claims._group(one, evidence, "before").value == pytest.approx(0.65)
    drawn = weights.assign(weights=["placed", "placed", "untrained", "untrained", "placed"])
    write_results("paper", retrieval=rows, intervals=interval_rows(values), networks=drawn)
    assert judged(one).reason == "no ImageNet weights for ResNet50+one_unit, ResNet50"


def test_table_and_scorecard(workspace) -> None:
    write_results("paper")
    ledger = [
        claim(id="a"),
        claim(id="b", expected=0.1),
        claim(id="c", paper="C", check="none", reason="why"),
    ]
    table = claims.verdicts("paper", ledger=ledger)
    assert " ".join(table.columns) == "claim paper expected measured low high verdict reason"
    assert table["verdict"].tolist() == [REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE]
    assert table.loc[0, ["expected", "measured"]].tolist() == ["0.84 ± 0.02", "0.84"]
    assert table.loc[0, ["low", "high"]].tolist() == ["0.83", "0.85"]
    assert table.loc[2, "reason"] == "why" and table.loc[2, "measured"] == ""
    score = claims.scorecard(table).set_index("verdict")
    assert score.loc[REPRODUCED].tolist() == [1, 0, 1]
    assert score.loc[NOT_TESTABLE].tolist() == [0, 1, 1]
    assert score.loc[PARTLY, "all"] == 0
    assert [claims.number(value) for value in (12544.0, 1.72589, 0.0)] == ["12544", "1.726", "0"]


def test_damaged_table_is_named(workspace) -> None:
    paths = write_results("paper")
    paths.result("latency").write_text('model,runtime\n"a')
    with pytest.raises(InputError, match=r"latency\.csv: damaged"):
        Evidence.of("paper").table("latency")
    paths.result("mechanics").write_text("check\nx\n")
    code = {"file": "mechanics", "column": "value", "where": {"check": "x"}}
    with pytest.raises(InputError, match="lacks the column value"):
        judged(claim(about="code", measure=code))


@pytest.mark.parametrize("change", [{"claims.worst_pairs": 0}, {"claims.reading_steps": -1}])
def test_impossible_settings_are_refused(workspace, change: dict) -> None:
    with pytest.raises(InputError, match=r"params\.yaml, claims"):
        claims.load_claim_settings("sample", change)
