"""Every code block of the README and the docs runs, in order, page by page."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from oncoseg.prompt import Box, Click, Scribble, from_json, to_json
from oncoseg.volume import Volume

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")])


def blocks(page, language):
    """Fenced blocks of one language with the words after it."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.info.split()[:1] == [language]:
            yield token.content, token.info.split()[1:]


@pytest.mark.parametrize("page", [p for p in PAGES if list(blocks(p, "json"))], ids=lambda p: p.name)
def test_prompt_files_are_read(page):
    image = Volume.from_spacing(np.zeros((60, 260, 260), np.int16), (3.0, 1.0, 1.0), origin_mm=(-130.0, -130.0, 0.0))
    for content, _ in blocks(page, "json"):
        read = from_json(json.loads(content), image)
        assert {type(p) for p in read} == {Box, Click, Scribble}
        assert from_json(to_json(read), image) == read


PYTHON_PAGES = [p for p in PAGES if p.parent.name != "how-to" and list(blocks(p, "python"))]
CONSOLE_PAGES = [p for p in PAGES if list(blocks(p, "console"))]


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda p: p.name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for content, _ in blocks(page, "python"):
        exec(compile(content, page.name, "exec"), names)  # raises when the page is wrong
    assert names


@pytest.mark.slow
@pytest.mark.parametrize("page", CONSOLE_PAGES, ids=lambda p: p.name)
def test_commands_run_in_order(page, tmp_path):
    """Lines that start with `$ oncoseg`; blocks marked `network` need the package index and are left to the demo.

    Blocks of TOML and CSV that name a file are that file.
    """
    for content, words in [*blocks(page, "toml"), *blocks(page, "csv")]:
        if words:
            (tmp_path / words[0]).write_text(content)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    ran = 0
    for content, words in blocks(page, "console"):
        for line in content.splitlines():
            if not line.startswith("$ oncoseg") or "network" in words:
                continue
            done = subprocess.run(shlex.split(line[2:]), cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            ran += 1
    assert ran or all("network" in words for _, words in blocks(page, "console"))


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in PAGES:
        for token in MarkdownIt().parse(page.read_text()):
            for child in token.children or []:
                target = str(child.attrs.get("href") or child.attrs.get("src") or "").partition("#")[0]
                if target and "://" not in target and not (page.parent / target).exists():
                    broken.append(f"{page.name}: {target}")
    assert broken == []


@pytest.mark.parametrize("shelf", ["metrics", "protocols"])
def test_every_metric_and_protocol_is_explained(shelf):
    from oncoseg import registry

    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    assert [name for name in registry.names(shelf) if f"`{name}" not in page] == []
