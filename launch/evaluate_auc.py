"""The program `jaxcxr evaluate_auc`; see `jaxcxr.cli.evaluate_auc`."""

from jaxcxr.cli import launch

if __name__ == "__main__":  # worker processes import this file, too
    launch("evaluate_auc")
