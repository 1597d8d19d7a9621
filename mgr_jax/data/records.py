"""The outcome of decoding a track."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """The outcome of decoding one track.

    Attributes:
      id: the track.
      length: samples of the clip that are audio; the rest is padding.
      scale: full scale of the row: above 1 for a file whose samples exceed +-1.
      note: what is odd about a file that was read; empty if nothing.
      error: why the track is skipped; empty if it was read.
      source: hash of the file that it was decoded from; empty if there is none.
      digest: hash of the row with all else that it is used with; empty if it is not checked.
    """

    id: str
    length: int = 0
    scale: float = 1.0
    note: str = ""
    error: str = ""
    source: str = ""
    digest: str = ""
