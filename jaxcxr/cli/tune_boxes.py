"""Chooses where a network's heat maps are cut to boxes, from annotated radiographs.

    jaxcxr tune_boxes --model runs/baseline --data_dir DIR

DIR holds a prepared dataset with annotated boxes (jaxcxr prepare) other than the one that the
model is scored on: a phantom of another seed, or annotated radiographs of one's own. A rule that is
chosen with the boxes to be scored gives scores that are too high (docs/scoring.md), so the run's
own dataset is refused, here and by jaxcxr evaluate_boxes.

Writes MODEL/box_rule.csv: for every finding the scale and the threshold (0..1) with the greatest
mean IoU, the boxes it was chosen with and their mean IoU. Findings with fewer boxes than
--min_boxes share the threshold that is best for all. jaxcxr evaluate_boxes and jaxcxr
predict draw boxes by it unless --threshold or --scale is given.
"""

# isort: split
import pandas as pd
from absl import flags

from jaxcxr.cli import box_flags, models
from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError
from jaxcxr.evaluation.box_tuning import CUTS, boxes_digest, tune_boxes, write_box_rule
from jaxcxr.evaluation.boxes import BoxRule, Scale

models.define_model_flags()
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where jaxcxr prepare wrote the other dataset.", required=True
)
_MIN_BOXES = flags.DEFINE_integer(
    "min_boxes", 10, "Boxes that a finding needs for a threshold of its own.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Radiographs at a time.", lower_bound=1)
flags.adopt_module_key_flags(box_flags)
define_import_flag()


def main() -> None:
    """Chooses the rule of a model and writes it."""
    from jaxcxr.inference.predictor import load_model
    from jaxcxr.inference.prepared import annotated_cases, draw_boxes
    from jaxcxr.runs.workdir import data_facts

    use_device_per_core()
    folder = models.own_folder("export it to a folder, where box_rule.csv can be written")
    predictor, prepared = models.prepared_data(load_model(folder), _DATA_DIR.value)
    if data_facts(folder).get("fingerprint") == prepared.facts["fingerprint"]:
        raise UserError(
            f"{_DATA_DIR.value} holds the dataset that the run is scored on, whose boxes must not "
            "choose the rule; expected another one: a phantom of another seed, or annotated "
            "radiographs of your own",
            argument="data_dir",
        )
    maps = box_flags.asked_for()
    cases = annotated_cases(
        maps.predict_fn(predictor),
        prepared.test,
        _BATCH_SIZE.value,
        predictor.square,
        predictor.named_findings,
    )
    predicted: dict[Scale, pd.DataFrame] = {
        scale: draw_boxes(cases, BoxRule(scale, CUTS)) for scale in maps.scales(predictor)
    }
    table = tune_boxes(cases.annotated, predicted, min_boxes=_MIN_BOXES.value)
    path = folder / "box_rule.csv"
    write_box_rule(table, str(maps), boxes_digest(cases.annotated), path)
    print(table[table["boxes"] > 0].to_string(index=False, float_format="%.3f"))
    print(f"written to {path}")
