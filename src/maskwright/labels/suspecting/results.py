"""What `suspects` has found: regions and samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskwright.base.display import Result, data_frame
from maskwright.base.texts import percent
from maskwright.core.classes import ClassTree
from maskwright.core.findings import Finding, Severity, summarise
from maskwright.labels.suspecting.folds import FoldFacts
from maskwright.labels.suspecting.outlines import Outline
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.text import suspects_text

if TYPE_CHECKING:
    import pandas

# From here on a region is a suspect, and a warning.
LIKELY, SURE = 0.5, 0.9
FIXES = {
    "missing": "label it",
    "hallucinated": "erase it",
    "swollen": "draw it smaller",
    "shrunk": "draw it larger",
    "shifted": "move it",
    "wrong_class": "give it the other class",
    "coarse_blob": "draw its outline",
    "patch": "give it the right class",
}


@dataclass(frozen=True)
class Suspect:
    """A region whose label is likely wrong; `number` is that of its proposal in its sample, from 1, or 0 for none.

    `score` is how likely, 0..1; `kinds` are the shares of it by kind, `kind` the most likely. `region` is (x, y, width,
    height) in pixels of the stored image; `labelled` and `proposed` are the classes that most pixels in doubt have and
    would get; `error_pixels` estimates how many pixels are wrong. `confidence` is that of the proposal, 0..1. There is
    none where redrawing the region as it is predicted is not expected to put more pixels right than wrong.
    """

    sample: str
    split: str | None
    number: int
    score: float
    kind: str
    kinds: dict[str, float]
    region: tuple[int, int, int, int]
    labelled: str
    proposed: str
    error_pixels: int
    confidence: float

    @property
    def fix(self) -> str:
        """What to do about it."""
        return FIXES[self.kind] + ", or accept the proposal" * (self.number > 0)

    def finding(self) -> Finding:
        """In the shared form; the evidence holds the rest."""
        message = (
            f"{KINDS[self.kind]}: about {self.error_pixels:,} pixels labelled {self.labelled!r}, likely "
            f"{self.proposed!r}"
        )
        evidence = {
            "number": self.number,
            "kinds": self.kinds,
            "labelled": self.labelled,
            "proposed": self.proposed,
            "error_pixels": self.error_pixels,
            "confidence": self.confidence,
        }
        severity = Severity.WARNING if self.score >= SURE else Severity.INFO
        return Finding(
            f"label.{self.kind}", severity, message, self.fix, self.sample, self.split, self.region, evidence
        )

    def row(self) -> dict[str, object]:
        """Of a table: a value for each of `SUSPECT_COLUMNS`."""
        box = dict(zip(("x", "y", "width", "height"), self.region, strict=True))
        kinds = {f"share_{kind}": self.kinds.get(kind, 0.0) for kind in KINDS}
        own = {name: value for name, value in vars(self).items() if name not in ("region", "kinds")}
        return own | box | kinds

    def to_dict(self) -> dict[str, Any]:
        """The finding with its `score` and `kind`."""
        return self.finding().to_dict() | {"score": self.score, "kind": self.kind}


# Of a table of suspects.
SUSPECT_COLUMNS = [
    *(one.name for one in fields(Suspect) if one.name not in ("region", "kinds")),
    *("x", "y", "width", "height"),
    *(f"share_{kind}" for kind in KINDS),
]


@dataclass(frozen=True)
class SuspectSample:
    """A sample: how likely a label in it is wrong, 0..1; the estimated share of its pixels that are; how many of its
    regions are suspects; how well label and prediction agree, 0..1 (`candidates.softmin`), which knows of no kinds of
    errors."""

    sample: str
    split: str | None
    score: float
    error_share: float
    suspects: int
    agreement: float = 1.0


@dataclass(frozen=True)
class Redrawing:
    """What proposals do to `planted` errors in images that the detector has not learnt from: how many of them would be
    `offered` one; of these the mean `gain`, the share of a region's pixels that is put right less that which is put
    wrong, and what it is at least (`low`, by two standard errors); the shares that are better and worse for it."""

    planted: int
    offered: int
    gain: float
    low: float
    better: float
    worse: float

    @property
    def helps(self) -> bool:
        """Whether proposals are worth making."""
        return self.low > 0

    def sentence(self) -> str:
        """For people."""
        if not self.helps:
            return (
                "there are no proposals: tried on planted errors in this dataset, redrawing what is predicted does not "
                "help"
            )
        return (
            f"proposals were tried on {self.offered:,} errors planted in this dataset: {percent(self.better)} are "
            f"better and {percent(self.worse)} worse for it, and of the pixels of a region {percent(self.gain)} more "
            "are right"
        )


@dataclass(frozen=True, repr=False)
class SuspectsResult(Result):
    """Suspects and samples, worst first. `root` is the dataset as it was given, `version` its content version; `folder`
    holds `suspects.json`, `ranked.txt` (the samples, worst first), `index.html`, `probabilities/`, `proposals/`,
    `changes/` and `trust/`; `notes` say what the
    numbers do not; with `keep_ratio` the probabilities have the aspect ratio of their images and are padded at the
    bottom and right (see `Geometry`). `outlines`: where the images' edges lie beside those of the masks, by
    class; `redrawing`: how good proposals are."""

    name: str
    root: Path
    folder: Path
    classes: ClassTree
    version: str
    suspects: list[Suspect]
    samples: list[SuspectSample]
    folds: list[FoldFacts]
    notes: list[str]
    self_test: dict[str, Any] | None = None
    label_sets: list[dict[str, Any]] = field(default_factory=list)
    keep_ratio: bool = False
    outlines: list[Outline] = field(default_factory=list)
    redrawing: Redrawing | None = None

    @property
    def listed(self) -> list[SuspectSample]:
        """The samples from the first to the last with a suspect region. Those without one between them are there since
        label and prediction agree so little."""
        last = max((place for place, row in enumerate(self.samples, 1) if row.suspects), default=0)
        return self.samples[:last]

    @property
    def page(self) -> Path:
        """The page that shows the worst of them."""
        return self.folder / "index.html"

    def facts(self) -> dict[str, object]:
        """See `Display`."""
        return {
            "dataset": self.name,
            "samples": len(self.samples),
            "suspect samples": sum(one.suspects > 0 for one in self.samples),
            "suspect regions": len(self.suspects),
            "folder": str(self.folder),
        }

    def human(self) -> str:
        """Text for a terminal."""
        return suspects_text(self)

    def to_pandas(self, rows: Literal["suspects", "samples"] = "suspects") -> pandas.DataFrame:
        """A table with a row for each suspect region or for each sample, most likely wrong first. The box of a region
        has the columns x, y, width and height, and each kind of error has a column with its share. SetupError without
        pandas."""
        if rows == "samples":
            columns = [one.name for one in fields(SuspectSample)]
            return data_frame(asdict(one) for one in self.samples).reindex(columns=columns)
        return data_frame(one.row() for one in self.suspects).reindex(columns=SUSPECT_COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `suspects`."""
        findings = [suspect.finding() for suspect in self.suspects]
        summary = summarise(findings) | {
            "samples": len(self.samples),
            "suspect_samples": sum(one.suspects > 0 for one in self.samples),
            "by_kind": dict(Counter(one.kind for one in self.suspects).most_common()),
        }
        return {
            "dataset": {
                "name": self.name,
                "root": str(self.root),
                "version": self.version,
                "classes": self.classes.to_dict(),
            },
            "folder": str(self.folder),
            "findings": [suspect.to_dict() for suspect in self.suspects],
            "summary": summary,
            "samples": [asdict(one) for one in self.samples],
            "folds": [asdict(fold) for fold in self.folds],
            "notes": self.notes,
            "self_test": self.self_test,
            "label_sets": self.label_sets,
            "keep_ratio": self.keep_ratio,
            "outlines": [asdict(one) for one in self.outlines],
            "redrawing": asdict(self.redrawing) if self.redrawing else None,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], folder: Path) -> SuspectsResult:
        """The inverse of `to_dict`, of what lies in `folder` now. KeyError, TypeError and the like for other data."""
        described = data["dataset"]
        suspects = [
            Suspect(
                row["sample"],
                row["split"],
                row["evidence"]["number"],
                row["score"],
                row["kind"],
                row["evidence"]["kinds"],
                tuple(row["region"]),
                row["evidence"]["labelled"],
                row["evidence"]["proposed"],
                row["evidence"]["error_pixels"],
                row["evidence"]["confidence"],
            )
            for row in data["findings"]
        ]
        return cls(
            described["name"],
            Path(described["root"]),
            folder,
            ClassTree.from_dict(described["classes"]),
            described["version"],
            suspects,
            [SuspectSample(**row) for row in data["samples"]],
            [FoldFacts(**row) for row in data["folds"]],
            data["notes"],
            data["self_test"],
            data["label_sets"],
            data.get("keep_ratio", False),
            [Outline(**row) for row in data.get("outlines", [])],
            Redrawing(**data["redrawing"]) if data.get("redrawing") else None,
        )
