"""Record what torchvision's ImageClassification transform makes of the shipped photo.

Run in an environment with torch, torchvision and Pillow:

    python tests/referees/record_preprocessing.py [FOLDER]
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms._presets import ImageClassification

PHOTO = Path(__file__).parents[2] / "resnet_core" / "sample" / "photo.jpg"
STEP = 8  # Every 8th row and column is kept.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder: Path = parser.parse_args().folder

    with Image.open(PHOTO) as photo:
        # The second case stands upright, has an odd size and enlarges: its crop rounds a half.
        pictures = {
            "crop224": (photo.convert("RGB"), 224, 256),
            "crop351_turned": (
                photo.convert("RGB").transpose(Image.Transpose.ROTATE_90),
                351,
                351 * 256 // 224,
            ),
        }
    arrays = {}
    for name, (picture, crop, resize) in pictures.items():
        output = ImageClassification(crop_size=crop, resize_size=resize)(picture)
        arrays[name] = output.permute(1, 2, 0).numpy()[::STEP, ::STEP]
    versions = {package: version(package) for package in ("torch", "torchvision", "pillow")}
    np.savez_compressed(folder / "preprocessing.npz", versions=np.array(str(versions)), **arrays)


if __name__ == "__main__":
    main()
