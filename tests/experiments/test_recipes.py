"""Recipes: what they fill in, what the user changes, and what is said about it."""

import pytest

from oncoseg.contracts import Recipe
from oncoseg.errors import UnknownNameError
from oncoseg.experiments.matrix import load_matrix
from oncoseg.experiments.recipes import in_words, options_by, recipe, recipes_of, training_by

PAPER = Recipe(
    source="A paper, table 1",
    options={"patch": 64, "losses": {"dice": 1.0, "bce": 0.5}},
    training={"epochs": 300, "learning_rate": 1e-4, "batch": 8},
    assumed=("batch", "losses", "augment"),
    notes="It does not say when it stops.",
)


def test_what_the_user_gives_takes_the_place_of_what_the_paper_says():
    assert options_by(PAPER, {"patch": 32}) == {"patch": 32, "losses": {"dice": 1.0, "bce": 0.5}}
    assert training_by(PAPER, {"batch": 2}) == {"epochs": 300, "learning_rate": 1e-4, "batch": 2}


def test_steps_take_the_place_of_epochs():
    assert training_by(PAPER, {"steps": 50}) == {"steps": 50, "learning_rate": 1e-4, "batch": 8}
    assert training_by(PAPER, {"steps": 0, "epochs": 2})["epochs"] == 2


def test_what_a_paper_does_not_give_is_said_with_its_value():
    source, assumed, notes = in_words("benchmark", PAPER, {})
    assert source == "Recipe benchmark: A paper, table 1."
    assert "batch = 8" in assumed
    assert "losses = 1 dice + 0.5 bce" in assumed
    assert "augment (the model's default)" in assumed
    assert "learning_rate" not in assumed
    assert notes == "It does not say when it stops."


def test_what_was_changed_is_said_and_no_longer_called_an_assumption():
    _, assumed, changed, _ = in_words("benchmark", PAPER, {"batch": 2, "learning_rate": 1e-4, "steps": 0})
    assert "batch" not in assumed
    assert changed == "Changed from the recipe: batch = 2."


def test_a_recipe_may_be_for_some_variants_only():
    assert "paper" in recipes_of("unet.ronneberger")
    assert "paper" not in recipes_of("unet.primakov")
    assert recipes_of("empty") == {}


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(UnknownNameError, match="lung-ct-benchmark"):
        recipe("unet", "lung-ct-benchmrk")


def test_a_matrix_takes_each_models_own_recipe(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text(
        'name = "m"\n[dataset.p]\nuse = "phantom"\nsplit = { test = 0.5 }\n'
        '[[cells]]\ndataset = "p"\nmodel = ["unet"]\nrecipe = "smoke"\noptions = { base = 4 }\ntrain = { steps = 7 }\n'
    )
    (cell,) = load_matrix(file).plan()
    smoke = recipe("unet", "smoke")
    assert cell.trains
    assert cell.model.options == {**smoke.options, "base": 4}
    assert cell.train == {**smoke.training, "steps": 7}
    assert "Changed from the recipe: base = 4, steps = 7." in cell.recipe


def test_variants_may_have_a_recipe_each_under_one_name():
    flat, deep = recipe("xlstm_unet.bot_2d", "smoke"), recipe("xlstm_unet.bot_3d", "smoke")
    assert flat.options["patch"] == 64
    assert len(deep.options["patch"]) == 3
    assert set(recipes_of("xlstm_unet.enc_3d")) == {"smoke", "paper"}
