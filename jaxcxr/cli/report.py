"""Writes one self-contained page about one or several runs, to read in a browser or on paper.

jaxcxr report --workdirs runs/baseline,runs/space_attention --out report.html

Reads config.json, run.json and history.csv of each run, and what jaxcxr evaluate_auc and
jaxcxr evaluate_boxes wrote under its evaluation/. The page names what is missing.
"""

# isort: split
from absl import flags

from jaxcxr.errors import UserError

_WORKDIRS = flags.DEFINE_list("workdirs", None, "Folders of runs, with commas.", required=True)
_OUT = flags.DEFINE_string("out", None, "The HTML file to write.", required=True)


def main() -> None:
    """Writes the page."""
    from jaxcxr.reporting.report import write_report
    from jaxcxr.reporting.runs import read_runs

    if not _OUT.value.endswith((".html", ".htm")):
        raise UserError(f"--out={_OUT.value}: expected a name that ends in .html")
    runs = read_runs([workdir for workdir in _WORKDIRS.value if workdir])
    size = write_report(runs, _OUT.value)
    for run in runs:
        if run.outdated:
            print(f"note: {run.outdated}")
    print(f"{_OUT.value}: {size / 1e6:.2f} MB")
