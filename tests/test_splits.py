"""Which slides are shown."""

from nucleigan.splits import shown_split


def test_figures_show_test_slides_if_there_are_any():
    assert shown_split(["val", "test", "train"]) == "test"
    assert shown_split(["val", "train", "val"]) == "train"
