"""Several releases as one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from jaxcxr.data.releases.release import Release
from jaxcxr.errors import UserError


def combine(releases: Sequence[Release]) -> Release:
    """Returns the radiographs of all releases with a column source.

    Of several, patients are texts that begin with the source: those of two sources are never one.
    A source is called as its reader, or as its folder where two are of one reader.

    Raises:
        UserError: Two releases have a radiograph of the same name.
    """
    if len(releases) == 1:
        (release,) = releases
        images = release.images.assign(source=release.source)
        return dataclasses.replace(release, images=images)
    readers = Counter(release.source for release in releases)
    parts = []
    for release in releases:
        once = readers[release.source] == 1
        source = release.source if once else release.root.resolve().name
        patients = source + " " + release.images["patient"].astype(str)
        parts.append(release.images.assign(source=source, patient=patients))
    images = pd.concat(parts, ignore_index=True)
    names = images["image_name"]
    if repeated := list(names[names.duplicated()]):
        raise UserError(
            f"{len(repeated):,} radiographs are in two of the releases, for example "
            f"{repeated[0]}; a dataset can hold a name once"
        )
    return Release(
        root=releases[0].root,
        images=images,
        boxes=pd.concat([release.boxes for release in releases], ignore_index=True),
        image_paths={name: path for part in releases for name, path in part.image_paths.items()},
        archived={name: image for part in releases for name, image in part.archived.items()},
    )
