"""What the benchmarks share: two or more sides in turn, medians, ratios with their spread, a table.

A side is a function without arguments that does the work once and returns when it is done. In each
round every side has its turn: one call that is not counted, so that no side pays for the caches
that another has emptied, then some that are. A ratio is taken within a round, where the machine is
as fast for one side as for the other.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras

Side = Callable[[], object]


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, for CI")
    return parser


def header() -> dict[str, str]:
    """Versions, backend and device, printed and returned."""
    backend = keras.backend.backend()
    about = {
        "backend": backend,
        "device": device(backend),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
    }
    for package in ("keras_optim_losses", "keras", "tensorflow", "jax", "torch", "optax"):
        if package in ("keras_optim_losses", "keras", backend) or (backend, package) == (
            "jax",
            "optax",
        ):
            about[package] = importlib.metadata.version(package)
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    return about


def device(backend: str) -> str:
    if not on_gpu():
        return processor()
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name()
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    return "GPU"


@functools.cache
def on_gpu() -> bool:
    """Whether Keras computes on a GPU."""
    if keras.backend.backend() != "torch":
        return "gpu" in keras.distribution.list_devices()[0]
    import torch

    return torch.cuda.is_available()


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def finish() -> None:
    """Wait for a GPU: PyTorch's calls return before their work is done."""
    if on_gpu() and keras.backend.backend() == "torch":
        import torch

        torch.cuda.synchronize()


def measure(sides: dict[str, Side], rounds: int = 9, calls: int = 3) -> dict[str, list[float]]:
    """Seconds a call of each side, one figure a round."""
    for side in sides.values():
        side(), side()  # compile, and settle
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            side(), finish()
            start = time.perf_counter()
            for _ in range(calls):
                side()
            finish()
            times[name].append((time.perf_counter() - start) / calls)
    return times


def row(
    times: dict[str, list[float]], ours: str = "ours", peer: str = "Keras"
) -> dict[str, object]:
    """Medians in milliseconds, and the peer's time over ours: median, and the middle half."""
    figures: dict[str, object] = {
        f"{name} ms": 1e3 * statistics.median(each) for name, each in times.items()
    }
    ratios = [b / a for a, b in zip(times[ours], times[peer])]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return figures | {f"{peer} / {ours}": middle, "25 %": low, "75 %": high}


class Table:
    """Rows that are printed as they come."""

    def __init__(self, title: str) -> None:
        self.title, self.rows, self.columns = title, [], None
        print(f"\n### {title}\n", flush=True)

    def add(self, **figures: object) -> None:
        self.rows.append(figures)
        if self.columns is None:
            self.columns = list(figures)
            print("| " + " | ".join(self.columns) + " |")
            print("|" + "---|" * len(self.columns))
        # The first row has all columns; a peer that lacks an optimizer leaves its own empty.
        found = [text(figures.get(column, "–")) for column in self.columns]
        print("| " + " | ".join(found) + " |", flush=True)


def text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(path: Path | None, about: dict[str, str], tables: list[Table]) -> None:
    if path is not None:
        content = {"about": about, "tables": {table.title: table.rows for table in tables}}
        path.write_text(json.dumps(content, indent=1))
