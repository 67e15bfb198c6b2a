"""The program `jaxcxr prepare`; see `jaxcxr.cli.prepare`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("prepare")
