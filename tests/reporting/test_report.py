import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxcxr.evaluation.published import MODELS, published_auc
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.reporting import report
from jaxcxr.reporting.runs import read_runs

REPOSITORY = Path(__file__).parents[2]
VOID = {"meta", "img", "input", "br", "wbr", "link"}


@dataclasses.dataclass
class Cell:
    """A cell of a table: its attributes, its text, and the small print below."""

    attributes: dict[str, str | None]
    text: str = ""
    interval: str = ""


@dataclasses.dataclass
class Table:
    """A table of a page, row by row."""

    caption: str
    rows: list[list[Cell]]


class Page(HTMLParser):
    """The elements of a page, their text, and whether they are nested well."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.tables: list[Table] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append(Table("", []))
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append(Cell(dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if "caption" in self.open:
            self.tables[-1].caption += data
        elif {"td", "th"} & {*self.open}:
            cell = self.tables[-1].rows[-1][-1]
            if "small" in self.open:
                cell.interval += data
            else:
                cell.text += data.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def page_of(workdirs) -> str:
    return report.report_page(read_runs(workdirs))


@pytest.fixture(scope="module")
def page(three_runs) -> str:
    return page_of(three_runs)


def test_it_asks_for_nothing_outside_itself(page):
    parsed = Page(page)
    assert not parsed.open
    assert all(source.startswith("data:image/") for source in parsed.attributes("src"))
    assert all(target.startswith("#") for target in parsed.attributes("href"))
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page)
    assert len(page) < 15e6


def test_links_lead_to_sections(page):
    parsed = Page(page)
    places = parsed.attributes("id")
    assert len(places) == len(set(places))
    assert {target.removeprefix("#") for target in parsed.attributes("href")} <= set(places)


def test_every_picture_has_words(page):
    pictures = [attributes for tag, attributes in Page(page).elements if tag == "img"]
    assert all(len(attributes["alt"]) > 20 for attributes in pictures)
    # Learning curves, 14 ROC panels, reliability, scale, and per finding 3 cases × (3 runs + 1).
    assert len(pictures) == 1 + 14 + 1 + 1 + len(BOXED_FINDINGS) * 3 * 4


def test_table_rows_are_equally_long(page):
    for table in Page(page).tables:
        lengths = {
            sum(int(cell.attributes.get("colspan") or 1) for cell in row) for row in table.rows
        }
        assert len(lengths) == 1, table.caption


def shown(number: float) -> str:
    return "–" if np.isnan(number) else f"{number:.3f}"


def test_aucs_stand_in_their_row_and_column(page, three_runs):
    (table,) = [table for table in Page(page).tables if table.caption.startswith("AUC per finding")]
    _, header, *rows = table.rows
    assert [cell.text for cell in header[2:5]] == [workdir.name for workdir in three_runs]
    published = published_auc().pivot(index="finding", columns="model", values="auc")
    for workdir, column in zip(three_runs, (2, 3, 4), strict=True):
        scores = pd.read_csv(workdir / "evaluation" / "auc.csv").to_dict("records")
        assert len(rows) == len(scores) == 15
        for row, score in zip(rows, scores, strict=True):
            assert row[0].text.lower().replace(" ", "_") == score["finding"].lower()
            if score["finding"] != "Mean":
                assert row[1].text == str(score["positives"])
            assert row[column].text == shown(score["auc"])
            assert row[column].interval == f"{score['ci_low']:.3f}–{score['ci_high']:.3f}"
    for row, finding in zip(rows, FINDINGS, strict=False):
        expected = [shown(published.loc[finding, model]) for model in MODELS]
        assert [cell.text for cell in row[5:]] == expected


def test_accuracies_stand_in_their_row_and_column(page, three_runs):
    names = [workdir.name for workdir in three_runs]
    for metric in ("IoU", "IoBB", "IoGT"):
        caption = f"Part of the annotated boxes found at every threshold of {metric}"
        (table,) = [table for table in Page(page).tables if table.caption.startswith(caption)]
        rows = {(row[0].text, row[1].text): row[2:] for row in table.rows[1:]}
        for kind, suffix in {"": "", "_published": ", published scoring"}.items():
            for workdir, name in zip(three_runs, names, strict=True):
                scores = pd.read_csv(workdir / "evaluation" / f"localization{kind}.csv")
                scores = scores[scores["metric"] == metric]
                for threshold, of_findings in scores.groupby("threshold"):
                    row = rows[f"{threshold:g}", name + suffix]
                    expected = [shown(accuracy) for accuracy in of_findings["accuracy"]]
                    assert [cell.text for cell in row[:-1]] == expected
                    assert row[-1].text == shown(of_findings["afp"].iloc[-1])


def test_it_tells_what_was_run(page):
    text = Page(page).text
    for fact in (
        "ResNet18 + SpaceAttention", "chest_xray14/32/1.0.0 (release ward)", "2,075 train",
        "2026-01-02 03:04 UTC", "jax 0.10.2", "abc1234", "optimizer.clip_norm",
        "Not a medical device", "60", "20 patients", "2 of baseline",
    ):  # fmt: skip
        assert fact in text


def test_findings_can_be_filtered(page):
    parsed = Page(page)
    assert set(parsed.attributes("data-finding")) == set(FINDINGS)
    assert [value for value in parsed.attributes("value") if value] == list(FINDINGS)
    hidden = [attributes.get("id") for _, attributes in parsed.elements if "hidden" in attributes]
    assert hidden == ["filter"]  # which only the script shows


def test_the_best_of_a_row_is_marked(page, three_runs):
    aucs = [pd.read_csv(run / "evaluation/auc.csv").set_index("finding") for run in three_runs]
    (table,) = [table for table in Page(page).tables if table.caption.startswith("AUC per finding")]
    row = table.rows[2 + FINDINGS.index("Edema")]
    marked = [cell.attributes.get("class") == "best" for cell in row[2:5]]
    best = int(np.argmax([scores.loc["Edema", "auc"] for scores in aucs]))
    assert marked == [index == best for index in range(3)]


def test_the_validation_auc_of_the_best_epoch_is_shown(make_run, page):
    assert "validation AUC" not in page
    workdir = make_run()
    history = pd.read_csv(workdir / "history.csv").assign(val_auc=[0.6, 0.7125, 0.8])
    history.loc[0, ["loss", "val_loss"]] = float("nan")
    history.to_csv(workdir / "history.csv", index=False)
    (overview, *_) = Page(page_of([workdir])).tables
    assert (overview.rows[1][-1].text, overview.rows[1][-1].interval) == (
        "2",
        "validation AUC 0.713",
    )


def test_names_cannot_break_the_page(make_run):
    name = "<script>alert(1)</script>&\"'"
    workdir = make_run(name.replace("/", "∕"))
    config = json.loads((workdir / "config.json").read_text())
    config["note"] = "<img src=x onerror=alert(2)>"
    (workdir / "config.json").write_text(json.dumps(config))
    page = page_of([workdir])
    parsed = Page(page)
    assert not parsed.open
    assert [tag for tag, _ in parsed.elements].count("script") == 1
    assert "alert(2)" in parsed.text
    assert not parsed.attributes("onerror")
    assert "<script>alert" in parsed.text


def test_metadata_cannot_break_the_page(make_run):
    """What the release's lists, the programs' tables and run.json bring along is text."""
    attack = '"><img src=x onerror=alert(3)>'
    workdir = make_run("run")
    for path in (*workdir.rglob("*.csv"), workdir / "run.json"):
        text = path.read_text().replace("00000001_000.png", attack.replace('"', ""))
        path.write_text(text.replace("ward", attack.replace('"', "'")))
    with np.load(workdir / "evaluation/cases.npz", allow_pickle=False) as cases:
        arrays = dict(cases)
    names = arrays["image_names"].astype(object)
    names[:] = [name.replace("00000001_000.png", attack.replace('"', "")) for name in names]
    np.savez(workdir / "evaluation/cases.npz", **{**arrays, "image_names": names.astype(str)})
    parsed = Page(page_of([workdir]))
    assert not parsed.open
    assert not parsed.attributes("onerror")
    assert [tag for tag, _ in parsed.elements].count("script") == 1
    assert "alert(3)" in parsed.text


@pytest.mark.parametrize("home", ["/home/someone", "/Users/someone", "/root", str(Path.home())])
def test_home_folders_are_not_shown(make_run, home):
    workdir = make_run("run")
    config = json.loads((workdir / "config.json").read_text())
    config["initial_weights"] = f"{home}/weights/a.pt"
    config["note"] = f"see {home}, and /srv{home}/b"
    (workdir / "config.json").write_text(json.dumps(config))
    parsed = Page(page_of([workdir]))
    assert "~/weights/a.pt" in parsed.text
    assert f"see ~, and /srv{home}/b" in parsed.text
    assert f"{home}/weights" not in parsed.text


@pytest.mark.parametrize("file", ["auc.csv", "localization.csv", "cases.npz"])
def test_missing_scores_name_the_program_that_makes_them(make_run, file):
    workdir = make_run()
    (workdir / "evaluation" / file).unlink()
    text = Page(page_of([workdir])).text
    program = "evaluate_auc" if file == "auc.csv" else "evaluate_boxes"
    assert f"jaxcxr {program} --workdir={workdir} --data_dir=DIR" in text


def test_a_run_without_anything_but_its_config_is_reported(make_run, three_runs):
    workdir = make_run(evaluated=False)
    for name in ("history.csv", "run.json"):
        (workdir / name).unlink()
    text = Page(page_of([workdir])).text
    for program in ("train", "evaluate_auc", "evaluate_boxes"):
        assert f"jaxcxr {program}" in text
    beside = Page(page_of([workdir, three_runs[1]])).text
    assert "jaxcxr evaluate_boxes" in beside
    assert "not recorded" in beside


def test_synthetic_radiographs_are_called_so(make_run, page):
    assert "Synthetic data" not in page
    assert "Synthetic data" in page_of([make_run(synthetic=True)])


def test_other_test_radiographs_are_not_compared_silently(make_run, page, three_runs):
    assert "Different test radiographs" not in page
    other = make_run("other", images=["00000001_000.png", "00000002_000.png"])
    beside = page_of([three_runs[0], other])
    assert "Different test radiographs" in beside
    assert "Without an annotated box that all networks have seen" in beside


def test_few_cases_are_not_ranked(make_run):
    names = [f"{patient:08d}_000.png" for patient in range(9)]  # the ninth case is of Atelectasis
    text = Page(page_of([make_run(images=names)])).text
    assert text.count("Only case IoU") == len(BOXED_FINDINGS) - 1
    assert "mean IoU" not in text
    alone = Page(page_of([make_run(images=names[:3])])).text
    assert "Without an annotated box: Infiltration, Mass" in alone


def test_a_finding_without_both_classes_has_a_dash(make_run):
    workdir = make_run()
    path = workdir / "evaluation" / "labels.csv"
    pd.read_csv(path).assign(Hernia=0).to_csv(path, index=False)
    path = workdir / "evaluation" / "auc.csv"
    scores = pd.read_csv(path)
    scores.loc[scores["finding"] == "Hernia", ["auc", "ci_low", "ci_high"]] = None
    scores.to_csv(path, index=False)
    page = page_of([workdir])
    assert page.count("ROC curves for") == 13
    assert "Findings without radiographs both with and without them have no curve" in page
    row = re.search(r'<tr data-finding="Hernia">.*?</tr>', page, re.DOTALL)
    assert row is not None
    assert ">–" in row.group()


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch/report.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_the_program_writes_the_page(three_runs, tmp_path):
    out = tmp_path / "new" / "report.html"
    done = launch(f"--workdirs={three_runs[0]},{three_runs[1]}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert f"{out}: {out.stat().st_size / 1e6:.2f} MB" in done.stdout
    assert Page(out.read_text()).text
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_a_page_is_written_over_no_file_of_a_run(three_runs):
    config = three_runs[0] / "config.json"
    before = config.read_bytes()
    done = launch(f"--workdirs={three_runs[0]}", f"--out={config}")
    assert done.returncode == 1
    assert done.stderr == f"error: --out={config}: expected a name that ends in .html\n"
    assert config.read_bytes() == before


def test_the_program_refuses_what_is_no_run(three_runs, tmp_path):
    out = tmp_path / "report.html"
    done = launch(f"--workdirs={three_runs[0]},{tmp_path}", f"--out={out}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} is not the folder of a run")
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_reports_need_neither_jax_nor_tensorflow():
    code = "import sys, jaxcxr.reporting.report as _; print({'jax', 'tensorflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
