"""The program `jaxcxr sweep`; see `jaxcxr.cli.sweep`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("sweep")
