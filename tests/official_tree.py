"""A small tree with UT-Zap50K's official names, odd ones included; the pictures are coloured blocks."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SUBCATEGORIES = {
    "Boots": ("Ankle", "Knee High", "Mid-Calf", "Over the Knee", "Prewalker Boots"),
    "Sandals": ("Athletic", "Flat", "Heel"),
    "Shoes": (
        "Boat Shoes",
        "Clogs and Mules",
        "Crib Shoes",
        "Firstwalker",
        "Flats",
        "Heels",
        "Loafers",
        "Oxfords",
        "Prewalker",
        "Sneakers and Athletic Shoes",
    ),
    "Slippers": ("Boot", "Slipper Flats", "Slipper Heels"),
}
BRANDS = ("L.A.M.B.", "B%C3%98RN", "7 For All Mankind", "Dr. Martens")  # a final dot, an escape, spaces
COLOURS_PER_PRODUCT = 2


def write_photo(path: Path, *, number: int, size: tuple[int, int] = (136, 102)) -> Path:
    """Write a photo of random blocks on white, another for each number; the suffix chooses the format."""
    random = np.random.default_rng(number)
    blocks = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    blocks[0], blocks[:, 0] = 255, 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def write_official_tree(folder: Path, *, per_subcategory: int = 12) -> Path:
    """Write `folder`/ut-zap50k-images with all 21 subcategories and return it.

    Each product has two colours; in every subcategory one photo shows a colour that is there already, under
    another brand, with the same bytes.
    """
    root, product = folder / "ut-zap50k-images", 8_000_000
    for category, subcategories in SUBCATEGORIES.items():
        for subcategory in subcategories:
            for number in range(per_subcategory - 1):
                product += number % COLOURS_PER_PRODUCT == 0
                brand = BRANDS[product % len(BRANDS)]
                path = root / category / subcategory / brand / f"{product}.{100 + number}.jpg"
                write_photo(path, number=product * 100 + number)
            first = min((root / category / subcategory).rglob("*.jpg"), key=lambda path: path.name)
            again = root / category / subcategory / "Another Brand" / first.name
            again.parent.mkdir()
            again.write_bytes(first.read_bytes())
    return root


def write_official_zip(tree: Path, target: Path) -> Path:
    """Pack a tree as the official zip does, with the leftovers of macOS beside the photos."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(tree.rglob("*.jpg")):
            archive.write(path, path.relative_to(tree.parent).as_posix())
        archive.writestr("__MACOSX/ut-zap50k-images/Boots/._8000001.100.jpg", b"resource fork")
        archive.writestr("ut-zap50k-images/.DS_Store", b"folder view")
        archive.writestr("ut-zap50k-images/Boots/._8000001.100.jpg", b"resource fork")
    return target
