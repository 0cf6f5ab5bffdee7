"""The first screen of the tables: its numbers, what is bold, and what it leaves to the appendix."""

import re

import pytest

from rednet.paper.ablations import ABLATIONS, ablation_table, ablations, all_ablations_table
from rednet.paper.accuracy_tables import accuracy_tables
from rednet.paper.document import appendix_to_markdown, results_to_markdown
from rednet.paper.published import PAPER
from rednet.paper.summary import summary_tables

# Counted: 9.233886, 12.387706, 15.541526, 25.653670 and 33.985302 M; with the 7x7 stem 1.7334,
# 2.2233, 2.7132, 4.7423 and 6.7856 G, with the 3x3 stem 1.7084, 2.1982, 2.6881, 4.7172 and 6.7605.
REDNET = """
RedNet-26  | **9.2**  | **9.23**  | 9.23  | **1.7** | **1.73** | 1.73 | 1.71 | 75.9 | 75.96
RedNet-38  | **12.4** | **12.39** | 12.39 | **2.2** | **2.22** | 2.22 | 2.20 | 77.6 | 77.48
RedNet-50  | **15.5** | **15.54** | 15.54 | **2.7** | **2.71** | 2.71 | 2.69 | 78.4 | 78.35
RedNet-101 | 25.6 [1] | **25.65** | 25.65 | **4.7** | **4.74** | 4.74 | 4.72 | 79.1 | 78.92
RedNet-152 | **34.0** | **33.99** | 33.99 | **6.8** | **6.79** | 6.79 | 6.76 | 79.3 | 79.12
"""
ABLATION = """
kernel size 3           | **14.7** | 14.7 | **2.4** | 2.4 | 2.4 | 76.9 | kernel3
kernel size 5           | **15.1** | 15.1 | 2.5 [1] | 2.4 | 2.5 | 77.4 | kernel5
kernel size 7           | **15.5** | 15.5 | **2.6** | 2.6 | 2.6 | 77.7 | baseline
kernel size 9           | **16.2** | 16.2 | **2.7** | 2.7 | 2.7 | 77.8 | kernel9
group channels 1        | 30.2 [2] | 30.1 | **5.0** | 5.0 | 4.9 | 77.9 | group1
group channels 4        | **18.5** | 18.5 | **3.0** | 3.0 | 3.0 | 77.7 | group4
group channels 16       | **15.5** | 15.5 | **2.6** | 2.6 | 2.6 | 77.7 | baseline
group channels C        | **14.6** | 14.6 | **2.4** | 2.4 | 2.4 | 76.5 | group_layer
generator W             | **18.1** | 18.1 | **3.0** | 3.0 | 3.0 | 77.8 | linear
generator W1 s W0, r=1  | **19.4** | 19.4 | **3.2** | 3.2 | 3.2 | 77.8 | reduction1
generator W1 s W0, r=4  | **15.5** | 15.5 | **2.6** | 2.6 | 2.6 | 77.7 | baseline
generator W1 s W0, r=16 | **14.6** | 14.6 | **2.4** | 2.4 | 2.4 | 77.4 | reduction16
"""
VERSIONS = dict.fromkeys(("date", "rednet", "torch", "timm"), "1")


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def tables_in(markdown):
    """Return the lines of each table, without headings and rules."""
    return [block.splitlines()[2:] for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)]


@pytest.fixture(scope="module")
def tables():
    """The tables of which the following tests speak, not the slower rest."""
    accuracies = list(accuracy_tables({}))
    files = [ablation_table(name) for name in ABLATIONS]
    return [*summary_tables(accuracies), *files, all_ablations_table(), *accuracies]


@pytest.fixture(scope="module")
def first_screen(tables):
    return results_to_markdown(tables)


def test_exactly_what_is_reproduced_is_bold(first_screen):
    rednet, ablation = tables_in(first_screen)
    assert cells("\n".join(rednet)) == cells(REDNET.strip())
    assert cells("\n".join(ablation)) == cells(ABLATION.strip())


def test_it_fits_a_screen(first_screen):
    lines = first_screen.splitlines()
    assert max(map(len, lines)) <= 120
    assert len(lines) <= 58


def test_it_defines_flops_as_an_inference(first_screen):
    above, _, _ = first_screen.partition("\n|")
    assert "The published FLOPs come out as" in above
    assert "an inference" in above


def test_the_notes_count_what_is_reproduced(first_screen):
    text = " ".join(first_screen.split())
    assert "paper 9 of 10, model zoo 10 of 10" in text
    assert "18 of the 20 numbers of the ten networks are reproduced" in text
    assert 'alone ("3x3, conv."), 19 are (not group channels 1: 4.936 for 5.0)' in text
    assert "which have 720 fewer parameters" in text
    assert "No checkpoint was evaluated" in text


def test_the_ablations_are_one_block_in_the_first_screen_and_in_the_appendix(tables, first_screen):
    rows = [ablation.row for ablation in ablations()]
    for markdown in (first_screen, appendix_to_markdown(tables, VERSIONS)):
        blocks = [[line[0] for line in cells("\n".join(block))] for block in tables_in(markdown)]
        assert blocks.count(rows) == 1
        assert not any(set(rows) & set(block) for block in blocks if block != rows)


def test_without_an_accuracy_no_table_of_accuracies_is_shown(tables, first_screen):
    document = f"{first_screen}\n{appendix_to_markdown(tables, VERSIONS)}"
    assert "Accurac" not in document and "accuracy of" not in document
    hidden = [table for table in tables if table.section == "files"]
    accuracies = [table for table in hidden if table.key.startswith("accuracy-")]
    assert len(accuracies) == 3
    published = [item for table in accuracies for item in table.comparisons if item.published]
    assert len(published) == 3 * len(PAPER) + 5 + 12


def test_the_files_list_no_number_twice(tables):
    keys = [
        (table.key, item.row, item.quantity, item.source)
        for table in tables
        for item in table.comparisons
    ]
    assert len(keys) == len(set(keys))
