"""The report's script, in a headless Chromium where there is one."""

import shutil

import pandas as pd
import pytest

from jaxcxr.findings import FINDINGS
from jaxcxr.reporting.report import write_report
from jaxcxr.reporting.runs import read_runs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")

AUCS = "table:has(caption:text('AUC per finding'))"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(make_run, tmp_path_factory):
    """The address of a report of one run, in which Hernia has no AUC."""
    workdir = make_run("run")
    path = workdir / "evaluation" / "auc.csv"
    scores = pd.read_csv(path)
    scores.loc[scores["finding"] == "Hernia", ["auc", "ci_low", "ci_high"]] = None
    scores.to_csv(path, index=False)
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(read_runs([workdir]), out)
    return out.as_uri()


@pytest.fixture
def page(browser, address):
    """A page with the report, which meets no error and requests nothing."""
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(error))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.append(request.url))
    page.goto(address)
    yield page
    page.close()
    assert [problem for problem in problems if not str(problem).startswith("data:")] == [address]


def column(page, place):
    """Returns the texts of a column of the table of AUCs, as sorted on the page."""
    cells = page.locator(f"{AUCS} tbody tr > :nth-child({place})")
    return cells.evaluate_all("cells => cells.map(cell => cell.firstChild.textContent.trim())")


def test_a_click_on_a_heading_sorts(page):
    heading = page.locator(f"{AUCS} thead tr:last-child th:nth-child(3)")
    unsorted = column(page, 3)
    numbers = sorted((text for text in unsorted if text != "–"), key=float)
    assert unsorted not in ([*numbers, "–"], [*numbers[::-1], "–"])
    for order, expected in (("descending", numbers[::-1]), ("ascending", numbers)):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert column(page, 3) == [*expected, "–"]
    page.locator(f"{AUCS} thead tr:last-child th:nth-child(1) button").click()
    assert column(page, 1) == sorted(name.replace("_", " ").capitalize() for name in FINDINGS)
    assert heading.get_attribute("aria-sort") is None
    assert page.locator(f"{AUCS} tfoot th").inner_text() == "Mean"


def test_the_choice_of_a_finding_hides_the_others(page):
    def visible():
        kept = "parts => parts.filter(part => part.checkVisibility()).map(p => p.dataset.finding)"
        return {*page.locator("[data-finding]").evaluate_all(kept)}

    assert visible() == {*FINDINGS}
    page.select_option("#finding", "Edema")
    assert visible() == {"Edema"}
    assert page.locator(f"{AUCS} tfoot").is_visible()
    page.select_option("#finding", "")
    assert visible() == {*FINDINGS}


def test_paper_shows_what_is_folded(page):
    assert page.locator("details:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
