"""The program `jaxcxr evaluate_boxes`; see `jaxcxr.cli.evaluate_boxes`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("evaluate_boxes")
