"""Synthetic chest radiographs ("phantoms") in the layout of an NIH release.

For people without the data, for tests, and for experiments in which the truth is known. They are
drawings: no score on them says anything about patients.
"""

from jaxcxr.data.phantom.radiograph import Phantom, draw_radiograph
from jaxcxr.data.phantom.release import MARKER, plan_release, write_release

__all__ = ["MARKER", "Phantom", "draw_radiograph", "plan_release", "write_release"]
