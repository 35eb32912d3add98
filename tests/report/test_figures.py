import re

import numpy as np
import pytest

from oncoseg.report.figures import Bubble, Cloud, Line, cost_plot, curve_plot, strip_plot, volume_plot


def cloud(label, count, kind="model"):
    values = tuple(np.linspace(0.2, 0.9, count).tolist())
    return Cloud(
        label, kind, tuple(f"case {n}" for n in range(count)), values, tuple(float(n + 1) for n in range(count))
    )


def test_text_stays_text_and_takes_the_colours_of_the_page():
    svg = strip_plot([cloud("unet", 5)], "Dice", "a")
    assert ">unet</text>" in svg
    assert "var(--ink)" in svg
    assert "#010203" not in svg


def test_ids_of_two_figures_never_meet():
    first, second = (strip_plot([cloud("unet", 5)], "Dice", slug) for slug in ("a", "b"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_equal_numbers_give_equal_figures():
    assert strip_plot([cloud("unet", 5)], "Dice", "a") == strip_plot([cloud("unet", 5)], "Dice", "a")


def test_points_have_tooltips_and_are_drawn_as_pixels_when_many():
    few, many = (volume_plot([cloud("unet", n)], "Dice", "a") for n in (20, 900))
    assert few.count("<title>") == 20
    assert "data:image/png" not in few
    assert "data:image/png" in many
    assert len(many) < 2 * len(few)


def test_tooltips_lie_on_their_points():
    svg = strip_plot([cloud("unet", 2)], "Dice", "a")
    point = r'<use href="#[^"]+" x="([\d.]+)" y="[\d.]+" style="fill: #0a7bc2; fill-opacity'
    drawn = [float(x) for x in re.findall(point, svg)]
    hits = [float(x) for x in re.findall(r'class="hit" cx="([\d.]+)"', svg)]
    assert hits == pytest.approx(drawn, abs=0.1)


def test_hostile_labels_are_escaped():
    svg = strip_plot([cloud("<script>$x$", 2)], "Dice", "a")
    assert "<script>" not in svg
    assert "&lt;script&gt;$x$" in svg


def test_null_baselines_are_dashed():
    lines = [Line("unet", "model", (0, 5), (0.8, 0.7)), Line("ellipsoid", "null", (0, 5), (0.7, 0.4))]
    assert curve_plot(lines, "Dice", "a", x_label="mm").count("stroke-dasharray") >= 1
    assert "stroke-dasharray" not in curve_plot(lines[:1], "Dice", "a", x_label="mm")


def test_names_in_the_cost_plot_do_not_overlap():
    bubbles = [Bubble(f"model_{n}", "model", 1e12, 0.8, 10_000_000) for n in range(5)]
    svg = cost_plot(bubbles, "Dice", "a")
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>model_\d</text>', svg))
    assert len(heights) == 5
    assert min(np.diff(heights)) > 9
    assert all(f">{size} M</text>" in svg for size in (10, 50, 100))
