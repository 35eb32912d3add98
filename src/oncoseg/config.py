"""Configurations: TOML or plain data into frozen dataclasses, and the key of their content."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from oncoseg.errors import ConfigError, suggest
from oncoseg.files import require_file

T = TypeVar("T")


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: when the file is missing or empty.
        ConfigError: with the line when it is not TOML.
    """
    require_file(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def fill(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a (frozen) dataclass from plain data, checking every key and type.

    Nested dataclasses, tuples, `X | None`, Literals and Paths are filled from tables, lists and strings.
    Whole numbers are accepted for floats; nothing else is converted.

    Args:
        cls: a dataclass type.
        values: key -> plain value.
        where: what is being read, for the message, e.g. "matrix.toml [train]".

    Raises:
        ConfigError: unknown key (near names suggested), wrong type, or missing key.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    hints = _hints(cls)  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key '{key}'. {suggest(key, fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ConfigError(f"{where}: key '{name}' is missing.")
    return cls(**{key: _convert(value, hints[key], f"{where}: '{key}'") for key, value in values.items()})


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["root=/data", "shape=[64,64,64]"]` to typed values; dotted names nest.

    Values are TOML; anything that is not TOML is taken as text, so paths and words need no quotes.

    Raises:
        ConfigError: for a setting without `=`, or one that goes on below a value.

    Example:
        >>> parse_settings(["steps=100", "root=/data/lung", "train.lr=1e-3"])
        {'steps': 100, 'root': '/data/lung', 'train': {'lr': 0.001}}
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set '{setting}' is not of the form name=value.")
        *tables, key = name.split(".")
        table = parsed
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set '{setting}': '{part}' was set to a value before and has no parts.")
        table[key] = _toml_value(text)
    return parsed


def plain(value: Any) -> Any:
    """A configuration as plain data for JSON: dataclasses to dicts, tuples to lists, paths to strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def content_key(value: Any) -> str:
    """Hex SHA-256 of a configuration: equal content, equal key, on every machine.

    Example:
        >>> content_key({"a": 1, "b": 2.0}) == content_key({"b": 2.0, "a": 1})
        True
    """
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Resolved once a class: reading thousands of records would otherwise spend most of its time here."""
    return typing.get_type_hints(cls)


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _first_that_fits(value, [a for a in arguments if a is not type(None)], where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; it must be one of {', '.join(map(repr, arguments))}.")
        return value
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table, got {value!r}.")
        return fill(hint, value, where)  # type: ignore[arg-type]
    if origin in (tuple, list):
        return _sequence(value, origin, arguments, where)
    if origin is not None and isinstance(value, Mapping):
        return dict(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} must be {getattr(hint, '__name__', hint)}, got {value!r}.")
    return value


def _first_that_fits(value: Any, hints: list[Any], where: str) -> Any:
    failures = []
    for hint in hints:
        try:
            return _convert(value, hint, where)
        except ConfigError as error:
            failures.append(error)
    raise failures[0]


def _sequence(value: Any, origin: type, arguments: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} must be a list, got {value!r}.")
    if origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        return origin(_convert(v, arguments[0], where) for v in value)
    if len(value) != len(arguments):
        raise ConfigError(f"{where} must have {len(arguments)} values, got {list(value)!r}.")
    return tuple(_convert(v, a, where) for v, a in zip(value, arguments, strict=True))
