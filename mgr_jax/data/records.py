"""What became of a track when it was decoded."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What became of one track.

    Attributes:
      id: the track.
      length: samples of the clip that are audio; the rest is padding.
      scale: full scale of the row: above 1 for a file whose samples exceed +-1.
      note: what is odd about a file that was read; empty if nothing.
      error: why the track is skipped; empty if it was read.
    """

    id: str
    length: int = 0
    scale: float = 1.0
    note: str = ""
    error: str = ""
