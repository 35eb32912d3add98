"""How every page of oncoseg is made from its template: one door for Jinja2's settings."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Templates of `oncoseg.report`; text is escaped, and a name that a template misses is an error."""
    return Environment(
        loader=PackageLoader("oncoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
