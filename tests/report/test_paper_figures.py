"""The papers' figures: what is drawn is what the results say, equal results give equal files."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.experiments.specs import DatasetSpec
from oncoseg.experiments.splits import Split, Splits, save_splits
from oncoseg.experiments.store import WholeSlice, read_run, read_slice, write_slice, write_whole
from oncoseg.io.images import write_volume
from oncoseg.preprocess.fixed_window import union_window
from oncoseg.report.drawing import choices_of, draw, names, note_lines, save, title_of
from oncoseg.report.estimates import summary_of
from oncoseg.report.groups import make_groups
from oncoseg.report.naming import names_in_words
from oncoseg.score import Ledger
from oncoseg.volume import Volume

MANY = tuple(f"p-{n:02d}" for n in range(12))
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CLICKS = "centre click, then 10 x edt error"


@pytest.fixture(scope="module")
def shares(tmp_path_factory, write_cell, planned):
    """One model at five shares, with two prompts on two data sets."""
    run = tmp_path_factory.mktemp("shares")
    for dataset in ("lung1", "task06"):
        for prompt in ("box", "click"):
            for n, share in enumerate(SHARES):
                skill = 0.55 + 0.08 * n - (0.1 if prompt == "click" else 0)
                facts = {"dataset": dataset, "prompt": prompt, "jitter_mm": None, "fraction": share, "cases": MANY}
                write_cell(run, planned("medical_sam2", skill, trained=share > 0, **facts))
    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_cell, planned):
    """Three models of clearly different skill on the same twelve patients; two of them trained, one with pictures."""
    run = tmp_path_factory.mktemp("models")
    write_cell(run, planned("best", 0.88, trained=True, pictures=True, cases=MANY))
    write_cell(run, planned("middle", 0.78, trained=True, pictures=True, cases=MANY))
    write_cell(run, planned("worst", 0.4, pictures=True, cases=MANY))
    return run


@pytest.fixture
def clicked(tmp_path, write_cell, planned):
    """Two models with ten corrections each."""
    curve = tuple(0.5 + 0.03 * n for n in range(11))
    for model, more in (("m_sam", 0.06), ("sam_med3d", -0.05)):
        own = tuple(c + more for c in curve)
        write_cell(tmp_path, planned(model, prompt=CLICKS, jitter_mm=None, curve=own, cases=MANY))
    return tmp_path


def texts(figure):
    """Everything that is written in a figure."""
    return [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text")) if t.get_text()]


def lines(axes):
    """(x, y) of the lines with more than two points, by their order."""
    joined = (line for line in axes.get_lines() if line.get_linestyle() != "None")
    return [line.get_xydata() for line in joined if len(line.get_xdata()) > 2]


# What every figure does


def test_every_figure_says_what_it_shows_and_what_may_be_chosen():
    assert {"panel", "fractions", "epochs", "box-violin", "mfit", "stages", "transfer"} <= set(names())
    for name in names():
        assert title_of(name)
        assert any(choice.startswith("names=") for choice in choices_of(name))


def test_an_unknown_figure_or_choice_is_refused_with_near_names(models):
    with pytest.raises(UnknownNameError, match="Did you mean: epochs"):
        draw("epoch", models)
    with pytest.raises(ConfigError, match="Did you mean: models"):
        draw("epochs", models, model=["best"])
    with pytest.raises(InputError, match="no finished cell"):
        draw("epochs", [])


def test_files_hold_the_picture_the_words_and_the_numbers(shares, tmp_path):
    figure = draw("fractions", shares)
    png, svg, txt, table = save(figure, tmp_path / "a" / "fig.2")
    assert [p.name for p in (png, svg, txt, table)] == ["fig.2.png", "fig.2.svg", "fig.2.txt", "fig.2.csv"]
    picture = Image.open(png)
    assert round(picture.info["dpi"][0]) == 200
    assert picture.info["Description"] == figure.words
    assert f"<title>{figure.title}</title>" in svg.read_text()
    assert figure.words in txt.read_text()
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 2 * 2 * 5 * 2
    assert float(rows[0]["mean"]) == figure.numbers[0]["mean"]


def test_equal_results_give_equal_bytes(shares, tmp_path):
    first, second = (save(draw("fractions", shares), tmp_path / name / "f") for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert not re.search(rb"20\d\d-\d\d-\d\d", first[1].read_bytes()), "no date"


def test_results_may_be_given_in_place_of_a_folder(shares):
    assert draw("fractions", read_run(shares)).words == draw("fractions", shares).words


def test_small_print_is_broken_to_the_width_of_the_figure():
    broken = note_lines("word " * 60, 5.0)
    assert len(broken) > 3
    assert max(map(len, broken)) <= 5 * 16.2


def test_models_of_one_name_are_told_apart_in_words(tmp_path, write_cell, planned):
    for gan in (True, False):
        settings = {"options": {"gan": gan, "crop": "training"}, "train": {"epochs": 6}}
        write_cell(tmp_path, planned("gtv_samgan", 0.6 + 0.2 * gan, trained=True, configured=settings))
    assert {"gtv_samgan, gan true", "gtv_samgan, gan false"} <= set(texts(draw("epochs", tmp_path)))
    chosen = names_in_words(read_run(tmp_path))
    label = next(label for label, name in chosen.items() if name.endswith("true"))
    assert {"ours", "gtv_samgan, gan false"} <= set(texts(draw("epochs", tmp_path, names={label: "ours"})))


# Shares of the training patients


def test_a_panel_a_data_set_and_metric_and_a_line_a_prompt(shares):
    figure = draw("fractions", shares)
    assert len(figure.axes) == 4
    assert [a.get_ylabel() for a in figure.axes] == ["mean Dice", "mean IoU"] * 2
    assert [a.get_title(loc="left") for a in figure.axes] == ["lung1", "", "task06", ""]
    assert {"medical_sam2, box", "medical_sam2, click"} <= set(texts(figure))


def test_curves_go_through_the_means(shares):
    group = next(g for g in make_groups(read_run(shares)) if g.key.prompt == "box" and g.key.dataset == "lung1")
    means = [summary_of(e, "dice").mean for e in sorted(group.entrants, key=lambda e: e.record.fraction)]
    first = lines(draw("fractions", shares, names={"medical_sam2": "Medical SAM 2"}).axes[0])[0]
    assert first[:, 1] == pytest.approx(means)
    assert first[:, 0] == pytest.approx([0, 25, 50, 75, 100], abs=1)


def test_counts_and_intervals_are_said(shares):
    figure = draw("fractions", shares, dataset="lung1", metrics=["dice"], prompts=["box"])
    assert "lung1 n = 12" in figure.words
    assert len(figure.numbers) == 5
    row = figure.numbers[0]
    assert row["low"] < row["mean"] < row["high"]


def test_without_shares_the_way_out_is_told(models):
    with pytest.raises(InputError, match="fraction ="):
        draw("fractions", models)


# Epochs


def test_one_line_a_training_with_a_ring_at_its_highest(models):
    figure = draw("epochs", models)
    (axes,) = figure.axes
    drawn = lines(axes)
    assert len(drawn) == 2, "worst was not trained"
    cell = next(c for c in read_run(models) if c.record.model == "best")
    logged = [(line["epoch"], line["validation"]) for line in cell.training if line["validation"] is not None]
    assert drawn[0] == pytest.approx(np.array(logged))
    rings = [line.get_xydata()[0] for line in axes.get_lines() if line.get_markerfacecolor() == "none"]
    assert rings[0] == pytest.approx(max(logged, key=lambda point: point[1]))
    assert axes.get_ylabel() == "Dice of\nvalidation cases"


def test_slices_are_refused_where_they_were_not_logged(models):
    with pytest.raises(InputError, match="keep_every_epoch"):
        draw("epochs", models, values="slices")


# Violins


def test_patients_are_compared_in_pairs_and_told_by_stars(models):
    figure = draw("box-violin", models)
    p = {row["model"]: row["p"] for row in figure.numbers}
    assert p["best"] is None, "the others are compared with it"
    assert p["worst"] < 0.001
    assert texts(figure).count("***") == 1
    assert "corrected by Holm" in figure.words
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["best\nn = 12", "middle\nn = 12", "worst\nn = 12"]
    points = {len(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) > 1}
    assert points == {12}


def test_the_white_dot_is_the_mean_and_the_box_the_middle_half(models):
    (axes,) = draw("box-violin", models).axes
    cell = next(c for c in read_run(models) if c.record.model == "best")
    values = [s.value for s in cell.scores if s.metric == "dice"]
    white = [line.get_ydata()[0] for line in axes.get_lines() if line.get_color() == "white"]
    assert white[0] == pytest.approx(np.mean(values))
    box = axes.get_lines()[0].get_ydata()
    assert sorted({round(y, 6) for y in box}) == pytest.approx(np.percentile(values, [25, 75]), abs=1e-6)


def test_epochs_are_never_called_patients(models):
    figure = draw("box-violin", models, over="epochs")
    assert "epochs of one run, not patients" in figure.words
    assert "say nothing about new patients" in figure.words
    assert {row["model"] for row in figure.numbers} == {"best", "middle"}
    with pytest.raises(InputError, match="holds the model 'worst'"):
        draw("box-violin", models, over="epochs", against="worst")


# Stages


def test_eleven_stages_of_two_models(clicked):
    figure = draw("stages", clicked)
    (axes,) = figure.axes
    first, second = lines(axes)
    assert len(first) == len(second) == 11
    # Case n lies 0.02 n below the curve, so the mean of 12 cases lies 0.11 below it.
    assert first[:, 1] == pytest.approx([0.56 + 0.03 * n - 0.11 for n in range(11)])
    assert "n = 12" in figure.words
    assert min(row["stage"] for row in figure.numbers) == 1


def test_the_answer_to_no_prompt_stands_before_the_stages(clicked, write_cell, planned):
    cell = planned("m_sam", 0.2, prompt="none", jitter_mm=None, ledger=Ledger(), cases=MANY)
    write_cell(clicked, cell)
    for folder in clicked.glob("m_sam-*"):
        record = folder / "cell.json"
        record.write_text(record.read_text().replace('"fidelity"', '"prompts": ["click"], "fidelity"'))
    figure = draw("stages", clicked, models=["m_sam"])
    assert [row["stage"] for row in figure.numbers] == list(range(12))
    assert any("no\nprompt" in text for text in texts(figure))


def test_stages_need_corrections(models):
    with pytest.raises(InputError, match="rounds"):
        draw("stages", models)


def test_scores_that_are_all_zero_are_shown_on_the_whole_axis(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned("m", prompt=CLICKS, jitter_mm=None, curve=(0.0,) * 3, cases=("c1",)))
    assert draw("stages", tmp_path).axes[0].get_ylim() == (-0.02, 1.0)


# Panels


def test_a_row_a_case_and_a_column_a_model_after_image_and_reference(models):
    figure = draw("panel", models, case=["best", "worst"])
    assert len(figure.axes) == 2 * (2 + 3)
    heads = [a.get_title() for a in figure.axes[:5]]
    assert heads[:2] == ["image", "reference"]
    assert heads[2:] == ["best\nprompt: box", "middle\nprompt: box", "worst\nprompt: box"]
    assert not figure.axes[0].collections
    assert len(figure.axes[1].collections) == 1


def test_the_case_is_chosen_by_rule_and_the_rule_is_said(models):
    cells = read_run(models)
    means = {
        case: np.mean([s.value for c in cells for s in c.scores if (s.case, s.metric) == (case, "dice")])
        for case in MANY
    }
    ordered = sorted(means, key=lambda case: (means[case], case))
    figure = draw("panel", models, case=["worst", "median", "best"])
    rows = list(dict.fromkeys((row["case"], row["chosen_as"]) for row in figure.numbers))
    expected = {"the case of lowest Dice": 0, "the case of median Dice": 5, "the case of highest Dice": 11}
    assert rows == [(ordered[place], rule) for rule, place in expected.items()]
    assert all(f"{case}: {rule}" in figure.words for case, rule in rows)


def test_the_dice_under_a_panel_is_that_of_the_case(models):
    figure = draw("panel", models, case=["p-03"], models=["worst"])
    (value,) = [row["dice"] for row in figure.numbers]
    assert figure.axes[-1].get_xlabel() == f"Dice {value:.2f}"
    assert "the case asked for" in figure.words
    with pytest.raises(UnknownNameError, match="p-03"):
        draw("panel", models, case=["p-3"])


def test_models_that_are_not_shown_are_counted(models):
    assert "1 more not shown" in draw("panel", models, most=2).words


def test_the_third_papers_panel_is_green_without_the_bare_image(models):
    figure = draw("panel", models, layout="gtv-samgan")
    assert [a.get_title() for a in figure.axes][:1] == ["reference"]
    colours = {tuple(np.round(c.get_edgecolor()[0], 2)) for a in figure.axes for c in a.collections}
    assert colours == {(0.0, 0.82, 0.42, 1.0)}


def test_a_run_without_pictures_is_told(shares):
    with pytest.raises(InputError, match="keeps no picture"):
        draw("panel", shares, dataset="lung1", prompts=["box"])
    with pytest.raises(InputError, match="several data sets"):
        draw("panel", shares)


@pytest.fixture
def whole(tmp_path, write_cell, planned):
    """Two models on one case whose whole slice the run keeps, with lungs; the prediction is three columns off."""
    tumour = np.zeros((60, 80), bool)
    tumour[20:30, 15:25] = True
    lungs = {name: np.zeros((60, 80), bool) for name in ("lung_right", "lung_left")}
    lungs["lung_right"][10:50, 8:35] = lungs["lung_left"][10:50, 45:72] = True
    image = np.where(tumour, 40.0, -700.0).astype(np.float32)
    slice_ = WholeSlice(image, {**lungs, "tumour": tumour}, (1.0, 0.8), 2, (-1000.0, 400.0))
    for model in ("first", "second"):
        folder = write_cell(tmp_path, planned(model, pictures=True, cases=("c1",)))
        tile = read_slice(folder / "slices" / "c1.npz")
        name = write_whole(tmp_path, "c1", slice_)
        write_slice(folder / "slices" / "c1.npz", replace(tile, slice_index=2, whole=name))
        for roi, mask in (("", np.roll(tumour, 3, axis=1)), (".lung_right", lungs["lung_right"])):
            voxels = np.zeros((4, 60, 80), bool)
            voxels[2] = mask
            write_volume(folder / "masks" / f"c1{roi}.nii.gz", Volume.from_spacing(voxels, (5.0, 1.0, 0.8)))
    return tmp_path


def outlined(axes):
    """ROI -> (left, top, right, bottom) of its outline in pixels."""
    return {c.get_label(): np.array(c.get_datalim(axes.transData).extents).round().tolist() for c in axes.collections}


def test_whole_slices_show_lungs_and_tumour_where_they_lie(whole):
    figure = draw("panel", whole)
    image, reference, first, second = figure.axes[:4]
    assert not outlined(image)
    assert outlined(reference) == {
        "lung_left": [45, 10, 72, 50], "lung_right": [8, 10, 35, 50], "tumour": [15, 20, 25, 30],
    }  # fmt: skip
    assert outlined(first) == outlined(second) == {"lung_right": [8, 10, 35, 50], "tumour": [18, 20, 28, 30]}
    assert image.get_aspect() == pytest.approx(1 / 0.8)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["right lung", "left lung", "tumour"]


def test_the_inset_lies_round_the_reference_and_its_frame_is_drawn(whole):
    """The tumour is 10 x 8 mm; with 2 mm of margin the frame is a square of 14 mm: 14 rows and 17 or 18 columns."""
    figure = draw("panel", whole, margin_mm=2.0)
    (frame,) = figure.axes[1].patches
    assert (frame.get_height(), frame.get_width()) == (14, pytest.approx(17.5, abs=0.5))
    assert frame.get_y() + 7 == 25
    (inset,) = figure.axes[1].child_axes
    assert np.array(inset.images[0].get_array()).shape == (14, frame.get_width())
    assert "Insets lie round the reference" in figure.words


def test_nothing_is_magnified_where_it_would_hardly_grow(whole):
    figure = draw("panel", whole, margin_mm=20.0)
    assert not figure.axes[1].child_axes
    assert "Insets" not in figure.words


def test_the_third_papers_panel_shows_the_tumour_alone(whole):
    figure = draw("panel", whole, layout="gtv-samgan", margin_mm=2.0)
    assert [list(outlined(a)) for a in figure.axes[:3]] == [["tumour"]] * 3
    assert {tuple(np.round(a.patches[0].get_edgecolor(), 2)) for a in figure.axes[:3]} == {(1.0, 0.18, 0.18, 1.0)}


# Transfer


@pytest.fixture
def moved(tmp_path, write_cell, planned):
    """A model that learned where it is tested, and elsewhere."""
    for skill, source in ((0.8, ""), (0.6, "lits")):
        write_cell(tmp_path, planned("unet", skill, dataset="kits", trained=True, source=source, cases=MANY))
    return tmp_path


def test_an_arrow_goes_from_before_to_after_with_the_rate(moved):
    figure = draw("transfer", moved, names={"lits": "LiTS", "kits": "KiTS", "unet": "U-Net"})
    (row,) = figure.numbers
    assert row["rate_percent"] == pytest.approx(100 * (row["after"] - row["before"]) / row["before"])
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "LiTS → KiTS, n = 12"
    (arrow,) = [a for a in axes.texts if a.arrow_patch is not None]
    assert (arrow.xyann[0], arrow.xy[0]) == (row["before"], row["after"])
    assert f"−{abs(row['rate_percent']):.1f} %" in texts(figure)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["U-Net\nbox"]


def test_transfer_needs_two_trainings(models):
    with pytest.raises(InputError, match="source = "):
        draw("transfer", models)


# Bubbles


def test_bubbles_grow_with_parameters_and_stand_at_their_operations(tmp_path, write_cell, planned):
    for model, parameters, macs in (("small", 10_000_000, 10**12), ("large", 40_000_000, 10**13)):
        write_cell(tmp_path, planned(model, parameters=parameters, macs=macs, cases=MANY))
    figure = draw("bubble", tmp_path)
    (axes,) = figure.axes
    cloud = axes.collections[0]
    drawn = {round(float(x)): float(size) for (x, _), size in zip(cloud.get_offsets(), cloud.get_sizes(), strict=True)}
    assert drawn[10**13] == pytest.approx(4 * drawn[10**12])
    assert axes.get_xscale() == "log"
    assert [row["dice"] for row in figure.numbers] == pytest.approx([y for _, y in cloud.get_offsets().tolist()])
    assert {"10 M", "50 M", "100 M", "small, box", "large, box"} <= set(texts(figure))
    assert "12 patients" in figure.words


def test_names_too_long_for_their_bubbles_become_numbers_with_a_key(tmp_path, write_cell, planned):
    long = "a_model_of_a_name_that_goes_on_and_on"
    for model, macs in (("small", 10**12), (long, 10**13)):
        write_cell(tmp_path, planned(model, macs=macs, cases=MANY))
    figure = draw("bubble", tmp_path)
    assert {"1", "2"} <= set(texts(figure))
    assert f"{long}, box" not in texts(figure)
    assert f": {long}, box" in figure.words
    assert {row["model"] for row in figure.numbers} == {"small, box", f"{long}, box"}


def test_bubbles_need_counted_operations(models):
    with pytest.raises(InputError, match="cost = true"):
        draw("bubble", models)


# The fixed window

OPTIONS = {"cases": 4, "seed": 3, "shape": [10, 40, 40], "spacing": [10.0, 8.0, 8.0], "tumours": [1, 1]}


@pytest.fixture(scope="module")
def windowed(tmp_path_factory, write_cell, planned):
    """A trained cell on a phantom whose split is kept; the images are made again from its options."""
    run = tmp_path_factory.mktemp("windowed")
    dataset = DatasetSpec("phantom", OPTIONS).open()
    held = {"use": "phantom", "options": OPTIONS, "fingerprint": dataset.fingerprint(), "cases": []}
    settings = {"dataset": held, "roi": "tumour", "options": {"crop_smallest": 12, "crop_margin": 1}}
    write_cell(run, planned("gtv_samgan", trained=True, configured=settings))
    patients = [entry.patient for entry in dataset.entries()]
    save_splits(run / "splits" / "phantom.json", Splits((Split(train=tuple(patients[:3]), test=tuple(patients[3:])),)))
    return run, dataset


def test_the_window_is_the_one_that_training_finds(windowed):
    run, dataset = windowed
    names = [entry.case for entry in dataset.entries()]
    masks = {name: dataset.load(name).mask().voxels for name in names}
    expected = union_window([(name, masks[name]) for name in names[:3]], smallest=12, margin=1).window
    figure = draw("mfit", run)
    rows = {row["case"]: row for row in figure.numbers if row["case"] in ("union", "window")}
    assert [rows["window"][edge] for edge in expected._fields] == list(expected)
    boxes = [row for row in figure.numbers if row["case"] in names]
    assert len(boxes) == sum(int(masks[name].any(axis=(1, 2)).sum()) for name in names[:3])
    missed = masks[names[3]].copy()
    missed[:, expected.top : expected.bottom, expected.left : expected.right] = False
    assert f"{missed.sum()} of {masks[names[3]].sum()} tumour voxels" in figure.words
    assert "On 1 tested case:" in figure.words


def test_a_column_an_example_and_one_for_all_boxes(windowed):
    figure = draw("mfit", windowed[0], examples=2, smallest=20)
    assert len(figure.axes) == 2 * 3
    assert "of at least 20 pixels" in figure.words
    assert any(re.fullmatch(r"\d+ boxes of\n3 training cases", text) for text in texts(figure))


def test_other_data_than_those_of_the_run_are_refused(windowed):
    with pytest.raises(InputError, match="not the one of the run"):
        draw("mfit", windowed[0], data={"seed": 4})


def test_a_window_needs_a_training(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned())
    with pytest.raises(InputError, match="trained nothing"):
        draw("mfit", tmp_path)
