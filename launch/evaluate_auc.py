"""The program `jaxcxr evaluate_auc`; see `jaxcxr.cli.evaluate_auc`."""

from jaxcxr.cli import launch

launch("evaluate_auc")
