"""What this site has beyond MkDocs: notebooks, flags of the programs, equations, changes."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]
_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|link(?! rel=\"canonical\"))\b[^>]*"
    r"\b(?:src|href)=\"?(?:https?:)?//[^>]*>"
)
"""A tag by which a browser fetches from another host."""


def on_config(config: Any) -> Any:
    """Names the pages that are made of notebooks in the navigation."""
    config.nav = json.loads(json.dumps(config.nav).replace('.ipynb"', '.md"'))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made from other files."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        for uri, content in notebook_files(file.src_uri, Path(file.abs_src_path).read_text()):
            files.append(File.generated(config, uri, content=content))
    changes = (REPOSITORY / "CHANGELOG.md").read_text().replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=changes))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills in flags and equations; links to notebooks become links to their pages.

    Files of the repository beside docs/ are not part of the site: their names replace the links.
    """
    beside = re.escape("../" * (page.file.src_uri.count("/") + 1))
    markdown = re.sub(rf"\[([^\]]+)\]\({beside}([^.)#][^)#]*)[^)]*\)", r"\1 (`\2`)", markdown)
    markdown = re.sub(r"(\]\((?!https?:)[^)\s]+)\.ipynb(#[^)]*)?\)", r"\1.md\2)", markdown)
    if page.file.src_uri == "reference/programs.md":
        markdown += flags_of_all_programs()
    return re.sub(r"\$\$(.+?)\$\$", _equation, markdown, flags=re.S)


def _equation(match: re.Match) -> str:
    return f'<div class="equation">{convert(match[1], display="block")}</div>'


def on_post_build(config: Any) -> None:
    """Fails where a page would fetch something from another host.

    Raises:
        PluginError: Names the page and the tag.
    """
    for page in Path(config.site_dir).rglob("*.html"):
        found = _ELSEWHERE.search(page.read_text())
        if found:
            raise PluginError(f"{page} fetches from another host: {found[0]}")


def notebook_files(uri: str, text: str) -> list[tuple[str, str | bytes]]:
    """Returns the page of a notebook and its pictures: paths in the site, and what they hold.

    Args:
        uri: Path of the notebook in the site.
        text: The notebook.
    """
    name = Path(uri).stem
    parts, pictures = [], []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        if printed:
            parts.append(_printed(printed))
        for data in [output["data"] for output in cell["outputs"] if "data" in output]:
            if "image/png" in data:
                picture = f"{name}_{len(pictures)}.png"
                image = base64.b64decode("".join(data["image/png"]))
                pictures.append((str(Path(uri).with_name(picture)), image))
                parts.append(f"![Output of the cell above]({picture})")
            elif "text/html" in data:
                html = re.sub(
                    r"<style.*?</style>| border=.*? class=\"dataframe\"",
                    "",
                    "".join(data["text/html"]),
                    flags=re.S,
                )
                parts.append(f'<div class="output">\n{html}\n</div>')
            else:
                parts.append(_printed("".join(data["text/plain"])))
    heading, _, rest = "\n\n".join(parts).partition("\n")
    link = f'<a href="{name}.ipynb" download>Download this notebook</a>'
    return [(str(Path(uri).with_suffix(".md")), f"{heading}\n\n{link}\n{rest}"), *pictures]


def _printed(text: str) -> str:
    """Lines as a terminal shows them: a carriage return starts a line again."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n")]
    return "```{.text .output}\n" + "\n".join(lines) + "\n```"


def flags_of_all_programs() -> str:
    """Returns a section for each verb, with what its help says and a table of its flags."""
    from jaxcxr.cli import VERBS

    with ThreadPoolExecutor() as pool:
        return "\n\n".join(pool.map(_program, VERBS))


def _program(verb: str) -> str:
    command = [sys.executable, "-m", "jaxcxr.cli", verb, "--helpxml"]
    helped = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    root = ElementTree.fromstring(helped.stdout)  # noqa: S314, our own program wrote it
    about = (root.findtext("usage") or "").partition("\n\n")[2]
    rows = [
        f"| `--{flag.findtext('name')}` | {_cell(flag, 'default')} | {_cell(flag, 'meaning')} |"
        for flag in root.iter("flag")
        if "jaxcxr" in (flag.findtext("file") or "")
    ]
    table = "\n".join(["| flag | default | meaning |", "|---|---|---|", *rows])
    return f"## jaxcxr {verb}\n\n```text\n{about.strip()}\n```\n\n{table}"


def _cell(flag: ElementTree.Element, field: str) -> str:
    text = " ".join((flag.findtext(field) or "").partition(";\n")[0].split()).replace("|", "\\|")
    return "" if text == "None" else f"`{text}`" if field == "default" and text else text
