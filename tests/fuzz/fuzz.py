"""Feed mutated files to a reader for some seconds, and keep what it does not withstand.

python tests/fuzz/fuzz.py --seconds 600 --real DATA --keep FOLDER [READER ...]

Prints one line of JSON a reader: how many inputs were tried, how each ended, and the findings. The
nth input depends on the seed, the reader and n alone.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from mutations import REPAIRS, mutate
from readers import READERS
from seeds import seeds

WORKER = Path(__file__).with_name("worker.py")
TEXTS = {".xml", ".geojson", ".json", ".csv", ".yaml"}
# Numbers behind a header of text: either is changed.
MIXED = {".safetensors"}
FINE = ("read", "refused")
# A worker that answers no more, though it takes no processor time either, seconds.
SILENCE = 900
MOST_FINDINGS = 20


class Worker:
    """A process that reads files; another takes its place when it ends."""

    def __init__(self, reader: str, sound: Path) -> None:
        self.reader = reader
        self.sound = sound
        self.process: subprocess.Popen | None = None

    def read(self, path: Path) -> tuple[str, str]:
        """How reading a file ended: outcome and detail."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER), self.reader, str(self.sound)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "TIFFFILE_NUM_THREADS": "2"},
            )
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SILENCE)[0]:
            self.end()
            return "hang", f"no answer within {SILENCE} s"
        line = self.process.stdout.readline()
        if line:
            return tuple(json.loads(line))
        said = self.process.stderr.read()[-3000:]
        status = self.process.wait()
        self.process = None
        return ("hang" if status == -24 else "crash"), f"status {status}\n{said}"

    def end(self) -> None:
        """Stop the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def fuzz(reader: str, seconds: float, seed: int, real: Path | None, keep: Path) -> dict:
    """Try inputs for a time; returns counts and findings."""
    counts, findings = Counter(), []
    place = list(READERS).index(reader)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valid = seeds(reader, folder, real)
        contents = [content for _, content in valid]
        paths = [folder / f"seed{number}{ending}" for number, (ending, _) in enumerate(valid)]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        worker = Worker(reader, paths[0])
        for path in paths:
            outcome, detail = worker.read(path)
            counts[outcome] += 1
            if outcome not in FINE:
                findings.append({"outcome": outcome, "detail": detail, "input": path.name})
        accepted, start, number = counts["read"], time.monotonic(), 0
        while time.monotonic() < start + seconds and len(findings) < MOST_FINDINGS:
            random = np.random.default_rng([seed, place, number])
            ending, content = valid[random.integers(len(valid))]
            text = ending in TEXTS or (ending in MIXED and random.random() < 0.5)
            changed = mutate(content, contents, text, random)
            if ending in REPAIRS and random.random() < 0.7:
                changed = REPAIRS[ending](changed)
            path = folder / f"input{ending}"
            path.write_bytes(changed)
            outcome, detail = worker.read(path)
            counts[outcome] += 1
            if outcome not in FINE:
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"{reader.replace(' ', '-')}-{seed}-{number}{ending}"
                kept.write_bytes(changed)
                findings.append({"outcome": outcome, "detail": detail, "input": str(kept)})
            number += 1
        worker.end()
    return {
        "reader": reader,
        "inputs": number,
        "seeds": len(valid),
        "seeds_read": accepted,
        "outcomes": dict(counts),
        "findings": findings,
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", default=list(READERS), metavar="READER")
    parser.add_argument("--seconds", type=float, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, help="folder of real slides, for more seeds")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="for what is found")
    options = parser.parse_args()
    found = 0
    for reader in options.readers:
        result = fuzz(reader, options.seconds, options.seed, options.real, options.keep)
        print(json.dumps(result), flush=True)
        found += len(result["findings"])
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
