"""The program `jaxcxr calibrate`; see `jaxcxr.cli.calibrate`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("calibrate")
