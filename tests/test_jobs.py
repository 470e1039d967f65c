"""A job's log, and how its errors are said."""

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.jobs import job


def test_what_is_printed_goes_to_log_and_terminal(tmp_path, capsys):
    log = tmp_path / "logs" / "a.log"
    with job(log):
        print("one line")
    assert log.read_text() == "one line\n"
    assert "one line" in capsys.readouterr().err


def test_what_a_person_can_mend_is_one_sentence(tmp_path, capsys):
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit) as caught, job(log):
        raise NucleiganError("slide.tif: is cut off; copy it again.")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: slide.tif: is cut off; copy it again.\n"
    assert log.read_text() == "error: slide.tif: is cut off; copy it again.\n"


def test_any_other_error_is_in_the_log_in_full(tmp_path, capsys):
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit) as caught, job(log):
        raise ValueError("unexpected")
    assert caught.value.code == 1
    assert "Traceback" in log.read_text()
    said = capsys.readouterr().err
    assert said == f"error: ValueError: unexpected (in full: {log})\n"
