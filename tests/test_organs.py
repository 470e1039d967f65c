"""One name for each organ."""

from nucleigan.organs import organ_name


def test_organ_names_meet_the_published_ones():
    assert organ_name(" Colon") == organ_name("colorectal") == "colorectal"
    assert organ_name("Oesophagus") == "esophagus"
    assert organ_name("Skin") == "skin"


def test_spellings_that_look_alike_are_one():
    assert organ_name("Dr\u00fcse") == organ_name("Dru\u0308se") == "dr\u00fcse"
    assert organ_name("Lymph  node") == organ_name("lymph\u00a0node") == "lymph node"
    # What a sheet may not have, no spelling becomes: wide signs stay wide.
    assert organ_name("\uff4f\uff56\uff45\uff52\uff41\uff4c\uff4c") != "overall"
