"""The program `jaxcxr convert_weights`; see `jaxcxr.cli.convert_weights`."""

from jaxcxr.cli import launch

launch("convert_weights")
