"""The lock of a folder of results."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.lock import LOCK, occupy
from nucleigan.running import this_process

HOLD = "import sys; from nucleigan.lock import occupy; occupy(sys.argv[1]); print(); input()"


def holder(folder):
    """A process that holds the lock until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    return process


def tried(folder):
    """What another process is told that wants the lock for a moment."""
    command = [sys.executable, "-c", HOLD.split("print")[0], str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr


def test_one_at_a_time(tmp_path):
    with holder(tmp_path / "results") as first:
        said = tried(tmp_path / "results")
        assert f"another run works there (process {first.pid} on " in said
        assert tried(tmp_path / "others") == ""
        first.communicate("\n")
    assert not list((tmp_path / "results").iterdir())
    assert tried(tmp_path / "results") == ""


def test_a_killed_run_leaves_no_lock(tmp_path):
    with holder(tmp_path) as first:
        first.kill()
    assert (tmp_path / LOCK).exists()
    assert tried(tmp_path) == ""


@pytest.fixture
def without_locks(monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    # Tests run in one process, which holds nothing after them.
    monkeypatch.setattr("atexit.register", lambda *_: None)


@pytest.mark.usefixtures("without_locks")
def test_a_file_system_without_locks(tmp_path):
    occupy(tmp_path)
    with pytest.raises(NucleiganError, match=rf"process {os.getpid()} on"):
        occupy(tmp_path)
    process = json.loads((tmp_path / LOCK).read_text())["process"]
    assert process == this_process()
    gone = {"began": process["began"] - 1000}, {"place": "elsewhere"}, {"pid": 2**22 + 1}
    for changes in gone:
        (tmp_path / LOCK).write_text(json.dumps({"process": process | changes}))
        occupy(tmp_path)
        assert json.loads((tmp_path / LOCK).read_text())["process"] == process


def test_a_folder_that_takes_no_file_is_used_with_a_warning(tmp_path, capsys):
    (tmp_path / "results").write_text("in the way of a folder")
    occupy(tmp_path / "results")
    assert "warning: " in capsys.readouterr().err
