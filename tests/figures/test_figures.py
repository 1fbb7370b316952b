"""Charts show what stands in the tables, faults are named, and a redraw gives the same bytes."""

import math
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, median

import matplotlib
import numpy as np
import pandas as pd
import pytest
from comparison_tables import networks_table
from legible import assert_legible, caption, words
from matplotlib import pyplot
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.model_names import model_name
from solesearch.core.paths import Paths
from solesearch.figures import drawing, figures, registry
from solesearch.pipeline import charts

CONTROLS = ["pixels", "hog", "colour_histogram", "mean_colour"]
MODELS = ["infogan", "untrained_discriminator", *CONTROLS, "random"]
NETWORKS = [
    "VGG16",
    "ResNet50",
    "InceptionResNetV2",
    "MobileNet-0.25",
    "MobileNet",
    "MobileNetV2",
    "DenseNet121",
]
NINE = ["boots", "flats", "handbags", "heels", "high_boots", "loafers", "sandals", "slippers", "sports"]
KINDS = ("png", "pdf")
LEVELS = {"infogan": 0.87, "untrained_discriminator": 0.88, "hog": 0.95, "pixels": 0.89, "random": 1 / 3}


def training_table(*, seeds=(1, 2), steps=600) -> pd.DataFrame:
    tables = []
    for seed in seeds:
        random, step = np.random.default_rng(seed), np.arange(1, steps + 1)
        noise = random.normal(0, 0.05, (4, steps))
        losses = {
            "d_real": 0.6 + noise[0],
            "d_fake": 0.58 + noise[1],
            "generator": 1 + step / steps + noise[2],
            "mutual_information": 0.7 * np.exp(-step / 200) + np.abs(noise[3]),
        }
        tables.append(pd.DataFrame({"seed": seed, "step": step, **losses}))
    return pd.concat(tables)  # repeated index on purpose


def checkpoint_table(*, seeds=(1, 2), steps=(0, 250, 500, 750), models=CONTROLS) -> pd.DataFrame:
    rows = []
    for gallery, harder in (("naive", 0), ("product_excluded", 0.01)):
        for seed in seeds:
            for step in steps:
                value = 0.86 + 0.01 * seed + 0.02 * math.sin(step / 250) - harder
                rows.append(("infogan", seed, step, gallery, "precision", 5, value, 480, step == 250 * seed))
                rows.append(("infogan", seed, step, gallery, "map", 0, 0.1, 480, step == 250 * seed))
        rows += [
            (model, 0, 0, gallery, "precision", 5, LEVELS.get(model, 0.5), 480, False) for model in models
        ]
    return pd.DataFrame(
        rows, columns=["model", "seed", "step", "gallery", "metric", "k", "value", "n", "chosen"]
    )


def retrieval_table(*, models=MODELS, classes=("boot", "sandal", "shoe"), seeds=(1, 2)) -> pd.DataFrame:
    rows, random = [], np.random.default_rng(0)
    for model in models:
        learned = model in ("infogan", "untrained_discriminator")
        for seed in seeds if learned else (0,):
            for gallery, harder, queries in (("naive", 0, 480), ("product_excluded", 0.02, 470)):
                value = LEVELS.get(model, 0.4 + 0.02 * models.index(model)) - harder + 0.01 * seed
                for label in ("all", "macro", *classes):
                    n = queries * (len(classes) if label in ("all", "macro") else 1)
                    spread = random.normal(0, 0.02) if label in classes else 0
                    rows.append((model, seed, gallery, "precision", 5, label, value + spread, n))
                    rows.append((model, seed, gallery, "precision", 1, label, 0.1, n))
                rows.append((model, seed, gallery, "map", 0, "all", 0.2, queries))
    return pd.DataFrame(rows, columns=["model", "seed", "gallery", "metric", "k", "class", "value", "n"])


def catalogue_table(*, classes=("boot", "sandal")) -> pd.DataFrame:
    splits = (("training", 960), ("validation", 160), ("test", 480))
    rows = [(name, split, n + k, n // 3) for k, name in enumerate(classes) for split, n in splits]
    return pd.DataFrame(rows, columns=["label", "split", "photos", "products"])


TABLES = {
    "training": training_table,
    "checkpoints": checkpoint_table,
    "retrieval": retrieval_table,
    "catalogue": catalogue_table,
}


# --- the charts show their tables ------------------------------------------------------------------------


def test_loss_curves_show_every_iteration_and_the_running_median() -> None:
    seeds = (1, 2)
    table = training_table(seeds=seeds, steps=120)
    figure = figures.loss_curves(table, profile="smoke")
    for axes, loss in zip(figure.axes, figures.LOSSES, strict=True):
        raw, bold = axes.lines[0 : 2 * len(seeds) : 2], axes.lines[1 : 2 * len(seeds) : 2]
        for seed, thin, thick in zip(seeds, raw, bold, strict=True):
            values = table.loc[table["seed"] == seed, loss].tolist()
            assert thin.get_ydata().tolist() == values
            # 120 iterations: the window is 5, shorter at both ends
            expected = [median(values[max(0, k - 2) : k + 3]) for k in range(len(values))]
            np.testing.assert_allclose(thick.get_ydata(), expected)
        level = 1 / 3 if loss == "mutual_information" else math.log(2)
        assert axes.lines[-1].get_ydata() == [level, level]
    said = caption(figure)
    assert all(words in said for words in ("seeds 1, 2", "n = 120 iterations a seed", "synthetic catalogue"))


@pytest.mark.parametrize(("steps", "shaded"), [(499, False), (600, True)])
def test_the_papers_ideal_range_is_shaded_where_it_is_reached(steps: int, shaded: bool) -> None:
    table = training_table(seeds=(1,), steps=steps).reset_index(drop=True)
    table.loc[[10, 50], "generator"] = 90.0  # spikes leave the axis
    figure = figures.loss_curves(table, profile="paper")
    assert [len(axes.patches) for axes in figure.axes] == [int(shaded)] * 4
    assert ("500 to 2,500 iterations: ideal (P)" in words(figure)) == shaded
    assert {axes.get_xlim() for axes in figure.axes} == {(0, steps)}
    assert 2 < figure.axes[2].get_ylim()[1] < 4
    assert "synthetic" not in caption(figure)


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_checkpoint_curve_shows_the_table_and_rings_the_chosen_step(seeds: tuple[int, ...]) -> None:
    table = checkpoint_table(seeds=seeds)
    table["chosen"] &= table["gallery"] == "naive"  # chosen there, ringed in the drawn gallery, too
    figure = figures.checkpoint_curve(table, profile="paper")
    [axes] = figure.axes
    rows = table[(table["gallery"] == "product_excluded") & (table["metric"] == "precision")]
    for seed, line in zip(seeds, axes.lines, strict=False):
        mine = rows[(rows["seed"] == seed) & (rows["model"] == "infogan")]
        assert line.get_xydata().tolist() == mine[["step", "value"]].to_numpy().tolist()
    rings = axes.lines[len(seeds)]
    assert rings.get_label() == "chosen" and rings.get_xdata().tolist() == [250 * seed for seed in seeds]
    dashed = {line.get_ydata()[0] for line in axes.lines if line.is_dashed() and len(line.get_ydata())}
    assert dashed == {LEVELS["hog"], LEVELS["pixels"]} and axes.get_ylim()[0] > 0.7
    assert {"HOG 0.950", "Mean colour 0.500, below", "0\nuntrained"} <= set(words(figure))
    assert "n = 480 validation queries" in caption(figure)


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_precision_bars_end_at_the_means_of_the_table(seeds: tuple[int, ...]) -> None:
    table = retrieval_table(seeds=seeds)
    figure = figures.precision_bars(table, profile="paper")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    for axes, gallery in zip(figure.axes, ("naive", "product_excluded"), strict=True):
        assert axes.get_title("left") == drawing.GALLERIES[gallery]
        rows = table[(table["gallery"] == gallery) & (table["k"] == 5) & (table["class"] == "all")]
        bars = {names[round(bar.get_y() + bar.get_height() / 2)]: bar for bar in axes.patches}
        assert len(bars) == len(MODELS) - 1  # random is a line
        for model in set(MODELS) - {"random"}:
            expected = mean(rows.loc[rows["model"] == model, "value"])
            assert bars[model_name(model)].get_width() == pytest.approx(expected, abs=1e-12)
            assert f"{expected:.3f}" in [text.get_text() for text in axes.texts]
        dots = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "o"]
        twins = ("infogan", "untrained_discriminator")
        expected = [rows.loc[rows["model"] == model, "value"].tolist() for model in twins]
        assert dots == (expected if len(seeds) > 1 else [])
        [prior] = [line for line in axes.lines if line.is_dashed()]
        assert prior.get_xdata()[0] == rows.loc[rows["model"] == "random", "value"].item()
        assert same_color(bars["InfoGAN (proposed)"].get_facecolor(), drawing.BLUE)
        assert bars["Discriminator, untrained"].get_hatch()
        assert {to_hex(bars[model_name(model)].get_facecolor()) for model in CONTROLS} == {drawing.NEUTRAL}
    widths = [bar.get_width() for bar in sorted(figure.axes[1].patches, key=lambda bar: bar.get_y())]
    assert widths == sorted(widths)
    assert "n = 1,410 to 1,440 queries" in caption(figure)


def test_precision_bars_of_one_gallery_are_one_panel_with_its_intervals() -> None:
    table = retrieval_table().query("gallery == 'naive' and model != 'random'")
    interval = {"model": "hog", "seed": 0, "gallery": "naive", "k": 1, "low": 0.05, "high": 0.2}
    figure = figures.precision_bars(table, profile="paper", k=1, intervals=pd.DataFrame([interval]))
    [axes] = figure.axes
    assert not [line for line in axes.lines if line.is_dashed()]
    assert {bar.get_width() for bar in axes.patches} == {0.1}
    ends = [bars.get_segments()[0][:, 0].tolist() for bars in axes.collections]
    assert ends == [[0.05, 0.2]]


def test_class_precision_cells_are_the_means_over_seeds() -> None:
    table = retrieval_table(models=["random", "infogan", "hog"], classes=("heels", "12"))
    figure = figures.class_precision(table, profile="paper")
    rows = table[(table["gallery"] == "product_excluded") & (table["k"] == 5)]
    expected = [
        [
            mean(rows.loc[(rows["model"] == model) & (rows["class"] == label), "value"])
            for label in ("12", "heels")
        ]
        for model in ("hog", "infogan", "random")
    ]
    mesh = figure.axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(3, 2), expected)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == [f"{value:.2f}" for row in expected for value in row]
    assert {"HOG", "Random", "12\nn ≤ 470", "Product-excluded gallery"} <= set(words(figure))
    assert "n = 940 queries" in caption(figure)


def test_photos_per_class_stacks_the_splits() -> None:
    table = catalogue_table()
    table["label"] = table["label"].astype(object).replace("boot", 7)  # a folder may be called 7
    figure = figures.photos_per_class(table, profile="sample")
    [axes] = figure.axes
    bars = [[(bar.get_x(), bar.get_width()) for bar in stack] for stack in axes.containers]
    assert bars == [[(0, 960), (0, 961)], [(960, 160), (961, 161)], [(1120, 480), (1122, 481)]]
    assert {"7", "sandal", "1,600", "1,603"} <= set(words(figure))
    assert "2 classes · n = 3,203 photos" in caption(figure)


@pytest.mark.parametrize(
    ("draw", "table", "beside"),
    [
        (figures.precision_bars, retrieval_table(classes=NINE), {}),
        (
            figures.class_precision,
            retrieval_table(models=MODELS + NETWORKS, classes=NINE),
            {"networks": networks_table(NETWORKS)},
        ),
        (figures.checkpoint_curve, checkpoint_table(models=["pixels", "hog", "random"]), {}),
        (figures.loss_curves, training_table(seeds=(1, 2, 3, 4, 5)), {}),
        (figures.photos_per_class, catalogue_table(classes=NINE), {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_text_is_cut_or_overlaps(draw, table: pd.DataFrame, beside: dict) -> None:
    figure = draw(table, profile="sample", **beside)
    assert figure.get_figwidth() == drawing.WIDTH
    assert_legible(figure)


def test_a_forest_has_a_mark_and_a_whisker_a_row() -> None:
    table = pd.DataFrame({"value": [0.5, 0.7, 0.2], "low": [0.4, np.nan, 0.1], "high": [0.8, np.nan, 0.3]})
    axes = Figure().subplots()
    drawing.forest(axes, table.assign(face=["", "white", ""], marker=["D", "o", ""]), numbers=".2f")
    whiskers = [bars.get_segments()[0].tolist() for bars in axes.collections]
    assert whiskers == [[[0.4, 0], [0.8, 0]], [[0.7, 1], [0.7, 1]], [[0.1, 2], [0.3, 2]]]
    marks = [line for line in axes.lines if line.get_marker() in ("D", "o")]
    assert [(line.get_xdata()[0], line.get_markerfacecolor()) for line in marks] == [
        (0.5, "black"), (0.7, "white"),
    ]  # fmt: skip
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("0.50", (0.8, 0)), ("0.70", (0.7, 1)), ("0.20", (0.3, 2)),
    ]  # fmt: skip


# --- faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("loss_curves", "generator"),
        ("checkpoint_curve", "value"),
        ("precision_bars", "value"),
        ("class_precision", "n"),
        ("photos_per_class", "photos"),
    ],
)
def test_gaps_and_missing_columns_are_named(name: str, column: str) -> None:
    draw, [table] = registry.CHARTS[name].draw, registry.CHARTS[name].tables
    rows = TABLES[table]().reset_index(drop=True)
    with pytest.raises(InputError, match=f"table {table}: no rows"):
        draw(rows.iloc[:0], profile="smoke")
    with pytest.raises(InputError, match=f"table {table}: column {column} is missing"):
        draw(rows.drop(columns=column), profile="smoke")
    rows[column] = rows[column].astype(object)
    for fault in (float("nan"), float("inf"), "many"):
        rows.loc[1, column] = fault
        with pytest.raises(InputError, match=f"table {table}: {column} of row 2 is {fault}, not a number"):
            draw(rows, profile="smoke")


def test_wrong_values_and_selections_are_named() -> None:
    table = retrieval_table()
    with pytest.raises(InputError, match="table retrieval: no row with k 7; there are 1, 5"):
        figures.precision_bars(table, profile="smoke", k=7)
    with pytest.raises(InputError, match="a fraction, 0 to 1; found 95"):
        figures.precision_bars(table.assign(value=table["value"] * 100), profile="smoke")
    with pytest.raises(InputError, match="table retrieval: no single class"):
        figures.class_precision(table[table["class"] == "all"], profile="smoke")


# --- files -----------------------------------------------------------------------------------------------


def test_saving_twice_gives_the_same_bytes_whatever_happened_between(tmp_path: Path) -> None:
    # matplotlib would settle the layout of this chart a little differently at every drawing
    first = drawing.save(
        figures.checkpoint_curve(checkpoint_table(), profile="smoke"), tmp_path / "v1.0", kinds=KINDS
    )
    assert first == [tmp_path / "v1.0.png", tmp_path / "v1.0.pdf"]
    with matplotlib.rc_context({"axes.labelpad": 20, "savefig.bbox": "tight", "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        shown = figures.checkpoint_curve(checkpoint_table(), profile="smoke")
        picture = shown._repr_png_()  # what a notebook shows
        second = drawing.save(shown, tmp_path / "again", kinds=KINDS)
        assert dict(matplotlib.rcParams) == before
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert picture == first[0].read_bytes()
    assert first[0].read_bytes()[16:20] == (1080).to_bytes(4, "big")  # 7.2 inches at 150 dpi
    assert b"CreationDate" not in first[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 4
    assert pyplot.get_fignums() == []


def test_save_closes_a_pyplot_figure_and_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch
) -> None:
    figure, _ = pyplot.subplots()
    drawing.save(figure, tmp_path / "chart")
    assert pyplot.get_fignums() == []
    old = (tmp_path / "chart.png").read_bytes()

    def half(self, target, **options) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="no space"):
        drawing.save(figure, tmp_path / "chart")
    assert (tmp_path / "chart.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chart.png"]


def write_results(profile: str, names: list[str]) -> Paths:
    paths = Paths.of(profile)
    for name in names:
        files.write_table(paths.result(name), TABLES[name]())
    return paths


def test_command_line_redraws_what_can_be_drawn(workspace: Path, capsys) -> None:
    paths = write_results("smoke", ["catalogue", "checkpoints"])
    files.write_text(paths.result("latency"), "")
    assert charts.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [name for name in registry.CHARTS if name in ("photos_per_class", "checkpoint_curve")]
    drawn = [f"figures/smoke/all/{name}.{kind}" for name in names for kind in KINDS]
    assert [line for line in lines if "skipped" not in line] == drawn
    reasons = dict(line.split(" skipped: ") for line in lines if "skipped" in line)
    assert list(reasons) == [name for name in registry.CHARTS if name not in names]
    assert "training.csv: not there yet" in reasons["loss_curves"]
    assert "latency.csv: damaged" in reasons["time_bars"]
    assert all((workspace / path).stat().st_size > 5000 for path in drawn)


def test_another_process_redraws_the_same_bytes(workspace: Path) -> None:
    folder = write_results("paper", ["catalogue"]).figures / "all"
    here = {path.name: path.read_bytes() for path in charts.redraw("paper", report=lambda line: None)}
    assert len(here) == 2
    rc = "font.size: 30\nfigure.facecolor: red\nsavefig.format: svg\naxes.formatter.use_locale: True\n"
    (workspace / "matplotlibrc").write_text(rc, encoding="utf-8")
    environment = {**os.environ, "PYTHONHASHSEED": "77", "MPLBACKEND": "TkAgg", "TZ": "Asia/Tokyo"}
    environment |= {"MATPLOTLIBRC": str(workspace), "MPLCONFIGDIR": str(workspace)}
    environment.pop("DISPLAY", None)
    command = [sys.executable, "-m", "solesearch.pipeline.charts", "paper"]
    done = subprocess.run(
        command, env=environment, cwd=workspace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == here


def test_nothing_to_draw_is_said_and_ends_with_1(workspace: Path, capsys) -> None:
    assert charts.main([]) == 1
    assert "results: no tables yet" in capsys.readouterr().err
    assert charts.main(["paper"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(registry.CHARTS)
    assert not (workspace / "figures").exists()


def test_a_class_called_none_is_kept(workspace: Path) -> None:
    files.write_table(Paths.of("smoke").result("catalogue"), catalogue_table(classes=("None", "boot")))
    assert set(registry.read_result(Paths.of("smoke"), "catalogue")["label"]) == {"None", "boot"}
