"""A person wrote the sentences of README and docs; each number there, and its point, follows from results/.

A fact is a page, a piece of a sentence as it must stand there, made of the results, and whether they bear it
out.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from solesearch.core.measures import precision, precision_words, time_ratios
from solesearch.core.model_names import CONTROLS, PROPOSED, is_plain_network
from solesearch.core.paths import Paths
from solesearch.core.published import published_row

Fact = tuple[str, str, bool]
README, CLAIMS, BEYOND = "README.md", "docs/claims.md", "docs/beyond.md"
ADDING = "docs/adding_photos.md"
REAL = "paper"


@pytest.fixture(autouse=True)
def committed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As committed: whoever has run the pipeline has newer results, and nothing is wrong with the README."""
    monkeypatch.setenv("SOLESEARCH_ROOT", str(repository))


def table(name: str, profile: str = REAL) -> pd.DataFrame:
    return pd.read_csv(Paths.of(profile).result(name), keep_default_na=False, na_values=[""])


def cell(name: str, *columns: str, profile: str = REAL, **where):
    """The cells of the one row of a results table that has these values."""
    rows = table(name, profile)
    for column, value in where.items():
        rows = rows[rows[column.rstrip("_")].astype(str) == str(value)]
    assert len(rows) == 1, f"{len(rows)} rows of {profile}/{name} with {where}"
    found = [rows[column].iloc[0] for column in columns]
    return found if len(found) > 1 else found[0]


def training_facts() -> Iterator[Fact]:
    places = {REAL: (README, "On the real photographs"), "sample": (CLAIMS, "There")}
    for profile, (page, place) in places.items():
        seeds = precision(profile)
        trained, twin = (seeds.loc[model, "naive"] for model in (PROPOSED, "untrained_discriminator"))
        gap = abs(trained["mean"] - twin["mean"])
        words = [precision_words(seeds, model) for model in (PROPOSED, "untrained_discriminator")]
        yield (
            page,
            f"{place} ({int(trained['n']):,} queries, naive gallery) the trained discriminator reaches "
            f"{words[0]}, its untrained twin {words[1]}; the gap of {gap:.3f} is not clear of the "
            "seeds' range: nothing is claimed for or against training",
            gap <= max(trained["max"] - trained["min"], twin["max"] - twin["min"]),
        )


def rival_facts() -> Iterator[Fact]:
    """The best control and the best network with real weights beat the trained one; exclusion does not."""
    seeds, own = precision(REAL), published_row(PROPOSED)["precision"]
    naive = seeds.xs("naive", level="gallery")
    mean, most = naive["mean"], naive["max"][PROPOSED]
    real = sorted(filter(is_plain_network, table("networks").query("weights != 'untrained'")["model"]))
    best = mean[real].idxmax()
    yield (
        README,
        f"HOG, which nobody trained, reaches {mean['hog']:.3f} and {best} {mean[best]:.3f}. P prints "
        f"{published_row(best)['precision']:.2f} for that network and {own:.2f} for its own",
        mean["hog"] > most and mean[best] > most,
    )
    yield CLAIMS, "HOG is the best control", mean[list(CONTROLS)].max() == mean["hog"] > most
    yield (
        CLAIMS,
        f"which 10,000 photos and which k is not stated, so {mean[PROPOSED]:.3f} neither confirms",
        True,
    )
    stricter = seeds.loc[PROPOSED, "product_excluded"]
    yield (
        CLAIMS,
        f"the trained one reaches {precision_words(seeds, PROPOSED, 'product_excluded')}: a difference of "
        f"{mean[PROPOSED] - stricter['mean']:.3f}, not clear of the seeds' range",
        stricter["max"] >= naive["min"][PROPOSED],
    )
    printed = published_row("MobileNet")["precision"]
    yield CLAIMS, f"For MobileNet P prints {printed:.2f}; here it reaches {mean['MobileNet']:.3f}", True
    yield (
        CLAIMS,
        f"Of the ImageNet networks that have real weights here ({', '.join(real)}), {best} is the best, "
        f"{mean[best] - mean[PROPOSED]:.3f} above the trained discriminator, which does not reach it",
        mean[best] > most,
    )


def catalogue_facts() -> Iterator[Fact]:
    photos = table("catalogue")
    count = {6: "six", 8: "eight"}[len(set(photos["label"]) - {"unlabelled"})]
    there = photos["photos"].sum()
    yield README, f"{count} of P's eight classes and {there:,} of 50,025 photos", there < 50_025


def time_facts() -> Iterator[Fact]:
    ratios = time_ratios(table("latency")).drop(PROPOSED).dropna(subset=["paper"])
    off = {name: np.abs(np.log(ratios["measured"] / ratios[name])) for name in ("paper", "chapter")}
    alike, other = (int((gaps <= np.log(2)).sum()) for gaps in off.values())
    furthest = off["paper"].idxmax()
    yield (
        CLAIMS,
        f"the times of {alike} of {len(ratios)} networks lie within a factor of 2 of P's (batch 1, profile "
        f"paper); furthest off: {furthest} ({ratios['paper'][furthest]:.3g} in P, "
        f"{ratios['measured'][furthest]:.3g} here). Against the 0.04 s that C gives for the proposed model, "
        f"{other} do",
        alike + 1 == len(ratios),
    )


def claim_facts() -> Iterator[Fact]:
    count = table("claims")["verdict"].value_counts()
    yield README, f"All {count.sum()} claims", True
    yield (
        CLAIMS,
        f"Of {count.sum()} claims {count['reproduced']} are reproduced on the real photographs, "
        f"{count['partly']} partly, {count['not reproduced']} are not, and {count['not testable here']} "
        "cannot be tested there",
        True,
    )


def training_effects(average: str) -> Iterator[tuple[str, float, str, str]]:
    """Yield recipe, difference, its interval in words, verdict of the papers' training, on test photos."""
    where = {"rung": "adversarial training", "split": "test", "variant": "paper", "average": average}
    for recipe in ("plain", "layers_max_whitened"):
        columns = ("difference", "low", "high", "verdict")
        difference, low, high, verdict = cell("ladder_effects", *columns, recipe=recipe, **where)
        yield recipe, difference, f"95 % interval {low:+.3f} to {high:+.3f}", verdict


def ablation_facts() -> Iterator[Fact]:
    parts, words = [], ("with their vector", "with several layers pooled by their maximum and whitened")
    for (recipe, difference, interval, verdict), how in zip(training_effects("micro"), words, strict=True):
        before, after = (
            cell("ladder", "value", variant=variant, recipe=recipe, split="test", seed="all")
            for variant in ("untrained", "paper")
        )
        parts.append(f"from {before:.3f} to {after:.3f} {how} ({difference:+.3f}, {interval}: {verdict})")
    queries = cell("ladder", "n", variant="paper", recipe="plain", split="test", seed="all")
    yield BEYOND, f"On the {queries:,} test photos of `paper`, each searched without its own product", True
    yield BEYOND, " and ".join(parts), True
    macro = list(training_effects("macro"))
    yield (
        BEYOND,
        "Where every class weighs the same, it lowers both ({:+.3f} and {:+.3f})".format(
            *(row[1] for row in macro)
        ),
        [row[3] for row in macro] == ["lower", "lower"],
    )


BEST = {"variant": "dictionary", "recipe": "code_root_half_whitened"}
RIVALS = {
    "hog": "HOG, length 1, whitened",
    "MobileNetV2": "MobileNetV2, length 1",
    "MobileNet": "MobileNet, length 1",
}


def goal_facts() -> Iterator[Fact]:
    """The best label-free model against the rivals at their best: every query alike, every class alike."""
    found = cell("ladder", "value", "low", "high", "finalist", split="test", seed="all", **BEST)
    value, low, high, finalist = found
    goals = table("ladder_goals")
    precision_goals, (size, time) = goals[:-2], goals["measured"][-2:]
    names = precision_goals["goal"].str.removeprefix("precision above ").str.replace(": ", ", ")
    wanted = [f"{name}{words}" for name in RIVALS.values() for words in ("", ", classes alike")]
    micro, macro = precision_goals[::2], precision_goals[1::2]
    rows = zip(RIVALS.values(), micro["measured"], micro["low"], micro["high"], strict=True)
    above = ", ".join(f"{name} ({gap:+.3f}, {below:+.3f} to {over:+.3f})" for name, gap, below, over in rows)
    hog, network = (gap for gap in micro["measured"][:2])
    yield (
        README,
        f"reaches {value:.3f} where the query's own product may not answer: {hog:.3f} above HOG and "
        f"{network:.3f} above MobileNetV2, each with the post-processing that suits it best. Where every "
        "class weighs the same, that lead is not decided",
        finalist == 1 and set(micro["reached"]) == {"yes"} and set(macro["reached"]) == {"no"},
    )
    yield (
        BEYOND,
        f"reaches {value:.3f} ({low:.3f} to {high:.3f}), above {above}",
        finalist == 1 and names.tolist() == wanted and set(micro["reached"]) == {"yes"},
    )
    leads = ", ".join(f"{gap:+.3f}" for gap in macro["measured"])
    yield (
        BEYOND,
        f"Where every class weighs the same, its lead ({leads}) is not decided",
        set(macro["reached"]) == {"no"} and (macro["measured"] > 0).all(),
    )
    small = set(goals["reached"][-2:]) == {"yes"}
    yield BEYOND, f"Its file has {size:.3g} MB and a photo takes {time:.3g} ms", small
    drawn = {"variant": "untrained_dictionary", "recipe": BEST["recipe"]}
    value = cell("ladder", "value", split="test", seed="all", **drawn)
    columns, where = (
        ("difference", "verdict"),
        {"against": drawn["variant"], "average": "micro", "split": "test"},
    )
    gap, verdict = cell("ladder_effects", *columns, **BEST, **where)
    yield (
        BEYOND,
        f"with centres drawn at random reaches {value:.3f}; learning them adds {gap:+.3f}",
        verdict == "higher",
    )


def oriented_facts() -> Iterator[Fact]:
    """The newest version of the best model, which `sample` and `chapter` alone have met."""
    best = {"variant": "dictionary", "recipe": "code_root_oriented"}
    columns = ("difference", "low", "high", "verdict")
    found, leads = {}, {}
    for profile in ("sample", "chapter"):
        where = {"split": "test", "profile": profile}
        found[profile] = cell("ladder", "value", "low", "high", "finalist", seed="all", **best, **where)
        for average in ("micro", "macro"):
            where |= {"rung": "goal", "against": "hog", "against_recipe": "normalised_oriented"}
            leads[profile, average] = cell("ladder_effects", *columns, average=average, **best, **where)
    gaps = {key: "{:+.3f}, {:+.3f} to {:+.3f}".format(*lead[:3]) for key, lead in leads.items()}
    higher = {lead[3] for lead in leads.values()} == {"higher"}
    first = {one[3] for one in found.values()} == {1}
    yield (
        BEYOND,
        f"reaches {found['sample'][0]:.3f}, above HOG at its best, oriented as well "
        f"({gaps['sample', 'micro']})",
        higher and first,
    )
    value, low, high, _ = found["chapter"]
    queries = cell("ladder", "n", split="test", seed="all", profile="chapter", **best)
    yield (
        BEYOND,
        f"On its {queries:.0f} test photos of shoes and bags the same model reaches {value:.3f} "
        f"({low:.3f} to {high:.3f}), above HOG at its best ({gaps['chapter', 'micro']}), and where every "
        f"class weighs the same, too ({gaps['chapter', 'macro']})",
        higher and first,
    )
    lead = leads["chapter", "micro"][0]
    yield README, f"on the shoes and bags of `chapter` it puts the dictionary {lead:.3f} above HOG", higher
    before, after = (
        cell("ladder", "value", split="test", seed="all", recipe="plain", variant=one, profile="chapter")
        for one in ("untrained", "paper")
    )
    where = {"rung": "adversarial training", "split": "test", "recipe": "plain", "average": "micro"}
    *gap, verdict = cell("ladder_effects", *columns, profile="chapter", variant="paper", **where)
    moved = "from {:.3f} to {:.3f} ({:+.3f}, {:+.3f} to {:+.3f})".format(before, after, *gap)
    where = {"split": "test", "recipe": "plain", "profile": "chapter"}
    drawn, trained = (
        "{:.3f} and {:.3f}".format(*(cell("ladder", "value", seed=n, variant=one, **where) for n in (1, 2)))
        for one in ("untrained", "paper")
    )
    yield (
        BEYOND,
        f"training moves the plain vector {moved} on these photos, but hangs on the seed: the two drawn "
        f"networks reach {drawn}, the trained ones {trained}",
        verdict == "higher",
    )
    where = {"rung": "finalist", "split": "test", "against": "untrained_dictionary", "average": "micro"}
    undecided = cell("ladder_effects", "verdict", profile="chapter", **best, **where) == "undecided"
    yield BEYOND, "whether learning the centres adds to drawn ones is not decided there", undecided


def other_facts() -> Iterator[Fact]:
    """Speed of training, growth, latent codes, handbags."""
    loop = cell("training_speed", "images_per_second", what="plain two-tape loop")
    alone, both = (
        "{:.2f} times ({:.2f} to {:.2f})".format(
            *cell("training_speed", "ratio", "ratio_low", "ratio_high", what=f"InfoGan.train_step{what}")
        )
        for what in ("", ", two seeds side by side")
    )
    yield (
        BEYOND,
        f"takes in {loop:.1f} images a second as a plain two-tape loop; as it is here, {alone} with one",
        True,
    )
    yield BEYOND, f"and {both} with two seeds side by side", True
    where = {"experiment": "new photos", "queries": "all", "gallery": "product_excluded"}
    ways = ("before", "added", "retrained", "stale")
    before, added, retrained, stale = (f"{cell('growth', 'precision', way=way, **where):.3f}" for way in ways)
    yield (
        ADDING,
        f"precision@5 of {cell('growth', 'n', way='before', **where):,} test queries is {before} "
        f"before, {added} "
        f"with the new photos added to the index and the network left alone, {retrained} after "
        "training on and "
        f"embedding everything anew, and {stale} when",
        True,
    )
    codes = table("latent_codes").query("measure == 'information_bound'")
    codes = codes[codes["item"].str.fullmatch(r"code \d+")]
    low, high = codes["value"].min(), codes["value"].max()
    count = f"{codes['item'].nunique()} codes of {codes['seed'].nunique()} trainings"
    yield BEYOND, f"Each of the {count} carries at least {low:.2f} to {high:.2f} nats", True
    where = {"model": PROPOSED, "seed": "all", "measure": "class", "class_": "all", "profile": "chapter"}
    galleries = ("all", "without_bags", "bags_only")
    whole, shoes, bags = (f"{cell('likeness', 'value', gallery=name, **where):.3f}" for name in galleries)
    yield BEYOND, f"is {whole} with all photos, {shoes} without bags, {bags} among bags alone", True


MAKERS = (
    *(training_facts, rival_facts, catalogue_facts, time_facts, claim_facts),
    *(ablation_facts, goal_facts, oriented_facts, other_facts),
)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_each_fact_stands_on_its_page_and_holds(repository: Path, make) -> None:
    for page, words, holds in make():
        text = " ".join((repository / page).read_text(encoding="utf-8").split())
        assert words in text, f"{page} has to say: {words}"
        assert holds, f"the results no longer bear out: {words}"


@pytest.mark.parametrize("page", [README, CLAIMS, BEYOND, ADDING])
def test_no_other_measured_number_stands_there(repository: Path, page: str) -> None:
    """A number with decimals is measured, or printed by the papers; in the README's results."""
    text = (repository / page).read_text(encoding="utf-8")
    text = re.sub(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", "", text, flags=re.S)
    if page == README:
        [text] = re.findall(r"(?ms)^## Results$(.*?)(?=^## )", text)
    prose = " ".join(text.split())
    for _, words, _ in (fact for make in MAKERS for fact in make() if fact[0] == page):
        prose = prose.replace(words, "")
    assert set(re.findall(r"(?<!Fig )\d+\.\d+", prose)) <= {"0.84"}, "a number that no fact here covers"


# --- minutes and memory, which differ from run to run -------------------------------------------------------


def stages(profile: str) -> dict[str, dict[str, float]]:
    return json.loads((Paths.of(profile).results / "run.json").read_text())["stages"]


def test_minutes_of_the_commands(repository: Path) -> None:
    """Within a third of what the committed run took."""
    text, page = ((repository / name).read_text("utf-8") for name in ("README.md", "docs/reviewer.md"))
    [beside] = re.findall(r"(?m)^make repro .*: about (\d+) minutes$", page)
    for command, profile in (("repro", "sample"), ("paper", "paper"), ("chapter", "chapter")):
        [said] = re.findall(rf"(?m)^\| `make {command}\b.*?` \| about (\d+) \|", text)
        assert profile != "sample" or said == beside
        spent = sum(stage["seconds"] for stage in stages(profile).values()) / 60
        assert spent / 1.33 <= int(said) <= spent * 1.33, f"{command}: {spent:.0f} minutes"


def test_minutes_of_the_notebooks(repository: Path) -> None:
    text = (repository / "docs" / "student.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| \[.*?\]\(../notebooks/(.*?).ipynb\).*\| (\d+) \|$", text)
    assert len(rows) == len(stages("sample"))
    for name, said in rows:
        assert abs(int(said) - stages("sample")[name]["seconds"] / 60) <= 1, name


def test_memory_for_a_reviewer(repository: Path) -> None:
    """What is asked for holds the largest stage, and not twice as much."""
    text = (repository / "docs" / "reviewer.md").read_text(encoding="utf-8")
    [(most, of_chapter)] = re.findall(r"(\d+) GiB of memory do for `sample` and `paper`, (\d+) GiB for", text)
    for said, profile in ((most, "sample"), (most, "paper"), (of_chapter, "chapter")):
        peak = max(stage["peak_memory_mb"] for stage in stages(profile).values()) / 1024
        assert peak <= int(said) <= 2 * peak, profile
