"""The program `jaxcxr view`; see `jaxcxr.cli.view`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("view")
