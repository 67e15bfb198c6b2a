"""What all tests share."""

import signal

from tests.dicom_files import write_dicom  # noqa: F401, a fixture

# A shell's background jobs ignore Ctrl-C, as do the programs they start; the tests send it to some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SLOW_FOLDERS = ("tests", "training", "runs", "reporting")


def pytest_collection_modifyitems(items):
    """Puts files that take long first: one at the end would keep one worker busy alone."""
    items.sort(key=lambda item: item.path.parent.name not in _SLOW_FOLDERS)
