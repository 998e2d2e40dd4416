"""tools/same_numbers.py tells other numbers from other words, on recordings made by hand."""

from __future__ import annotations

import base64
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from helpers import write

TOOLS = Path(__file__).parent.parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

import recorded_commands  # noqa: E402
import same_numbers  # noqa: E402

SCORES = {"split": "test", "scores": {"mIoU": {"value": 0.25, "low": None}}, "trivial": False, "count": 3}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two recordings that differ in times and in their own path only."""
    for name, seconds in (("a", 1.5), ("longer", 22.25)):
        folder = tmp_path / name
        for part in ("output", "work/run", "errors"):
            (folder / part).mkdir(parents=True)
        (folder / "errors" / "train.txt").write_text(f"{seconds}")
        (folder / "output" / "train.txt").write_text(f"{folder}/work: 12 iterations in {seconds} s, mIoU 0.25\n")
        (folder / "work/run" / "timing.jsonl").write_text(f'{{"step": {seconds}}}\n')
        (folder / "work/run" / "scores.json").write_text(
            json.dumps({**SCORES, "seconds": seconds, "root": f"{folder}/work/data"})
        )
        pixels = base64.b64encode(b"pixels of a picture").decode()
        (folder / "work/run" / "page.html").write_text(
            f'<h1>Told of run 1</h1><p>2026-11-2{len(name)}T10:00:00Z</p><img src="data:image/webp;base64,{pixels}">'
            "<td>0.25</td><td>-0.5</td>"
        )
        write(folder / "work/run" / "000.png", np.zeros((4, 4), np.uint8))
        save_file(
            {"weight": np.arange(6, dtype=np.float32)},
            folder / "work/run" / "best.safetensors",
            metadata={"model": json.dumps({"name": "UNet", "channels": [4]})},
        )
        with zipfile.ZipFile(folder / "work/run" / "task.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("labels.txt", (2000 + len(name), 1, 1, 0, 0, 0)), "one 1\n")
    return tmp_path / "a", tmp_path / "longer"


def change(folder: Path, path: str, old: str, new: str) -> None:
    file = folder / "work/run" / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def differing(result: same_numbers.Comparison) -> list[str]:
    return [path for path, one in result.files.items() if one.numbers]


def test_times_and_the_place_of_a_recording_do_not_count(pair: tuple[Path, Path]) -> None:
    result = same_numbers.compare(*pair)
    assert result.fine
    assert len(result.files) == 7  # all but what stands in errors/
    assert not any(one.words for one in result.files.values())


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("scores.json", "0.25", "0.25000000000000006"),
        ("scores.json", "false", "true"),
        ("scores.json", "null", "0.1"),
        ("scores.json", '"count": 3', '"count": 3, "more": 4'),
        ("page.html", "<td>0.25", "<td>0.26"),
        ("page.html", "<td>-0.5", "<td>0.5"),
        ("page.html", "<td>0.25</td><td>-0.5</td>", "<td>-0.5</td><td>0.25</td>"),
        ("page.html", base64.b64encode(b"pixels").decode(), base64.b64encode(b"Pixels").decode()),
    ],
)
def test_another_number_is_found(pair: tuple[Path, Path], path: str, old: str, new: str) -> None:
    change(pair[1], path, old, new)
    result = same_numbers.compare(*pair)
    assert not result.fine
    assert differing(result) == [f"work/run/{path}"]
    assert f"NUMBERS DIFFER in work/run/{path}" in same_numbers.render(result)


def test_it_is_said_where_numbers_differ(pair: tuple[Path, Path]) -> None:
    change(pair[1], "scores.json", "0.25", "0.26")
    (place,) = same_numbers.compare(*pair).files["work/run/scores.json"].numbers
    assert place.startswith("number 1: ")
    assert '"value": 0.25' in place
    assert '"value": 0.26' in place


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("unet  2.09 M  40 ms  66.4  2 s", "unet  2.09 M  96 ms  43.9  13 s"),
        ("<td>2.09</td>\n<td>66.4</td>\n<td>2.1 s</td></tr>", "<td>2.09</td>\n<td>7.5</td>\n<td>1 min 05 s</td></tr>"),
        ("95 % of the work, 160 % of the time of a step", "95 % of the work, 98 % of the time of a step"),
        ("1 image\n", "1 image\na is 20 times faster by waiting less (number.loading)\n"),
        ('{"findings": [{"code": "a"}]}', '{"findings": [{"code": "a"}, {"code": "train.loader", "share": 0.5}]}'),
        (
            '{"seconds": {"float32": 0.5}, "waited": null}',
            '{"seconds": {"float32": 1.5, "bfloat16": 2}, "waited": 0.1}',
        ),
    ],
)
def test_what_a_machine_measures_does_not_count(pair: tuple[Path, Path], before: str, after: str) -> None:
    for folder, text in zip(pair, (before, after), strict=True):
        (folder / "output/more.txt").write_text(text)
    outcome = same_numbers.compare(*pair).files["output/more.txt"]
    assert outcome.verdict == "same bytes"
    (pair[1] / "output/more.txt").write_text(
        after.replace("2.09", "2.08")
        .replace("95 %", "94 %")
        .replace("1 image", "2 images")
        .replace('"a"', '"a1"')
        .replace('{"seconds"', '{"loss": 1, "seconds"')
    )
    assert same_numbers.compare(*pair).files["output/more.txt"].numbers


def test_other_pixels_tensors_and_members_of_archives_are_found(pair: tuple[Path, Path]) -> None:
    folder = pair[1] / "work/run"
    write(folder / "000.png", np.ones((4, 4), np.uint8))
    save_file(
        {"weight": np.arange(6, dtype=np.float32) * np.float32(1.0000001)},
        folder / "best.safetensors",
        metadata={"model": json.dumps({"name": "UNet", "channels": [4]})},
    )
    with zipfile.ZipFile(folder / "task.zip", "w") as archive:
        archive.writestr("labels.txt", "one 2\n")
    assert differing(same_numbers.compare(*pair)) == [
        f"work/run/{name}" for name in ("000.png", "best.safetensors", "task.zip")
    ]


def test_other_words_are_counted_and_no_fault(pair: tuple[Path, Path]) -> None:
    change(pair[1], "page.html", "Told of run", "About the run")
    change(pair[1], "scores.json", '"split"', '"part"')
    save_file(
        {"weight": np.arange(6, dtype=np.float32)},
        pair[1] / "work/run/best.safetensors",
        metadata={"model": json.dumps({"kind": "UNet", "channels": [4]})},
    )
    result = same_numbers.compare(*pair)
    assert result.fine
    text = same_numbers.render(result)
    for old, new in (("split", "part"), ("Told of", "About the"), ("name", "kind")):
        assert f"     1  `{old}` -> `{new}`  (" in text


def test_a_key_in_another_place_of_the_alphabet_needs_the_list_of_words(pair: tuple[Path, Path]) -> None:
    for folder, keys in zip(pair, ({"a": 1, "b": 2}, {"b": 2, "c": 1}), strict=True):
        (folder / "work/run" / "sorted.json").write_text(json.dumps(keys))
    assert differing(same_numbers.compare(*pair)) == ["work/run/sorted.json"]
    result = same_numbers.compare(*pair, words=[("a", "c")])
    assert result.files["work/run/sorted.json"].verdict == "same numbers"


def test_known_words_are_not_printed(pair: tuple[Path, Path]) -> None:
    change(pair[1], "page.html", "Told of", "About")
    result = same_numbers.compare(*pair, words=[("Told of", "About")])
    assert result.fine
    assert "Told" not in same_numbers.render(result)


def test_missing_and_new_files_are_faults(pair: tuple[Path, Path]) -> None:
    (pair[1] / "work/run/scores.json").unlink()
    (pair[1] / "work/run/extra.txt").write_text("something else")
    result = same_numbers.compare(*pair)
    assert (result.missing, result.added, result.fine) == (["work/run/scores.json"], ["work/run/extra.txt"], False)


def test_a_file_with_a_new_name_is_known_by_its_content_or_by_the_list(pair: tuple[Path, Path]) -> None:
    folder = pair[1] / "work/run"
    (folder / "scores.json").rename(folder / "results.json")
    assert same_numbers.compare(*pair).renamed == [("work/run/scores.json", "work/run/results.json")]
    change(pair[1], "results.json", "0.25", "0.26")
    assert not same_numbers.compare(*pair).renamed
    result = same_numbers.compare(*pair, renames=[("run/scores.json", "run/results.json")])
    assert differing(result) == ["work/run/scores.json"]
    folder.rename(folder.parent / "training")
    result = same_numbers.compare(*pair, renames=[("run", "training"), ("scores.json", "results.json")])
    assert (differing(result), result.missing, result.added) == (["work/run/scores.json"], [], [])


def test_a_page_with_a_new_name_and_other_words_is_known_by_its_numbers(pair: tuple[Path, Path]) -> None:
    for folder, name, word in ((pair[0], "old", "told"), (pair[1], "new", "said")):
        cells = "".join(f"<td>{number / 8}</td>" for number in range(12))
        (folder / "work/run" / f"{name}.html").write_text(f"<p>{word}</p>{cells}")
    result = same_numbers.compare(*pair)
    assert result.fine
    assert result.renamed == [("work/run/old.html", "work/run/new.html")]
    assert result.files["work/run/old.html"].words == {("told", "said"): 1}


def test_the_exit_code_says_it(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = map(str, pair)
    words = tmp_path / "words.txt"
    words.write_text("# known\nTold of -> About\n\n")
    change(pair[1], "page.html", "Told of", "About")
    assert same_numbers.main(["compare", first, second, "--words", str(words)]) == 0
    assert capsys.readouterr().out.endswith("no number differs\n")
    change(pair[1], "scores.json", "0.25", "0.26")
    assert same_numbers.main(["compare", first, second]) == 1
    words.write_text("Told of: About\n")
    with pytest.raises(SystemExit, match=r"words\.txt:1: expected `old -> new`"):
        same_numbers.main(["compare", first, second, "--words", str(words)])
    with pytest.raises(SystemExit, match="nothing is recorded"):
        same_numbers.main(["compare", first, str(tmp_path / "nowhere")])


def test_datasets_of_the_recording_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        recorded_commands.prepare(tmp_path / name)
    result = same_numbers.compare(tmp_path / "a", tmp_path / "b")
    assert result.fine
    assert {one.verdict for one in result.files.values()} == {"same bytes"}
    names = [command.name for command in recorded_commands.commands()]
    assert len(set(names)) == len(names)


def test_a_recording_is_never_written_over(pair: tuple[Path, Path]) -> None:
    with pytest.raises(SystemExit, match="is not empty"):
        same_numbers.main(["record", str(pair[0])])
