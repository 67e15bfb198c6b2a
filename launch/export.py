"""The program `jaxcxr export`; see `jaxcxr.cli.export`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("export")
