"""The program `jaxcxr train`; see `jaxcxr.cli.train`."""

from jaxcxr.cli import launch

launch("train")
