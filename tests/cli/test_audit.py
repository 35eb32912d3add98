"""`oncoseg audit` prints findings and succeeds; it fails only on what it cannot read."""

import json


def test_a_published_table_in_words(oncoseg):
    done = oncoseg("audit", "--published", "lung-ct-benchmark")
    assert done.code == 0
    assert "the printed values cannot both hold: a mean IoU of 0.9683" in done.out
    assert "in order: jensen" in done.out
    assert "certain" in done.err


def test_findings_as_json_and_markdown(oncoseg):
    found = json.loads(oncoseg("audit", "--published", "m-sam", "--json").out)
    [m1] = [f for f in found["findings"] if f["id"] == "M1"]
    assert (m1["check"], m1["grade"]) == ("converted_iou", "C")
    assert {"cells", "formula", "numbers", "tolerance", "assumption", "sentence"} <= m1.keys()
    assert found["in_order"]
    page = oncoseg("audit", "--published", "m-sam", "--markdown").out
    assert page.startswith("# Audit of m-sam")
    assert "| M1 | C | converted_iou |" in page


def test_an_own_table(oncoseg, tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("method,Dice,IoU\nU-Net,0.9980,0.9712\nother,0.80,0.70\n")
    done = oncoseg("audit", table)
    assert done.code == 0
    assert "jensen" in done.out


def test_what_cannot_be_read_fails_with_the_way_out(oncoseg, tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("a,b\n1,2\n")
    for arguments, words in [
        ((table,), "columns named after metrics"),
        ((tmp_path / "none.csv",), "does not exist"),
        ((), "--published"),
        (("m-sm", "--published"), "Did you mean: m-sam"),
        ((tmp_path,), "holds no finished cell"),
    ]:
        done = oncoseg("audit", *arguments)
        assert done.code == 2, arguments
        assert words in " ".join(done.err.split())


def test_several_tables_at_once(oncoseg, tmp_path):
    for name, iou in (("a", 0.9712), ("b", 0.9970)):
        (tmp_path / f"{name}.csv").write_text(f"method,Dice,IoU\nU-Net,0.9980,{iou}\n")
    found = json.loads(oncoseg("audit", tmp_path / "a.csv", tmp_path / "b.csv", "--json").out)
    assert [(each["subject"], len(each["findings"])) for each in found] == [("a.csv", 1), ("b.csv", 0)]
