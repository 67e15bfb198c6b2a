"""The program `jaxcxr report`; see `jaxcxr.cli.report`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("report")
