"""Slides fetched from a server that is not always well."""

import csv
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

STALL = 30


class Handler(BaseHTTPRequestHandler):
    """Serves a folder: /whole/… as it is, the others with a fault."""

    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]
    asked: ClassVar[Counter] = Counter()

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        _, how, name = self.path.split("/")
        self.asked[self.command, how] += 1
        path = self.folder / name
        if not path.is_file() or how == "missing":
            return self.say(404, b"no such page", body)
        content = path.read_bytes()
        if how == "moody" and self.asked[self.command, how] % 3:
            return self.say(503, b"come again", body)
        if how == "broken" and body:
            return self.say(500, b"<html>an error that is no slide</html>", body)
        if how == "short" and body:
            self.say(200, content[: len(content) // 2], body, length=len(content))
            self.close_connection = True
            return None
        if how == "stalled" and body:
            self.say(200, content[: len(content) // 2], body, length=len(content))
            self.wfile.flush()
            time.sleep(STALL)
            self.close_connection = True
            return None
        if how == "endless":
            return self.flood(body)
        return self.say(200, content, body)

    def flood(self, body):
        """Without a length, and without an end."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Last-Modified", "Mon, 05 Jan 2026 10:00:00 GMT")
        self.end_headers()
        with suppress(OSError):
            while body:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    def say(self, status, content, body, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Last-Modified", "Mon, 05 Jan 2026 10:00:00 GMT")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def running(serving):
    """Let a server answer; its address."""
    serving.daemon_threads = True
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}"
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


@pytest.fixture
def server(fresh):
    """The address of a server of the slides."""
    Handler.folder, Handler.asked = fresh.sheet.parent, Counter()
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


class Bucket:
    """A WSGI server of buckets, moto's; what it sends of objects has a fault where one is set."""

    def __init__(self):
        self.buckets = DomainDispatcherApplication(create_backend_app)
        self.fault = None
        self.asked = Counter()

    def __call__(self, environment, start):
        is_slide = environment["REQUEST_METHOD"] == "GET" and "lab/" in environment["PATH_INFO"]
        if not is_slide or self.fault is None:
            return self.buckets(environment, start)
        self.asked[self.fault] += 1
        if self.fault == "moody" and self.asked[self.fault] % 3:
            start("503 Slow Down", [("Content-Length", "0")])
            return []
        content = b"".join(self.buckets(environment, start))
        return self.part(content) if self.fault in ("short", "stalled") else [content]

    def part(self, content):
        yield content[: len(content) // 2]
        if self.fault == "stalled":
            time.sleep(STALL)


@pytest.fixture
def bucket(fresh, monkeypatch):
    """Buckets on this machine, with the slides in s3://slides/lab/, and the options to reach it."""
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_SECRET_KEY", "secret")
    access = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    served = Bucket()
    with running(make_server("127.0.0.1", 0, served, threaded=True)) as address:
        served.options = ["--storage-s3-endpoint-url", address]
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **access)
        client.create_bucket(Bucket="slides")
        for path in fresh.sheet.parent.glob("test1.*"):
            client.upload_file(str(path), "slides", f"lab/{path.name}")
        yield served


def fetch(workflow, address, slide="test1", **changes):
    """Let a slide of the sheet, and its annotation, be fetched."""
    with workflow.sheet.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["slide"] == slide:
            row |= {"image": f"{address}/{slide}.png", **changes}
    with workflow.sheet.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


TARGET = "results/slides/test1/slide.json"
IMPATIENT = {"ingestion": {"server_seconds": 3.0}}


def test_a_slide_and_its_annotation_are_fetched(fresh, server, finished):
    fetch(fresh, f"{server}/whole", annotation=f"{server}/whole/test1.npy")
    fresh.make(TARGET)
    for name in ("image.tif", "labels.tif", "overview.png"):
        made = fresh.results / "slides/test1" / name
        assert made.read_bytes() == (finished.results / "slides/test1" / name).read_bytes()
    assert "Nothing to be done" in fresh.make(TARGET)


def test_a_server_that_is_overloaded_is_asked_again(fresh, server):
    fetch(fresh, f"{server}/moody")
    fresh.make(TARGET)
    assert Handler.asked["GET", "moody"] == 3


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "Missing input files"),
        ("broken", "500 Server Error"),
        ("short", "IncompleteRead"),
        ("stalled", "timed out"),
    ],
)
def test_a_faulty_server_ends_the_run_and_the_next_one_goes_on(fresh, server, how, words):
    fetch(fresh, f"{server}/{how}")
    began = time.monotonic()
    failed = fresh.run(TARGET, changes=IMPATIENT)
    assert failed.returncode != 0 and words in failed.stdout
    assert f"{how}/test1.png" in failed.stdout
    assert time.monotonic() - began < STALL + 60
    assert not (fresh.results / "slides/test1").exists()
    fetch(fresh, f"{server}/whole")
    fresh.make(TARGET, changes=IMPATIENT)


@pytest.mark.parametrize("how", ["whole", "endless"])
def test_a_server_that_sends_too_much_ends_the_run(fresh, server, how):
    fetch(fresh, f"{server}/{how}")
    size = (fresh.sheet.parent / "test1.png").stat().st_size
    failed = fresh.run(TARGET, changes={"ingestion": {"max_fetched_bytes": size - 1}})
    assert failed.returncode != 0
    assert f"above the {size - 1} of ingestion.max_fetched_bytes" in failed.stdout
    assert f"{server}/{how}/test1.png: the server sends" in failed.stdout
    assert "Traceback" not in failed.stdout
    held = [path.stat().st_size for path in fresh.folder.rglob("test1.png")]
    assert max(held, default=0) < size + (1 << 20)
    assert not (fresh.results / "slides/test1").exists()
    fetch(fresh, f"{server}/whole")
    fresh.make(TARGET, changes={"ingestion": {"max_fetched_bytes": size}})


def test_another_file_than_the_sheet_expects(fresh, server):
    fetch(fresh, f"{server}/whole", sha256="ab" * 32)
    failed = fresh.run(TARGET)
    assert failed.returncode != 0 and "but the sample sheet expects abab" in failed.stdout
    assert not (fresh.results / "slides/test1/slide.json").exists()


LAB = "s3://slides/lab"


@pytest.mark.parametrize("fault", [None, "moody"])
def test_a_slide_and_its_annotation_come_from_a_bucket(fresh, bucket, finished, fault):
    fetch(fresh, LAB, annotation=f"{LAB}/test1.npy")
    bucket.fault = fault
    fresh.make(TARGET, options=bucket.options)
    for name in ("image.tif", "labels.tif", "overview.png"):
        made = fresh.results / "slides/test1" / name
        assert made.read_bytes() == (finished.results / "slides/test1" / name).read_bytes()
    assert "Nothing to be done" in fresh.make(TARGET, options=bucket.options)
    assert bucket.asked["moody"] >= (3 if fault else 0)


@pytest.mark.parametrize("fault", ["short", "stalled"])
def test_a_bucket_that_breaks_off_ends_the_run_and_the_next_one_goes_on(fresh, bucket, fault):
    fetch(fresh, LAB)
    bucket.fault = fault
    began = time.monotonic()
    failed = fresh.run(TARGET, changes=IMPATIENT, options=bucket.options)
    assert bucket.asked[fault] == 5
    assert failed.returncode != 0 and f"{LAB}/test1.png" in failed.stdout
    assert "Max Retries Exceeded" in failed.stdout
    assert time.monotonic() - began < STALL + 60
    assert not (fresh.results / "slides/test1").exists()
    bucket.fault = None
    fresh.make(TARGET, changes=IMPATIENT, options=bucket.options)


def test_a_bucket_that_holds_too_much_ends_the_run(fresh, bucket):
    fetch(fresh, LAB)
    changes = {"ingestion": {"max_fetched_bytes": 1000}}
    failed = fresh.run(TARGET, changes=changes, options=bucket.options)
    assert failed.returncode != 0
    assert f"{LAB}/test1.png: the server sends" in failed.stdout
    assert "above the 1000 of ingestion.max_fetched_bytes" in failed.stdout
    assert not list(fresh.folder.rglob(".snakemake/storage/**/test1.png"))


def test_a_bucket_without_the_slide_or_with_another(fresh, bucket):
    fetch(fresh, "s3://slides/elsewhere")
    failed = fresh.run(TARGET, options=bucket.options)
    assert failed.returncode != 0 and "Missing input files" in failed.stdout
    assert "s3://slides/elsewhere/test1.png" in failed.stdout
    fetch(fresh, LAB, sha256="ab" * 32)
    failed = fresh.run(TARGET, options=bucket.options)
    assert failed.returncode != 0 and "but the sample sheet expects abab" in failed.stdout
    assert not (fresh.results / "slides/test1/slide.json").exists()
