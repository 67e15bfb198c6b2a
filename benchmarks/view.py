"""`jaxcxr view` in Chromium: seconds from opening the address to the list and the first radiograph.

python -m benchmarks.view --model RUN --data_dir DIR

Each opening is another user's, with an empty cache. Needs pip install 'jaxcxr[viewer]' playwright.
"""

# The package does not require Playwright:
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from typing import Any

from absl import app, flags

from benchmarks.machine import describe

_MODEL = flags.DEFINE_string("model", None, "Scored model.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where jaxcxr prepare wrote.", required=True)
_OPENINGS = flags.DEFINE_integer("openings", 5, "How often the page is opened.")


def main(_: list[str]) -> None:
    """Prints a JSON line."""
    from playwright.sync_api import sync_playwright

    words = [f"--model={_MODEL.value}", f"--data_dir={_DATA_DIR.value}", "--port=0", "--nobrowser"]
    process = subprocess.Popen(
        [sys.executable, "launch/view.py", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        address = next(line for line in process.stdout or () if line.startswith("http")).split()[0]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            seconds = [_open(browser, address) for _ in range(_OPENINGS.value)]
            browser.close()
    finally:
        process.terminate()
    lists, radiographs = zip(*seconds, strict=True)
    print(json.dumps({"list": lists, "radiograph": radiographs, **describe()}))


def _open(browser: Any, address: str) -> tuple[float, float]:
    """Returns the seconds until the list and until the radiograph is shown."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    begun = time.monotonic()
    page.goto(address)
    page.get_by_text(re.compile(r"of [\d,]+ test radiographs")).wait_for()
    page.locator(".virtual-row").first.wait_for()
    listed = time.monotonic() - begun
    page.wait_for_function("() => document.querySelector('.radiograph img')?.naturalWidth > 0")
    shown = time.monotonic() - begun
    page.close()
    return round(listed, 2), round(shown, 2)


if __name__ == "__main__":
    app.run(main)
