"""The models of M-SAM's table 1 are trained by one recipe name, and where they can by one pipeline."""

import pytest

from oncoseg import msam
from oncoseg.experiments.recipes import recipes_of

TABLE = ("transunet", "unetr", "swin_unetr.msam", "nnformer", "nnunet", "med_sa", "sam3d", "sam_med3d", "m_sam")


@pytest.mark.parametrize("name", TABLE)
def test_every_row_of_the_table_has_the_recipe(name):
    """Shi et al. 2024, table 1."""
    assert "arXiv 2403.05912" in recipes_of(name)["m-sam"].source


@pytest.mark.parametrize("name", ["unetr", "swin_unetr.msam", "nnformer", "sam3d"])
def test_networks_of_patches_have_the_same_pipeline(name):
    recipe = recipes_of(name)["m-sam"]
    assert recipe.options == msam.PATCHES
    assert recipe.training == msam.STEPS
    assert {"losses", "optimiser", "learning_rate", "epochs"} <= set(recipe.assumed)


@pytest.mark.parametrize("name", ["med_sa", "sam_med3d", "m_sam"])
def test_prompted_networks_have_the_same_training(name):
    recipe = recipes_of(name)["m-sam"]
    assert recipe.training == msam.STEPS
    # Section 3.1: AdamW, 8e-4, decay 0.1, 200 epochs, batch 4.
    assert (recipe.training["learning_rate"], recipe.training["batch"], recipe.training["epochs"]) == (8e-4, 4, 200)


def test_the_released_code_differs_from_the_paper_in_rates_rank_and_batch():
    paper, code = (recipes_of("m_sam")[name] for name in ("paper", "code"))
    assert code.training["group_rates"] == {"network.decoder": pytest.approx(8e-5 / 8e-4)}
    assert "group_rates" not in paper.training
    assert (code.options["rank"], code.training["batch"], code.training["redraw"]) == (4, 2, True)
    assert recipes_of("sam_med3d")["paper"].training["group_rates"] == {"network.decoder": pytest.approx(0.1)}
