"""The program `jaxcxr predict`; see `jaxcxr.cli.predict`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("predict")
