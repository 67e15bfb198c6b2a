"""The program `jaxcxr evaluate_boxes`; see `jaxcxr.cli.evaluate_boxes`."""

from jaxcxr.cli import launch

launch("evaluate_boxes")
