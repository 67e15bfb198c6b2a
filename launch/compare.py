"""The program `jaxcxr compare`; see `jaxcxr.cli.compare`."""

from jaxcxr.cli import launch

launch("compare")
