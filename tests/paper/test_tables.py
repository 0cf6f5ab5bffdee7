"""The tables: which published numbers are reproduced, and why others are not."""

import csv
import json
from collections import Counter

import pytest

from rednet.paper.ablations import (
    ABLATIONS,
    ablation_table,
    ablations,
    all_ablations_table,
    stem_table,
)
from rednet.paper.comparison import Comparison
from rednet.paper.complexity_tables import generator_table, hybrid_table, rednet_table, resnet_table
from rednet.paper.cost_breakdown import operator_macs, operator_table, operator_weights, parts_table
from rednet.paper.document import build_tables, write_tables
from rednet.paper.networks import Network, resnet
from rednet.paper.tables import comparison_table


def failed(table, source="paper"):
    """Return (row, quantity) of a source's numbers that are not reproduced."""
    return {
        (item.row, item.quantity)
        for item in table.comparisons
        if item.source == source and not item.is_reproduced
    }


def column(table, heading):
    index = list(table.columns).index(heading)
    return [line[index] for line in table.rows]


def test_the_7x7_stem_reproduces_all_ten_numbers_of_the_model_zoo():
    table = rednet_table("involution7")
    zoo = [item for item in table.comparisons if item.source == "model zoo"]
    assert [item.verdict for item in zoo] == ["reproduced"] * 10
    assert failed(table) == {("RedNet-101", "parameters")}


def test_the_released_stem_reproduces_no_flops_of_the_model_zoo():
    table = rednet_table("involution3")
    flops = {(f"RedNet-{depth}", "FLOPs") for depth in (26, 38, 50, 101, 152)}
    assert failed(table, "model zoo") == flops | {("RedNet-152", "parameters")}


def test_resnets():
    table = resnet_table()
    assert failed(table, "plot") == set()
    assert failed(table) == {("ResNet-101", "parameters"), ("ResNet-101", "FLOPs")}


def test_the_ablations():
    assert failed(ablation_table("kernel size")) == {("kernel size 5", "FLOPs")}
    assert failed(ablation_table("group channels")) == {("group channels 1", "parameters")}
    assert failed(ablation_table("generator")) == set()


def test_each_number_that_is_not_reproduced_has_a_reason():
    tables = [*map(rednet_table, ("involution3", "involution7")), resnet_table()]
    tables += [ablation_table(name) for name in ABLATIONS]
    notes = all_ablations_table().notes
    assert all(item.reason in " ".join(notes) for table in tables[3:] for item in table.comparisons)
    for table in tables:
        for item in table.comparisons:
            is_missed = item.difference is not None and not item.is_reproduced
            assert bool(item.reason) == is_missed
            assert not item.reason or any(item.reason in note for note in table.notes)


def test_the_numbers_quoted_in_the_reasons_are_right():
    def flops(stem, **options):
        return Network(50, stem, **options).complexity().flops / 1e9

    assert round(flops("conv7", kernel_size=5), 3) == 2.440
    conv7 = Network(50, "conv7", group_channels=1).complexity()
    assert round(conv7.parameters / 1e6, 3) == 30.145
    assert round(flops("involution3", kernel_size=5), 2) == 2.58
    assert round(flops("involution7", kernel_size=5), 2) == 2.60
    for stem in ("involution3", "involution7"):
        cost = Network(50, stem, group_channels=1).complexity()
        assert round(cost.parameters / 1e6, 3) == 30.156
        assert cost.flops / 1e9 > 5.11
    assert round(resnet(101).complexity().parameters / 1e6, 3) == 44.549


def test_the_stem_of_the_ablations():
    lines = {tuple(line[:2]): line[2:4] for line in stem_table().rows}
    table1, alone = "as in Table 1", "MACs of convolutions alone"
    assert lines == {
        ("3x3 stem", table1): ["10", "0"],
        ("3x3 stem", alone): ["10", "9"],
        ("7x7 stem", table1): ["10", "0"],
        ("7x7 stem", alone): ["10", "7"],
        ("plain stem", table1): ["9", "9"],
        ("plain stem", alone): ["9", "0"],
    }


def test_rows_of_one_network_share_an_experiment():
    rows = list(ablations())
    assert len(rows) == 12
    assert Counter(row.experiment for row in rows)["ablation/baseline"] == 3
    assert len({row.network for row in rows}) == len({row.experiment for row in rows}) == 10


def test_the_formulas_of_the_operators_are_exact():
    table = operator_table()
    assert len(table.comparisons) == 2 * 17
    assert {item.verdict for item in table.comparisons} == {"reproduced"}
    assert sum(map(int, column(table, "layers"))) == 17


def test_the_formulas_of_the_operators_by_hand():
    assert operator_weights(64, 7, 4, 4) == (64 * 64 + 49 * 4 * 64) // 4
    assert operator_macs(64, 7, 4, 4, 10) == 10 * 4160 + 10 * 49 * 64


def test_the_parts_add_up_to_the_published_flops():
    table = parts_table()
    flops = [float(text) for text in column(table, "RedNet-50: FLOPs (G)")]
    assert flops[-1] == 2.7132
    assert sum(flops[:6]) == pytest.approx(flops[-1], abs=6e-4)
    assert sum(flops[6:-1]) == pytest.approx(flops[-1], abs=6e-4)
    assert "add" in table.notes[-1]


def test_hybrids_range_from_resnet_to_rednet():
    table = hybrid_table()
    assert len(table.rows) == 16
    assert table.rows[-1][1:3] == ["15.5415", "2.7132"]
    assert {item.verdict for item in table.comparisons} == {"not published"}
    flops = [float(text) for text in column(table, "MACs (G)")]
    assert max(flops) == flops[0]
    assert min(flops) == flops[-1]


def test_softmax_adds_nothing_that_is_counted():
    table = generator_table()
    assert table.rows[1][1:] == table.rows[2][1:]
    assert table.rows[3][1:] == table.rows[4][1:]
    assert float(table.rows[3][1]) > float(table.rows[1][1])


def test_markdown_is_aligned_with_numbers_on_the_right():
    rows = [
        [Comparison(name, "FLOPs", "paper", text, None) for text in ("1.5",)]
        for name in ("a", "longer name")
    ]
    text = comparison_table("key", "Title", "Network", rows).to_markdown()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("|:------------|-----------------:|")
    assert lines[2].startswith("| a           |              1.5 |")
    assert text.startswith("## Title\n\n|")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_tables(build_tables({}), folder)
    return folder


def test_the_files_hold_every_number(written):
    with (written / "tables.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads((written / "tables.json").read_text())
    assert len(rows) == len(content["figures"]) > 400
    (row,) = (
        row
        for row in rows
        if (row["table"], row["row"]) == ("rednet-7x7-stem", "RedNet-50")
        and (row["quantity"], row["source"]) == ("FLOPs", "model zoo")
    )
    assert (row["published"], row["ours"], row["unit"]) == ("2.71", "2.713184096", "G")
    assert (row["verdict"], row["network"]) == ("reproduced", "rednet50 stem=involution7")
    assert row["torch"] == content["torch"]
    figure = content["figures"][rows.index(row)]
    assert (figure["published"], figure["ours"]) == ("2.71", 2.713184096)


def test_the_markdown_explains_itself(written):
    text = (written / "tables.md").read_text()
    assert text.isascii()
    assert "| involution               | K*K*C*Ho*Wo" in text
    for table in build_tables({}):
        assert (f"## {table.title}\n" in text) == (table.section != "files")
    for source in ("- paper:", "- model zoo:", "- plot:"):
        assert source in text
