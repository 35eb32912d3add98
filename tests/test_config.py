from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from oncoseg.config import content_key, fill, load_toml, plain
from oncoseg.errors import ConfigError, InputError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Outer:
    steps: int
    mode: Literal["a", "b"] = "a"
    shape: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    inner: Inner = Inner()
    inners: list[Inner] = field(default_factory=list)
    place: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def test_nested_plain_data_becomes_a_frozen_dataclass():
    filled = fill(
        Outer,
        {"steps": 3, "shape": [4, 5], "names": ["x"], "inner": {"rate": 1}, "inners": [{"rate": 2.0}], "place": "/a"},
        "m.toml",
    )
    assert filled == Outer(3, "a", (4, 5), ("x",), Inner(1.0), [Inner(2.0)], Path("/a"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 3}, r"m\.toml: unknown key 'step'\. Did you mean: steps"),
        ({}, "key 'steps' is missing"),
        ({"steps": "3"}, r"'steps' must be int, got '3'"),
        ({"steps": True}, "'steps' must be int, got True"),
        ({"steps": 1.5}, "'steps' must be int"),
        ({"steps": 1, "mode": "c"}, "one of 'a', 'b'"),
        ({"steps": 1, "shape": [1]}, "must have 2 values"),
        ({"steps": 1, "names": "x"}, "must be a list"),
        ({"steps": 1, "inner": {"rat": 1}}, r"'inner': unknown key 'rat'\. Did you mean: rate"),
        ({"steps": 1, "inner": 3}, "must be a table"),
        ({"steps": 1, "place": 3}, "'place' must be Path"),
    ],
)
def test_wrong_keys_and_types_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        fill(Outer, values, "m.toml")


def test_plain_and_fill_are_inverse():
    filled = Outer(3, "b", (4, 5), ("x",), Inner(1.0), [Inner(2.0)], Path("/a"), {"k": 1})
    assert fill(Outer, plain(filled), "x") == filled


def test_content_key_ignores_order_and_sees_every_value():
    assert content_key({"a": 1, "b": (2, 3)}) == content_key({"b": [2, 3], "a": 1})
    assert content_key(Inner(0.1)) != content_key(Inner(0.2))


def test_toml_mistakes_name_the_file(tmp_path):
    (tmp_path / "m.toml").write_text("a = [1,\n")
    with pytest.raises(ConfigError, match=r"m\.toml is not valid TOML"):
        load_toml(tmp_path / "m.toml")
    with pytest.raises(InputError, match="does not exist"):
        load_toml(tmp_path / "n.toml")
