"""The program `jaxcxr evaluate_maps`; see `jaxcxr.cli.evaluate_maps`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("evaluate_maps")
