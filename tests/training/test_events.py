"""Losses for TensorBoard, read back from the files."""

import struct
import sys

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.training.events import Events


def scalars(folder):
    """The (step, name, value) of all files in the order they were written, and where they purge."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found, purged = [], []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += length + 16
            found += [(event.step, v.tag, round(v.simple_value, 4)) for v in event.summary.value]
            if event.session_log.status == SessionLog.START:
                purged.append(event.step)
    return found, purged


def test_numbers_come_back(tmp_path):
    pytest.importorskip("tensorboardX")
    with Events(tmp_path) as events:
        events.add("step", {"l1": 0.5, "fool": 2.0}, 0)
        events.add("epoch", {"rate": 1.0}, 0)
    found, _ = scalars(tmp_path)
    assert found == [(0, "step/l1", 0.5), (0, "step/fool", 2.0), (0, "epoch/rate", 1.0)]


def test_a_resumed_training_hides_what_it_does_again(tmp_path):
    pytest.importorskip("tensorboardX")
    with Events(tmp_path) as events:
        for step in range(5):
            events.add("step", {"l1": 1.0}, step)
    with Events(tmp_path, first=3) as events:
        events.add("step", {"l1": 2.0}, 3)
    found, purged = scalars(tmp_path)
    assert purged[-1] == 3 and (3, "step/l1", 2.0) in found


def test_nothing_is_written_or_imported_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with Events(None) as events:
        events.add("step", {"l1": 0.5}, 0)
    with pytest.raises(NucleiganError, match="pip install tensorboardX"):
        Events(tmp_path)
    assert list(tmp_path.iterdir()) == []
