"""The program `jaxcxr compare`; see `jaxcxr.cli.compare`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("compare")
