"""The page in a real browser: Chromium, driven by Playwright."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import jaxcxr as cxr
from jaxcxr.data import load
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.boxes import BoxRule
from jaxcxr.findings import FINDINGS
from jaxcxr.inference.prepared import predict_split
from jaxcxr.reporting.overlays import PREDICTED
from jaxcxr.training.state import initial_variables
from jaxcxr.viewer.scored_split import ScoredSplit
from jaxcxr.viewer.server import MAX_UPLOAD
from tests.dicom_files import dicom_bytes
from tests.programs import command
from tests.tiny import tiny_study

pytest.importorskip("gradio", reason="make test-viewer installs Gradio and Playwright")
httpx = pytest.importorskip("httpx")  # which Gradio brings
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

SIZE = 64
HOSTILE = "<img src=x onerror=alert(1)>'\"; rm -rf ~ &amp;.png"
WAIT = 90_000  # milliseconds, on a busy machine


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models, a prepared dataset, and what evaluate_auc and evaluate_boxes write."""
    place = tmp_path_factory.mktemp("viewer")
    tiny_study(place, images=60)
    test = load(place, image_size=SIZE).test
    for seed, name in enumerate(("one", "two")):
        network = cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline())
        variables = initial_variables(network, SIZE, seed=seed)
        cxr.Predictor(network, variables, SIZE, synthetic=seed == 1).save(place / name)
        folder = place / name / "evaluation"
        labels, predictions = predict_split(cxr.load_model(place / name), test, 8)
        tables.write(labels, folder / "labels.csv")
        tables.write(predictions, folder / "predictions.csv")
        rows = [("All", "All", f, "youden", predictions[f].median(), 1, 1, 1) for f in FINDINGS]
        columns = ["group", "value", "finding", "rule", "threshold", "sensitivity", "specificity"]
        tables.write(pd.DataFrame(rows, columns=[*columns, "f1"]), folder / "operating_points.csv")
        boxes = test.boxes()
        shifted = boxes.assign(x=boxes["x"] + np.where(np.arange(len(boxes)) % 2, 1e3, 0))
        tables.write(tables.box_table(boxes), folder / "annotated_boxes.csv")
        tables.write(tables.box_table(shifted), folder / "boxes.csv")
    return place


class Server(NamedTuple):
    address: str
    process: subprocess.Popen
    scratch: Path
    log: Path


AUDIT = """
import sys

def report(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost"):
        print("Traceback: asks for", *arguments, file=sys.stderr, flush=True)

sys.addaudithook(report)
"""


@contextmanager
def serving(folder, *words):
    """Starts the program, which reports requests to other machines."""
    scratch, log = folder / "scratch", folder / "log"
    scratch.mkdir()
    (folder / "sitecustomize.py").write_text(AUDIT)
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": paths}
    with log.open("w") as out:
        process = subprocess.Popen(
            command("view", *words, "--nobrowser", "--port=0"),
            env=environment, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            while not (found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            yield Server(found[0], process, scratch, log)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    models = [f"--model={place / name}" for name in ("one", "two")]
    with serving(tmp_path_factory.mktemp("server"), *models, f"--data_dir={place}") as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(server, browser):
    """Returns a function that opens the page as another user; no request leaves the machine."""
    asked, contexts = [], []

    def open_page(query="", **options):
        contexts.append(browser.new_context(**options))
        contexts[-1].on("request", lambda request: asked.append(request.url))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        page.goto(server.address + query)
        page.wait_for_selector("text=Research software: not a medical device")
        page.get_by_text(re.compile(r"\d+ of \d+ test radiographs")).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    own = (server.address, "data:", "blob:")
    assert asked
    assert [url for url in asked if not url.startswith(own)] == []
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def files(place):
    """Two phantoms, one under a hostile name, and a DICOM file whose pixels are cut off."""
    phantoms = sorted((place / "release/images").glob("*.png"))
    first, hostile, broken = (place / name for name in ("a.png", HOSTILE, "broken.dcm"))
    shutil.copy(phantoms[0], first)
    shutil.copy(phantoms[1], hostile)
    broken.write_bytes(dicom_bytes(np.arange(4096, dtype=np.uint16).reshape(64, 64), 12)[:-4000])
    return first, hostile, broken


def upload(page, *paths):
    drop(page, *paths)
    wait_for(page, paths[0].name)


def drop(page, *paths):
    page.get_by_role("tab", name="Your radiographs").click()
    page.locator("input[type=file][multiple]").set_input_files([*map(str, paths)])


def wait_for(page, name):
    page.wait_for_selector(f"text={name}; {SIZE} × {SIZE} pixels")


def wait_until(condition):
    """Waits for a file or picture, which may come after the text beside it."""
    end = time.monotonic() + WAIT / 1000
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def picture(page, number=0):
    image = page.locator(".radiograph img").nth(number)
    answer = page.request.get(image.get_attribute("src"))
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"))


def download(page, label, number=0):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=label).nth(number).click()
    return pd.read_csv(waiting.value.path())


def changed(page, action):
    """Does something and waits for another picture."""
    before = page.locator(".radiograph img").first.get_attribute("src")
    action()
    page.wait_for_function(
        "before => document.querySelector('.radiograph img').getAttribute('src') !== before",
        arg=before,
    )


def set_number(page, label, value):
    field = page.get_by_label(f"number input for {label}")
    field.fill(str(value))
    field.press("Enter")


def test_upload_gives_the_predictions_of_both_models(open_page, place, files):
    page = open_page()
    upload(page, files[0])
    for number, name in enumerate(("one", "two")):
        expected = cxr.load_model(place / name).predict(files[0]).table()
        got = download(page, "Findings (CSV)", number).set_index("Finding Label")
        assert {*got["Image Index"]} == {"a.png"}
        got = got.loc[expected.index]
        np.testing.assert_allclose(got["probability"], expected["probability"], rtol=1e-4)
        np.testing.assert_allclose(got["operating_point"], expected["operating_point"])
        assert page.get_by_text(f"{expected['probability'].iloc[0]:.3f}").count()
    warning = page.locator(".warning")
    assert warning.inner_text().startswith("two: Trained on synthetic radiographs")


def test_boxes_follow_the_cut_and_the_picture_shows_them(open_page, place, files):
    page = open_page()
    upload(page, files[0])
    page.get_by_label("Finding").first.click()
    changed(page, page.get_by_role("option", name="Mass").click)
    prediction = cxr.load_model(place / "one").predict(files[0])
    for cut in (0.3, 0.8):
        changed(page, lambda cut=cut: set_number(page, "one: cut of the heat map", cut))
        expected = prediction.boxes(["Mass"], BoxRule(cuts=(cut,)))[[*"xywh"]].to_numpy()
        wait_until(lambda e=expected: np.array_equal(e, download(page, "Boxes (CSV)")[[*"xywh"]]))
        (box,) = expected
        drawn = picture(page)
        rows, columns = np.nonzero((drawn == PREDICTED).all(axis=-1))
        zoom = drawn.shape[0] / SIZE
        x, y, w, h = box * zoom
        ends = [columns.min(), rows.min(), columns.max(), rows.max()]
        np.testing.assert_allclose(ends, [x, y, x + w, y + h], atol=zoom)
    changed(page, lambda: set_number(page, "Heat map's opacity", 0))
    plain = picture(page)[:10, :10]
    assert (plain == plain[..., :1]).all()
    changed(page, lambda: set_number(page, "Window", 50))
    assert picture(page).mean() != pytest.approx(drawn.mean(), rel=0.01)
    changed(page, page.get_by_label("Grad-CAM").click)
    changed(page, page.get_by_label("Average with mirror image").click)


def test_hostile_name_and_broken_file_are_plain_lines(open_page, files):
    page = open_page()
    first, hostile, broken = files
    upload(page, first, hostile, broken)
    problem = page.locator(".problem")
    assert problem.count() == 1
    assert problem.inner_text().startswith("broken.dcm: ")
    assert "\n" not in problem.inner_text()
    page.get_by_label("Radiograph").first.click()
    page.get_by_role("option").nth(1).click()
    page.wait_for_selector("text=rm -rf")
    assert page.locator("img[src=x]").count() == 0


def test_too_many_files_are_refused_and_progress_is_shown(open_page, files, tmp_path):
    copies = [shutil.copy(files[0], tmp_path / f"{number:02}.png") for number in range(17)]
    page = open_page()
    drop(page, *copies)
    page.get_by_text(re.compile("Reading and predicting")).first.wait_for()
    wait_for(page, "00.png")
    assert page.locator(".problem").inner_text() == "17 files; the first 16 are read"
    assert len(download(page, "Findings (CSV)")) == 16 * len(FINDINGS)


def test_too_large_files_are_refused(open_page, server, tmp_path):
    large = tmp_path / "large.dcm"
    with large.open("wb") as file:
        file.truncate(MAX_UPLOAD + 1)
    page = open_page()
    drop(page, large)
    page.get_by_text(re.compile("exceed the maximum allowed size")).first.wait_for()
    with large.open("rb") as file:  # as another program may send it
        sent = httpx.post(f"{server.address}gradio_api/upload", files={"files": file}, timeout=60)
    assert sent.status_code == 413
    assert not [*server.scratch.rglob("large.dcm")]


def test_two_users_do_not_see_each_other(open_page, files, place):
    one, other = open_page(), open_page()
    second = place / "b.png"
    shutil.copy(files[1], second)
    drop(one, files[0])
    drop(other, second)
    wait_for(one, "a.png")
    wait_for(other, "b.png")
    assert {*download(one, "Findings (CSV)")["Image Index"]} == {"a.png"}
    assert {*download(other, "Findings (CSV)")["Image Index"]} == {"b.png"}


def test_browse_filters_sorts_and_gives_a_link(open_page, place):
    folder = place / "one/evaluation"
    labels, scores, boxes = (
        pd.read_csv(folder / f"{name}.csv") for name in ("labels", "predictions", "annotated_boxes")
    )
    finding = boxes["Finding Label"].mode()[0]
    missed = (labels[finding] == 1) & (scores[finding] < scores[finding].median())
    expected = scores[missed].sort_values(finding)["Image Index"].tolist()
    query = f"?finding={finding}&outcome=False+negative&sort=Probability%2C+lowest+first"
    page = open_page(query)
    page.wait_for_selector(f"text={len(expected)} of {len(labels)} test radiographs")
    wait_for(page, expected[0])
    page.wait_for_function("() => location.search.includes('image=')")
    page.get_by_role("button", name="Next").click()
    wait_for(page, expected[1])
    page.wait_for_function(f"() => location.search.includes('image={expected[1]}')")
    link = page.evaluate("location.search")
    again = open_page(link)
    wait_for(again, expected[1])
    again.get_by_label("Outcome").click()
    again.get_by_role("option", name="All").click()
    again.wait_for_selector(f"text={len(labels)} of {len(labels)} test radiographs")
    again.get_by_label("Box").first.click()
    again.get_by_role("option", name="Miss").click()
    own = boxes[boxes["Finding Label"] == finding]
    shifted = pd.read_csv(folder / "boxes.csv").loc[own.index]
    hit = own["Image Index"][own["x"] == shifted["x"]]
    count = own.loc[~own["Image Index"].isin(hit), "Image Index"].nunique()
    again.wait_for_selector(f"text={count} of {len(labels)} test radiographs")


CONTRASTS = """() => {
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; }
    return [255, 255, 255]; };
  const tags = 'h1, p, b, small, label, span, div, button, th, td';
  const texts = [...document.querySelectorAll(tags)].filter(e =>
    e.offsetParent && !e.disabled && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
  return texts.map(e => { const s = getComputedStyle(e);
    const [a, b] = [luminance(numbers(s.color)), luminance(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.innerText.slice(0, 40)]; });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_and_the_keyboard_suffices(open_page, place, files, scheme):
    page = open_page(color_scheme=scheme, viewport={"width": 820, "height": 1180})
    upload(page, files[0], files[2])
    page.wait_for_selector(".problem")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 50
    assert [(round(ratio, 2), text) for ratio, text in contrasts if ratio < 4.5] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 820
    first = download(page, "Boxes (CSV)")
    slider = page.get_by_role("slider", name=re.compile("one: cut")).first
    for _ in range(120):
        page.keyboard.press("Tab")
        if slider.evaluate("element => element === document.activeElement"):
            break
    else:
        pytest.fail("Tab does not lead to the slider")
    cut = float(slider.input_value())
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(cut - 0.2)
    finding = first["Finding Label"][0]
    lower = BoxRule(cuts=(float(slider.input_value()),))
    expected = cxr.load_model(place / "one").predict(files[0]).boxes([finding], lower)[[*"xywh"]]
    assert not np.array_equal(expected, first[[*"xywh"]])
    wait_until(lambda: np.array_equal(expected, download(page, "Boxes (CSV)")[[*"xywh"]]))
    page.keyboard.press("Shift+Tab")  # lists that the keyboard leaves as they were change nothing
    page.get_by_label("Finding").first.focus()
    page.keyboard.press("Tab")
    time.sleep(1)
    assert float(slider.input_value()) == pytest.approx(cut - 0.2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_kept_when_the_program_is_stopped(number, browser, place, files, tmp_path):
    given = [f"--release={place / 'release'}"] if number == signal.SIGINT else []
    with serving(tmp_path, f"--model={place / 'one'}", *given) as server:
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(server.address)
        if given:
            page.get_by_text(re.compile(rf"\.png; {SIZE} × {SIZE} pixels")).wait_for()
        upload(page, files[0])
        assert list(server.scratch.rglob("a.png"))
        server.process.send_signal(number)
        assert server.process.wait(timeout=60) == 128 + number
        page.close()
        assert [*server.scratch.iterdir()] == []


def test_release_shows_test_radiographs_at_full_size(place, tmp_path):
    model = cxr.load_model(place / "one")
    with pytest.raises(cxr.UserError, match="no file of a test radiograph; unpack its archives"):
        ScoredSplit.read(model, tmp_path)
    name, other = pd.read_csv(place / "one/evaluation/labels.csv")["Image Index"][:2]
    large = Image.open(place / "release/images" / name).resize((300, 200))
    (tmp_path / "images_001").mkdir()
    large.save(tmp_path / "images_001" / name)
    split = ScoredSplit.read(model, tmp_path)
    np.testing.assert_array_equal(split.prepared(name).radiograph.pixels, np.asarray(large))
    with pytest.raises(cxr.UserError, match=f"no file of {other}"):
        split.prepared(other)


def test_port_in_use_and_unscored_model_are_one_line(place, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [f"--model={place / 'one'}", "--nobrowser", f"--port={port}"]
        done = subprocess.run(command("view", *words), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"port {port} is in use; name another (--port)")
    cxr.load_model(place / "one").save(tmp_path / "unscored")
    words = [f"--model={tmp_path / 'unscored'}", f"--data_dir={place}", "--nobrowser"]
    done = subprocess.run(command("view", *words), capture_output=True, text=True)
    assert done.returncode == 1
    assert "has no predictions of test radiographs to browse; run evaluate_auc" in done.stderr
