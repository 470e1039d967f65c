"""Files from the future."""

import os
import time

from nucleigan.clock import pull_back


def test_only_files_from_the_future_change(tmp_path):
    now = time.time()
    times = {"a/past.csv": now - 500, "a/b/future.csv": now + 5000, "link.csv": now + 5000}
    (tmp_path / "a/b").mkdir(parents=True)
    for name, moment in times.items():
        if name != "link.csv":
            (tmp_path / name).write_text(name)
        else:
            (tmp_path / name).symlink_to(tmp_path / "a/past.csv")
        os.utime(tmp_path / name, (moment, moment), follow_symlinks=False)
    assert pull_back(tmp_path) == 2
    found = {name: (tmp_path / name).lstat().st_mtime for name in times}
    assert found["a/past.csv"] == times["a/past.csv"]
    for name in ("a/b/future.csv", "link.csv"):
        assert now - 1 <= found[name] <= time.time()
    # A job's log must not become newer than its benchmark.
    assert found["a/b/future.csv"] == found["link.csv"]
    assert pull_back(tmp_path) == 0


def test_there_may_be_no_folder(tmp_path):
    assert pull_back(tmp_path / "nowhere") == 0
