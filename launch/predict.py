"""The program `jaxcxr predict`; see `jaxcxr.cli.predict`."""

from jaxcxr.cli import launch

launch("predict")
