"""The program `jaxcxr report`; see `jaxcxr.cli.report`."""

from jaxcxr.cli import launch

launch("report")
