"""Contact sheets and contours."""

import numpy as np
import pytest
from PIL import Image

from nucleigan.figures.sheets import GAP, contact_sheet, outline, sheet_of_files

GREEN = (0, 255, 0)


def opened(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_pictures_stand_row_by_row(tmp_path):
    images = [np.full((6, 9, 3), value, np.uint8) for value in (10, 20, 30)]
    contact_sheet(images, tmp_path / "a.png", columns=2)
    sheet = opened(tmp_path / "a.png")
    assert sheet.shape == (2 * 6 + GAP, 2 * 9 + GAP, 3)
    assert (sheet[:6, :9] == 10).all()
    assert (sheet[:6, 9 + GAP :] == 20).all()
    assert (sheet[6 + GAP :, :9] == 30).all()
    assert (sheet[6 + GAP :, 9:] == 255).all()


def test_sizes_may_differ_and_the_sheet_be_scaled(tmp_path):
    images = [np.zeros((6, 9, 3), np.uint8), np.zeros((8, 4, 3), np.uint8)]
    contact_sheet(images, tmp_path / "a.png")
    assert opened(tmp_path / "a.png").shape == (8, 2 * 9 + GAP, 3)
    contact_sheet(images, tmp_path / "a.png", scale=0.5)
    assert opened(tmp_path / "a.png").shape == (4, 11, 3)


def test_large_sheets_stay_small_files(tmp_path):
    noise = np.random.default_rng(0).integers(90, 220, (700, 900, 3), dtype=np.uint8)
    contact_sheet([noise] * 16, tmp_path / "a.png", columns=4)
    with Image.open(tmp_path / "a.png") as sheet:
        assert 1_300_000 < sheet.width * sheet.height < 1_600_000
    assert (tmp_path / "a.png").stat().st_size < 2_000_000


def test_contours_lie_inside_their_nuclei():
    labels = np.zeros((12, 12), np.int32)
    labels[2:7, 2:7] = 4
    labels[2:7, 7:11] = 9
    image = np.full((12, 12, 3), 100, np.uint8)
    drawn = (outline(image, labels, GREEN) == GREEN).all(axis=-1)
    expected = np.zeros((12, 12), bool)
    expected[2:7, 2:11] = True
    expected[3:6, 3:6] = expected[3:6, 8:10] = False
    np.testing.assert_array_equal(drawn, expected)
    assert (image == 100).all()


def test_nuclei_at_the_border_stay_open():
    labels = np.ones((5, 5), np.int32)
    image = np.zeros((5, 5, 3), np.uint8)
    assert not outline(image, labels, GREEN).any()


def test_a_single_long_picture_does_not_widen_the_sheet(tmp_path):
    paths = []
    for number, width in enumerate((30, 30, 30, 600)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((20, width, 3), 50, np.uint8)).save(path)
        paths.append(path)
    sheet_of_files(paths, tmp_path / "sheet.png", columns=4, side=20)
    sheet = opened(tmp_path / "sheet.png")
    assert sheet.shape == (20, 4 * 45 + 3 * GAP, 3)
    # Its sides keep their ratio.
    assert (sheet[:, -45:, 0] == 50).sum() == pytest.approx(45 * 45 / 30, abs=23)


def test_of_many_files_an_even_choice(tmp_path):
    paths = []
    for value in range(9):
        path = tmp_path / f"{value}.png"
        Image.fromarray(np.full((20, 30, 3), value * 20, np.uint8)).save(path)
        paths.append(path)
    sheet_of_files(paths, tmp_path / "sheet.png", columns=3, most=3, side=10)
    sheet = opened(tmp_path / "sheet.png")
    assert sheet.shape == (10, 3 * 15 + 2 * GAP, 3)
    assert [int(sheet[5, 7 + (15 + GAP) * n, 0]) for n in range(3)] == [0, 80, 160]
