"""The program `jaxcxr sweep`; see `jaxcxr.cli.sweep`."""

from jaxcxr.cli import launch

launch("sweep")
