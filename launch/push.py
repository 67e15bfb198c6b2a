"""The program `jaxcxr push`; see `jaxcxr.cli.push`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("push")
