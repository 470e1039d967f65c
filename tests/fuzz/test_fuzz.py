"""Every reader withstands mutated files: a result or one sentence, no crash, no hang, no memory.

A short run, time-boxed. By hand, for longer: ``python tests/fuzz/fuzz.py --help``, or the variables
NUCLEIGAN_FUZZ_SECONDS (for all readers together) and NUCLEIGAN_FUZZ_SEED.
"""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nucleigan.artifacts import read_json, write_json
from nucleigan.errors import NucleiganError
from nucleigan.models.weights import read_weights, write_weights

HERE = Path(__file__).parent
SECONDS = float(os.environ.get("NUCLEIGAN_FUZZ_SECONDS", "36"))
SEED = os.environ.get("NUCLEIGAN_FUZZ_SEED", "0")
READERS = (
    *("tiff", "png", "jpeg", "aperio", "geojson", "label png", "label tiff", "npy", "mat"),
    *("sheet", "configuration", "model", "application", "artifact", "stack", "json", "table"),
    *("checkpoint",),
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured through Linux's /proc"
)


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment():
    root = str(HERE.parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("reader", READERS)
def test_mutated_files(reader, request, tmp_path, capsys):
    command = [sys.executable, HERE / "fuzz.py", reader, "--seconds", SECONDS / len(READERS)]
    command += ["--seed", SEED, "--keep", tmp_path / "found"]
    # Without real slides the generated seeds remain.
    with contextlib.suppress(pytest.skip.Exception):
        command += ["--real", request.getfixturevalue("real_data")]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment()
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n  {reader}: {result['inputs']} inputs, {result['outcomes']}", flush=True)
    assert result["findings"] == []
    assert result["inputs"] > 0 and result["seeds_read"] > 0


# That the fuzzer finds what it looks for.

FAULTS = """
import os, sys, time
from pathlib import Path
from nucleigan.errors import NucleiganError

def faulty(path):
    kind = Path(path).read_text()
    if kind == "crash":
        os.abort()
    if kind == "error":
        raise ValueError("other error")
    if kind == "memory":
        sys.held = b"1" * (800 << 20)
    if kind == "hang":
        while True:
            pass
    if kind == "sentence":
        raise NucleiganError("two\\nlines without the file")
    if kind == "refused":
        raise NucleiganError(f"{path}: no")

READERS = {"faulty": faulty}
"""


@pytest.mark.parametrize(
    "kind", ["read", "refused", "crash", "error", "memory", "hang", "sentence"]
)
def test_each_kind_of_finding(tmp_path, kind):
    text = (HERE / "worker.py").read_text().replace("SECONDS = 20", "SECONDS = 1")
    (tmp_path / "worker.py").write_text(text)
    (tmp_path / "readers.py").write_text(FAULTS)
    (tmp_path / "sound").write_text("read")
    (tmp_path / "input").write_text(kind)
    done = subprocess.run(
        [sys.executable, "worker.py", "faulty", "sound"],
        input=f"{tmp_path / 'input'}\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    if kind == "crash":
        assert done.returncode == -6 and done.stdout == ""
    elif kind == "hang":
        assert done.returncode == -24 and done.stdout == ""
    else:
        assert json.loads(done.stdout)[0] == kind


def test_the_readers_are_all_tried():
    text = (HERE / "readers.py").read_text()
    table = text[text.index("READERS = {") :].splitlines()
    assert tuple(line.split('"')[1] for line in table if line.startswith('    "')) == READERS


def test_inputs_repeat_and_differ():
    mutate = loaded("mutations").mutate
    content = bytes(range(256)) * 4

    def made(number):
        return mutate(content, [content], False, np.random.default_rng([0, 0, number]))

    found = [made(number) for number in range(50)]
    assert found == [made(number) for number in range(50)]
    assert len(set(found)) > 45


def test_checksums_are_repaired():
    stream = io.BytesIO()
    Image.new("RGB", (3, 2)).save(stream, "PNG")
    sound = stream.getvalue()
    damaged = bytearray(sound)
    damaged[29:33] = bytes(4)
    assert loaded("mutations").repaired_png(bytes(damaged)) == sound


def test_checksums_of_weights_are_repaired(tmp_path):
    repaired = loaded("mutations").repaired_safetensors
    # Of any length of the header.
    for number in range(8):
        path = tmp_path / "a.safetensors"
        write_weights(path, {"a": torch.arange(4.0)}, {"kind": "x" * number})
        sound = path.read_bytes()
        assert repaired(sound) == sound
        changed = bytearray(sound)
        changed[-1] ^= 1
        path.write_bytes(changed)
        with pytest.raises(NucleiganError, match="checksum"):
            read_weights(path)
        path.write_bytes(repaired(bytes(changed)))
        assert read_weights(path)[0]["a"][3] != 3


def test_digests_are_made_right(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    made_right = loaded("readers").digests_made_right
    write_json(tmp_path / "a.json", {"a": 1})
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text().replace("1,", "2,"))
    with pytest.raises(NucleiganError, match="not those that were written"):
        read_json(tmp_path / "a.json")
    with made_right():
        assert read_json(tmp_path / "a.json") == {"a": 2}
