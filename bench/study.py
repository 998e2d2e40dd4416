"""What the decoded images that a study's runs share are worth: seconds of reading a dataset at the start of a training.

    python bench/study.py [--data DIR] [--size H W] [--rounds 5] [--json]

"decoded" is what each training does by itself: every image and mask is decoded and resized. "first" makes the files
that the runs of a study share, "shared" is what each run then reads, with the pages still in the system's memory. They
take turns; the data are the pictures of `maskwright demo` when left out. Both ways give the same bytes, which is
checked.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from maskwright.core.geometry import Geometry
from maskwright.data.opening import load_dataset
from maskwright.demonstration.generator import generate
from maskwright.training.image_cache import Decoded, write_decoded
from maskwright.training.loader import DecodedSamples


def measure(data: Path, geometry: Geometry, rounds: int, work: Path) -> dict[str, float]:
    dataset = load_dataset(data)
    samples = [sample for sample in dataset.samples if sample.labelled]
    seconds: dict[str, list[float]] = {"decoded": [], "first": [], "shared": []}
    for turn in range(rounds):
        folder = work / str(turn)
        start = time.perf_counter()
        plain = DecodedSamples(dataset, samples, geometry).fill()
        seconds["decoded"].append(time.perf_counter() - start)
        start = time.perf_counter()
        assert write_decoded(folder, dataset, samples, geometry)
        seconds["first"].append(time.perf_counter() - start)
        start = time.perf_counter()
        shared = DecodedSamples(dataset, samples, geometry, decoded=Decoded.open(folder)).fill()
        seconds["shared"].append(time.perf_counter() - start)
        assert (plain == shared).all()
    found = {name: statistics.median(times) for name, times in seconds.items()}
    return {"images": len(samples), **found, "gain": found["decoded"] / found["shared"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        data = options.data or Path(work) / "data"
        if options.data is None:
            generate(data)
        found = measure(data, Geometry(tuple(options.size)), options.rounds, Path(work) / "decoded")
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"{found['images']} images to {options.size[0]} x {options.size[1]}: {found['decoded']:.3f} s decoded, "
        f"{found['first']:.3f} s to make the shared files, {found['shared']:.3f} s from them: "
        f"{found['gain']:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
