"""Charts and galleries show what stands in the tables, and a redraw gives the same bytes."""

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import mean, median

import matplotlib
import numpy as np
import pandas as pd
import pytest
from comparison_tables import networks_table, retraining_log, sizes_table
from hypothesis import given, settings
from hypothesis import strategies as st
from legible import assert_legible, caption, words
from matplotlib import pyplot
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from solesearch.core.errors import InputError
from solesearch.core.model_names import model_name
from solesearch.core.paths import Paths
from solesearch.cost import cost_figures
from solesearch.figures import drawing, figures, galleries, registry
from solesearch.figures.galleries import GalleryRow, Neighbour
from solesearch.index.index_figures import NUMBERS
from solesearch.pipeline import charts

CONTROLS = ["pixels", "hog", "colour_histogram", "mean_colour"]
MODELS = ["infogan", "untrained_discriminator", *CONTROLS, "random"]
NETWORKS = [
    "VGG16",
    "VGG19",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "InceptionV3",
    "InceptionResNetV2",
    "MobileNet-0.25",
    "MobileNet",
    "MobileNetV2",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
]
TWENTY = MODELS + NETWORKS
NINE = ["boots", "flats", "handbags", "heels", "high_boots", "loafers", "sandals", "slippers", "sports"]
LEVELS = {"infogan": 0.87, "untrained_discriminator": 0.88, "hog": 0.95, "pixels": 0.89, "random": 1 / 3}
FROM_TABLES = [
    "photos_per_class",
    "loss_curves",
    "checkpoint_curve",
    "precision_bars",
    "class_precision",
    "precision_comparison",
    "retraining",
    "retraining_curves",
    "preprocessing",
    "time_bars",
    "throughput_bars",
    "time_comparison",
    "size_comparison",
    "recall_speed",
    "accuracy_parameters",
]


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


def latency_table(*, models=("infogan", "hog", "VGG16"), machine="Some CPU, 2 cores") -> pd.DataFrame:
    rows = []
    for number, model in enumerate(models):
        for runtime, factor in (("compiled", 1.0), ("model.predict", 9.0))[: 1 if model == "hog" else 2]:
            milliseconds = 1.7 * factor * 1.4**number
            for batch in (1, 32):
                row = (model, runtime, batch, milliseconds * batch, milliseconds * batch * 1.3)
                rows.append((*row, 100.0, 1000, 1.7, machine))
    columns = "model runtime batch median_ms p95_ms images_per_s parameters file_mb machine"
    return pd.DataFrame(rows, columns=columns.split())


def catalogue_table(*, classes=("boot", "sandal")) -> pd.DataFrame:
    splits = (("training", 960), ("validation", 160), ("test", 480))
    rows = [(name, split, n + k, n // 3) for k, name in enumerate(classes) for split, n in splits]
    return pd.DataFrame(rows, columns=["label", "split", "photos", "products"])


def index_table() -> pd.DataFrame:
    """index.csv: one exact index and one approximate."""
    numbers = dict.fromkeys(NUMBERS.split(), 100) | {
        "recall_at_5": 0.98,
        "threads": 1,
        "batch_times_flat": np.nan,
    }
    kinds = (("faiss", "Flat"), ("hnswlib", "M=16"))
    names = {"kernel": "", "vectors": "real", "server": ""}
    return pd.DataFrame([{"engine": engine, "index": index, **numbers, **names} for engine, index in kinds])


TABLES = {
    "index": index_table,
    "training": training_table,
    "checkpoints": checkpoint_table,
    "retrieval": retrieval_table,
    "latency": latency_table,
    "catalogue": catalogue_table,
    "networks": networks_table,
    "retraining": retraining_log,
    "sizes": sizes_table,
}


# --- the charts show their tables ------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(3,), (1, 2)])
def test_loss_curves_show_every_iteration_and_the_running_median(seeds: tuple[int, ...]) -> None:
    table = training_table(seeds=seeds, steps=120)
    figure = figures.loss_curves(table, profile="smoke")
    for axes, loss in zip(figure.axes, figures.LOSSES, strict=True):
        raw, bold = axes.lines[0 : 2 * len(seeds) : 2], axes.lines[1 : 2 * len(seeds) : 2]
        for seed, thin, thick in zip(seeds, raw, bold, strict=True):
            values = table.loc[table["seed"] == seed, loss].tolist()
            assert thin.get_ydata().tolist() == values
            assert thick.get_linewidth() > 2 * thin.get_linewidth()
            # 120 iterations: the window is 5, shorter at both ends
            expected = [median(values[max(0, k - 2) : k + 3]) for k in range(len(values))]
            np.testing.assert_allclose(thick.get_ydata(), expected)
        level = 1 / 3 if loss == "mutual_information" else math.log(2)
        assert axes.lines[-1].get_ydata() == [level, level]
    assert f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" in caption(figure)
    assert "n = 120 iterations a seed" in caption(figure)
    assert "synthetic catalogue" in caption(figure)


@pytest.mark.parametrize(("steps", "shaded"), [(499, False), (600, True)])
def test_the_papers_ideal_range_is_shaded_where_it_is_reached(steps: int, shaded: bool) -> None:
    figure = figures.loss_curves(training_table(seeds=(1,), steps=steps), profile="zappos")
    assert [len(axes.patches) for axes in figure.axes] == [int(shaded)] * 4
    assert ("500 to 2,500 iterations: ideal (P)" in words(figure)) == shaded
    assert {axes.get_xlim() for axes in figure.axes} == {(0, steps)}
    assert "synthetic" not in caption(figure)


def test_spikes_leave_the_axis_and_are_counted() -> None:
    table = training_table(seeds=(1,), steps=600).reset_index(drop=True)
    table.loc[[10, 50], "generator"] = 90.0
    figure = figures.loss_curves(table, profile="zappos")
    generator = figure.axes[2]
    assert 2 < generator.get_ylim()[1] < 4
    assert [text.get_text() for text in generator.texts] == ["↑ 2 points above"]
    assert not figure.axes[0].texts


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_checkpoint_curve_shows_the_table_and_rings_the_chosen_step(seeds: tuple[int, ...]) -> None:
    table = checkpoint_table(seeds=seeds)
    figure = figures.checkpoint_curve(
        table, profile="zappos", gallery="naive", references={"hog": 0.95, "x": 0.9}
    )
    [axes] = figure.axes
    rows = table[(table["gallery"] == "naive") & (table["metric"] == "precision")]
    for seed, line in zip(seeds, axes.lines, strict=False):
        mine = rows[(rows["seed"] == seed) & (rows["model"] == "infogan")]
        assert line.get_xydata().tolist() == mine[["step", "value"]].to_numpy().tolist()
    [rings] = axes.collections
    assert rings.get_offsets().tolist() == rows.loc[rows["chosen"], ["step", "value"]].to_numpy().tolist()
    assert len(rings.get_offsets()) == len(seeds)
    assert sorted(line.get_ydata()[0] for line in axes.lines[len(seeds) :]) == [0.9, 0.95]
    assert {"HOG 0.950", "x 0.900", "0\nuntrained", "Naive gallery"} <= set(words(figure))
    assert "n = 480 validation queries" in caption(figure)


def test_a_step_chosen_on_one_gallery_is_ringed_on_the_other() -> None:
    table = checkpoint_table()
    table["chosen"] &= table["gallery"] == "product_excluded"
    figure = figures.checkpoint_curve(table, profile="zappos", gallery="naive")
    assert figure.axes[0].collections[0].get_offsets()[:, 0].tolist() == [250, 500]


def test_checkpoint_curve_without_step_0_says_nothing_of_untrained() -> None:
    figure = figures.checkpoint_curve(checkpoint_table(steps=(250, 500, 750)), profile="sample")
    assert not [word for word in words(figure) if "untrained" in word]


def test_other_models_of_the_checkpoint_table_are_the_references_and_far_ones_are_named() -> None:
    figure = figures.checkpoint_curve(checkpoint_table(), profile="zappos")
    dashed = {line.get_ydata()[0] for line in figure.axes[0].lines if line.is_dashed()}
    assert dashed == {LEVELS["hog"], LEVELS["pixels"]}
    assert "below the axis: Mean colour 0.500, Colour histogram 0.500" in caption(figure)
    assert figure.axes[0].get_ylim()[0] > 0.7


def test_a_reference_above_the_curves_is_never_left_out() -> None:
    figure = figures.checkpoint_curve(
        checkpoint_table(), profile="zappos", references={"hog": 1.0, "pixels": 0.02}
    )
    assert "HOG 1.000" in words(figure)
    assert "below the axis: Raw pixels 0.020" in caption(figure)


def test_checkpoint_table_without_a_model_column_is_the_proposed_models() -> None:
    table = checkpoint_table(models=[]).drop(columns="model")
    assert len(figures.checkpoint_curve(table, profile="zappos").axes[0].lines) == 2


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_precision_bars_end_at_the_means_of_the_table(seeds: tuple[int, ...]) -> None:
    table = retrieval_table(seeds=seeds)
    figure = figures.precision_bars(table, profile="zappos")
    assert [axes.get_title("left") for axes in figure.axes] == ["Naive gallery", "Product-excluded gallery"]
    for axes, gallery in zip(figure.axes, ("naive", "product_excluded"), strict=True):
        rows = table[(table["gallery"] == gallery) & (table["k"] == 5) & (table["class"] == "all")]
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
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


def test_precision_bars_of_one_gallery_are_one_panel() -> None:
    table = retrieval_table().query("gallery == 'naive' and model != 'random'")
    figure = figures.precision_bars(table, profile="zappos", k=1)
    assert len(figure.axes) == 1
    assert not [line for line in figure.axes[0].lines if line.is_dashed()]
    assert {bar.get_width() for bar in figure.axes[0].patches} == {0.1}


def test_time_bars_end_at_the_median_and_whiskers_at_the_95th_percentile() -> None:
    table = latency_table()
    figure = cost_figures.time_bars(table, profile="zappos")
    [axes] = figure.axes
    rows = table[table["batch"] == 1].sort_values("median_ms")
    drawn = [bar for bar in axes.patches if np.isfinite(bar.get_width())]
    assert sorted(bar.get_width() for bar in drawn) == rows["median_ms"].tolist()
    tails = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
    expected = rows[["median_ms", "p95_ms"]].to_numpy()
    np.testing.assert_allclose(sorted(tails), expected, rtol=1e-12)
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["InfoGAN (proposed)", "HOG", "VGG16"]
    assert {"compiled", "model.predict"} <= set(words(figure))
    assert "Some CPU, 2 cores" in caption(figure)


def test_times_of_two_machines_are_told_apart() -> None:
    table = pd.concat([latency_table(), latency_table(machine="Other CPU")])
    figure = cost_figures.time_bars(table, profile="zappos")
    assert {"compiled, Other CPU", "compiled, Some CPU, 2 cores"} <= set(words(figure))
    assert len([bar for bar in figure.axes[0].patches if np.isfinite(bar.get_width())]) == 10


def test_class_precision_cells_are_the_means_over_seeds() -> None:
    table = retrieval_table(models=["random", "infogan", "hog"], classes=("heels", "12"))
    figure = figures.class_precision(table, profile="zappos", gallery="naive")
    rows = table[(table["gallery"] == "naive") & (table["k"] == 5)]
    expected = [
        [
            mean(rows.loc[(rows["model"] == model) & (rows["class"] == label), "value"])
            for label in ("12", "heels")
        ]
        for model in ("hog", "infogan", "random")
    ]
    mesh = figure.axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(3, 2), expected)
    assert [text.get_text() for text in figure.axes[0].texts] == [
        f"{value:.2f}" for row in expected for value in row
    ]
    assert {"HOG", "Random", "12\nn = 480", "Naive gallery"} <= set(words(figure))
    assert "n = 960 queries" in caption(figure)


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
    ("draw", "table"),
    [
        (figures.precision_bars, retrieval_table(models=TWENTY, classes=NINE)),
        (
            partial(figures.class_precision, networks=networks_table(NETWORKS)),
            retrieval_table(models=TWENTY, classes=NINE),
        ),
        (cost_figures.time_bars, latency_table(models=TWENTY)),
        (figures.checkpoint_curve, checkpoint_table(models=["pixels", "hog", "random"])),
        (figures.loss_curves, training_table(seeds=(1, 2, 3, 4, 5))),
        (figures.photos_per_class, catalogue_table(classes=NINE)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_text_is_cut_or_overlaps(draw, table: pd.DataFrame) -> None:
    figure = draw(table, profile="sample")
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


@pytest.mark.parametrize("name", FROM_TABLES)
def test_an_empty_table_is_named(name: str) -> None:
    chart = charts.CHARTS[name]
    first, *others = (TABLES[table]() for table in chart.tables)
    with pytest.raises(InputError, match=f"table {chart.tables[0]}: no rows"):
        chart.draw(first.iloc[:0], *others, profile="smoke")


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("loss_curves", "generator"),
        ("checkpoint_curve", "value"),
        ("precision_bars", "value"),
        ("class_precision", "n"),
        ("time_bars", "median_ms"),
        ("throughput_bars", "images_per_s"),
        ("size_comparison", "megabytes"),
        ("photos_per_class", "photos"),
    ],
)
def test_gaps_and_missing_columns_are_named(name: str, column: str) -> None:
    draw, [table] = charts.CHARTS[name].draw, charts.CHARTS[name].tables
    rows = TABLES[table]().reset_index(drop=True)
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
    with pytest.raises(InputError, match="table retrieval: no row with gallery x; there are naive"):
        figures.class_precision(table, profile="smoke", gallery="x")
    with pytest.raises(InputError, match="a fraction, 0 to 1; found 95"):
        figures.precision_bars(table.assign(value=table["value"] * 100), profile="smoke")
    with pytest.raises(InputError, match="table retrieval: no single class"):
        figures.class_precision(table[table["class"] == "all"], profile="smoke")
    with pytest.raises(InputError, match="table latency: a median"):
        cost_figures.time_bars(latency_table().assign(p95_ms=0.1), profile="smoke")
    with pytest.raises(InputError, match="table catalogue: split 'train'"):
        figures.photos_per_class(catalogue_table().replace("training", "train"), profile="smoke")


# --- files -----------------------------------------------------------------------------------------------


def test_saving_twice_gives_the_same_bytes_whatever_happened_between(tmp_path: Path) -> None:
    # matplotlib would settle the layout of this chart a little differently at every drawing
    first = drawing.save(figures.checkpoint_curve(checkpoint_table(), profile="smoke"), tmp_path / "v1.0")
    assert first == [tmp_path / "v1.0.png", tmp_path / "v1.0.pdf"]
    with matplotlib.rc_context({"axes.labelpad": 20, "savefig.bbox": "tight", "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        shown = figures.checkpoint_curve(checkpoint_table(), profile="smoke")
        picture = shown._repr_png_()  # what a notebook shows
        second = drawing.save(shown, tmp_path / "again")
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chart.pdf", "chart.png"]


def write_results(root: Path, profile: str, names: list[str]) -> Path:
    folder = root / "results" / profile
    folder.mkdir(parents=True)
    for name in names:
        TABLES[name]().to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_command_line_redraws_what_can_be_drawn(workspace: Path, capsys) -> None:
    folder = write_results(workspace, "smoke", ["catalogue", "checkpoints"])
    (folder / "latency.csv").write_bytes(b"")
    assert charts.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [name for name in charts.CHARTS if name in ("photos_per_class", "checkpoint_curve")]
    drawn = [f"figures/smoke/{name}.{kind}" for name in names for kind in ("png", "pdf")]
    assert [line for line in lines if "skipped" not in line] == drawn
    skipped = [line for line in lines if "skipped" in line]
    reasons = dict(line.split(" skipped: ") for line in skipped)
    assert list(reasons) == [name for name in charts.CHARTS if name not in names]
    assert "training.csv: not there yet" in reasons["loss_curves"]
    assert "latency.csv: damaged" in reasons["time_bars"]
    assert "networks.csv: not there yet" in reasons["accuracy_parameters"]
    assert all((workspace / path).stat().st_size > 5000 for path in drawn)


def test_another_process_redraws_the_same_bytes(workspace: Path) -> None:
    write_results(workspace, "zappos", ["catalogue"])
    here = {path.name: path.read_bytes() for path in charts.redraw("zappos", report=lambda line: None)}
    assert len(here) == 2
    command = [sys.executable, "-m", "solesearch.pipeline.charts", "zappos"]
    rc = "font.size: 30\nfigure.facecolor: red\nsavefig.format: svg\naxes.formatter.use_locale: True\n"
    for folder in (workspace, workspace / "home"):
        folder.mkdir(exist_ok=True)
        (folder / "matplotlibrc").write_text(rc, encoding="utf-8")
    environment = {**os.environ, "PYTHONHASHSEED": "77", "MPLBACKEND": "TkAgg", "TZ": "Asia/Tokyo"}
    environment |= {"MATPLOTLIBRC": str(workspace / "home"), "MPLCONFIGDIR": str(workspace / "home")}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        command, env=environment, cwd=workspace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (workspace / "figures/zappos").iterdir()} == here


def test_nothing_to_draw_is_said_and_ends_with_1(workspace: Path, capsys) -> None:
    assert charts.main([]) == 1
    assert "results: no tables yet" in capsys.readouterr().err
    assert charts.main(["zappos"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(charts.CHARTS)
    assert not (workspace / "figures").exists()


def test_a_nan_in_a_file_is_found_and_a_class_called_none_is_kept(workspace: Path) -> None:
    folder = write_results(workspace, "smoke", ["training"])
    catalogue_table(classes=("None", "boot")).to_csv(folder / "catalogue.csv", index=False)
    paths = Paths("smoke", workspace)
    rows = registry.read_result(paths, "catalogue")
    assert set(rows["label"]) == {"None", "boot"}
    path = folder / "training.csv"
    path.write_text(path.read_text() + "1,999,nan,0.5,0.5,0.5\n")
    with pytest.raises(InputError, match="table training: d_real of row 1201 is nan, not a number"):
        figures.loss_curves(registry.read_result(paths, "training"), profile="smoke")


# --- labels that must not touch --------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), max_size=12).map(sorted), st.floats(0.01, 0.2))
@settings(max_examples=60, deadline=None)
def test_spread_keeps_the_gap_the_order_and_the_centre(places: list[float], gap: float) -> None:
    moved = drawing.spread(places, gap=gap)
    assert len(moved) == len(places)
    assert (np.diff(moved) >= gap - 1e-9).all()
    assert sum(moved) == pytest.approx(sum(places), abs=1e-9)
    if (np.diff(places) >= gap).all():
        np.testing.assert_allclose(moved, places, atol=1e-9)


def test_spread_worked_by_hand() -> None:
    np.testing.assert_allclose(drawing.spread([0.5, 0.5, 0.9], gap=0.1), [0.45, 0.55, 0.9])


# --- pictures that show photos ---------------------------------------------------------------------------


def photo(shade: int, *, height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), shade, np.uint8)


def gallery_row(name: str = "infogan", labels: str = "boot shoe boot") -> GalleryRow:
    found = [Neighbour(photo(10 * k), label, 0.5 + k, f"{k}.jpg") for k, label in enumerate(labels.split())]
    return GalleryRow(name, photo(200), "boot", found)


def test_gallery_marks_the_class_by_frame_and_sign() -> None:
    rows = [gallery_row(), gallery_row("hog", "shoe boot")]
    figure = galleries.neighbour_gallery(rows, profile="sample", title="Unseen photos")
    frames = [to_hex(axes.spines["left"].get_edgecolor()) for axes in figure.axes]
    same, other, query = drawing.GREEN, drawing.VERMILION, "#000000"
    assert frames == [query, same, other, same, query, other, same]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        [], ["✓"], ["✗"], ["✓"], [], ["✗"], ["✓"],
    ]  # fmt: skip
    below = [axes.get_xlabel() for axes in figure.axes[:4]]
    assert below == ["query\nboot", "0.500\nboot", "1.50\nshoe", "2.50\nboot"]
    assert {"InfoGAN\n(proposed)", "HOG", "Unseen photos"} <= set(words(figure))
    assert "synthetic catalogue" in caption(figure)
    assert "n = 1 query, top 3" in caption(figure)
    assert_legible(figure)


def test_own_products_are_marked_where_there_are_some() -> None:
    row = gallery_row()
    own = Neighbour(photo(1), "boot", 0.1, "own.jpg", same_product=True)
    figure = galleries.neighbour_gallery([GalleryRow("hog", photo(2), "boot", [own, *row.neighbours])],
                                         profile="sample")  # fmt: skip
    assert [sorted(text.get_text() for text in axes.texts) for axes in figure.axes[:3]] == [
        [], ["=", "✓"], ["✓"],
    ]  # fmt: skip
    assert "=\N{NO-BREAK SPACE}blue: the query's own product" in caption(figure)
    assert "own product" not in caption(galleries.neighbour_gallery([row], profile="sample"))
    assert_legible(figure)


def test_bags_are_drawn_or_a_sentence_stands_there(tmp_path: Path) -> None:
    """One of the two, whatever an earlier run left."""
    folder = tmp_path / "handbags"
    options = {"profile": "sample", "folder": folder, "otherwise": "No bags here."}
    assert galleries.bag_gallery([], **options) == "No bags here."
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "no_handbags.txt": "No bags here.\n"
    }
    assert isinstance(galleries.bag_gallery([gallery_row()], **options), Figure)
    assert {path.name for path in folder.iterdir()} == {"handbags.png", "handbags.pdf"}
    galleries.bag_gallery([], **options)
    assert {path.name for path in folder.iterdir()} == {"no_handbags.txt"}


def test_gallery_photos_keep_proportions_pixels_and_order() -> None:
    figure = galleries.neighbour_gallery([gallery_row()], profile="zappos")
    figure.draw_without_rendering()
    for axes, shade in zip(figure.axes, (200, 0, 10, 20), strict=True):
        assert (axes.images[0].get_array() == shade).all()
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(48 / 32, rel=0.01)
    lefts = [axes.get_window_extent().x0 for axes in figure.axes]
    assert lefts == sorted(lefts)


def test_gallery_of_mixed_shapes_and_many_neighbours_stays_legible() -> None:
    tall = Neighbour(photo(9, height=90, width=30), "a very long class name", 1234.5, "tall.jpg")
    rows = [GalleryRow("InceptionResNetV2", photo(1), "shoe", [tall, *gallery_row().neighbours] * 2)]
    figure = galleries.neighbour_gallery(rows, profile="zappos")
    figure.draw_without_rendering()
    box = figure.axes[1].get_window_extent()
    assert box.height / box.width == pytest.approx(3, rel=0.01)
    assert figure.axes[1].get_xlabel().startswith("1,234\na very")
    assert figure.get_figheight() < 2.5
    assert_legible(figure)


def test_gallery_without_names_uses_the_whole_width() -> None:
    named, bare = (galleries.neighbour_gallery([gallery_row(name)], profile="zappos") for name in ("hog", ""))
    assert bare.axes[0].get_position().width > 1.1 * named.axes[0].get_position().width


def test_gallery_faults_are_named() -> None:
    bad = Neighbour(photo(1).astype(float), "boot", 1.0, "b/7.jpg")
    many = GalleryRow("hog", photo(1), "boot", gallery_row().neighbours * 20)
    for rows, message in (
        ([], "gallery: no rows"),
        ([GalleryRow("hog", photo(1), "boot", [])], "gallery row hog: no neighbours"),
        ([GalleryRow("hog", photo(1), "boot", [bad])], "gallery row hog, b/7.jpg: .*float64"),
        ([GalleryRow("hog", photo(1)[..., 0], "boot", [bad])], r"gallery row hog, query: .*\[32, 48\]"),
        ([many], "60 neighbours do not fit"),
    ):
        with pytest.raises(InputError, match=message):
            galleries.neighbour_gallery(rows, profile="zappos")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.00412, "0.00412"), (0.5, "0.500"), (11, "11.0"), (123.4, "123"), (5432, "5,432")],
)
def test_distances_have_three_digits(value: float, shown: str) -> None:
    assert galleries.three_digits(value) == shown


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 2))
@settings(max_examples=30, deadline=None)
def test_enlarging_repeats_pixels_and_nothing_else(height: int, width: int, inches: float) -> None:
    pixels = np.random.default_rng(height * 10 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    large = galleries.enlarged(pixels, width=inches)
    times = large.shape[1] // width
    assert large.shape == (times * height, times * width, 3)
    assert large.shape[1] >= 300 * inches
    for row in range(large.shape[0]):
        assert (large[row, ::times] == pixels[row // times]).all()


def sample_grid(step: int) -> np.ndarray:
    """A grid of 4 x 8 images, each of one shade: 8 * row + column + step / 250."""
    shades = (np.arange(32) + step // 250).astype(np.uint8).reshape(4, 8)
    return np.repeat(np.repeat(shades, 16, axis=0), 24, axis=1)[..., None].repeat(3, axis=2)


def test_generated_samples_show_the_first_row_of_each_step() -> None:
    grids = {step: sample_grid(step) for step in (500, 0, 250)}
    figure = galleries.generated_samples(grids, profile="zappos", seed=4)
    assert [word for word in words(figure)[:3]] == ["untrained", "iteration 250", "iteration 500"]
    for axes, step in zip(figure.axes, (0, 250, 500), strict=True):
        shown = axes.images[0].get_array()
        times = shown.shape[0] // 16
        width = 24 * times
        for column in range(8):
            image = shown[:, column * (width + times) : column * (width + times) + width]
            assert image.shape[1] == width and (image == column + step // 250).all()
    assert "seed 4" in caption(figure) and "n = 8" in caption(figure)
    assert_legible(figure)


def test_generated_samples_of_many_steps_are_thinned_from_first_to_last() -> None:
    grids = {step: sample_grid(0) for step in range(0, 10001, 250)}
    figure = galleries.generated_samples(grids, profile="zappos", seed=1, most=5)
    assert [word for word in words(figure) if "iteration" in word] == [
        f"iteration {step:,}" for step in (2500, 5000, 7500, 10000)
    ]
    assert len(figure.axes) == 5


def test_generated_samples_faults_are_named() -> None:
    for grids, message in (
        ({}, "no grid"),
        ({250: photo(1, height=33, width=64)}, "step 250: not 4 rows of 8 images; got 33 x 64 pixels"),
        ({250: sample_grid(0) / 255}, "step 250: a photo is uint8"),
    ):
        with pytest.raises(InputError, match=message):
            galleries.generated_samples(grids, profile="zappos", seed=1)


def test_the_grid_is_the_one_that_training_keeps() -> None:
    from solesearch.gan import training

    assert (galleries.SAMPLE_ROWS, galleries.SAMPLE_COLUMNS) == (
        training.SAMPLE_ROWS,
        training.SAMPLE_COLUMNS,
    )
