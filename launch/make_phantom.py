"""The program `jaxcxr make_phantom`; see `jaxcxr.cli.make_phantom`."""

from jaxcxr.cli import launch

launch("make_phantom")
