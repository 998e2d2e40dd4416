"""The strict YAML reader: what it refuses, where it says the fault is, and that it says all of them at once."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from maskwright.base.strictyaml import Document, StrictModel, apply_overrides, did_you_mean, parse, read, validate
from maskwright.errors import ConfigError


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(text, "f.yaml")
    assert raised.value.exit_code == 2
    assert all("\n" not in problem for problem in raised.value.problems)
    return raised.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        ("1E5", 1e5),
        ("-2.5", -2.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1.5e+2", 150.0),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("true", True),
        ("false", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("True", "True"),
        ("NO", "NO"),
        ("y", "y"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2020-01-02", "2020-01-02"),
        ("=", "="),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
        ("é", "é"),
        ("<<", "<<"),
        (".inf", math.inf),
        ("[1, [2, {a: b}]]", [1, [2, {"a": "b"}]]),
        ("{}", {}),
    ],
)
def test_values(text: str, value: Any) -> None:
    found = parse(f"key: {text}", "f.yaml").data["key"]
    assert found == value and type(found) is type(value)


def test_nan() -> None:
    assert math.isnan(parse("a: .nan", "f.yaml").data["a"])


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: 1\nb: 2\na: 3", "3:1", "'a' is given twice"),
        ("x: {a: 1,\n    a: 2}", "2:5", "'a' is given twice"),
        ("a: 1\n'a': 3", "2:1", "'a' is given twice"),
        ("a: &x [1]\nb: *x", "1:4", "anchors and aliases"),
        ("a: &x\n  b: *x", "1:4", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", "1:4", "tag"),
        ("a: !!python/name:os.system ''", "1:4", "tag"),
        ("a: !mine {b: 1}", "1:4", "tag"),
        ("a: !!set {b, c}", "1:4", "tag"),
        ("a: !!binary aGk=", "1:4", "tag"),
        ("a: !!str 5", "1:4", "tag"),
        ("a: [1, !x 2]", "1:8", "tag"),
        ("!x a: 1", "1:1", "a key must be text"),
        ("a:\n\t- 1", "2:1", "not valid YAML"),
        ("a: 1\n\tb: 2", "2:1", "not valid YAML"),
        ("a: [1, 2", "1:9", "not valid YAML"),
        ("a: 'open", "1:9", "not valid YAML"),
        ("a: b: c", "1:5", "not valid YAML"),
        ("a: 1\n b: 2", "2:3", "not valid YAML"),
        ("a: @b", "1:4", "not valid YAML"),
        ("a: %b", "1:4", "not valid YAML"),
        ("a: 1\n---\nb: 2", "2:1", "not valid YAML"),
        ("a: 1\nb: x\x07y", "2:5", "character '\\x07' is not allowed"),
        ('a: "b\\0c"', "1:4", "NUL"),
        ('a: "\\uD800"', "1:4", "half characters"),
        ("? [a]\n: 1", "1:3", "a key must be text"),
        ("? {a: 1}\n: 1", "1:3", "a key must be text"),
        ("true: 1", "1:1", "a key must be text"),
        ("1.5: 1", "1:1", "a key must be text"),
        ("~: 1", "1:1", "a key must be text"),
        ("- a\n- b", "1:1", "top level; got a list"),
        ("just text", "1:1", "top level; got a str"),
        ("a: " + "[" * 40 + "]" * 40, "1:36", "nested more than 32 deep"),
    ],
)
def test_refused_with_line_and_column(text: str, where: str, what: str) -> None:
    found = problems(text)
    assert found[0].startswith(f"f.yaml:{where}: "), found
    assert what in found[0]


def test_every_fault_of_the_text_is_reported() -> None:
    found = problems("a: 1\na: 2\nb: !x 1\ntrue: 1\n")
    assert [line.split(": ")[0] for line in found] == ["f.yaml:2:1", "f.yaml:3:4", "f.yaml:4:1"]


def test_very_deep_nesting_and_alias_bombs_end_quickly() -> None:
    assert "nested" in problems("a: " + "[" * 20_000)[0]
    letters = "abcdefghijklmnopqrstuvwxyz"
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise(letters))
    assert "anchors" in problems(bomb)[0]


@given(st.text(max_size=40))
def test_any_text_gives_a_mapping_or_a_config_error(text: str) -> None:
    try:
        assert isinstance(parse(text, "f").data, dict)
    except ConfigError as error:
        assert error.problems and all("\n" not in problem for problem in error.problems)


KEYS = st.text("abcxyz_", min_size=1, max_size=5)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, width=32)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_yaml_writes_is_read_back(data: dict[str, Any]) -> None:
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    assert parse(yaml.dump(data, Dumper=NoAliases, allow_unicode=True), "f").data == data


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"a: \xff\xfe", "UTF-8"),
            ("a: é".encode("utf-16"), "UTF-8"),
            ("a: é".encode("latin-1"), "UTF-8"),
            (b"\x00\x01\x02", "not allowed"),
            (b"#" * (5 << 20), "larger than 4 MiB"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes, what: str) -> None:
        path = tmp_path / "f.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=what) as raised:
            read(path)
        assert str(raised.value).startswith(str(path))

    def test_missing_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no such file"):
            read(tmp_path / "none.yaml")
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path)

    def test_empty_and_byte_order_mark(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"")
        assert read(tmp_path / "f").data == {}
        (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
        assert read(tmp_path / "f").data == {"a": 1, "b": 2}


class Inner(StrictModel):
    size: int = Field(gt=0)
    kind: Literal["red", "green"] = "red"
    weights: Literal["none", "inverse"] | list[float] = "none"


class Outer(StrictModel):
    name: str = "x"
    share: float = 0.5
    inner: Inner
    items: list[Inner] = Field(default_factory=list)
    table: dict[str, int] = Field(default_factory=dict)


TEXT = """\
name: 5
shair: 0.5
inner:
  size: 0
  kind: gren
items:
  - size: "3"
  - {size: 1, colour: red}
  - size: 2
    weights: [1, x]
  - {}
table: {a: b}
float: 1
list[int]: 2
"""


def model_problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        validate(Outer, parse(text, "f.yaml"))
    return raised.value.problems


def test_every_problem_of_a_model_at_once_with_its_place() -> None:
    expected = {
        "f.yaml:1:1: name: input should be a valid string (given 5)",
        "f.yaml:2:1: shair: no such key; did you mean 'share'?",
        "f.yaml:4:3: inner.size: input should be greater than 0 (given 0)",
        "f.yaml:5:3: inner.kind: 'gren' is not known; did you mean 'green'?",
        "f.yaml:7:5: items.0.size: input should be a valid integer (given '3')",
        "f.yaml:8:15: items.1.colour: no such key; known: kind, size, weights",
        "f.yaml:10:18: items.2.weights.1: input should be a valid number (given 'x')",
        "f.yaml:11:5: items.3.size: is missing; add it",
        "f.yaml:12:9: table.a: input should be a valid integer (given 'b')",
        "f.yaml:13:1: float: no such key; known: inner, items, name, share, table",
        "f.yaml:14:1: list[int]: no such key; known: inner, items, name, share, table",
    }
    assert set(model_problems(TEXT)) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("inner: 3", "f.yaml:1:1: inner: input should be a valid dictionary or instance of Inner (given 3)"),
        ("inner: {size: true}", "f.yaml:1:9: inner.size: input should be a valid integer (given True)"),
        ("inner: {size: 1.0}", "f.yaml:1:9: inner.size: input should be a valid integer (given 1.0)"),
        ("inner: {size: 1}\nshare: .nan", "f.yaml:2:1: share: input should be a finite number (given nan)"),
        (
            "inner: {size: 1, weights: invers}",
            "f.yaml:1:18: inner.weights: 'invers' is not known; did you mean 'inverse'?",
        ),
        ("name: x", "f.yaml:1:1: inner: is missing; add it"),
        ("inner:", "f.yaml:1:1: inner: input should be a valid dictionary or instance of Inner (given None)"),
    ],
)
def test_one_problem_gives_one_line(text: str, problem: str) -> None:
    assert model_problems(text) == [problem]


def test_numbers_come_in_their_type() -> None:
    model = validate(Outer, parse("inner: {size: 1, weights: [1, 2.5]}\nshare: 1", "f"))
    assert model.inner.weights == [1.0, 2.5] and isinstance(model.share, float)


class TestOverrides:
    def document(self) -> Document:
        return parse("a: 1\nloss:\n  - {name: ce, weight: 1}\n  - {name: dice}\nm: {x: {y: 2}}\nempty:\n", "f.yaml")

    @pytest.mark.parametrize(
        ("override", "path", "value"),
        [
            ("a=2", ("a",), 2),
            ("a=1e-3", ("a",), 1e-3),
            ("a=no", ("a",), "no"),
            ("a=", ("a",), None),
            ("a=x=y", ("a",), "x=y"),
            ("a=[1, {b: c}]", ("a",), [1, {"b": "c"}]),
            ("loss.1.name=ce", ("loss", 1, "name"), "ce"),
            ("loss.0.weight=2.5", ("loss", 0, "weight"), 2.5),
            ("m.x.y=3", ("m", "x", "y"), 3),
            ("m.new.deep=3", ("m", "new", "deep"), 3),
            ("loss.0={name: dice}", ("loss", 0), {"name": "dice"}),
            ("levels.0=1", ("levels", "0"), 1),
        ],
    )
    def test_sets(self, override: str, path: tuple[str | int, ...], value: Any) -> None:
        document = self.document()
        apply_overrides(document, [override])
        found: Any = document.data
        for part in path:
            found = found[part]
        assert found == value
        assert document.where(path) == f"`overrides` {override}"

    @pytest.mark.parametrize(
        ("override", "what"),
        [
            ("a", "expected a.b=value"),
            ("=1", "expected a.b=value"),
            ("a..b=1", "expected a.b=value"),
            (".a=1", "expected a.b=value"),
            ("a.b=1", "a holds no values"),
            ("loss.2.weight=1", "2 items, numbered from 0"),
            ("loss.2=1", "2 items, numbered from 0"),
            ("loss.x=1", "2 items, numbered from 0"),
            ("loss.-1=1", "2 items"),
            ("empty.a=1", "empty holds no values"),
            ("a=[1", "not valid YAML"),
            ("a=!x 1", "tag"),
            ("a=b: c", "not valid YAML"),
            ("loss.².weight=1", "2 items"),
        ],
    )
    def test_refuses(self, override: str, what: str) -> None:
        with pytest.raises(ConfigError) as raised:
            apply_overrides(self.document(), [override])
        assert what in str(raised.value)
        assert str(raised.value).startswith(f"`overrides` {override}")

    def test_later_ones_win_and_problems_point_at_them(self) -> None:
        document = parse("inner: {size: 1}", "f.yaml")
        apply_overrides(document, ["inner.size=2", "inner.size=0", "name=3"])
        with pytest.raises(ConfigError) as raised:
            validate(Outer, document)
        assert raised.value.problems == [
            "`overrides` name=3: name: input should be a valid string (given 3)",
            "`overrides` inner.size=0: inner.size: input should be greater than 0 (given 0)",
        ]


def test_did_you_mean() -> None:
    assert did_you_mean("resnet43", ["resnet34", "vgg"]) == "; did you mean 'resnet34'?"
    assert did_you_mean("UNET", ["Unet", "FPN"]) == "; did you mean 'Unet'?"
    assert did_you_mean("q", ["b", "a"]) == "; known: a, b"
    assert did_you_mean("q", [f"name{i}" for i in range(100)]) == ""
