"""The report in a real browser: no console error, nothing fetched, tables sort and filter."""

import json
import re
import shutil
import subprocess

import pytest

from oncoseg.report.html import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--disable-gpu", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000",
    "--enable-logging=stderr", "--dump-dom",
)  # fmt: skip
#: Runs before anything of the page, and sees what goes wrong in it.
LISTEN = """<script>
window.seen = {errors: [], blocked: []};
addEventListener("error", (e) => seen.errors.push(e.message || "resource " + (e.target.src || e.target.href)), true);
addEventListener("unhandledrejection", (e) => seen.errors.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => seen.blocked.push(e.blockedURI));
const told = console.error;
console.error = (...words) => { seen.errors.push(words.join(" ")); told(...words); };
</script>"""
#: Runs last: uses the page as a reader does and writes down what happened.
USE = """<script>addEventListener("load", () => setTimeout(() => {
  const heads = [...document.querySelectorAll("th[data-sort=number]")];
  const head = heads.find((h) => h.closest("table").tBodies[0].rows.length > 2);
  const table = head.closest("table"), at = [...head.parentElement.children].indexOf(head);
  const cells = () => [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.value);
  const values = () => cells().filter((v) => v).map(Number);
  head.querySelector("button").click(); seen.first = values();
  head.querySelector("button").click(); seen.second = values();
  const input = document.querySelector("input.filter");
  if (input) {
    const rows = [...input.nextElementSibling.querySelectorAll("tbody tr")];
    const after = (text) => {
      input.value = text; input.dispatchEvent(new Event("input"));
      return rows.filter((row) => !row.hidden).length;
    };
    seen.left = after("no row says this"); seen.back = after("");
    seen.rows = rows.length;
  }
  const hit = document.querySelector(".hit");
  hit.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
  seen.tip = document.querySelector(".tip").textContent;
  seen.resources = performance.getEntriesByType("resource").map((e) => e.name);
  const plots = [...document.querySelectorAll("svg.plot")];
  seen.figures = plots.filter((plot) => plot.getBoundingClientRect().width > 100).length;
  seen.wide = document.documentElement.scrollWidth - innerWidth;
  const out = document.createElement("pre"); out.id = "seen"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
}, 50))</script>"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")]


def opened(page, folder):
    """(document after its scripts ran, lines of the console)."""
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture(scope="module")
def seen(full_run, tmp_path_factory):
    """What the probes saw in the report of the showcase."""
    folder = tmp_path_factory.mktemp("browser")
    page = write_report(full_run, folder / "report.html")
    text = page.read_text()
    text = re.sub(r"(<meta http-equiv=[^>]*>)", lambda meta: meta[1] + LISTEN, text, count=1)
    page.write_text(text.replace("</body>", f"{USE}</body>"))
    document, console = opened(page, folder)
    found = re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)
    assert found, f"the page's own scripts stopped: {console}"
    return {**json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")), "console": console}


def test_the_report_opens_without_an_error(seen):
    assert seen["errors"] == []
    assert seen["console"] == []


def test_the_report_asks_for_nothing(seen):
    assert [name for name in seen["resources"] if not name.startswith("data:")] == []
    assert seen["blocked"] == []


def test_columns_sort_both_ways(seen):
    assert len(seen["first"]) > 1
    assert seen["first"] == sorted(seen["first"], reverse=seen["first"][0] > seen["first"][-1])
    assert seen["second"] == seen["first"][::-1]


def test_rows_are_filtered_and_come_back(seen):
    assert seen["left"] == 0
    assert seen["back"] == seen["rows"] > 5


def test_points_tell_what_they_are(seen):
    assert seen["tip"]


def test_figures_have_a_size_and_the_page_fits_the_window(seen):
    assert seen["figures"] > 3
    assert seen["wide"] <= 0
