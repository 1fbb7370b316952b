"""Hand-made tables of the comparison, as the pipeline writes them; no number of them was measured."""

import pandas as pd

from solesearch.core.model_names import published_networks

MACHINE = "Some CPU, 2 cores, 23 GiB; 1 thread(s)"
TENSORFLOW, ONNX = "TensorFlow (tf.function)", "ONNX Runtime"
QUANTISED = "ONNX Runtime, 8-bit weights"
NETWORKS = list(published_networks().index)
REAL = ["MobileNet-0.25", "MobileNetV2"]
ALL = [*NETWORKS, "MobileNet-0.25"]
PRECISION = {"infogan": 0.85, "untrained_discriminator": 0.855, "random": 0.334, "hog": 0.953}
PRECISION |= {"pixels": 0.861, "colour_histogram": 0.508, "mean_colour": 0.427}
# measured beforehand: compiled, batch 1, ms
MILLISECONDS = dict(
    zip(NETWORKS, (139, 177, 61, 106, 144, 59, 157, 14, 19, 70, 80, 98), strict=True), infogan=2.1
)
MILLISECONDS["MobileNet-0.25"] = 3.2


def precision_of(model: str) -> float:
    """A precision for every row that there can be; the same at every call."""
    network, change = model.partition("+")[0].partition("@")[0], sum(map(ord, model)) % 17 / 100
    if model in PRECISION:
        return PRECISION[model]
    base = {"MobileNet-0.25": 0.909, "MobileNetV2": 0.931}.get(network) or 0.62 + ALL.index(network) / 90
    if "+" in model:
        return base + (0.02 if model.endswith("classes") else -0.1) + change / 10
    return base - (0.03 + change / 4 if "@" in model else 0)


def variants(*, real=REAL, retrained=(*REAL, "VGG16"), rescaled=REAL) -> list[str]:
    """The names of the networks' rows: as they are, retrained, under other scalings."""
    names = list(dict.fromkeys([*NETWORKS, *real]))
    names += [f"{network}+{head}" for network in retrained for head in ("one_unit", "classes")]
    return names + [f"{network}@{scaling}" for network in rescaled for scaling in ("caffe", "torch", "none")]


def retrieval_table(models=None, *, subset=400, whole=1440, real=REAL, classes=("boots", "sandals", "shoes")):
    """retrieval.csv with both galleries; networks outside `real` on a subset of the photos."""
    names = [*PRECISION, *(variants(real=real) if models is None else models)]
    rows = []
    for model in names:
        network = model.partition("+")[0].partition("@")[0]
        n = whole if network in real or model in PRECISION else subset
        for seed in (1, 2) if model in ("infogan", "untrained_discriminator", "random") else (0,):
            for gallery, off in (("naive", 0.0), ("product_excluded", 0.025)):
                value = precision_of(model) - off + (seed - 1.5) / 100 * (seed > 0)
                for label in ("all", *classes):
                    count = n if label == "all" else n // len(classes)
                    rows.append((model, seed, gallery, "precision", 5, label, value, count))
                    rows.append((model, seed, gallery, "precision", 1, label, 0.111, count))
    return pd.DataFrame(rows, columns=["model", "seed", "gallery", "metric", "k", "class", "value", "n"])


def networks_table(models=None, *, real=REAL) -> pd.DataFrame:
    """networks.csv: where each row's weights came from, and under which scaling it ran."""
    rows = []
    for model in variants(real=real) if models is None else models:
        name, _, scaling = model.partition("@")
        network, _, head = name.partition("+")
        native = published_networks()["scaling"][network.partition("-")[0]]
        source = "placed" if network in real else "untrained"
        rows.append((model, network, source, head or "none", scaling or native, 224))
    table = pd.DataFrame(rows, columns=["model", "network", "weights", "head", "scaling", "input_size"])
    return table.assign(layer="relu", pooling="average", dimensions=1024, photos=400, parameters=1000)


def latency_table(models=ALL) -> pd.DataFrame:
    """latency.csv at batch 1 and 32: thirteen models and a width, ONNX Runtime, controls, decoding."""
    rows = [("infogan", TENSORFLOW, 2.1), *((model, TENSORFLOW, MILLISECONDS[model]) for model in models)]
    rows += [(model, ONNX, MILLISECONDS[model] / 3) for model in ("infogan", "MobileNet", "MobileNetV2")]
    rows += [
        ("infogan", QUANTISED, 0.7),
        ("hog", "NumPy / scikit-image", 1.6),
        ("pixels", "NumPy / scikit-image", 0.007),
    ]
    sizes = ("64x96", "224x224", "299x299")
    rows += [(f"decode_and_resize_{size}", "Pillow", 0.5 + 0.3 * number) for number, size in enumerate(sizes)]
    table = []
    for model, runtime, milliseconds in rows:
        for batch in (1, 32):
            median = milliseconds * (1 if batch == 1 else 16)
            row = (model, runtime, batch, median, median * 1.1, batch / median * 1000)
            table.append((*row, 431472, 1.79, MACHINE))
    columns = "model runtime batch median_ms p95_ms images_per_s parameters file_mb machine"
    return pd.DataFrame(table, columns=columns.split())


def sizes_table() -> pd.DataFrame:
    """sizes.csv: values without classifier from Keras's files, with classifier as Keras publishes them."""
    values = (14714688, 20024384, 23587712, 42658176, 58370944, 21802784, 54336736, 3228864, 2257984, 7037504)
    values = dict(zip(NETWORKS, (*values, 12642880, 18321984), strict=True))
    rows = [("infogan", "embedding", 431472, 1.73), ("infogan", "training checkpoint", 0, 23.1)]
    for network, count in values.items():
        rows.append((network, "embedding", count, count * 4 / 1e6))
        rows.append((network, "with classifier", 0, float(published_networks()["size_mb"][network])))
    rows.append(("MobileNet-0.25", "embedding", 218544, 0.874))
    return pd.DataFrame(rows, columns=["model", "what", "parameters", "megabytes"])


def retraining_log() -> pd.DataFrame:
    """retraining.csv: how a head was trained, step by step."""
    rows = [("MobileNetV2+classes", step, 1 / step, 2 / step, 1 - 0.5 / step) for step in range(1, 6)]
    return pd.DataFrame(rows, columns=["model", "step", "loss", "gradient_norm", "mean_probability"])


def intervals_table(retrieval: pd.DataFrame) -> pd.DataFrame:
    """intervals.csv: a row a model and seed, and one for the mean over the seeds where there are several."""
    rows = retrieval[(retrieval["class"] == "all") & (retrieval["k"] == 5)]
    keys = ["model", "gallery", "k"]
    table = rows[[*keys, "seed", "value", "n"]]
    means = rows.groupby(keys, as_index=False)[["value", "n"]].mean().assign(seed="all")
    table = pd.concat([table, means], ignore_index=True)
    half = 0.5 / table["n"] ** 0.5
    return table.assign(low=table["value"] - half, high=table["value"] + half)
