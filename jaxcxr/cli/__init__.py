"""The programs: one module a verb, started by `jaxcxr VERB` or `python launch/VERB.py`."""

from __future__ import annotations

import signal
import sys

VERBS = {
    "make_phantom": "Draw a synthetic release in NIH's layout.",
    "prepare": "Check a release and store it as a dataset for training.",
    "train": "Train one experiment, or resume it.",
    "sweep": "Train an experiment for each value of a setting, or with several seeds.",
    "reproduce": "Do the paper's complete study on a release: three networks, several seeds.",
    "evaluate_auc": "Score probabilities: AUC, operating points, calibration.",
    "evaluate_boxes": "Score boxes: IoU, IoBB, IoGT and the pointing game.",
    "evaluate_maps": "Score heat maps against masks: mIoU and hit rate.",
    "tune_boxes": "Choose where heat maps are cut to boxes, from other annotated radiographs.",
    "compare": "Compare the probabilities or boxes of two systems.",
    "report": "Write one HTML page about runs and their scores.",
    "predict": "Predict findings, heat maps and boxes for new radiographs.",
    "view": "Open a page in the browser that shows radiographs with a model's findings.",
    "calibrate": "Fit probabilities and operating points of a model to labeled radiographs.",
    "export": "Write a trained model to a folder that holds all it takes to predict.",
    "push": "Upload a trained model to the Hugging Face hub.",
    "convert_weights": "Convert PyTorch weights to this package, and back.",
}


def launch(verb: str) -> None:
    """Runs the program of a verb with the flags of the command line and ends the process."""
    try:
        from jaxcxr.cli.program import run_verb  # takes long to import

        run_verb(verb)
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def main() -> None:
    """Runs ``jaxcxr VERB [FLAGS] [FILES]``."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in VERBS:
        del sys.argv[1]
        launch(verb)
    if verb == "--version":
        from importlib.metadata import version

        print(f"jaxcxr {version('jaxcxr')}")
        sys.exit(0)
    lines = [f"  {name:<16} {text}" for name, text in VERBS.items()]
    usage = "\n".join(
        [
            "usage: jaxcxr VERB [--flag=value …] [FILES]",
            "",
            *lines,
            "",
            "jaxcxr VERB --help describes a program and its flags.",
        ]
    )
    if verb in ("-h", "--help", "help"):
        print(usage)
        sys.exit(0)
    print(f"error: {verb!r} is not a verb of jaxcxr\n{usage}", file=sys.stderr)
    sys.exit(2)
