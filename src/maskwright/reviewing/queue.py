"""What to look at first: the findings of audit, `suspects` and `explain`, and the images that `next` has chosen to be
drawn, by sample, with what an action would gain.

One rule orders everything: the wrong pixels that a finding stands for, times how likely it is right, over the seconds
that the action takes. Accepting a proposal takes 3 seconds, a change of status 4, drawing 30.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_json, numbered, read_json
from maskwright.core.dataset import Dataset
from maskwright.core.description import FOLDER
from maskwright.core.findings import Finding, Severity
from maskwright.errors import DataError, MaskwrightError
from maskwright.labels.choosing.results import FILE as NEXT
from maskwright.labels.choosing.results import newest_next
from maskwright.labels.suspecting.stored import newest_suspects, read_stored

ACCEPT, DECIDE, DRAW = 3.0, 4.0, 30.0
# An audit has no estimate of wrong pixels: of its errors all pixels of the image count, of its hints hardly any.
_SHARES = {Severity.ERROR: 1.0, Severity.WARNING: 0.1, Severity.INFO: 0.001}
# How likely it is the label that is wrong where a model was: as often as not, or mostly the model.
_SUSPECT, _MODEL = 0.5, 0.1
# Pixels of an image whose own number is not known.
_IMAGE = 1 << 16
AUDIT = "review/audit.json"
TO_DRAW = "next.draw"
_AUDITING = """
import os, sys
from maskwright.base.storage import dump_json
from maskwright.data.auditing import audit
if hasattr(os, "nice"):
    os.nice(10)  # behind the page
print(dump_json(audit(sys.argv[1], progress=False).to_dict(), ascii_only=True))
"""


@dataclass(frozen=True)
class Lead:
    """A finding in the queue: `source` is the folder it comes from, `pixels` the wrong pixels it stands for, `score`
    how likely it is right, `seconds` what acting takes; `number` is that of a proposal, 0 for none."""

    source: str
    finding: Finding
    pixels: float
    score: float
    seconds: float
    number: int = 0

    @property
    def gain(self) -> float:
        """Expected wrong pixels put right a second."""
        return self.pixels * self.score / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        one, evidence = self.finding, self.finding.evidence
        return {
            "source": self.source,
            "code": one.code,
            "severity": one.severity.label,
            "message": one.message,
            "fix": one.fix,
            "region": one.region,
            "classes": [evidence[key] for key in ("labelled", "proposed") if isinstance(evidence.get(key), str)],
            "number": self.number,
            "score": self.score,
            "pixels": self.pixels,
            "seconds": self.seconds,
        }


def _newest(home: Path) -> Path | None:
    try:
        return newest_suspects(home)
    except DataError:
        return None


def suspect_leads(home: Path) -> tuple[Path | None, list[Lead]]:
    """The folder and findings of the newest `suspects` of the dataset at `home`; (None, []) where there is none."""
    folder = _newest(home)
    try:
        if folder is None:
            return None, []
        read_stored(folder)  # which checks it
    except DataError as error:
        say(f"{error}; the page goes on without it")
        return None, []
    leads = []
    for row in read_json(folder / "suspects.json")["findings"]:
        finding = Finding.from_dict(row)
        number, score = int(finding.evidence.get("number", 0)), float(row["score"])
        pixels = float(finding.evidence["error_pixels"])
        leads.append(Lead(folder.name, finding, pixels, score, ACCEPT if number else DRAW, number))
    return folder, leads


def next_leads(home: Path) -> tuple[Path | None, list[Lead]]:
    """The folder and images of the newest `next` of the dataset at `home`, in its order; (None, []) where there is
    none."""
    folder = newest_next(home)
    if folder is None:
        return None, []
    try:
        rows = read_json(folder / NEXT)["images"]
        leads = []
        for place, row in enumerate(rows):
            fix = "draw its mask, or begin with what the run sees" if row["mask"] else "draw its mask"
            region = (*map(int, row["region"]),) if row["region"] else None
            why = "; ".join(map(str, row["reasons"]))
            finding = Finding(TO_DRAW, Severity.INFO, why, fix, str(row["sample"]), region=region)  # type: ignore[arg-type]
            leads.append(Lead(folder.name, finding, _IMAGE, 1 - place / len(rows), DRAW))
        return folder, leads
    except (MaskwrightError, KeyError, TypeError, ValueError) as error:
        say(f"{folder}: left out: {error}")
        return None, []


def explanation_leads(runs: Iterable[Path]) -> Iterator[Lead]:
    """The largest wrong regions of each kind in the newest explanation of every split of these runs."""
    for run in runs:
        newest: dict[str, tuple[int, Path]] = {}
        for split, number, folder in numbered(run / "explanations"):
            if (folder / "explain.json").is_file():
                newest[split] = max(newest.get(split, (0, folder)), (number, folder))
        for _, folder in newest.values():
            try:
                yield from _explained(f"{run.name} {folder.name}", read_json(folder / "explain.json"))
            except (MaskwrightError, KeyError, TypeError, ValueError, AttributeError) as error:
                say(f"{folder}: left out: {error}")


def _explained(source: str, stored: dict[str, Any]) -> Iterator[Lead]:
    for row in stored["kinds"]:
        likely = _SUSPECT if row["name"] == "label_suspect" else _MODEL
        for region in row["regions"]:
            finding = Finding(
                f"error.{row['name']}",
                Severity.WARNING if row["name"] == "label_suspect" else Severity.INFO,
                f"{int(region['pixels']):,} pixels labelled {region['true']!r}, predicted as {region['predicted']!r}",
                "look whether the label is right",
                str(region["sample"]),
                stored["split"],
                (*map(int, region["region"]),),  # type: ignore[arg-type]
                {"labelled": region["true"], "proposed": region["predicted"]},
            )
            yield Lead(source, finding, float(region["pixels"]), likely, DRAW)


def audit_leads(dataset: Dataset, findings: Iterable[Finding]) -> list[Lead]:
    """The findings of an audit that speak of a sample; a sample that an audit cannot read counts as 65,536 pixels."""
    leads = []
    for finding in findings:
        try:
            height, width = dataset.image_size(dataset[finding.sample or ""])
        except (MaskwrightError, KeyError):
            height = width = 256
        leads.append(Lead("audit", finding, height * width * _SHARES[finding.severity], 1.0, DECIDE))
    return leads


class Queue:
    """All findings of a dataset. The audit runs beside the server, unless one of this very dataset was kept."""

    def __init__(self, home: Path, data: Path, runs: Callable[[], Iterable[Path]]) -> None:
        self._home, self._data = home, data
        self._file = home / FOLDER / AUDIT
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._audit: list[Lead] = []
        self.audit_state = "none"
        self.count = 0  # grows when findings change
        self._looked = _newest(home), newest_next(home)
        self.folder, self._suspects = suspect_leads(home)
        self.next_folder, self._to_draw = next_leads(home)
        self._explained = list(explanation_leads(runs()))
        self._collect()

    def look(self) -> None:
        """Takes up a search for suspects, and a choice of images to draw, that has ended since."""
        with self._lock:
            if (newest := (_newest(self._home), newest_next(self._home))) != self._looked:
                self._looked = newest
                self.folder, self._suspects = suspect_leads(self._home)
                self.next_folder, self._to_draw = next_leads(self._home)
                self._collect()

    def of(self, sample: str) -> list[Lead]:
        """The findings of a sample, the most worth first."""
        return self._by_sample.get(sample, [])

    def leads(self) -> list[Lead]:
        """All of them, also those of no sample."""
        return [*self._suspects, *self._to_draw, *self._explained, *self._audit]

    def _collect(self) -> None:
        found: dict[str, list[Lead]] = {}
        for lead in sorted(self.leads(), key=lambda lead: -lead.gain):
            if lead.finding.sample is not None:
                found.setdefault(lead.finding.sample, []).append(lead)
        self._by_sample = found
        self.count += 1

    def audit(self, dataset: Dataset) -> None:
        """Reads the audit of this dataset that was kept, or makes one; called in a thread of its own."""
        try:
            version = dataset.version()
            stored = read_json(self._file) if self._file.is_file() else {}
            if stored.get("version") != version:
                self.audit_state = "running"
                stored = {"version": version, "findings": self._run()["findings"]}
                atomic_write_json(self._file, stored)
            self._audit = audit_leads(dataset, map(Finding.from_dict, stored["findings"]))
            self.audit_state = "done"
        except (MaskwrightError, OSError, ValueError, KeyError, TypeError) as error:
            if self._stopped:
                return
            self.audit_state = "failed"
            say(f"audit: {error}; the page goes on without it")
        self._collect()

    def _run(self) -> dict[str, Any]:
        """An audit in a process of its own: it forks, and it must not make the page wait."""
        command = [sys.executable, "-c", _AUDITING, str(self._data)]
        with self._lock:
            if self._stopped:
                raise DataError("audit: the page was closed")
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        out, _ = self._process.communicate()
        if self._process.returncode:
            raise DataError(f"`maskwright audit {shlex.quote(str(self._data))}` ended with {self._process.returncode}")
        found: dict[str, Any] = json.loads(out)
        return found

    def stop(self) -> None:
        """Ends an audit that is still running."""
        with self._lock:
            self._stopped = True
            if self._process and self._process.poll() is None:
                self._process.terminate()
                self._process.wait()
