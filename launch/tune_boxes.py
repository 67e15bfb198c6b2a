"""The program `jaxcxr tune_boxes`; see `jaxcxr.cli.tune_boxes`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("tune_boxes")
