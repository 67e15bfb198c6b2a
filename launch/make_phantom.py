"""The program `jaxcxr make_phantom`; see `jaxcxr.cli.make_phantom`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("make_phantom")
