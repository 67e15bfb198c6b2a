"""The model card of a model folder: what the Hugging Face hub and people read first."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pandas as pd

RESEARCH_ONLY = "Research software: not a medical device, not for diagnosis."

SYNTHETIC = "Trained on synthetic radiographs: the numbers mean nothing for real ones."
"""Warning of a network that has seen no real radiograph."""

_LIMITS = (
    "Labels of chest X-ray datasets are read from reports by programs; some are wrong, and so are "
    "scores on them.",
    "Scores and calibrated probabilities hold for radiographs like those that they were found on: "
    "other hospitals, devices, views, ages and frequencies of findings change them.",
    "Only the findings above are predicted; a radiograph without any of them may show others.",
    "Heat maps and boxes show where the network finds evidence, not how far a disease extends.",
)


def model_card(config: Mapping[str, Any], scores: str | None = None) -> str:
    """Returns the text of a model folder's README.md.

    Args:
        config: Content of its config.json.
        scores: Text of its auc.csv: finding, auc, ci_low, ci_high, positives, negatives.

    Returns:
        Markdown under the hub's metadata header.
    """
    from huggingface_hub import ModelCardData  # takes a moment to import

    network, source = config["network"], config["source"]
    name = source.get("name") or f"{network['backbone']['name']} with {network['head']['name']}"
    metadata = ModelCardData(
        license=source.get("license", "unknown").lower(),
        library_name="jaxcxr",
        pipeline_tag="image-classification",
        tags=["chest-x-ray", "jax", *(["synthetic-data"] if config["synthetic"] else [])],
    )
    size = config["image_size"]
    findings = [finding or "(not trained)" for finding in config["findings"]]
    facts = {
        "Network": f"{network['backbone']['name']}, head {network['head']['name']}",
        "Input": f"{size} × {size} gray pixels, made square by the rule `{config['square']}`",
        "Findings, in the order of the outputs": ", ".join(findings),
        "Training data": config["training_data"] or "not known",
        "Training split": config["training_split"] or "not known; do not score what it has seen",
        "Recipe": config["recipe"] or "not known",
        "License": source.get("license", "not known: ask its publisher before you use it"),
        "Operating points and calibration": config["calibration"] or "none",
        **{f"Source: {key}": source[key] for key in ("url", "revision", "sha256") if key in source},
    }
    lines = [
        f"# {name}",
        f"**{RESEARCH_ONLY}**" + (f" **{SYNTHETIC}**" if config["synthetic"] else ""),
        "Findings of chest radiographs with heat maps, for "
        "[jaxcxr](https://pypi.org/project/jaxcxr/):",
        "```python\nimport jaxcxr as cxr\n\n"
        'cxr.load_model("PATH_OF_THIS_FOLDER").predict("radiograph.png")\n```',
        "\n".join(f"- {key}: {value}" for key, value in facts.items()),
        "## Scores",
        _scores(scores) if scores else "None are known.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in _LIMITS),
    ]
    return f"---\n{metadata}\n---\n\n" + "\n\n".join(lines) + "\n"


def _scores(text: str) -> str:
    table = pd.read_csv(io.StringIO(text)).dropna(subset=["auc"])  # one class only
    columns = ["finding", "auc", "ci_low", "ci_high", "positives", "negatives"]
    rows = [
        f"| {finding} | {auc:.3f} | {low:.3f} to {high:.3f} | {positives} of "
        f"{positives + negatives} |"
        for finding, auc, low, high, positives, negatives in table[columns].to_numpy()
    ]
    return "\n".join(["| finding | AUC | 95 % interval | positives |", "|---|---|---|---|", *rows])
