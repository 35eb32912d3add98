import pytest

from oncoseg import registry
from oncoseg.errors import UnknownNameError


def test_adding_a_file_to_a_shelf_lists_and_loads_it(tmp_path, monkeypatch):
    import oncoseg.prompts

    (tmp_path / "newcomer.py").write_text("ANSWER = 42\n")
    (tmp_path / "_hidden.py").write_text("")
    monkeypatch.setattr(oncoseg.prompts, "__path__", [*oncoseg.prompts.__path__, str(tmp_path)])
    assert "newcomer" in registry.names("prompts")
    assert "_hidden" not in registry.names("prompts")
    assert registry.load("prompts", "newcomer").ANSWER == 42


def test_an_entry_point_of_another_package_joins_the_shelf(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("ANSWER = 43\n")
    facts = tmp_path / "theirs-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[oncoseg.models]\ntheirs = theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry._foreign.cache_clear()
    try:
        assert "theirs" in registry.names("models")
        assert registry.load("models", "theirs").ANSWER == 43
    finally:
        registry._foreign.cache_clear()


def test_unknown_names_suggest_near_ones():
    with pytest.raises(UnknownNameError, match=r"Unknown data set 'fantom'\. Did you mean: .*phantom"):
        registry.load("datasets", "fantom")


@pytest.mark.parametrize(
    ("name", "parts"), [("unet", ("unet", None)), ("unet.primakov", ("unet", "primakov")), ("a.b.c", ("a", "b.c"))]
)
def test_a_variant_follows_the_first_dot(name, parts):
    assert registry.split_variant(name) == parts


def test_a_name_may_be_written_with_hyphens():
    assert registry.load("models", "lite-medsam") is registry.load("models", "lite_medsam")
    with pytest.raises(UnknownNameError, match="filled_box"):
        registry.load("models", "filled-bax")
