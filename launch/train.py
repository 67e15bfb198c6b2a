"""The program `jaxcxr train`; see `jaxcxr.cli.train`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("train")
