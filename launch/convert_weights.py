"""The program `jaxcxr convert_weights`; see `jaxcxr.cli.convert_weights`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("convert_weights")
