"""The program `jaxcxr prepare`; see `jaxcxr.cli.prepare`."""

from jaxcxr.cli import launch

launch("prepare")
