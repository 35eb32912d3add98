"""The cost section: one forward pass beside the volume, calls, energy, and all models on one axis."""

import json
from dataclasses import asdict, replace

from oncoseg.experiments.store import read_run
from oncoseg.files import write_json
from oncoseg.report.groups import by_dataset, make_groups
from oncoseg.report.html import write_report
from oncoseg.report.plots import cost_overview
from oncoseg.report.tables import cost_rows
from oncoseg.score import CostPart, Ledger

FREE = {"prompt": "none", "jitter_mm": None, "ledger": Ledger()}


def run_of_three(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned("unet", 0.7, trained=True, macs=2_300_000_000_000, **FREE))
    folder = write_cell(tmp_path, planned("lite_medsam", 0.8, macs=4_100_000_000_000))
    write_cell(tmp_path, planned("ellipsoid", 0.6, parameters=0))
    cost = json.loads((folder / "cost.json").read_text())
    parts = [asdict(CostPart("image encoder", 9, 37_000_000_000)), asdict(CostPart("mask decoder", 9, 1_800_000_000))]
    told = {"parts": parts, "forward_macs": 38_800_000_000, "energy_joules": 41.5}
    write_json(folder / "cost.json", {**cost, **told})
    return read_run(tmp_path)


def test_rows_tell_one_forward_pass_its_calls_and_energy(tmp_path, write_cell, planned):
    rows = {r.label: r for r in cost_rows(make_groups(run_of_three(tmp_path, write_cell, planned)))}
    prompted = next(r for label, r in rows.items() if "lite_medsam" in label)
    assert (prompted.forward_macs, prompted.energy_joules) == (38_800_000_000, 41.5)
    assert prompted.calls == "9 × image encoder (37.0 G), 9 × mask decoder (1.8 G)"
    other = next(r for label, r in rows.items() if "unet" in label)
    assert (other.forward_macs, other.calls) == (None, "")


def test_all_models_of_a_data_set_stand_on_one_axis(tmp_path, write_cell, planned):
    groups = make_groups(run_of_three(tmp_path, write_cell, planned))
    [same] = by_dataset(groups)
    plot = cost_overview(same)
    assert [row[0].text for row in plot.numbers.rows] == ["unet", "lite_medsam, box"] or len(plot.numbers.rows) == 2
    assert "mean over 4 patients" in plot.caption
    assert "95 % interval" in plot.caption
    assert "100 × 256 × 256 voxels" in plot.caption
    assert all(row[3].note for row in plot.numbers.rows)
    assert cost_overview([replace(g, entrants=g.entrants[:1]) for g in same[:1]]) is None


def test_the_page_shows_them(tmp_path, write_cell, planned):
    run_of_three(tmp_path, write_cell, planned)
    page = write_report(tmp_path, tmp_path / "report.html").read_text()
    for words in ("one forward pass", "9 × image encoder", "41.5 J", "All models on one axis"):
        assert words in page
