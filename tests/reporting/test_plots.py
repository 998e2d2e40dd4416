"""Charts as files: well-formed SVG, PNG of the same, the verb."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import maskwright
from evaluation.curves.logs import own, ultralytics
from maskwright.cli import main
from maskwright.errors import ConfigError, SetupError
from maskwright.evaluation.curves.charts import Chart, Line
from maskwright.reporting.plots import draw_svg, plot, thinned
from maskwright.reporting.png import draw_png

SVG = "{http://www.w3.org/2000/svg}"


def study(tmp_path: Path) -> Path:
    for model in ("UNet", "SegNet"):
        for loss in ("ce", "dice"):
            for seed in (0, 1):
                own(
                    tmp_path / "study" / "runs" / f"{model}-{loss}-{seed}",
                    model=model,
                    loss=loss,
                    seed=seed,
                    scores=(0.3 + seed / 10, 0.5, 0.4),
                    scale=10.0 if loss == "dice" else 1.0,
                )
    return tmp_path / "study"


def test_a_study_as_files(tmp_path):
    found = plot(study(tmp_path), by="network", out=tmp_path / "out")
    assert (
        sorted(path.name for path in (tmp_path / "out").iterdir())
        == [file.name for _, (file,) in found.charts]
        == [
            "01-segnet-ce-loss.svg",
            "02-segnet-dice-loss.svg",
            "03-segnet-validation-miou.svg",
            "04-unet-ce-loss.svg",
            "05-unet-dice-loss.svg",
            "06-unet-validation-miou.svg",
        ]
    )
    for chart, (file,) in found.charts:
        root = ElementTree.parse(file).getroot()
        texts = [element.text for element in root.iter(SVG + "text")]
        assert chart.title in texts and "iterations" in texts and chart.y_label in texts
        assert {line.name for line in chart.lines} <= set(texts)
        assert len([path for path in root.iter(SVG + "path") if path.get("class") == "band"]) == len(chart.lines)
        assert any("Mean of 2 runs" in (text or "") for text in texts)
    with pytest.raises(ConfigError, match="never overwritten"):
        plot(study(tmp_path / "again"), out=tmp_path / "out")


def test_the_verb(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, other = own(tmp_path / "run"), ultralytics(tmp_path / "yolo")
    with pytest.raises(SystemExit) as stopped:
        main(["plot", str(run), str(other), "--by", "best", "--quantity", "mIoU", "--from", "25%", "--json"])
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert stopped.value.code == 0 and [
        Path(file).is_file() for chart in told["charts"] for file in chart["files"]
    ] == [True]
    assert told["folder"] in err.splitlines()[0] and told["folder"] in err.splitlines()[-1]
    assert [one["name"] for one in told["curves"]] == ["run", "yolo"]
    assert told["curves"][1]["remark"].startswith("ultralytics: its own split")
    assert told["curves"][0]["values"]["val_mIoU"] == {"at_best": 0.5, "last": 0.4}
    assert (
        told["charts"][0]["lines"] == [{"name": "validation", "runs": ["run"]}]
        and "Without one: yolo" in told["charts"][0]["caption"]
    )
    for wrong, code in ((["--quantity", "nothing"], 2), (["--from", "x"], 2), (["--by", "x"], 2)):
        with pytest.raises(SystemExit) as stopped:
            main(["plot", str(run), *wrong])
        assert stopped.value.code == code
    with pytest.raises(SystemExit) as stopped:
        main(["plot", str(tmp_path / "nothing")])
    assert stopped.value.code == 3 and list((tmp_path / "plots").iterdir()) == [tmp_path / "plots" / "run-001"]


def test_curves_may_be_given_themselves(tmp_path):
    curves = maskwright.read_curves(own(tmp_path / "run"))
    found = plot([*curves, own(tmp_path / "other", model="SegNet")], by="loss", quantity="mIoU", out=tmp_path / "out")
    assert [line.name for line in found.charts[0][0].lines] == ["UNet", "SegNet"]
    assert plot(curves[0], out=tmp_path / "out2").curves == (curves[0],)


def a_chart(*lines: Line, **more) -> Chart:
    return Chart(
        "A $title$ <b>",
        "mIoU",
        "iterations",
        "mIoU (0 to 1)",
        lines,
        more.pop("start", 0.0),
        more.pop("end", 100.0),
        "A caption.",
        **more,
    )


def test_a_zoomed_chart_begins_at_its_range():
    line = Line("a", 3, ((50.0, 0.7), (100.0, 0.75)), ("r",), ((50.0, 0.6, 0.8), (100.0, 0.7, 0.8)))
    root = ElementTree.fromstring(draw_svg(a_chart(line, start=50.0, mark=(60.0, "best: 60")), "k"))
    texts = [element.text for element in root.iter("text")]
    assert "60" in texts and "0" not in texts and "0.60" in texts and "0.80" in texts  # fitted to the band too
    start = next(path.get("d", "") for path in root.iter("path") if path.get("class") == "line")
    assert start.startswith("M48.0 ")
    assert 'style="--line-colour:var(--series-4)"' in draw_svg(a_chart(line), "k")


def test_png_shows_the_lines_in_their_colours():
    pytest.importorskip("matplotlib")
    lines = [
        Line("rising", 0, tuple((float(x), x / 100) for x in range(0, 101, 10)), ("r",)),
        Line("flat $x$", 1, ((0.0, 0.5), (50.0, None), (100.0, 0.5)), ("s",), ((0.0, 0.4, 0.6), (100.0, 0.4, 0.6))),
    ]
    data = draw_png(a_chart(*lines, mark=(40.0, "best: 40")), lines)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert pixels.shape[1] == 1200 and (pixels[0, 0] == 255).all()
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (np.abs(pixels.astype(int) - colour).max(-1) < 10).sum() > 100
    assert draw_png(a_chart(*lines, mark=(40.0, "best: 40")), lines) == data


def test_png_files_and_what_they_need(tmp_path, monkeypatch):
    run = own(tmp_path / "run")
    if importlib.util.find_spec("matplotlib"):
        found = plot(run, out=tmp_path / "out", png=True)
        assert all([file.suffix for file in files] == [".svg", ".png"] for _, files in found.charts)
        for _, (_, file) in found.charts:
            with Image.open(file) as picture:
                assert picture.size[0] == 1200
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"maskwright\[plots\]"):
        plot(run, out=tmp_path / "none", png=True)
    assert not (tmp_path / "none").exists()


def test_long_lines_arethinned_but_keep_their_ends_and_extremes():
    rng = np.random.default_rng(0)
    points = tuple((float(x), float(y)) for x, y in enumerate(rng.normal(size=20_000)))
    kept = thinned(points)
    assert len(kept) <= 405 and kept[0] == points[0] and kept[-1] == points[-1] and set(kept) <= set(points)
    ys = [y for _, y in points]
    holed = tuple((x, None if 7000 < x < 7010 else y) for x, y in points)
    assert None in {y for _, y in thinned(holed)}
    assert {min(ys), max(ys)} <= {y for _, y in kept} and list(kept) == sorted(kept)
    gaps = tuple((float(x), None) for x in range(5000))
    assert len(thinned(gaps)) < 405 and thinned(points[:400]) == points[:400]


def test_shown_and_not_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = own(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    shown = plot(run, show=True)
    assert shown.folder is None and all(files == () for _, files in shown.charts) and shown.to_dict()["folder"] is None
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)"', shown._repr_html_())
    assert (
        [title for _, title in images]
        == [chart.title for chart, _ in shown.charts]
        == ["UNet, ce: loss", "UNet, ce: mIoU"]
    )
    for code, title in images:
        texts = [element.text for element in ElementTree.fromstring(base64.b64decode(code)).iter(SVG + "text")]
        assert title in texts
    figures = shown.figures()
    assert [figure.texts[0].get_text() for figure in figures] == [title for _, title in images]
    assert [len(figure.axes[0].lines) for figure in figures] == [3, 2]  # training, validation, the mark of the best
    assert sorted(tmp_path.rglob("*")) == before
    assert len(repr(shown)) < 120 and str(shown) == shown.human() and "loss" in shown.human()


@pytest.mark.parametrize("both", [{"out": "plots"}, {"png": True}])
def test_shown_or_written(tmp_path, both):
    with pytest.raises(ConfigError, match="writes no files"):
        plot(own(tmp_path / "run"), show=True, **both)


def test_figures_need_matplotlib(tmp_path, monkeypatch):
    shown = plot(own(tmp_path / "run"), show=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"maskwright\[plots\]"):
        shown.figures()
