import json

import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.tables import read_table, require_findings
from jaxcxr.findings import FINDINGS

KNOWN = [f"{number:08}_000.png" for number in range(30)]
HEADER = ",".join(["Image Index", *FINDINGS])
BOX_HEADER = "Image Index,Finding Label,x,y,w,h"


def probabilities(**changes):
    return ",".join(str(changes.get(finding, 0.25)) for finding in FINDINGS)


def write(tmp_path, *lines):
    path = tmp_path / "file.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(read, path):
    with pytest.raises(UserError) as refused:
        read(path, KNOWN)
    return str(refused.value).splitlines()


def test_predictions_are_equal_after_writing_and_reading(tmp_path):
    rng = np.random.default_rng(0)
    written = pd.DataFrame(rng.random((20, 14)), columns=list(FINDINGS))
    written.insert(0, "Image Index", KNOWN[:20])
    tables.write(written, tmp_path / "new" / "predictions.csv")
    read, notes = tables.read_predictions(tmp_path / "new" / "predictions.csv", KNOWN)
    assert notes == []
    pd.testing.assert_frame_equal(read, written, check_exact=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["predictions.csv"]


def test_tables_are_equal_after_writing_and_reading(tmp_path):
    numbers = np.random.default_rng(0).random(1000)
    numbers[:2] = np.nan, 1
    table = pd.DataFrame({"finding": "NA", "auc": numbers, "loss": 1 / numbers})
    table.loc[3, "loss"] = np.inf
    tables.write(table, tmp_path / "a.csv")
    for numbers in (["auc", "loss"], None):
        read = read_table(tmp_path / "a.csv", ["finding"], numbers, "again")
        assert list(read["finding"]) == ["NA"] * 1000
        np.testing.assert_array_equal(read[["auc", "loss"]], table[["auc", "loss"]])


@pytest.mark.parametrize(
    "content",
    ["", "auc\n", "auc\n0.", "auc,b\n0.5,1\n0.5\n", "auc\nhigh\n", f"auc\n{'x' * 9000}\n",
     'auc\n"0.6\n', "loss\n0.5\n", b"\x89PNG\r\n\x1a\n\xff\xfe", None],
)  # fmt: skip
def test_damaged_table_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"a\.csv is damaged \(.*\); again$") as caught:
        require_findings(
            path, read_table(path, [], ["auc"], "again").assign(finding="Mass"), "again"
        )
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no lines"),
        (" \n\n", "has no lines"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not UTF-8 text"),
        ('Mass\n0.5\n"0.6\n', "is not a valid CSV file"),
        ("Mass\n0.5\n0.", "line 3: the file ends within this line"),
        ("Mass,b\n0.5,1\n0.5\n", "line 3: 1 values where the header has 2 columns"),
        ("Mass\n0.5\n0.5,1\n", "line 3: 2 values where the header has 1 columns"),
    ],
)
def test_file_that_is_not_a_table_is_refused(tmp_path, text, problem):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read, what in ((tables.read_predictions, "predictions"), (tables.read_boxes, "boxes")):
        (shown,) = refusal(read, path)
        assert problem in shown
        assert shown.endswith(f"; expected a CSV file of {what}")


def test_missing_files_and_folders_are_refused(tmp_path):
    assert "No such file" in refusal(tables.read_predictions, tmp_path / "no.csv")[0]
    assert "Is a directory" in refusal(tables.read_boxes, tmp_path)[0]


def test_columns_may_have_a_prefix_another_order_and_nihs_spelling(tmp_path):
    path = write(tmp_path, "prob_Hernia,Image Index,prob_Infiltrate", f"0.5,{KNOWN[0]},1", "")
    read, _ = tables.read_predictions(path, KNOWN)
    assert list(read) == ["Image Index", "Infiltration", "Hernia"]
    assert read.iloc[0].tolist() == [KNOWN[0], 1.0, 0.5]


def test_byte_order_mark_crlf_and_blank_lines_are_read(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\n  \r\n{KNOWN[3]},{probabilities()} \r\n".encode())
    read, _ = tables.read_predictions(path, KNOWN)
    assert (read["Image Index"].tolist(), read["Mass"].tolist()) == ([KNOWN[3]], [0.25])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"stranger.png,{probabilities()}", "image 'stranger.png' is not in the release's"),
        (f"{KNOWN[1]},{probabilities(Mass='nan')}", "Mass is 'nan'; expected a probability"),
        (f"{KNOWN[2]},{probabilities(Edema=1.5)}", "Edema is '1.5'; expected a probability"),
        (f"{KNOWN[4]},{probabilities(Nodule='')}", "Nodule is ''; expected a probability"),
        (f"{KNOWN[4]},{probabilities(Effusion=-0.1)}", "Effusion is '-0.1'; expected a"),
        (f"{KNOWN[0]} ,{probabilities()}", f"image '{KNOWN[0]}' is also in an earlier line"),
    ],
)
def test_an_invalid_row_is_named_with_its_line(tmp_path, row, problem):
    path = write(tmp_path, HEADER, f"{KNOWN[0]},{probabilities()}", "", row)
    (shown,) = refusal(tables.read_predictions, path)
    assert shown.startswith(f"{path}, line 4: {problem}")


def test_more_invalid_rows_are_counted(tmp_path):
    lines = [f"{name},{probabilities(Mass='inf')}" for name in KNOWN]
    (shown,) = refusal(tables.read_predictions, write(tmp_path, HEADER, *lines))
    assert "line 2: Mass is 'inf'" in shown
    assert shown.endswith(" (and 29 more such lines)")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Image Index,Mass,prob_Mass", "line 1: column 'prob_Mass' is the second one for Mass"),
        ("Mass,Edema", "line 1: expected columns 'Image Index' and"),
        ("Image Index", "line 1: expected columns 'Image Index' and"),
        ("Image Index,Mass,Mass", "has two columns 'Mass'"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, header, problem):
    row = ",".join(["0.5"] * len(header.split(",")))
    (shown,) = refusal(tables.read_predictions, write(tmp_path, header, row))
    assert problem in shown


def test_predictions_without_rows_are_refused(tmp_path):
    assert "has no rows" in refusal(tables.read_predictions, write(tmp_path, HEADER))[0]


def test_other_columns_are_left_out_with_a_note(tmp_path):
    header = ",Image Index,Mass,No Finding,Fracture,"
    path = write(tmp_path, header, f"0,{KNOWN[1]},0.5,x,1,", f"1,{KNOWN[0]},0.25,,0,")
    read, notes = tables.read_predictions(path, KNOWN)
    assert read.to_numpy().tolist() == [[KNOWN[1], 0.5], [KNOWN[0], 0.25]]
    assert notes == [
        f"{path}: columns that are not one of the 14 findings: "
        "'Unnamed: 0', 'No Finding', 'Fracture'"
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["data/images/{}_000.png", "{}_000.png"],
        ["C:\\x\\{}_000.png", "{}_000"],
        ["{}_000.JPG", "a.b/{}_000.dcm"],
        ["/a/{}_000.dicom.gz", "a/b/{}_000"],
    ],
)
@pytest.mark.parametrize(("comma", "point"), [(",", "."), (";", ","), ("\t", ".")])
@pytest.mark.parametrize("image", ["Image Index", "file_name", ""])
def test_names_as_paths_and_the_dialects_of_csv(tmp_path, names, comma, point, image):
    rows = [["00000001", f"0{point}25"], ["00000002", f"1{point}0"]]
    lines = [comma.join([image, "Mass"])]
    lines += [comma.join([n.format(r[0]), r[1]]) for n, r in zip(names, rows, strict=True)]
    read, _ = tables.read_predictions(write(tmp_path, *lines), KNOWN)
    assert read.to_numpy().tolist() == [[KNOWN[1], 0.25], [KNOWN[2], 1.0]]


def test_ambiguous_and_repeated_names_are_refused(tmp_path):
    path = write(tmp_path, "Image Index,Mass", "a.png,0.5", "x/a.jpg,0.5")
    with pytest.raises(UserError, match=r"line 3: image 'x/a\.jpg' is also in an earlier line"):
        tables.read_predictions(path, ["a.png"])
    for known in (["a.dcm", "a.tif"], ["b/a.dcm", "c/a.png"]):
        with pytest.raises(UserError, match=r"line 2: image 'a\.png' is not in the"):
            tables.read_predictions(path, known)
    read, _ = tables.read_predictions(path, ["a.png", "a.jpg"])
    assert read["Image Index"].tolist() == ["a.png", "a.jpg"]
    path = write(tmp_path, "Image Index,Mass", "/d/p1/v.jpg,0.5", "/d/p2/v.jpg,0.5")
    read, _ = tables.read_predictions(path, ["p2/v.jpg", "p1/v.jpg"])
    assert read["Image Index"].tolist() == ["p1/v.jpg", "p2/v.jpg"]


BOX_FORMS = {
    "nih": ["Image Index,Finding Label,Bbox [x,y,w,h],,,", "{},Infiltrate,10.5,20,30,40,,,"],
    "spreadsheet": ["Image Index;Finding Label;Bbox [x;y;w;h];;;", "{};infiltrate;10,5;20;30;40"],
    "corners": ["image_id,class_name,x_min,y_min,x_max,y_max,n", "{},Infiltrate,10.5,20,40.5,60,7"],
    "torchvision": ["filename,label,x1,y1,x2,y2", "{},Infiltration,10.5,20,40.5,60"],
    "from_zero": ["path,class,x0,y0,x1,y1,score", "{},Infiltration,10.5,20,40.5,60,0.5"],
    "order": ["ymin,xmin,ymax,xmax,label,image", "20,10.5,60,40.5,Infiltration,{}"],
    "extents": ["image,finding,x,y,width,height,confidence", "{},Infiltration,10.5,20,30,40,0.5"],
    "sides": ["image,finding,left,top,right,bottom", "{},Infiltration,10.5,20,40.5,60"],
}  # fmt: skip


@pytest.mark.parametrize("form", BOX_FORMS)
def test_boxes_of_other_systems_are_read_by_their_header(tmp_path, form):
    header, row = BOX_FORMS[form]
    read, _ = tables.read_boxes(write(tmp_path, header, row.format(f"x/{KNOWN[0]}")), KNOWN)
    expected = [[KNOWN[0], "Infiltration", 10.5, 20, 30, 40]]
    assert read.drop(columns="score").to_numpy().tolist() == expected
    assert read["score"].isin([0.5]).all() == ("score" in header or "confidence" in header)


def test_corners_in_the_wrong_order_are_refused_by_line(tmp_path):
    rows = [f"{KNOWN[0]},Mass,1,2,3,4", f"{KNOWN[1]},Mass,30,20,10,50"]
    path = write(tmp_path, "image_id,class_name,x_min,y_min,x_max,y_max", *rows)
    (shown,) = refusal(tables.read_boxes, path)
    assert shown.endswith("line 3: x_max is '10'; expected more than x_min of the same box")


def test_boxes_of_other_findings_are_left_out_with_a_note(tmp_path):
    path = write(tmp_path, BOX_HEADER, f"{KNOWN[0]},Fracture,1,2,3,4", f"{KNOWN[0]},Mass,1,2,3,4")
    read, notes = tables.read_boxes(path, KNOWN)
    assert read["finding"].tolist() == ["Mass"]
    assert notes == [f"{path}: 1 boxes of other findings are left out: 'Fracture'"]


DATASET = {
    "images": [{"id": 7, "file_name": f"images/{KNOWN[3]}", "width": 512, "height": 256}],
    "categories": [{"id": 2, "name": "Pleural Effusion"}, {"id": 3, "name": "Rib"}],
}


def test_boxes_in_cocos_json_are_read(tmp_path):
    dataset, path = tmp_path / "dataset.json", tmp_path / "boxes.json"
    box = {"image_id": 7, "category_id": 2, "bbox": [1.5, 2, 3, 4]}
    row = [KNOWN[3], "Effusion", 1.5, 2, 3, 4, 0.5, 512, 256]
    path.write_text(json.dumps([{**box, "score": 0.5}, {**box, "category_id": 3, "score": 1}]))
    dataset.write_text(json.dumps({**DATASET, "annotations": [{**box, "area": 12, "id": 1}]}))
    read, notes = tables.read_boxes(path, KNOWN, coco_dataset=dataset)
    assert read.to_numpy().tolist() == [row]
    assert len(notes) == 1
    read, _ = tables.read_boxes(dataset, KNOWN)
    assert read.drop(columns="score").to_numpy().tolist() == [row[:6] + row[7:]]
    path.write_text(json.dumps([{**box, "image_id": KNOWN[3], "category_id": "Effusion"}]))
    assert tables.read_boxes(path, KNOWN)[0].iloc[0, :6].tolist() == row[:6]
    path.write_text("[]")
    assert tables.read_boxes(path, KNOWN)[0].empty


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"a": 1}', "is not a COCO file of boxes ('annotations')"),
        ("[1]", "is not a COCO file of boxes"),
        ('[{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}]', "image_id 7 is not a name"),
        ('[{"image_id": "a", "category_id": "Mass", "bbox": [1, 2, 3]}]', "is not a COCO file"),
        ('[{"image_id": "a", "category_id": "Mass", "bbox": [1, 2, 3, 4]}]', "entry 1: image 'a'"),
        (f'[{{"image_id": "{KNOWN[0]}", "category_id": "Mass", "bbox": [1, 2, NaN, 4]}}]',
         "entry 1: w is 'nan'; expected a number of pixels above 0"),
    ],
)  # fmt: skip
def test_wrong_json_is_refused(tmp_path, content, problem):
    (shown,) = refusal(tables.read_boxes, write(tmp_path, content))
    assert problem in shown


@pytest.mark.parametrize("columns", [["score"], ["score", "width", "height"]])
def test_boxes_are_equal_after_writing_and_reading(tmp_path, columns):
    boxes = pd.DataFrame({"image_name": KNOWN[0], "finding": ["Mass", "Infiltration"]})
    boxes[["x", "y", "w", "h"]] = [[1.5, 2.25, 10.0, 20.0], [0.0, 1 / 3, 1e-3, 5.0]]
    boxes[columns] = np.array([[0.5, 224, 256], [1, 224, 256]])[:, : len(columns)]
    tables.write(tables.box_table(boxes), tmp_path / "boxes.csv")
    header = (tmp_path / "boxes.csv").read_text().splitlines()[0]
    assert header == ",".join([BOX_HEADER, *columns])
    read, _ = tables.read_boxes(tmp_path / "boxes.csv", KNOWN)
    pd.testing.assert_frame_equal(read, boxes, check_exact=True)


def test_boxes_need_no_score_and_no_rows(tmp_path):
    path = write(tmp_path, BOX_HEADER, f"{KNOWN[0]},Infiltrate,1,2,3,4")
    read, _ = tables.read_boxes(path, KNOWN)
    assert read["finding"].tolist() == ["Infiltration"]
    assert np.isnan(read["score"]).all()
    nothing, _ = tables.read_boxes(write(tmp_path, BOX_HEADER), KNOWN)
    assert nothing.empty
    assert list(nothing) == ["image_name", "finding", "x", "y", "w", "h", "score"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("stranger.png,Mass,1,2,3,4,0.5", "image 'stranger.png' is not in the release's metadata"),
        (f"{KNOWN[0]},Mass,1,2,0,4,0.5", "w is '0'; expected a number of pixels above 0"),
        (f"{KNOWN[0]},Mass,nan,2,3,4,0.5", "x is 'nan'; expected a number of pixels"),
        (f"{KNOWN[0]},Mass,1,2,3,-4,0.5", "h is '-4'; expected a number of pixels above 0"),
        (f"{KNOWN[0]},Mass,1,2,3,5,1.5", "score is '1.5'; expected a score from 0 to 1"),
        (f"{KNOWN[0]},Mass,0,0,1e300,5,0.1", "w is '1e300'; expected a number of pixels above"),
        (f"{KNOWN[0]},Infiltration,1.0,2.00,3e0,4,0.6", f"the same box of image '{KNOWN[0]}' is"),
    ],
)
def test_an_invalid_box_is_named_with_its_line(tmp_path, row, problem):
    path = write(tmp_path, f"{BOX_HEADER},score", f"{KNOWN[0]},Infiltrate,1,2,3,4,0.5", row)
    (shown,) = refusal(tables.read_boxes, path)
    assert shown.startswith(f"{path}, line 3: {problem}")


@pytest.mark.parametrize("header", ["Image Index,Finding Label,x,y,x2,y2", f"{BOX_HEADER},width"])
def test_wrong_box_headers_are_refused(tmp_path, header):
    path = write(tmp_path, header, ",".join(["1"] * len(header.split(","))))
    (shown,) = refusal(tables.read_boxes, path)
    assert "expected 'Image Index,Finding Label,x,y,w,h,score,width,height'" in shown


def test_numbers_are_read_in_their_usual_spellings_only(tmp_path):
    usual = ["1", "1.", ".5", " 0.5", "5e-1", "+0.5", "5E-324"]
    path = write(tmp_path, "Image Index,Mass", *map(",".join, zip(KNOWN, usual, strict=False)))
    assert tables.read_predictions(path, KNOWN)[0]["Mass"].tolist() == [*map(float, usual)]
    for text in ["1_0", "0_1", "0x1", "٠", "1e", ".", "+", "infinity", ""]:
        (shown,) = refusal(
            tables.read_predictions, write(tmp_path, "Image Index,Mass", f"{KNOWN[0]},{text}")
        )
        assert shown.endswith(f"line 2: Mass is {text!r}; expected a probability from 0 to 1")


def test_labels_and_test_list_of_radiographs_by_name():
    names = ["a.png", "b.png", "c.png"]
    people = {"image_name": names, "patient": [3, 1, 2], "age": [30, 10, 20], "sex": [*"FMF"]}
    images = pd.DataFrame({**people, "view": "PA", **dict.fromkeys(FINDINGS, 0)})
    images = images.assign(Mass=[1, 0, 0], official_split=["train_val", "test", "test"])
    labels = tables.label_table(images, ["c.png", "a.png"])
    assert list(labels) == [*tables.PEOPLE, *FINDINGS]
    assert labels.iloc[:, :6].to_numpy().tolist() == [
        ["c.png", 2, 20, "F", "PA", 0],
        ["a.png", 3, 30, "F", "PA", 0],
    ]
    assert labels["Mass"].tolist() == [0, 1]
    assert tables.on_test_list(labels, images).tolist() == [True, False]
    assert tables.on_test_list(images[["image_name"]], images).tolist() == [False, True, True]
