"""The published numbers of other networks: their sources, and where sources disagree."""

from rednet.paper.published import COMPETITORS

FAMILIES = {family.name: family for family in COMPETITORS}


def test_every_family_names_its_source_and_notes_belong_to_its_networks():
    for family in COMPETITORS:
        assert family.source
        assert set(family.notes) <= set(family.sizes)
        lengths = {len(family.parameters), len(family.flops), len(family.top1)}
        assert lengths == {len(family.sizes)}


def test_flops_of_stand_alone_attention_are_those_of_the_plot_and_a_note_says_so():
    conv, full = (FAMILIES[f"Stand-alone attention, {name}"] for name in ("conv stem", "full"))
    assert conv.flops == (2.25, 2.35, 3.5)
    assert full.flops == (2.35, 3.0, 3.6)
    assert "2.85 G" in conv.notes["38"]
    assert "read off the plot" in conv.notes["38"] and "read off the plot" in full.notes["26"]
