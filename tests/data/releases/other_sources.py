"""Tiny releases of other hospitals in the exact form in which they are published."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.dicom_files import dicom_bytes

CHEXPERT_LABELS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
CHEXPERT_HEADER = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT_LABELS}"
VINDR_LABELS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,Tuberculosis,"
    "Other diseases,No finding"
)


def write_picture(path: Path, number: int, size: int = 40) -> None:
    """Writes a radiograph of noise, JPEG or DICOM by the name's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (size, size), np.uint8)
    if path.suffix == ".jpg":
        Image.fromarray(noise).save(path)
    else:
        elements = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"}
        elements |= {
            "PatientSex": ("F", "M", "O", "")[number % 4],
            "PatientAge": (age := f"{number % 50 + 40:03}Y"),
        }
        content = dicom_bytes(noise, 8, **elements)
        path.write_bytes(content.replace(age.encode(), age[1:3].encode() + b"  "))  # as RSNA


def chexpert_line(patient: int, split: str, labels: str, view: str = "Frontal,AP") -> str:
    kind = view.partition(",")[0].lower()
    place = f"CheXpert-v1.0-small/{split}/patient{patient:05d}/study1/view1_{kind}.jpg"
    return f"{place},{'Female' if patient % 2 else 'Male'},{40 + patient},{view},{labels}"


def write_chexpert(root: Path, patients: int = 12) -> Path:
    """Writes `patients` frontal radiographs for training, and three for validation.

    The first three of train.csv have uncertain, blank and "No Finding" labels, the others
    cardiomegaly in turns; patient 2 has a lateral radiograph, too.
    """
    lines = [
        chexpert_line(1, "train", ",,-1.0,,,1.0,,,,,0.0,,,"),
        chexpert_line(2, "train", "1.0,,,,,,,,,0.0,,,,1.0", "Frontal,PA"),
        chexpert_line(2, "train", "1.0,,,,,,,,,,,,,", "Lateral,"),
        chexpert_line(3, "train", ",,,1.0,,,-1.0,,,,1.0,,,"),
    ]
    for patient in range(4, patients + 1):
        labels = f",,{patient % 2}.0,,,,,,,,{1 - patient % 2}.0,,,"
        lines.append(chexpert_line(patient, "train", labels))
    valid = [
        chexpert_line(64541 + case, "valid", f"0.0,0.0,{case % 2}.0" + ",0.0" * 11)
        for case in range(3)
    ]
    for name, rows in (("train", lines), ("valid", valid)):
        (root / name).mkdir(parents=True)
        (root / f"{name}.csv").write_text("\n".join([CHEXPERT_HEADER, *rows]) + "\n")
        for number, row in enumerate(rows):
            place = row.partition(",")[0].removeprefix("CheXpert-v1.0-small/")
            write_picture(root / place, number)
    return root


def vindr_line(*present: str) -> str:
    return ",".join("1" if name in present else "0" for name in VINDR_LABELS.split(","))


def write_vindr(root: Path, images: int = 10) -> Path:
    """Writes `images` for training, by three radiologists each, and four for testing.

    Of the first, two radiologists see an effusion and one sees cardiomegaly; the others have
    cardiomegaly in turns by all three. In the test set the first two have atelectasis.
    """
    rows, boxes, tests, test_boxes = [], [], [], []
    for number in range(images):
        name = f"{number:032x}"
        write_picture(root / "train" / f"{name}.dicom", number)
        for reader in ("R8", "R9", "R10"):
            present = ["Cardiomegaly"] if number % 2 else []
            if number == 0:
                present = (
                    ["Cardiomegaly", "Nodule/Mass"] if reader == "R8" else ["Pleural effusion"]
                )
            rows.append(f"{name},{reader},{vindr_line(*(present or ['No finding']))}")
            for finding in present or ["No finding"]:
                corners = ",,," if finding == "No finding" else "2.5,3.0,10.5,9.0"
                boxes.append(f"{name},{reader},{finding},{corners}")
    for number in range(4):
        name = f"{number + 1000:032x}"
        write_picture(root / "test" / f"{name}.dicom", number + 1000)
        finding = "Atelectasis" if number < 2 else "No finding"
        tests.append(f"{name},{vindr_line(finding)}")
        corners = ",,," if number >= 2 else f"1,2,{8 + number},9"
        test_boxes.append(f"{name},{finding},{corners}")
    place = root / "annotations"
    place.mkdir()
    test_labels = VINDR_LABELS.replace("Other diseases", "Other disease")
    corners = "x_min,y_min,x_max,y_max"
    for name, header, lines in (
        ("image_labels_train", f"image_id,rad_id,{VINDR_LABELS}", rows),
        ("annotations_train", f"image_id,rad_id,class_name,{corners}", boxes),
        ("image_labels_test", f"image_id,{test_labels}", tests),
        ("annotations_test", f"image_id,class_name,{corners}", test_boxes),
    ):
        (place / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")
    return root


def write_rsna(root: Path, images: int = 12) -> Path:
    """Writes `images`, of which every third has pneumonia; the first has two boxes."""
    labels, classes = [], []
    for number in range(images):
        name = f"{number:08x}-0000-4000-8000-00000000000{number % 10}"
        write_picture(root / "stage_2_train_images" / f"{name}.dcm", number)
        if number % 3:
            labels.append(f"{name},,,,,0")
            kind = "Normal" if number % 2 else "No Lung Opacity / Not Normal"
            classes.append(f"{name},{kind}")
        else:
            labels += [f"{name},2.0,3.0,8.0,6.0,1"] + [f"{name},12.0,3.0,8.0,6.0,1"] * (number == 0)
            classes += [f"{name},Lung Opacity"] * (2 if number == 0 else 1)
    for file, header, lines in (
        ("stage_2_train_labels.csv", "patientId,x,y,width,height,Target", labels),
        ("stage_2_detailed_class_info.csv", "patientId,class", classes),
    ):
        (root / file).write_text("\n".join([header, *lines]) + "\n")
    return root
