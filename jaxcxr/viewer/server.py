"""Serves the page to this machine alone, and keeps nothing."""

# Gradio, which brings Starlette, is an extra:
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxcxr.errors import UserError

MAX_UPLOAD = 128 * 1024**2
"""Size of the largest file that can be uploaded; a detector's uncompressed DICOM file has 50 MB."""

_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'none'; form-action 'self'"
)
"""Of the page, which the browser enforces: it asks no other machine for anything."""


@contextmanager
def private_folder() -> Iterator[None]:
    """Keeps what is uploaded and drawn in a folder that is removed when the process ends.

    Ctrl-C and SIGTERM raise SystemExit. To be entered before Gradio is imported.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="jaxcxr-view-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder  # where uploads arrive
        os.environ.update(
            GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1"
        )
        try:
            yield
        finally:
            tempfile.tempdir = None


def serve(page: Any, port: int, open_browser: bool, **look: Any) -> None:
    """Serves a page on 127.0.0.1 until the process is stopped; prints the address.

    Args:
        page: The `gradio.Blocks`.
        port: The port; 0 takes a free one.
        open_browser: Whether to open the page in the browser.
        **look: theme and css of `gradio.mount_gradio_app`.

    Raises:
        UserError: The port is in use.
    """
    import gradio
    import uvicorn
    from fastapi import FastAPI
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UserError(f"port {port} is in use; name another", argument="port") from error
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app = FastAPI(middleware=[hosts, Middleware(_WithPolicy)], openapi_url=None)
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        server_name="127.0.0.1",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        **look,
    )
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    print(f"{address} shows the page to this machine; Ctrl-C ends it", flush=True)
    if open_browser:
        webbrowser.open(address)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    # In a thread, signals are left to `private_folder`.
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    threading.Event().wait()


class _WithPolicy:
    """Adds the policy to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", _POLICY.encode()))
            await send(message)

        await self.app(scope, receive, send_guarded)
