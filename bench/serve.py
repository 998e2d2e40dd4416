"""What HTTP costs: images per second of `serve`, beside the same model in this process.

    python bench/serve.py MODEL [--image FILE] [--images 100] [--clients 1 4] [--as png]

A server of its own is started. The bare model decodes and labels the same image file and makes the same answer
without HTTP. Both are measured in one run, in turns, after a warm-up. Of each: images per second, and the median and
the 95th percentile of the time of an image. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from maskwright.base.storage import dump_json
from maskwright.core.masks import png_bytes
from maskwright.inference.loading import load
from maskwright.inference.serving.answers import FORMS, answer

TURNS = 2


def measured(ask: Callable[[], Any], images: int, clients: int) -> tuple[float, list[float]]:
    """Seconds in all, and of each of so many images that `clients` threads ask for."""

    def one(_: int) -> float:
        began = time.perf_counter()
        ask()
        return time.perf_counter() - began

    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        found = [*pool.map(one, range(images))]
        return time.perf_counter() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--image", type=Path, help="an image file; noise of 640x480 when left out")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--as", dest="form", choices=FORMS, default="png")
    given = parser.parse_args()
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    body = given.image.read_bytes() if given.image else png_bytes(noise)
    predictor = load(given.model, device=None)
    command = [sys.executable, "-m", "maskwright", "serve", given.model, "--queue", str(max(given.clients))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        address = process.stderr.readline().split()[-1]
        with httpx.Client(timeout=120, headers={"content-type": "application/octet-stream"}) as client:

            def served() -> None:
                client.post(f"{address}/predict?as={given.form}", content=body).raise_for_status()

            ways: dict[str, tuple[Callable[[], Any], int]] = {
                "bare": (lambda: answer(predictor, body, given.form), 1),
                **{f"served, {count} at once": (served, count) for count in given.clients},
            }
            seconds: dict[str, float] = dict.fromkeys(ways, 0.0)
            times: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(TURNS + 1):  # the first is the warm-up
                for name, (ask, count) in ways.items():
                    spent, found = measured(ask, given.images if turn else 2, count)
                    if turn:
                        seconds[name] += spent
                        times[name] += found
        process.send_signal(signal.SIGTERM)
    rows = {
        name: {
            "images_per_second": len(found) / seconds[name],
            "median": float(np.median(found)),
            "p95": float(np.quantile(found, 0.95)),
        }
        for name, found in times.items()
    }
    for name, row in rows.items():
        print(
            f"{name}: {row['images_per_second']:.1f} images/s, median {row['median'] * 1e3:.1f} ms, "
            f"95 % within {row['p95'] * 1e3:.1f} ms",
            file=sys.stderr,
        )
    print(dump_json({"ways": rows, "images": given.images * TURNS, "bytes": len(body), "as": given.form}, indent=2))


if __name__ == "__main__":
    main()
