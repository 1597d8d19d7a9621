"""One recording of a data set."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """One recording of a data set.

    Attributes:
      id: unique name, the same on every machine.
      path: file that holds the audio, or `band:...` for the embedded data set.
      label: genre.
      artist: who plays; empty where unknown.
      recording: tracks of the same recording share this; empty where unknown.
      part: `train`, `valid` or `test` if the data set comes with a split, else empty.
    """

    id: str
    path: str
    label: str
    artist: str = ""
    recording: str = ""
    part: str = ""
