"""Configuration files made to harm: refused in one short sentence."""

import pytest

from nucleigan.config import LARGEST, load
from nucleigan.errors import NucleiganError, shown

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB.replace("a39:", "seed:"),
        "patches: &a {size: *a}",
        "patches: &a\n  size: 64\n  more: *a\n",
        "[" * 100_000,
        "{a: " * 20_000,
        "seed: " + "9" * 10_000,
        "seed: 2001-99-99",
        "seed: !!timestamp x",
        "seed: !!python/object/apply:os.abort []",
        "seed: !!int ''",
        "? [a, b]\n: 1",
        "1: 2",
        "null: 2",
        '"a\\nb": 1',
        '"\\e[2J": 1',
        f"{'x' * 10_000}: 1",
        f"slides: {'x' * 10_000}\nseed: -1",
        "".join(f"key{n}: 1\n" for n in range(20_000)),
        "seed: .nan",
        "seed: " + "[1, " * 300 + "]" * 300,
        "a: b: c",
        "<<: 5",
    ],
    ids=lambda text: text[:20],
)
def test_one_short_sentence(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(NucleiganError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < 5000


@pytest.mark.parametrize("content", [b"seed: \xff", b"seed: 1\n" * LARGEST, b"\x00", b"\xff\xfes"])
def test_what_is_no_text(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(NucleiganError, match=r"mine\.yaml"):
        load(path)


def test_files_that_repeat_each_other_without_end(tmp_path):
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("patches: &a\n  size: 64\n  more: *a\n")
    with pytest.raises(NucleiganError):
        load(tmp_path / "one.yaml", tmp_path / "two.yaml")


def test_what_is_shown_is_one_short_line():
    assert shown("kidney") == "kidney"
    assert shown("a\nb\x1b[2J\u202ec") == "a b [2J c"
    assert shown("x" * 81) == "x" * 79 + "…"
    assert shown("x" * 80) == "x" * 80
    assert len(shown({"a": ["b" * 10_000]})) <= 80
