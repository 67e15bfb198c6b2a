"""The programs that score files of any system, run as a user runs them, on metadata alone."""

import numpy as np
import pandas as pd
import pytest

from jaxcxr.findings import FINDINGS
from tests.programs import forked

COUNT, TRAIN_VAL = 60, 20
NAMES = [f"{number // 2:08}_{number % 2:03}.png" for number in range(COUNT)]
METADATA_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture(scope="module")
def launch():
    """Starts programs where neither JAX nor TensorFlow is installed: scoring a file needs none."""
    absent = ["jax", "flax", "tensorflow", "tensorflow_datasets", "torch"]
    with forked("evaluation.comparison", "reporting.figures", absent=absent) as launch:
        yield launch


@pytest.fixture(scope="module")
def truth():
    return np.random.default_rng(0).random((COUNT, 14)) < [*[0.3] * 13, 0]


@pytest.fixture(scope="module")
def release(tmp_path_factory, truth):
    root = tmp_path_factory.mktemp("release")
    rows = [METADATA_HEADER]
    for number, (name, present) in enumerate(zip(NAMES, truth, strict=True)):
        labels = "|".join(np.array(FINDINGS)[present]) or "No Finding"
        sex, view = "FM"[number // 2 % 2], ("PA", "AP")[number % 3 == 0]
        facts = f"{number % 2},{number // 2},{20 + number},{sex},{view},2500,2048,0.168,0.168"
        rows.append(f"{name},{labels},{facts}")
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(NAMES[:TRAIN_VAL]))
    (root / "test_list.txt").write_text("\n".join(NAMES[TRAIN_VAL:]))
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    boxes += [f"{NAMES[20]},Mass,100.5,200.25,80,90", f"{NAMES[21]},Infiltrate,300,300,200,300"]
    (root / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    return root


@pytest.fixture
def predictions(tmp_path, truth):
    scores = np.random.default_rng(1).random((COUNT, 14)) * 0.7 + 0.3 * truth
    table = pd.DataFrame(scores, columns=[f"prob_{finding}" for finding in FINDINGS])
    table.insert(0, "Image Index", NAMES)
    table.to_csv(tmp_path / "theirs.csv", index=False)
    return tmp_path / "theirs.csv"


def refused(done, *words):
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_file_of_probabilities_is_scored(launch, release, predictions, tmp_path):
    out = tmp_path / "scores"
    pd.read_csv(predictions).drop(columns="prob_Edema").to_csv(predictions, index=False)
    flags = [f"--predictions={predictions}", f"--release={release}", f"--out={out}"]
    done = launch("evaluate_auc", *flags, "--bootstraps=20")
    assert done.returncode == 0, done.stderr
    assert "60 radiographs, 40 of them among the 40 of the official test list" in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "one class only" in lines["Hernia"]
    assert "not in the file" in lines["Edema"]
    table = pd.read_csv(out / "auc.csv")
    assert list(table) == [
        "finding",
        "auc",
        "ci_low",
        "ci_high",
        "positives",
        "negatives",
        "unknown",
    ]
    assert list(table["finding"]) == [*FINDINGS, "Mean"]
    assert np.isnan(table["auc"][FINDINGS.index("Hernia")])
    assert (table["positives"] + table["negatives"])[:14].eq(COUNT).all()
    assert (out / "roc.png").read_bytes().startswith(b"\x89PNG")
    groups = pd.read_csv(out / "subgroups.csv")
    assert {"PA", "AP", "F", "M", "18-39"} <= set(groups["value"])


def test_the_official_test_list_alone(launch, release, predictions, tmp_path):
    flags = [f"--predictions={predictions}", f"--release={release}", "--bootstraps=20"]
    done = launch("evaluate_auc", *flags, f"--out={tmp_path / 'test'}", "--split=test")
    assert done.returncode == 0, done.stderr
    labels = pd.read_csv(tmp_path / "test" / "labels.csv")
    assert list(labels["Image Index"]) == NAMES[TRAIN_VAL:]
    table = pd.read_csv(predictions)
    table.iloc[:TRAIN_VAL].to_csv(predictions, index=False)
    refused(
        launch("evaluate_auc", *flags, f"--out={tmp_path / 'none'}", "--split=test"),
        "no radiograph of the official test list",
    )


def test_a_wrong_file_is_refused_and_nothing_written(launch, release, predictions, tmp_path):
    lines = predictions.read_text().splitlines()
    lines[5] = lines[5].replace(NAMES[4], "stranger.png")
    predictions.write_text("\n".join(lines) + "\n")
    flags = [f"--predictions={predictions}", f"--release={release}", f"--out={tmp_path / 'scores'}"]
    done = launch("evaluate_auc", *flags)
    refused(done, "line 6: image 'stranger.png'")
    assert done.returncode == 1
    assert not (tmp_path / "scores").exists()


def test_no_program_writes_over_what_it_scores(launch, release, predictions, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"Image Index,Finding Label,x,y,w,h\n{NAMES[20]},Mass,1,2,3,4\n")
    here = predictions.rename(tmp_path / "predictions.csv")
    annotated = tmp_path / "annotated_boxes.csv"
    annotated.write_bytes(boxes.read_bytes())
    there = {path: path.read_bytes() for path in (boxes, annotated, here)}
    release, words = (
        f"--release={release}",
        "would overwrite an input file; write elsewhere (--out)",
    )
    refused(launch("evaluate_auc", f"--predictions={here}", release, f"--out={tmp_path}"), words)
    for path in (boxes, annotated):
        refused(launch("evaluate_boxes", f"--boxes={path}", release, f"--out={tmp_path}"), words)
    refused(launch("compare", here, here, release, f"--out={here}"), words)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == there


@pytest.mark.parametrize("alone", [True, False])
def test_labels_of_some_radiographs_replace_the_releases(
    launch, release, predictions, tmp_path, truth, alone
):
    labels = tmp_path / "own.csv"
    rows = [
        f"x/{name},{('NO', 'YES')[int(row[4])]},1" for name, row in zip(NAMES, truth, strict=True)
    ]
    labels.write_text("\n".join(["path,Mass,Fracture", *rows[:30]]) + "\n")
    if alone:
        labels.write_text(labels.read_text().replace("x/", "").replace(".png", ""))
    flags = [f"--predictions={predictions}", f"--labels={labels}", f"--out={tmp_path / 'scores'}"]
    done = launch("evaluate_auc", *flags, *([] if alone else [f"--release={release}"]))
    assert done.returncode == 0, done.stderr
    assert f"{labels}: labels of 30 radiographs" in done.stdout
    assert "columns that are not used: 'Fracture'" in done.stdout
    assert "30 radiographs without labels are left out" in done.stdout
    table = pd.read_csv(tmp_path / "scores" / "auc.csv").set_index("finding")
    assert list(table.index) == ["Mass", "Mean"]
    present, scores = truth[:30, 4], pd.read_csv(predictions)["prob_Mass"][:30]
    pairs = scores.to_numpy()[present][:, None] - scores.to_numpy()[~present]
    assert table.loc["Mass", "auc"] == pytest.approx((pairs > 0).mean())
    groups = pd.read_csv(tmp_path / "scores" / "subgroups.csv")
    assert ("View Position" in set(groups["group"])) == (not alone)


@pytest.mark.parametrize(
    ("program", "flags", "words"),
    [
        ("evaluate_auc", ["--workdir=run"], "--model (or --workdir) and --data_dir to score"),
        (
            "evaluate_auc",
            ["--predictions=a.csv", "--release=r"],
            "--release (or --labels) and --out",
        ),
        ("evaluate_auc", ["--predictions=a.csv", "--release=no", "--out=o"], "no: no such folder"),
        (
            "evaluate_boxes",
            ["--workdir=no", "--data_dir=d", "--box_image_size=0x9"],
            "expected 224, 256x224, fraction or original",
        ),
        ("evaluate_boxes", [], "--boxes, --release and --out to score a file"),
        (
            "evaluate_boxes",
            ["--workdir=no", "--data_dir=d", "--threshold=x"],
            "from 0 to below 255",
        ),
        ("compare", ["a.csv", "--release=r"], "expected two: A.csv B.csv"),
    ],
)
def test_wrong_flags_are_refused(launch, program, flags, words):
    refused(launch(program, *flags), words)


def test_a_file_of_boxes_is_scored(launch, release, tmp_path):
    boxes = tmp_path / "theirs.csv"
    boxes.write_text(
        "Image Index,Finding Label,x,y,w,h,score\n"
        f"{NAMES[20]},Mass,100.5,200.25,80,90,0.9\n"
        f"{NAMES[20]},Edema,1,1,80,90,0.9\n"
    )
    out = tmp_path / "scores"
    flags = [f"--boxes={boxes}", f"--release={release}", f"--out={out}", "--bootstraps=9"]
    done = launch("evaluate_boxes", *flags)
    assert done.returncode == 0, done.stderr
    assert "2 boxes, 2 of them on the official test list" in done.stdout
    assert "warning" not in done.stderr
    assert "1 radiographs with annotated boxes have no predicted box" in done.stdout
    assert "1 predicted boxes are of findings that have no annotated box" in done.stdout
    table = pd.read_csv(out / "localization.csv")
    assert list(table) == ["finding", "metric", "threshold", "accuracy", "boxes", "afp"]
    of_finding = table.groupby("finding")["accuracy"].mean()
    assert (of_finding["Mass"], of_finding["Infiltration"], of_finding["Mean"]) == (1, 0, 0.5)
    assert set(pd.read_csv(out / "localization_published.csv")["metric"]) == {"IoU", "IoBB"}
    assert len(pd.read_csv(out / "localization_intervals.csv")) == len(table)
    assert len(pd.read_csv(out / "annotated_boxes.csv")) == 2


def boxes_in(tmp_path, width, height, columns=""):
    """Writes the annotated boxes as they are in images of another size."""
    path = tmp_path / "boxes.csv"
    size = np.array([width, height, width, height]) / 1024
    rows = [f"Image Index,Finding Label,x,y,w,h{columns and ',score,width,height'}"]
    for name, finding, box in (
        (NAMES[20], "Mass", [100.5, 200.25, 80, 90]),
        (NAMES[21], "Infiltration", [300, 300, 200, 300]),
    ):
        rows.append(f"{name},{finding},{','.join(map(str, box * size))}{columns}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("size", "columns", "flag"),
    [
        ((224, 224), "", "--box_image_size=224"),
        ((2500, 2048), "", "--box_image_size=original"),
        ((1, 1), "", "--box_image_size=fraction"),
        ((512, 256), ",0.5,512,256", "--seed=0"),
    ],
)
def test_boxes_in_pixels_of_another_size_are_scaled(launch, release, tmp_path, size, columns, flag):
    boxes = boxes_in(tmp_path, *size, columns)
    out = tmp_path / "scores"
    flags = [f"--boxes={boxes}", f"--release={release}", f"--out={out}", "--bootstraps=9", flag]
    done = launch("evaluate_boxes", *flags)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    table = pd.read_csv(out / "localization.csv").set_index(["finding", "metric", "threshold"])
    assert table.loc[("Mean", "IoU", 0.7), "accuracy"] == 1
    assert table.loc[("Mean", "IoBB", 0.9), "accuracy"] == 1


@pytest.mark.parametrize(
    ("size", "columns", "flags", "words"),
    [
        (768, "", [], "the default --box_image_size=1024, centers of boxes are at 0.75 (x) and"),
        (4000, "", [], "the default --box_image_size=1024, boxes end at 2.289 times the side"),
        (1024, "", ["--box_image_size=fraction"], "--box_image_size=fraction, boxes end at 600"),
        (1024, "", ["--box_image_size=9999"], "--box_image_size=9999, centers of boxes are at 0.1"),
        (1024, ",0.5,256,256", [], "the columns width and height, boxes end at 2.344 times"),
    ],
)
def test_boxes_in_unlikely_pixels_give_a_warning(
    launch, release, tmp_path, size, columns, flags, words
):
    boxes = boxes_in(tmp_path, size, size, columns)
    flags = [f"--boxes={boxes}", f"--release={release}", f"--out={tmp_path}/o", *flags]
    done = launch("evaluate_boxes", *flags, "--bootstraps=9")
    assert done.returncode == 0, done.stderr
    assert f"warning: {boxes}: by {words}" in done.stderr
    assert done.stderr.rstrip().endswith("that size of their images seems to be wrong")


def test_a_wrong_file_of_boxes_is_refused_and_nothing_written(launch, release, tmp_path):
    boxes = tmp_path / "theirs.csv"
    boxes.write_text(
        f"Image Index,Finding Label,x,y,w,h\n{NAMES[20]},Mass,1,2,3,4\n{NAMES[20]},Mass,1,2,,4\n"
    )
    flags = [f"--boxes={boxes}", f"--release={release}", f"--out={tmp_path / 'scores'}"]
    refused(launch("evaluate_boxes", *flags), "line 3: w is ''")
    assert not (tmp_path / "scores").exists()


def test_two_systems_are_compared(launch, release, predictions, tmp_path):
    other = pd.read_csv(predictions)
    other["prob_Mass"] = np.random.default_rng(2).random(COUNT)
    other.iloc[5:].to_csv(tmp_path / "other.csv", index=False)
    files = [predictions, tmp_path / "other.csv", f"--release={release}"]
    done = launch("compare", *files, "--bootstraps=20", f"--out={tmp_path / 'pairs.csv'}")
    assert done.returncode == 0, done.stderr
    assert "55 of its 60 radiographs compared" in done.stdout
    table = pd.read_csv(tmp_path / "pairs.csv").set_index("finding")
    assert table.loc["Mass", "difference"] > 0
    assert table.loc["Edema", "difference"] == 0
    assert table.loc["Edema", "p_value"] == 1
    assert np.isnan(table.loc["Hernia", "difference"])


def test_systems_of_several_runs_are_compared(launch, release, predictions, tmp_path, truth):
    for run, seed in (("b1", 5), ("b2", 6)):
        (tmp_path / run / "evaluation").mkdir(parents=True)
        scores = np.random.default_rng(seed).random((COUNT, 14))
        table = pd.DataFrame(scores, columns=[*FINDINGS]).assign(image=NAMES)
        table.to_csv(tmp_path / run / "evaluation" / "predictions.csv", index=False)
    systems = [f"--a={predictions}", f"--b={tmp_path}/b1,{tmp_path}/b2"]
    flags = [f"--release={release}", "--bootstraps=20", f"--out={tmp_path / 'pairs.csv'}"]
    done = launch("compare", *systems, *flags)
    assert done.returncode == 0, done.stderr
    assert "95 % with runs" in done.stdout
    table = pd.read_csv(tmp_path / "pairs.csv").set_index("finding")
    assert table.loc["Mass", "both_low"] <= table.loc["Mass", "difference"]
    assert table.loc["Mass", "sd_b"] > 0


def test_boxes_of_two_systems_are_compared(launch, release, tmp_path):
    right = boxes_in(tmp_path, 1024, 1024)
    corners = tmp_path / "corners.csv"
    corners.write_text(
        f"image,label,xmin,ymin,xmax,ymax\n{NAMES[20]},Mass,100.5,200.25,180.5,290\n"
    )
    flags = [f"--release={release}", "--bootstraps=20", f"--out={tmp_path / 'pairs.csv'}"]
    done = launch("compare", f"--boxes={right}", f"--boxes={corners}", *flags)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "pairs.csv").set_index(["finding", "metric", "threshold"])
    assert table.loc[("Infiltration", "IoU", 0.7), "difference"] == 1
    assert table.loc[("Mass", "IoU", 0.7), "difference"] == 0
    assert table.loc[("Mean", "IoU", 0.7), "difference"] == 0.5
    refused(launch("compare", f"--boxes={right}", f"--release={release}"), "1 systems are named")
    refused(launch("compare", right, right), "--release is required, or --labels")
