import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest

from jaxcxr.evaluation.published import MODELS, published_auc
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.reporting.report import report_page
from jaxcxr.reporting.runs import read_runs

REPOSITORY = Path(__file__).parents[2]
VOID = {"meta", "img", "input", "br", "wbr", "link"}
ATTACK = "<img src=x onerror=alert(3)>"
HOME = str(Path.home())


class Page(HTMLParser):
    """The elements of a page, which must be nested well, their text, and its tables.

    A cell is its text, the small print below, and its attributes.
    """

    def __init__(self, workdirs) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.tables: dict[str, list[list[list]]] = {}
        self.source = report_page(read_runs(workdirs))
        self.feed(self.source)
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.caption, self.rows = "", []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(["", "", dict(attrs)])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        self.words.append(data)
        if "caption" in self.open:
            self.caption += data
        elif {"td", "th"} & {*self.open}:
            self.rows[-1][-1]["small" in self.open] += data.strip()

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def table(self, beginning: str) -> list[list[list]]:
        (rows,) = [rows for caption, rows in self.tables.items() if caption.startswith(beginning)]
        return rows


@pytest.fixture(scope="module")
def page(three_runs) -> Page:
    """The report of three runs as they should be."""
    return Page(three_runs)


@pytest.fixture(scope="module")
def odd_page(make_run, three_runs) -> Page:
    """The report of a good run beside one with all that is unusual."""
    images = tuple(f"{patient:08d}_{ATTACK}.png" for patient in range(12))
    odd = make_run("<script>alert(1)<∕script>&\"'", images=images)
    config = json.loads((odd / "config.json").read_text())
    config["initial_weights"] = f"{HOME}/weights/a.pt"
    config["note"] = f"see {HOME}, and /srv{HOME}/b"
    (odd / "config.json").write_text(json.dumps(config))
    facts = json.loads((odd / "run.json").read_text())
    facts["data"] |= {"synthetic": True, "release": ATTACK}
    (odd / "run.json").write_text(json.dumps(facts))
    history = pd.read_csv(odd / "history.csv").assign(val_auc=[0.6, 0.7125, 0.8])
    history.loc[0, ["loss", "val_loss"]] = float("nan")
    history.to_csv(odd / "history.csv", index=False)
    for run in (odd, without_hernia := make_run("without_hernia")):
        path = run / "evaluation/labels.csv"
        pd.read_csv(path).assign(Hernia=0).to_csv(path, index=False)
        path = run / "evaluation/auc.csv"
        scores = pd.read_csv(path)
        scores.loc[scores["finding"] == "Hernia", ["auc", "ci_low", "ci_high"]] = None
        scores.to_csv(path, index=False)
    return Page([without_hernia, odd])


def test_page_is_self_contained(page):
    assert all(source.startswith("data:image/") for source in page.attributes("src"))
    assert "default-src 'none'" in page.source
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page.source)
    assert len(page.source) < 15e6


def test_links_lead_to_sections_and_pictures_to_the_viewer(page, odd_page):
    places = page.attributes("id")
    assert len(places) == len(set(places))
    hrefs = page.attributes("href")
    pictures = [href for href in hrefs if not href.startswith("#")]
    assert {*hrefs} - {*pictures} <= {f"#{place}" for place in places}
    assert len(pictures) == len(BOXED_FINDINGS) * 3 * 4
    assert "jaxcxr view --model=" in page.text
    for href in pictures + [one for one in odd_page.attributes("href") if one[0] != "#"]:
        address, _, query = href.partition("?")
        assert address == "http://127.0.0.1:7860/"
        values = dict(parse_qsl(query, strict_parsing=True))
        assert values["finding"] in BOXED_FINDINGS
        assert values["image"] in page.text + odd_page.text


def test_every_image_has_alternative_text(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert all(len(attributes["alt"]) > 20 for attributes in pictures)
    # Learning curves, 14 ROC panels, reliability, cuts, and per finding 3 cases × (3 runs + 1).
    assert len(pictures) == 1 + 14 + 1 + 1 + len(BOXED_FINDINGS) * 3 * 4


def test_table_rows_are_equally_long(page):
    for caption, rows in page.tables.items():
        lengths = {sum(int(cell[2].get("colspan") or 1) for cell in row) for row in rows}
        assert len(lengths) == 1, caption


def shown(number: float) -> str:
    return "–" if np.isnan(number) else f"{number:.3f}"


def test_overview_has_the_mean_scores(page, three_runs):
    for row, workdir in zip(page.table("The runs at a glance")[1:], three_runs, strict=True):
        scores = pd.read_csv(workdir / "evaluation/auc.csv").set_index("finding").loc["Mean"]
        levels = pd.read_csv(workdir / "evaluation/localization.csv")
        levels = levels[levels["finding"] == "Mean"].set_index(["metric", "threshold"])["accuracy"]
        pointing = pd.read_csv(workdir / "evaluation/pointing_game.csv").set_index("finding")
        expected = [scores["auc"], levels["IoU", 0.3], levels["IoBB", 0.25]]
        expected.append(pointing.loc["Mean", "accuracy"])
        assert [cell[0] for cell in row[1:]] == [*map(shown, expected), "60", "2"]
        assert row[1][1] == f"{scores['ci_low']:.3f}–{scores['ci_high']:.3f}"
        assert row[5][1] == "20 patients"


def test_aucs_stand_in_their_row_and_column(page, three_runs):
    _, header, *rows = page.table("AUC per finding")
    assert [cell[0] for cell in header[2:5]] == [workdir.name for workdir in three_runs]
    published = published_auc().pivot(index="finding", columns="model", values="auc")
    tables = [pd.read_csv(run / "evaluation/auc.csv").to_dict("records") for run in three_runs]
    for row, *scores in zip(rows, *tables, strict=True):
        finding = scores[0]["finding"]
        assert row[0][0].lower().replace(" ", "_") == finding.lower()
        best = max(round(score["auc"], 3) for score in scores)
        for cell, score in zip(row[2:5], scores, strict=True):
            assert cell[0] == shown(score["auc"])
            assert cell[1] == f"{score['ci_low']:.3f}–{score['ci_high']:.3f}"
            assert cell[2].get("class") == ("best" if round(score["auc"], 3) == best else None)
        if finding != "Mean":
            assert row[1][0] == str(scores[0]["positives"])
            expected = [shown(published.loc[finding, model]) for model in MODELS]
            assert [cell[0] for cell in row[5:]] == expected


def test_accuracies_stand_in_their_row_and_column(page, three_runs):
    for metric in ("IoU", "IoBB", "IoGT"):
        table = page.table(f"Part of the annotated boxes found at every threshold of {metric}")
        rows = {(row[0][0], row[1][0]): row[2:] for row in table[1:]}
        for kind, suffix in {"": "", "_published": ", published scoring"}.items():
            for workdir in three_runs:
                scores = pd.read_csv(workdir / "evaluation" / f"localization{kind}.csv")
                scores = scores[scores["metric"] == metric]
                for threshold, of_findings in scores.groupby("threshold"):
                    *accuracies, false = rows[f"{threshold:g}", workdir.name + suffix]
                    expected = [shown(accuracy) for accuracy in of_findings["accuracy"]]
                    assert [cell[0] for cell in accuracies] == expected
                    assert false[0] == shown(of_findings["afp"].iloc[-1])


def test_rule_in_use_stands_above_the_papers(page, three_runs):
    rows = iter(page.table("How well boxes fit")[1:])
    for workdir in three_runs:
        fits = pd.read_csv(workdir / "evaluation/localization_rules.csv")
        for _, fit in fits[fits["finding"] == "Mean"].iterrows():
            name, (rule, drawn_by, _), *scores = next(rows)
            assert (name[0], rule, drawn_by) == (workdir.name, fit["rule"], fit["drawn_by"])
            expected = fit[["mean_iou", *(name for name in fit.index if ">" in name), "area_ratio"]]
            assert [cell[0] for cell in scores] == [*map(shown, expected)]
    assert next(rows, None) is None


def test_gallery_names_heat_maps_and_cut_of_the_rule_in_use(page, three_runs):
    for finding in BOXED_FINDINGS:
        assert page.text.count(f"layer_cam, stage 1; cut of {finding}") == len(three_runs)


def test_page_shows_what_was_run(page):
    for fact in (
        "Head Baseline SpaceAttention", "chest_xray14/32/1.0.0 Release ward", "2,075",
        "2026-01-02T03:04:05+00:00", "JAX 0.10.2", "abc1234", "optimizer.clip_norm",
        "run.packages.jax", "Not a medical device", "2 of baseline",
    ):  # fmt: skip
        assert fact in page.text


def test_names_and_metadata_are_escaped(odd_page):
    assert "script" not in [tag for tag, _ in odd_page.elements]
    assert not odd_page.attributes("onerror")
    assert ATTACK in odd_page.text
    assert "<script>alert(1)<∕script>&\"'" in odd_page.text


def test_home_folders_are_not_shown(odd_page):
    assert "~/weights/a.pt" in odd_page.text
    assert f"see ~, and /srv{HOME}/b" in odd_page.text


def test_unusual_runs_have_notices(odd_page, page):
    for words in ("Synthetic data", "Different test radiographs", "validation AUC"):
        assert words in odd_page.text
        assert words not in page.text
    assert "Without an annotated box that all networks have seen" in odd_page.text
    overview = odd_page.table("The runs at a glance")
    assert overview[2][-1][:2] == ["2", "validation AUC 0.713"]


def test_a_finding_without_both_classes_has_a_dash(odd_page):
    assert odd_page.source.count("ROC curves for") == 13
    assert "Findings without radiographs both with and without them have no" in odd_page.text
    row = odd_page.table("AUC per finding")[2 + FINDINGS.index("Hernia")]
    assert [cell[0] for cell in row[2:4]] == ["–", "–"]


def test_missing_scores_are_named(make_run, three_runs):
    bare = make_run("bare")
    for name in ("history.csv", "run.json"):
        (bare / name).unlink()
    shutil.rmtree(bare / "evaluation")
    assert "No epoch is finished yet" in Page([bare]).text
    page = Page([bare, three_runs[1]])
    assert page.text.count("Not scored yet: bare.") == 4
    assert page.text.count("No heat maps yet: bare.") == 1
    rows = {row[0][0]: [cell[0] for cell in row[1:]] for row in page.table("Network, data")}
    assert rows["Device"] == ["–", "cpu"]


def test_few_cases_are_not_ranked(make_run):
    names = tuple(f"{patient:08d}_{ATTACK}.png" for patient in range(3))
    page = Page([make_run(images=names)])
    assert page.text.count("Only case IoU") == 3
    assert "mean IoU" not in page.text
    assert "Without an annotated box: Infiltration, Mass" in page.text
    assert names[1] in page.text
    assert not page.attributes("onerror")


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch/report.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_the_program_writes_the_page(three_runs, tmp_path):
    out = tmp_path / "new" / "report.html"
    done = launch(f"--workdirs={three_runs[0]},{three_runs[1]}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert f"{out}: {out.stat().st_size / 1e6:.2f} MB" in done.stdout
    assert out.read_text() == report_page(read_runs(three_runs[:2]))
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_the_program_refuses_what_is_not_a_run_and_to_overwrite_its_files(three_runs, tmp_path):
    config = three_runs[0] / "config.json"
    before = config.read_bytes()
    done = launch(f"--workdirs={three_runs[0]}", f"--out={config}")
    assert done.returncode == 1
    assert done.stderr == f"error: --out={config}: expected a name that ends in .html\n"
    assert config.read_bytes() == before
    done = launch(f"--workdirs={three_runs[0]},{tmp_path}", f"--out={tmp_path}/report.html")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} is not the folder of a run")
    assert not (tmp_path / "report.html").exists()


def test_reports_need_neither_jax_nor_tensorflow():
    code = "import sys, jaxcxr.reporting.report as _; print({'jax', 'tensorflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
