"""`python -m jaxcxr.cli VERB`: the command `jaxcxr`, where its script is not on the path."""

from jaxcxr.cli import main

if __name__ == "__main__":  # worker processes import this file, too
    main()
