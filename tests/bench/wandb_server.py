"""A server on this machine that W&B's own client takes for W&B: it keeps what is uploaded, or answers badly."""

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KEY = "a" * 40


class Server(ThreadingHTTPServer):
    """behaviour: "good", "error" (500), "garbage", or "hang" (no answer until the server closes).

    rows: run id -> the steps of its history as they came; runs: run id -> what it was called and given. files: those
    uploaded, by name. artifacts: what was given for each. calls: how many came.
    """

    daemon_threads = True

    def __init__(self, behaviour):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour, self.closing = behaviour, threading.Event()
        self.runs, self.rows, self.files, self.artifacts, self.calls = {}, {}, {}, [], 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def histories(self):
        """Name of a run -> the steps of its history as they came."""
        return {self.runs[key]["displayName"]: steps for key, steps in self.rows.items()}

    def handle_error(self, request, client_address):
        pass  # W&B closes connections whenever it likes.

    def answer(self, operation, given):
        """The data of a GraphQL operation."""
        name = given.get("name")
        if operation == "RunResumeStatus":
            bucket = self._bucket(name) if name in self.runs else None
            return {"model": {"id": "p", "name": "fewstep", "entity": {"id": "e", "name": "me"}, "bucket": bucket}}
        if operation == "UpsertBucket":
            inserted = name not in self.runs
            known = {key: value for key, value in given.items() if value is not None}
            self.runs[name] = self.runs.get(name, {}) | known
            return {"upsertBucket": {"bucket": self._bucket(name), "inserted": inserted}}
        if operation == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.url}/upload/{given['run']}/{f}"} for f in given["files"]]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            self.artifacts.append(given)
            kept = {"id": "a", "versionIndex": 0}
            sequence = {"id": "s", "latestArtifact": kept}
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}
        if operation == "ArtifactType":
            return {"project": None}
        if operation == "Viewer":
            teams = {"edges": []}
            return {"viewer": {"id": "u", "username": "me", "entity": "me", "email": "", "flags": "{}", "teams": teams}}
        return {}

    def _bucket(self, name):
        steps = self.rows.get(name, [])
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "description": "",
            "config": "{}",
            "sweepName": None,
            "project": {"id": "p", "name": "fewstep", "entity": {"id": "e", "name": "me"}},
            "historyLineCount": len(steps),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps({"_step": steps[-1], "_runtime": 1})] if steps else []),
            "eventsTail": "[]",
            "summaryMetrics": "{}",
            "wandbConfig": '{"t": 1}',
            "tags": [],
            "notes": "",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls += not self.path.startswith("/sdk/otel")  # W&B's telemetry comes when it likes.
        if self.server.behaviour == "hang":
            self.server.closing.wait()
            return
        if self.server.behaviour != "good":
            return self._send(500 if self.server.behaviour == "error" else 200, b"\x00<html>{nonsense")
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        found = {}
        if self.path == "/graphql":
            query = json.loads(body)
            operation = query.get("operationName") or query["query"].split("(")[0].split("{")[0].split()[-1]
            found = {"data": self.server.answer(operation, query.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            history = json.loads(body).get("files", {}).get("wandb-history.jsonl", {"content": []})
            steps = self.server.rows.setdefault(self.path.split("/")[-2], [])
            steps += [json.loads(row)["_step"] for row in history["content"]]
        elif self.path.startswith("/upload/"):
            self.server.files[self.path.removeprefix("/upload/")] = body
        self._send(200, json.dumps(found).encode())

    do_GET = do_PUT = do_POST  # noqa: N815

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@contextmanager
def serving(monkeypatch, behaviour):
    """The server, which W&B's client uses inside the block."""
    server = Server(behaviour)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in (("MODE", "online"), ("API_KEY", KEY), ("BASE_URL", server.url)):
        monkeypatch.setenv(f"WANDB_{name}", value)
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def good_server(monkeypatch):
    with serving(monkeypatch, "good") as server:
        yield server
