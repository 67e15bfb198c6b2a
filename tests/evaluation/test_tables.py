import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.findings import FINDINGS

KNOWN = [f"{number:08}_000.png" for number in range(30)]
HEADER = ",".join(["Image Index", *FINDINGS])
BOX_HEADER = "Image Index,Finding Label,x,y,w,h,score"


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


def test_predictions_survive_writing_and_reading(tmp_path):
    rng = np.random.default_rng(0)
    written = pd.DataFrame(rng.random((20, 14)), columns=list(FINDINGS))
    written.insert(0, "Image Index", KNOWN[:20])
    tables.write(written, tmp_path / "new" / "predictions.csv")
    read = tables.read_predictions(tmp_path / "new" / "predictions.csv", KNOWN)
    pd.testing.assert_frame_equal(read, written, check_exact=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["predictions.csv"]


def test_columns_may_have_a_prefix_another_order_and_nihs_spelling(tmp_path):
    path = write(tmp_path, "prob_Hernia,Image Index,prob_Infiltrate", f"0.5,{KNOWN[0]},1", "")
    read = tables.read_predictions(path, KNOWN)
    assert list(read) == ["Image Index", "Infiltration", "Hernia"]
    assert read.iloc[0].tolist() == [KNOWN[0], 1.0, 0.5]
    missing = tables.missing_findings(read)
    assert len(missing) == 12
    assert "Mass" in missing


def test_a_spreadsheets_byte_order_mark_and_line_ends_are_read(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\n{KNOWN[3]},{probabilities()}\r\n".encode())
    assert tables.read_predictions(path, KNOWN)["Mass"].tolist() == [0.25]


def test_every_wrong_row_is_named_with_its_line(tmp_path):
    path = write(
        tmp_path,
        HEADER,
        f"{KNOWN[0]},{probabilities()}",
        f"stranger.png,{probabilities()}",
        f"{KNOWN[1]},{probabilities(Mass='nan')}",
        "",
        f"{KNOWN[2]},{probabilities(Edema=1.5)}",
        f"{KNOWN[3]},{probabilities(Hernia='')}",
        f"{KNOWN[4]},{probabilities(Nodule='high', Effusion=-0.1)}",
        f"{KNOWN[0]},{probabilities()}",
    )
    assert refusal(tables.read_predictions, path) == [
        f"{path}, line 3: image 'stranger.png' is not in the release's metadata",
        f"{path}, line 4: Mass is 'nan'; expected a probability from 0 to 1",
        f"{path}, line 6: Edema is '1.5'; expected a probability from 0 to 1",
        f"{path}, line 7: Hernia is ''; expected a probability from 0 to 1",
        f"{path}, line 8: Effusion is '-0.1'; expected a probability from 0 to 1",
        f"{path}, line 8: Nodule is 'high'; expected a probability from 0 to 1",
        f"{path}, line 9: image '{KNOWN[0]}' is also in line 2; keep one",
    ]


def test_many_problems_are_counted(tmp_path):
    lines = [f"{name},{probabilities(Mass='inf')}" for name in KNOWN]
    told = refusal(tables.read_predictions, write(tmp_path, HEADER, *lines))
    assert len(told) == 11
    assert told[-1].endswith("and 20 more such problems")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Image Index,Mass,Fracture", "line 1: column 'Fracture' is none of the 14 findings"),
        (",Image Index,Mass", "line 1: column '' is none of the 14 findings"),
        ("Image Index,Mass,prob_Mass", "line 1: column 'prob_Mass' is the second one for Mass"),
        ("Image,Mass,Edema", "line 1: 0 columns are called 'Image Index'; expected one"),
        ("Image Index", "line 1: no column is a finding"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, header, problem):
    row = ",".join(["0.5"] * len(header.split(",")))
    told = refusal(tables.read_predictions, write(tmp_path, header, row))
    assert any(problem in line for line in told)


def test_rows_of_another_length_are_refused(tmp_path):
    path = write(tmp_path, "Image Index,Mass,Edema", f"{KNOWN[0]},0.5,0.5,0.5", f"{KNOWN[1]},0.5")
    assert refusal(tables.read_predictions, path) == [
        f"{path}, line 2: 4 values where the header has 3 columns",
        f"{path}, line 3: 2 values where the header has 3 columns",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no lines"),
        (b"\n\n", "has no lines"),
        (HEADER.encode(), "has no rows below its header"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is no text in UTF-8"),
        (b'Image Index,Mass\n"a.png,0.5\n', "is no valid CSV file"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, content, problem):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    (told,) = refusal(tables.read_predictions, path)
    assert problem in told


def test_missing_file_and_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tables.read_predictions, tmp_path / "no.csv")[0]
    assert "Is a directory" in refusal(tables.read_boxes, tmp_path)[0]


def test_boxes_survive_writing_and_reading(tmp_path):
    boxes = pd.DataFrame(
        {
            "image_name": [KNOWN[0], KNOWN[0]],
            "finding": ["Mass", "Infiltration"],
            "x": [1.5, 0.0],
            "y": [2.25, 1 / 3],
            "w": [10.0, 1e-3],
            "h": [20.0, 5.0],
            "score": [0.5, 1.0],
        }
    )
    tables.write(tables.box_table(boxes), tmp_path / "boxes.csv")
    assert (tmp_path / "boxes.csv").read_text().splitlines()[0] == BOX_HEADER
    read = tables.read_boxes(tmp_path / "boxes.csv", KNOWN)
    pd.testing.assert_frame_equal(read, boxes, check_exact=True)


def test_boxes_need_no_score_and_no_rows(tmp_path):
    path = write(tmp_path, "Image Index,Finding Label,x,y,w,h", f"{KNOWN[0]},Infiltrate,1,2,3,4")
    read = tables.read_boxes(path, KNOWN)
    assert read["finding"].tolist() == ["Infiltration"]
    assert np.isnan(read["score"]).all()
    assert tables.read_boxes(write(tmp_path, BOX_HEADER), KNOWN).empty


def test_every_wrong_box_is_named_with_its_line(tmp_path):
    path = write(
        tmp_path,
        BOX_HEADER,
        f"{KNOWN[0]},Mass,1,2,3,4,0.5",
        "stranger.png,Fracture,1,2,3,4,0.5",
        f"{KNOWN[0]},Mass,1,2,0,4,0.5",
        f"{KNOWN[0]},Mass,nan,2,3,-4,0.5",
        f"{KNOWN[0]},Mass,1,2,3,5,1.5",
        f"{KNOWN[0]},Mass,1,2,3,4,0.5",
    )
    assert refusal(tables.read_boxes, path) == [
        f"{path}, line 3: image 'stranger.png' is not in the release's metadata",
        f"{path}, line 3: finding 'Fracture' is none of the 14 findings",
        f"{path}, line 4: w is '0'; expected a number of pixels above 0",
        f"{path}, line 5: x is 'nan'; expected a number of pixels",
        f"{path}, line 5: h is '-4'; expected a number of pixels above 0",
        f"{path}, line 6: score is '1.5'; expected a score from 0 to 1",
        f"{path}, line 7: box '{KNOWN[0]},Mass,1,2,3,4' is also in line 2; keep one",
    ]


def test_wrong_box_header_is_refused(tmp_path):
    path = write(tmp_path, "Image Index,Finding Label,x1,y1,x2,y2", f"{KNOWN[0]},Mass,1,2,3,4")
    (told,) = refusal(tables.read_boxes, path)
    assert "expected 'Image Index,Finding Label,x,y,w,h,score'" in told


def test_spellings_of_one_row_are_repeats(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text(f"Image Index,Mass\n{KNOWN[0]},0.1\n{KNOWN[0]} ,0.2\n")
    assert "is also in line 2" in refusal(tables.read_predictions, path)[0]
    header = "Image Index,Finding Label,x,y,w,h"
    path.write_text(f"{header}\n{KNOWN[0]},Mass,75.0,45,25,51\n{KNOWN[0]},Mass,75,45.00,25,51\n")
    assert "is also in line 2" in refusal(tables.read_boxes, path)[0]


def test_a_box_far_beyond_any_image_is_refused(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text(f"Image Index,Finding Label,x,y,w,h\n{KNOWN[0]},Mass,0,0,1e300,5\n")
    assert "w is '1e300'" in refusal(tables.read_boxes, path)[0]


@pytest.mark.parametrize("text", ["1_0", "0_1", "0x1", "٠", "1e", ".", "+", "nan", "infinity", ""])
def test_what_people_do_not_write_as_numbers_is_refused(tmp_path, text):
    path = write(tmp_path, "Image Index,Mass", f"{KNOWN[0]},{text}")
    assert refusal(tables.read_predictions, path) == [
        f"{path}, line 2: Mass is {text!r}; expected a probability from 0 to 1"
    ]


@pytest.mark.parametrize("text", ["1", "1.", ".5", " 0.5", "5e-1", "+0.5", "5E-324"])
def test_ways_to_write_a_number(tmp_path, text):
    path = write(tmp_path, "Image Index,Mass", f"{KNOWN[0]},{text}")
    assert tables.read_predictions(path, KNOWN)["Mass"].tolist() == [float(text)]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_file_that_ends_within_a_line_is_refused(tmp_path, cut):
    path = write(tmp_path, "Image Index,Mass", f"{KNOWN[0]},0.125")
    path.write_text(path.read_text()[:-cut])  # 0.12 is another number
    assert "line 2: the file ends within this line" in refusal(tables.read_predictions, path)[0]


@pytest.mark.parametrize("filling", ["x", ",", '""'])
def test_endless_lines_are_refused(tmp_path, filling):
    path = write(tmp_path, "Image Index,Mass", KNOWN[0] + filling * 10**6 + ",0.5")
    (told,) = refusal(tables.read_predictions, path)
    assert "line 2: " in told
    assert "characters; expected at most 10,000" in told


def test_lines_of_spaces_are_blank(tmp_path):
    path = write(tmp_path, "Image Index,Mass", "  ", f"{KNOWN[0]},0.5  ", " ")
    assert tables.read_predictions(path, KNOWN)["Mass"].tolist() == [0.5]
