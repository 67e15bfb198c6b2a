"""A server on 127.0.0.1 that speaks the part of the Hugging Face hub's protocol that we use.

It keeps repositories of models in memory: creating, branches, the pre-upload question, LFS uploads,
commits, file lists and downloads. A file is stored by LFS as on the hub: by its suffix.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub import ModelCard

TOKEN = "hf_test"


class Hub:
    """What the hub knows.

    Attributes:
        repositories: Of each name: "private", and "branches", the id of each one's last commit.
        commits: Files of each commit.
        blobs: Contents by SHA-256, uploaded by LFS.
    """

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.repositories: dict[str, dict[str, Any]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}

    def commit(self, repository: str, branch: str, files: dict[str, bytes]) -> str:
        """Makes a commit of complete files the last one of a branch."""
        text = repr((repository, branch, sorted(files.items()), len(self.commits)))
        number = hashlib.sha1(text.encode()).hexdigest()
        self.commits[number] = files
        self.repositories[repository]["branches"][branch] = number
        return number

    def create(self, repository: str, private: bool = False) -> None:
        """Makes an empty repository."""
        self.repositories[repository] = {"private": private, "branches": {}}
        self.commit(repository, "main", {".gitattributes": b""})

    def files(self, repository: str, branch: str = "main") -> dict[str, bytes]:
        """Returns the files of a branch."""
        return self.commits[self.repositories[repository]["branches"][branch]]


@contextlib.contextmanager
def serving(port: int) -> Iterator[Hub]:
    """Runs a hub in a thread."""
    hub = Hub(port)
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Prints nothing."""

    def answer(self, status: int, content: Any = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.blobs[hashlib.sha256(content).hexdigest()] = content
        self.answer(200)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.route(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        self.route(b"")

    def route(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        may_write = self.headers["Authorization"] == f"Bearer {TOKEN}"
        if self.command == "POST" and not may_write:
            return self.answer(403, {"error": "Forbidden"})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        name = re.match(r"/(?:api/models/)?([\w-]+/[\w-]+)", path)
        repository = self.hub.repositories.get(name[1]) if name else None
        if repository is None or (repository["private"] and not may_write):
            return self.answer(404, {}, X_Error_Code="RepoNotFound")
        assert name
        task, _, rest = path[name.end() :].lstrip("/.").partition("/")
        if task == "git":
            return self.lfs(json.loads(body))
        if task == "branch":
            head = repository["branches"]["main"]
            known = repository["branches"].setdefault(rest, head) is not head
            return self.answer(409 if known else 200, {})
        revision, _, file = rest.partition("/")
        branches = repository["branches"]
        number = branches.get(revision or "main", revision)
        if number not in self.hub.commits:
            return self.answer(404, {}, X_Error_Code="RevisionNotFound")
        files = self.hub.commits[number]
        if task == "preupload":
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if _is_lfs(file["path"]) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": modes})
        if task == "commit":
            number = self.hub.commit(name[1], revision, self.changed(files, body))
            url = f"{self.hub.address}/{name[1]}/commit/{number}"
            return self.answer(200, {"commitUrl": url, "commitOid": number})
        if task == "tree":
            return self.answer(200, [_entry(*item) for item in files.items()])
        if task == "resolve":
            etag = {"ETag": f'"{_entry(file, files[file])["oid"]}"', "X_Repo_Commit": number}
            return self.answer(200, files[file], **etag)
        siblings = [{"rfilename": file} for file in files]
        about = {"id": name[1], "sha": number, "private": repository["private"]}
        return self.answer(200, {**about, "siblings": siblings})

    def create(self, wanted: dict[str, Any]) -> None:
        repository = f"{wanted['organization']}/{wanted['name']}"
        known = repository in self.hub.repositories
        if not known:
            self.hub.create(repository, wanted.get("visibility") == "private")
        self.answer(409 if known else 200, {"url": f"{self.hub.address}/{repository}"})

    def validate(self, card: str) -> None:
        metadata = ModelCard(card).data.to_dict()
        errors = [] if isinstance(metadata.get("license"), str) else [{"message": "license"}]
        self.answer(400 if errors else 200, {"warnings": [], "errors": errors})

    def lfs(self, wanted: dict[str, Any]) -> None:
        upload = {"href": f"{self.hub.address}/lfs"}
        objects = [{**item, "actions": {"upload": upload}} for item in wanted["objects"]]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def changed(self, files: dict[str, bytes], body: bytes) -> dict[str, bytes]:
        files = dict(files)
        for line in body.splitlines():
            kind, value = json.loads(line).values()
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        return files


def _is_lfs(file: str) -> bool:
    return file.endswith(".safetensors")


def _entry(file: str, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    git = hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
    entry = {"type": "file", "path": file, "size": len(content), "oid": git}
    lfs = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return {**entry, "lfs": lfs} if _is_lfs(file) else entry
