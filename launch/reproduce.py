"""The program `jaxcxr reproduce`; see `jaxcxr.cli.reproduce`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("reproduce")
