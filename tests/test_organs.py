"""One name for each organ."""

from nucleigan.organs import organ_name


def test_organ_names_meet_the_published_ones():
    assert organ_name(" Colon") == organ_name("colorectal") == "colorectal"
    assert organ_name("Oesophagus") == "esophagus"
    assert organ_name("Skin") == "skin"
