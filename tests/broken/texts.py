"""YOLO: text files, lists and YAML that are broken."""

from __future__ import annotations

from pathlib import Path

from broken.table import Break, Row, both, link_out, put, remove, swap

YAML, TEXT = "data.yaml", "labels/train/000.txt"
NAMES = "names: [class_1, class_2]\n"
SPLITS = "train: images/train\nval: images/val\ntest: images/test\n"
LONG = "/".join(["x" * 300] * 50)


def line(text: str) -> Break:
    """One line more in a text file."""

    def breaks(folder: Path) -> None:
        with (folder / TEXT).open("a") as stream:
            stream.write(text + "\n")

    return breaks


YOLO_ROWS = [
    *(
        Row("annotation", "yolo_seg", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("YAML: none", put(YAML, "names: [cat\n  }"), "not valid YAML"),
            (
                "YAML: tag that would run code",
                put(YAML, "names: !!python/object/apply:os.system ['true']\n"),
                "the tag",
            ),
            (
                "YAML: anchors that would grow (billion laughs)",
                put(YAML, "a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\n"),
                "anchors",
            ),
            ("YAML: 500 brackets deep", put(YAML, "names: " + "[" * 500), "nested more than 32 deep"),
            ("YAML: binary", put(YAML, b"names: \xff\xfe\0"), "cannot be read as UTF-8"),
            ("YAML: names that are a number", put(YAML, "names: 7"), "names: expected"),
            ("YAML: names the wrong way round", put(YAML, "names: {cat: 0}"), "names: expected"),
            ("YAML: class number of 20 digits", put(YAML, "names: {99999999999999999999: cat}"), "names: expected"),
            (
                "YAML: 9,999 names",
                put(YAML, "names: [" + ", ".join(f"c{i}" for i in range(9999)) + "]"),
                "9999 classes; at most 254",
            ),
            ("YAML: split that is a number", put(YAML, NAMES + "train: 5\n"), "5 is no path"),
            ("YAML: NUL in a path", put(YAML, NAMES + 'train: "images\\0"\n'), "NUL"),
            ("YAML: link out of the folder", link_out(YAML), "symbolic link"),
            (
                "list: binary",
                both(put(YAML, NAMES + "train: l.txt\n"), put("l.txt", b"\xff\xfe\0")),
                "cannot be read as UTF-8",
            ),
            (
                "list: paths above the folder",
                both(put(YAML, NAMES + "train: l.txt\n"), put("l.txt", "../../etc/passwd\n/etc/passwd\n")),
                "none of the",
            ),
            ("text file: binary", put(TEXT, b"\x80\x81\x82" * 99), "cannot be read as UTF-8"),
            ("text file: a million lines", put(TEXT, "\n" * 1_000_001), "more than 1000000 lines"),
            (
                "text file: 300 classes",
                put(TEXT, "".join(f"{i} .5 .5 .2 .2\n" for i in range(300))),
                "classes; at most 254",
            ),
            ("text file: link out of the folder", link_out(TEXT), "symbolic link"),
            ("image that is a link out of the folder", link_out("images/train/000.png"), "symbolic link"),
            ("folder of text files that is a link out of the folder", link_out("labels"), "symbolic link"),
            (
                "no images",
                lambda d: [path.unlink() for path in (d / "images").rglob("*.png")],
                "and no images; put the images beside them",
            ),
        ]
    ),
    *(
        Row("annotation", "yolo_seg", f"line: {kind}", line(text), "warning", says)
        for kind, text, says in [
            ("NaN", "0 nan 0.5 0.4 0.2", "1 line is no `class cx cy width height`"),
            ("infinity", "0 inf 0.5 0.4 0.2", "1 line is no"),
            ("1e300", "0 1e300 0.5 0.4 0.2", "1 region has coordinates far outside 0..1"),
            ("1e9", "0 1e9 0.5 0.4 0.2", "1 region has coordinates far outside"),
            ("pixels in place of shares", "0 12 17 40 80", "1 region has coordinates far outside"),
            ("outside the image", "0 1.5 0.5 0.4 0.2", "1 region has no area inside"),
            ("no width", "0 0.5 0.5 0 0.2", "1 region has no area"),
            ("negative class", "-1 0.5 0.5 0.4 0.2", "1 line is no"),
            ("half a class", "0.5 0.5 0.5 0.4 0.2", "1 line is no"),
            ("class that is a word", "cat 0.5 0.5 0.4 0.2", "1 line is no"),
            ("too few numbers", "0 0.5 0.5 0.4", "1 line is no"),
            ("commas", "0,0.5,0.5,0.4,0.2", "1 line is no"),
            ("NUL", "0 0.5 0.5 0.4 0.\0", "1 line is no"),
            ("class without a name", "9 0 0 1 0 1 1", "1 region has a class number without a name"),
        ]
    ),
    Row(
        "annotation",
        "yolo_seg",
        "text file: predicted, with a confidence in each line",
        put(TEXT, "0 0.2 0.2 0.6 0.2 0.6 0.5 0.9\n1 0.2 0.6 0.6 0.6 0.6 0.9 1\n"),
        "note",
        "2 lines end with a confidence",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "line: tracked, with a confidence and a track id",
        line("0 0.2 0.2 0.5 0.2 0.5 0.5 0.2 0.5 0.9 7"),
        "warning",
        "1 line ends with a confidence and a track id",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "line: with a track id",
        line("0 0.2 0.2 0.5 0.2 0.5 0.5 0.2 0.5 7"),
        "warning",
        "1 line ends with a whole number above 1",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "line: a number too many",
        line("0 0.2 0.2 0.5 0.2 0.5 0.5 0.2 0.5 0.9"),
        "warning",
        "1 line has one number more than pairs need",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "line: a box among polygons",
        line("0 0.5 0.5 0.4 0.2"),
        "warning",
        "1 box stands among polygons",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "line: reaches outside",
        line("0 -0.2 0 1 0 1 1"),
        "note",
        "1 region reaches outside",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "text file: words",
        put(TEXT, "lorem ipsum\n" * 9),
        "warning",
        "9 lines are no",
        changes=True,
    ),
    Row("annotation", "yolo_seg", "text file: removed", remove(TEXT), "warning", "the image has no mask"),
    Row(
        "annotation",
        "yolo_seg",
        "text file: 200,000 points in a line",
        put(TEXT, "0 " + "0.5 " * 200_000),
        "warning",
        "1 region has no area",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "YAML: number of classes that is not that of the names",
        swap(YAML, "nc: 2", "nc: 5"),
        "warning",
        "1 file has an `nc`",
    ),
    Row(
        "annotation",
        "yolo_seg",
        "YAML: one name for two classes",
        put(YAML, SPLITS + "names: [class_1, class_1]\n"),
        "warning",
        "1 class name stands for several numbers",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "YAML: folder that is not there",
        put(YAML, NAMES + "train: images/train\nval: gone\n"),
        "warning",
        "1 folder, list or image is named and not there",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "YAML: path of another machine, 15,000 characters",
        put(YAML, NAMES + f"path: {LONG}\n" + SPLITS),
        "note",
        "1 path leads elsewhere",
    ),
    Row(
        "annotation",
        "yolo_seg",
        "image that is listed and not there",
        both(
            put(YAML, NAMES + "train: l.txt\nval: images/val\ntest: images/test\n"),
            put("l.txt", "images/train/000.png\nimages/train/001.png\nimages/x.png\n"),
        ),
        "warning",
        "1 listed image is not there",
        changes=True,
    ),
    Row(
        "annotation",
        "yolo_seg",
        "image that cannot be read",
        put("images/train/000.png", "x"),
        "warning",
        "1 labelled image cannot be read",
    ),
    Row(
        "annotation",
        "yolo_seg",
        "two images for one text file",
        lambda d: (d / "images/train/000.jpg").write_bytes((d / "images/train/000.png").read_bytes()),
        "warning",
        "1 image is listed again, or shares a text file",
    ),
]
