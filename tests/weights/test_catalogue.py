import re

import pytest

from oncoseg import registry
from oncoseg.errors import UnknownNameError
from oncoseg.weights import catalogue


def test_entries_say_what_where_and_under_which_licence():
    for entry in catalogue.entries():
        for digest in (entry.archive.sha256, entry.member_sha256):
            assert re.fullmatch("[0-9a-f]{64}", digest)
        assert entry.member_bytes > 0
        assert entry.parameters > 0
        assert entry.licence
        assert catalogue.entry(entry.id) is entry


def test_unknown_weights_suggest_near_ones():
    with pytest.raises(UnknownNameError, match="lite-medsam"):
        catalogue.locate("lite-medsem")


def test_the_ledger_names_data_sets_of_the_shelf():
    for entry in catalogue.entries():
        assert {line.dataset for line in entry.seen} <= set(registry.names("datasets"))


def test_what_nobody_wrote_down_is_unknown_not_clean():
    entry = catalogue.entry("lite-medsam")
    assert entry.status_on("phantom").status == "clean"
    assert entry.status_on("lidc_nodules").status == "suspected"
    assert entry.status_on("somebody's own data").status == "unknown"


@pytest.mark.network
def test_lite_medsam_comes_from_its_package():
    said = []
    path = catalogue.locate("lite-medsam", said.append)
    assert path.stat().st_size == catalogue.entry("lite-medsam").member_bytes
    catalogue.locate("lite-medsam", said.append)
    assert len(said) <= 1
