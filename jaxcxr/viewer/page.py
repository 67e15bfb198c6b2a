"""The page: files or test radiographs above, what the models predict of one of them below."""

# Gradio is an extra:
# pyright: reportMissingImports=false

from __future__ import annotations

import dataclasses
import html
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import gradio as gr
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.inference.finding_table import finding_table
from jaxcxr.models.weights.model_card import RESEARCH_ONLY, SYNTHETIC
from jaxcxr.viewer.cases import (
    REACHED,
    Case,
    Display,
    Maps,
    ViewedModel,
    boxes_at,
    finding_rows,
    first_cut,
    number,
    own_name,
    picture,
    read_case,
)
from jaxcxr.viewer.scored_split import ALL, HIT_IOU, OUTCOMES, SORTS, Filter, ScoredSplit

MAX_FILES = 16
"""Most files that a page holds at a time."""

MAX_ROWS = 1000
"""Most rows of the table of test radiographs; its filters narrow down the others."""

CSS = """
.gradio-container { max-width: 1600px !important; padding: 8px 16px !important; }
h1 { font-size: 1.2rem; margin: 0; }
h1 small { font-size: .85rem; font-weight: normal; }
.note { font-size: .8rem !important; margin: 4px 0 !important; }
.warning, .problem { color: #fff; border-radius: 4px; padding: 4px 10px; margin: 4px 0; }
.warning { background: #7a4a00; }
.problem { background: #8f1d1d; }
.radiograph { background: #000; height: auto !important; aspect-ratio: 1; max-height: 62vh; }
.radiograph img { width: 100%; height: 100%; object-fit: contain; }
.annotated { border: 2px solid #56b4e9; padding: 0 6px; }
.predicted { border: 2px dashed #28dc82; padding: 0 6px; }
.findings, .findings tr { border: 0 !important; }
.findings { width: 100%; font-size: .8rem; font-variant-numeric: tabular-nums; }
.findings :is(td, th) { padding: 3px 4px !important; text-align: left !important;
  border: solid var(--border-color-primary) !important; border-width: 0 0 1px !important; }
@media (max-width: 1000px) {
  .half { flex: 1 1 0 !important; }
  .half .form > * { min-width: 45% !important; }
  .half :is(.findings, .virtual-row, .virtual-row *) { font-size: .7rem !important; }
  .half .virtual-row .cell-wrap { padding: 3px !important; }
  .half th span { font-size: .62rem; }
}
.findings tbody tr { cursor: pointer; }
.virtual-row { font-size: .8rem; font-variant-numeric: tabular-nums; }
th span { font-size: .72rem; word-break: normal !important; }
input[data-testid="number-input"] { width: 6.4em !important; }
.cell-wrap { padding: 3px 6px !important; word-break: normal !important; }
.min_value, .max_value, .label-clear-button, button[role="tab"], span[data-testid="block-info"] {
  color: var(--body-text-color) !important;
}
"""

_LINK = "query => { history.replaceState(null, '', '?' + query); }"
"""Makes the address of the page a link to what it shows."""


@dataclasses.dataclass
class _Session:
    """What one open page holds.

    Attributes:
        cases: Its files by name.
        shown: The radiograph on the page.
        finding: The finding on the page.
        listed: Names of the test radiographs in the table.
    """

    cases: dict[str, Case] = dataclasses.field(default_factory=dict)
    shown: Case | None = None
    finding: str = ""
    listed: list[str] = dataclasses.field(default_factory=list)


class _Panel(NamedTuple):
    """The components that show a model's prediction."""

    image: gr.Image
    cut: gr.Slider
    table: gr.HTML
    findings: gr.DownloadButton
    boxes: gr.DownloadButton


_ROW_CLICKED = """element.addEventListener("click", event =>
  trigger("click", {finding: event.target.closest("tr")?.cells[0].innerText ?? ""}));"""


def theme() -> gr.themes.Base:
    """Returns the look of the page; its fonts are those of the machine."""
    fonts = ("system-ui", "sans-serif")
    sizes = dict.fromkeys(("text_size", "spacing_size", "radius_size"), "sm")
    return gr.themes.Base(font=fonts, font_mono=fonts, **sizes)


def build(models: Sequence[ViewedModel], splits: Sequence[ScoredSplit] = ()) -> gr.Blocks:
    """Returns the page.

    Args:
        models: One or two models.
        splits: Of each model the scored test radiographs, to browse; or none.
    """
    return _Page(models, splits).blocks


class _Page:
    """The components and what happens when they are used."""

    def __init__(self, models: Sequence[ViewedModel], splits: Sequence[ScoredSplit]) -> None:
        self.models, self.splits = models, splits
        with gr.Blocks(
            title="jaxcxr", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True
        ) as self.blocks:
            gr.HTML(_header(models), padding=False)
            self.session = gr.State(_Session())
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=260, elem_classes="half"):
                    with gr.Tabs():
                        if splits:
                            with gr.Tab("Test radiographs", id="browse"):
                                self._add_browser()
                        with gr.Tab("Your radiographs", id="read") as self.reader:
                            self._add_reader()
                    self._add_choices()
                    tables = [_findings_table()] if len(models) == 1 else []
                with gr.Column(scale=3, min_width=380, elem_classes="half"):
                    self.caption = gr.HTML(_NOTHING, padding=False)
                    with gr.Row(equal_height=False):
                        self.panels = [self._add_panel(model, *tables) for model in models]
                    self._add_display()
            self._connect()
            if splits:
                self._connect_browser()

    def _add_reader(self) -> None:
        self.files = gr.File(
            label=f"PNG, JPEG, TIFF, BMP or DICOM; up to {MAX_FILES} files",
            file_count="multiple",
            height=150,
        )
        self.radiograph = gr.Dropdown([], label="Radiograph", interactive=True)
        self.problems = gr.HTML("", padding=False)

    def _add_browser(self) -> None:
        defaults = Filter(self.splits[0].findings()[0])
        choices = {
            "outcome": (OUTCOMES, "Outcome"),
            "box": (("Hit", "Miss"), "Box"),
            "view": (("PA", "AP"), "View"),
            "sex": (("F", "M"), "Sex"),
        }
        with gr.Row():
            self.filters: dict[str, Any] = {
                name: gr.Dropdown(
                    [ALL, *values],
                    value=ALL,
                    label=label,
                    min_width=66,
                    scale=1 + (name == "outcome"),
                )
                for name, (values, label) in choices.items()
            }
        with gr.Row():
            for name, label in (("min_age", "Age from"), ("max_age", "Age to")):
                value = getattr(defaults, name)
                self.filters[name] = gr.Number(value, label=label, precision=0, min_width=70)
            self.filters["sort"] = gr.Dropdown(
                [*SORTS], value=defaults.sort, label="Sort by", min_width=180, scale=2
            )
        self.listing = gr.Dataframe(
            headers=_LISTED,
            column_widths=["36%", "15%", "15%", "14%", "20%"],
            interactive=False,
            max_height=230,
            show_label=False,
            buttons=[],
        )
        self.count = gr.HTML("", padding=False)
        with gr.Row():
            self.previous = gr.Button("Previous", size="sm", min_width=90)
            self.next = gr.Button("Next", size="sm", min_width=90)
        self.image, self.query = gr.Textbox(visible=False), gr.Textbox(visible=False)

    def _add_choices(self) -> None:
        names = dict.fromkeys(
            name for model in self.models for name in model.predictor.named_findings
        )
        if self.splits:
            names = dict.fromkeys(self.splits[0].findings()) | names
        first = self.models[0]
        sources = [
            name for name in first.sources if all(name in model.sources for model in self.models)
        ]
        self.finding = gr.Dropdown(
            [(_words(name), name) for name in names], value=next(iter(names)), label="Finding"
        )
        with gr.Row():
            self.source = gr.Radio(sources, value=first.maps.source, label="Heat map", scale=2)
            self.flip = gr.Checkbox(first.maps.flip, label="Average with mirror image")

    def _add_panel(self, model: ViewedModel, table: gr.HTML | None = None) -> _Panel:
        with gr.Column(min_width=200):
            image = gr.Image(
                label=model.name,
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_classes="radiograph",
            )
            cut = gr.Slider(0, 0.99, 0.7, step=0.01, label=f"{model.name}: cut of the heat map")
            table = table or _findings_table()
            with gr.Row():
                findings = gr.DownloadButton("Findings (CSV)", size="sm", interactive=False)
                boxes = gr.DownloadButton("Boxes (CSV)", size="sm", interactive=False)
        return _Panel(image, cut, table, findings, boxes)

    def _add_display(self) -> None:
        defaults = Display()
        with gr.Row():
            self.display = [
                gr.Slider(0, 1, defaults.opacity, step=0.05, label="Heat map's opacity"),
                gr.Slider(1, 255, defaults.window, step=1, label="Window"),
                gr.Slider(0, 255, defaults.level, step=0.5, label="Level"),
                gr.Checkbox(defaults.above_cut, label="Heat above the cut only"),
            ]

    def _connect(self) -> None:
        maps = [self.source, self.flip]
        shown = [self.session, self.caption, *(each for panel in self.panels for each in panel)]
        look = [self.session, self.finding, *self.display]
        self.shown = [*shown, self.radiograph, self.finding, self.problems]
        self.files.change(
            self.read, [self.files, *maps, *look], self.shown, show_progress_on=self.caption
        )
        gr.on(
            [self.radiograph.input, self.reader.select],
            self.choose,
            [self.radiograph, *maps, *look],
            self.shown,
            show_progress="hidden",
        )
        self.finding.input(self.choose_finding, look, self.shown, show_progress="hidden")
        gr.on(
            [self.source.input, self.flip.input], self.change_maps, [*maps, *look], self.shown,
            show_progress_on=self.caption,
        )  # fmt: skip
        for panel in self.panels:
            panel.table.click(self.choose_row, look, self.shown, show_progress="hidden")
        gr.on(
            [each.input for each in (*self.display, *(panel.cut for panel in self.panels))],
            self.draw,
            [*look, *(panel.cut for panel in self.panels)],
            [each for panel in self.panels for each in (panel.image, panel.boxes)],
            show_progress="hidden",
            trigger_mode="always_last",
        )

    def _connect_browser(self) -> None:
        filters = [self.finding, *self.filters.values()]
        look = [self.session, self.finding, *self.display]
        opened = [self.image, self.source, self.flip, *look]
        listed = {
            "fn": self.list_cases,
            "inputs": [self.session, self.image, *filters],
            "outputs": [self.session, self.listing, self.count, self.query],
            "show_progress": "hidden",
        }
        link = {"fn": None, "inputs": self.query, "js": _LINK}
        gr.on([component.input for component in filters], **listed).then(**link)
        picked = [
            self.listing.select(self.pick_row, None, self.image, show_progress="hidden"),
            *(
                button.click(step, [self.session, self.image], self.image, show_progress="hidden")
                for button, step in ((self.previous, _previous), (self.next, _next))
            ),
        ]
        for event in picked:
            event.then(self.open, opened, self.shown, show_progress_on=self.caption).then(
                **{**listed, "outputs": [self.query], "fn": self.link}
            ).then(**link)
        self.blocks.load(
            self.begin,
            [self.session, self.source, self.flip, *self.display],
            [*self.shown, self.listing, self.count, self.image, self.query, *filters],
            show_progress_on=self.caption,
        ).then(**link)

    def read(
        self,
        files: list[str] | None,
        source: str,
        flip: bool,
        session: _Session,
        finding: str,
        *display: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008, Gradio's way
    ) -> dict[Any, Any]:
        """Reads and predicts the files that the page holds now."""
        maps, problems, cases = Maps(source, flip), [], {}
        known = {case.source: case for case in session.cases.values()}
        files = files or []
        if len(files) > MAX_FILES:
            problems.append(f"{len(files)} files; the first {MAX_FILES} are read")
        for file in progress.tqdm(files[:MAX_FILES], desc="Reading and predicting", unit="files"):
            name = _distinct(Path(file).name, cases)
            case = known.get(str(file)) or read_case(self.models, Path(file), name, maps)
            if isinstance(case, UserError):
                problems.append(str(case))
            else:
                cases[name] = case
        session.cases = cases
        session.shown = next(iter(cases.values()), None)
        if session.shown:
            rows = session.shown.predictions[0].table()
            reached = rows[rows["probability"] >= rows["operating_point"]]
            finding = (rows if reached.empty else reached).index[0]
        updates = self.show(session, finding, *display)
        first_name = next(iter(cases), None)
        return updates | {
            self.radiograph: gr.Dropdown([*cases], value=first_name),
            self.problems: "".join(f"<p class='problem'>{html.escape(p)}</p>" for p in problems),
        }

    # Gradio reports an input also where the keyboard leaves a list as it was: the cut stays then.
    def choose(
        self, name: str | None, source: str, flip: bool, session: _Session, *look: Any
    ) -> dict[Any, Any]:
        """Shows one of the page's files."""
        before = session.shown
        if name in session.cases:
            session.shown = session.cases[name].with_maps(self.models, Maps(source, flip))
        return {self.session: session} if session.shown is before else self.show(session, *look)

    def choose_finding(self, session: _Session, finding: str, *display: Any) -> dict[Any, Any]:
        """Shows another finding."""
        same = finding == session.finding
        return {self.session: session} if same else self.show(session, finding, *display)

    def change_maps(self, source: str, flip: bool, session: _Session, *look: Any) -> dict[Any, Any]:
        """Predicts what the page holds again, with other heat maps."""
        maps, shown = Maps(source, flip), session.shown
        for name, case in session.cases.items():
            session.cases[name] = case.with_maps(self.models, maps)
        if shown:
            own = session.cases.get(shown.name)
            is_own = own is not None and own.source == shown.source
            session.shown = own if is_own else shown.with_maps(self.models, maps)
        return self.show(session, *look)

    def choose_row(
        self, event: gr.EventData, session: _Session, finding: str, *display: Any
    ) -> dict[Any, Any]:
        """Shows the finding whose row is clicked."""
        names = (name for model in self.models for name in model.predictor.named_findings)
        finding = next((name for name in names if _words(name) == event.finding), finding)
        return self.show(session, finding, *display)

    def show(self, session: _Session, finding: str, *display: Any) -> dict[Any, Any]:
        """Shows a finding of the radiograph on the page, cut where the model's rule has it."""
        case, session.finding = session.shown, finding
        updates: dict[Any, Any] = {self.session: session, self.finding: finding}
        if case is None:
            empty = {self.caption: _NOTHING}
            for panel in self.panels:
                empty |= {panel.image: None, panel.table: ""}
            return updates | empty
        cuts = []
        for index, (model, prediction, panel) in enumerate(
            zip(self.models, case.predictions, self.panels, strict=True)
        ):
            own = own_name(finding, prediction)
            cuts.append(first_cut(model, case, prediction, own) if own else 0)
            held = [*session.cases.values()] if case in session.cases.values() else [case]
            points = model.predictor.operating_points
            rows = [finding_table(one.predictions[index], points, {}) for one in held]
            path = _written(pd.concat(rows).drop(columns="overlay"), "findings.csv")
            updates |= {
                panel.cut: cuts[-1],
                panel.table: finding_rows(prediction).to_html(
                    index=False, border=0, classes="findings"
                ),
                panel.findings: gr.DownloadButton(value=path, interactive=True),
            }
        drawn = self.draw(session, finding, *display, *cuts)
        if session.shown is not case:  # another event was quicker, and shows its own
            return {self.session: session}
        return updates | {self.caption: _caption(case)} | drawn

    def draw(self, session: _Session, finding: str, *numbers: Any) -> dict[Any, Any]:
        """Draws the radiograph with the finding's heat map and its boxes at the cuts."""
        case, updates = session.shown, {}
        if case is None:
            return {panel.image: None for panel in self.panels}
        display, cuts = Display(*numbers[: len(self.display)]), numbers[len(self.display) :]
        for model, prediction, panel, cut in zip(
            self.models, case.predictions, self.panels, cuts, strict=True
        ):
            own = own_name(finding, prediction)
            drawn = picture(model, case, prediction, own, cut, display)
            boxes = boxes_at(model, case, prediction, own, cut) if own else pd.DataFrame()
            path = _written(tables.box_table(boxes), "boxes.csv")
            shown = f"{_words(finding)}" if own else f"no {_words(finding)}: not predicted"
            updates |= {
                panel.image: gr.Image(drawn, label=f"{model.name}: {shown}"),
                panel.boxes: gr.DownloadButton(value=path, interactive=own is not None),
            }
        return updates

    def begin(
        self, request: gr.Request, session: _Session, source: str, flip: bool, *display: Any
    ) -> Iterator[dict[Any, Any]]:
        """Shows what the page's address names: the list, then a radiograph."""
        given = dict(request.query_params)
        chosen = self._chosen(given)
        filters = dict(zip((self.finding, *self.filters.values()), chosen, strict=True))
        yield filters | self.list_cases(session, "", *chosen)
        if session.shown:  # a file was quicker
            return
        image = given.get("image") or next(iter(session.listed), "")
        opened = self.open(image, source, flip, session, chosen.finding, *display)
        yield opened | {self.image: image, self.query: self.link(session, image, *chosen)}

    def _chosen(self, given: Mapping[str, str]) -> Filter:
        """Returns the filters of an address; misspelled ones are as on a new page."""
        findings = self.splits[0].findings()
        choices = {"finding": findings} | {
            name: [choice for _, choice in getattr(component, "choices", [])]
            for name, component in self.filters.items()
        }
        ages = {k: int(v) for k, v in given.items() if k.endswith("_age") and v.isdigit()}
        words = {k: v for k, v in given.items() if v in choices.get(k, [])}
        return Filter(**{"finding": findings[0], **words, **ages})

    def list_cases(
        self, session: _Session, image: str, finding: str, *filters: Any
    ) -> dict[Any, Any]:
        """Lists the test radiographs that pass the filters."""
        split = self.splits[0]
        if finding not in split.findings():
            raise gr.Error(f"{html.escape(finding)} is not scored", print_exception=False)
        table = split.table(Filter(finding, *filters))
        session.listed = table["Image"].tolist()
        count = f"{len(table):,} of {len(split.labels):,} test radiographs"
        count += f"; the first {MAX_ROWS:,} are listed" if len(table) > MAX_ROWS else ""
        count += (
            f". {_words(finding)}: operating point {number(split.threshold(finding))}; a box is a "
            f"hit at IoU > {HIT_IOU}. {OUTCOMES[0]} is TP, and so on."
        )
        rows = table.head(MAX_ROWS)
        rows = rows.assign(**{name: rows[name].map(number) for name in ("Probability", "IoU")})
        people = rows["Age"].astype(str) + " " + rows["Sex"] + " " + rows["View"]
        rows = rows.assign(Outcome=rows["Outcome"].map(_initials), Patient=people)
        return {
            self.session: session,
            self.listing: rows[[*_COLUMNS]].set_axis(_LISTED, axis=1),
            self.count: f"<p class='note'>{count}</p>",
            self.query: self.link(session, image, finding, *filters),
        }

    def link(self, session: _Session, image: str, *filters: Any) -> str:
        """Returns the query of the page's address."""
        default = Filter(filters[0])
        chosen = Filter(*filters)._asdict()
        given = {k: v for k, v in chosen.items() if k == "finding" or v != getattr(default, k)}
        return urlencode(given | ({"image": image} if image else {}))

    def pick_row(self, event: gr.SelectData) -> str:
        """Returns the radiograph whose row is clicked."""
        return event.row_value[0]

    def open(
        self, image: str, source: str, flip: bool, session: _Session, *look: Any
    ) -> dict[Any, Any]:
        """Shows a test radiograph, unless another was chosen while it was predicted."""
        if not image:
            return self.show(session, *look)
        before = session.shown
        try:
            prepared = [split.prepared(image) for split in self.splits]
        except UserError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from error
        boxes = self.splits[0].boxes_of(image)
        case = Case.predict(self.models, image, "", prepared, Maps(source, flip), boxes)
        if session.shown is not before:
            return {self.session: session}
        session.shown = case
        return self.show(session, *look)


_COLUMNS = ("Image", "Probability", "Outcome", "IoU", "Patient")
_LISTED = ["Image", "Prob.", "Result", "IoU", "Patient"]

_NOTHING = "<p class='note'>No radiograph yet: drop a file, or choose a test radiograph.</p>"


def _findings_table() -> gr.HTML:
    return gr.HTML("", js_on_load=_ROW_CLICKED, padding=False)


def _header(models: Sequence[ViewedModel]) -> str:
    described = []
    for name, predictor in ((model.name, model.predictor) for model in models):
        facts = str(predictor).replace(f", {predictor.folder}", "")
        described.append(f"{name}: {facts.removeprefix('Predictor(').removesuffix(')')}")
    synthetic = ", ".join(model.name for model in models if model.predictor.synthetic)
    warning = f"<p class='warning'>{html.escape(synthetic)}: {SYNTHETIC}</p>" if synthetic else ""
    title = f"<h1>jaxcxr <small>{html.escape('; '.join(described))}</small></h1>"
    return f"{title}<p><b>{RESEARCH_ONLY}</b></p>{warning}"


def _caption(case: Case) -> str:
    radiograph = case.predictions[0].radiograph
    parts = [case.name, f"{radiograph.width} × {radiograph.height} pixels", *radiograph.notes]
    signs = ["<span class='predicted'>predicted box at the cut</span>"]
    signs += ["<span class='annotated'>annotated box</span>"] if len(case.annotated) else []
    signs += [f"{REACHED} reaches the operating point"]
    return f"<p class='note'><b>{html.escape('; '.join(parts))}</b> {' '.join(signs)}</p>"


def _written(table: pd.DataFrame, name: str) -> Path:
    """Writes a file to download; each has its own folder, as events of a page may overlap."""
    path = Path(tempfile.mkdtemp()) / name
    tables.write(table, path)
    return path


def _words(finding: str) -> str:
    return finding.replace("_", " ")


def _initials(outcome: str) -> str:
    return "".join(word[0].upper() for word in outcome.split())


def _distinct(name: str, others: Mapping[str, Any]) -> str:
    names = (f"{name} ({k})" if k else name for k in range(len(others) + 1))
    return next(each for each in names if each not in others)


def _previous(session: _Session, image: str) -> str:
    return _beside(session, image, -1)


def _next(session: _Session, image: str) -> str:
    return _beside(session, image, 1)


def _beside(session: _Session, image: str, step: int) -> str:
    listed = session.listed
    if image not in listed:
        return next(iter(listed), image)
    return listed[min(max(listed.index(image) + step, 0), len(listed) - 1)]
