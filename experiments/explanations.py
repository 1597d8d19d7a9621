"""Files of explanations for `predict --explain=DIR`: a picture and JSON for each song."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from experiments import command
from mgr_jax.escape import printable

_LONGEST = 225  # Bytes of a name.


class Folder:
    """The folder of `--explain`; files of songs of the same name get numbers."""

    def __init__(self, path: str, system: Any = None, method: str = "auto") -> None:
        """Takes the folder, which is made, and for genres system and method.

        Raises `UserError` if it cannot be written, or the method does not suit the system.
        """
        if not path or os.path.isfile(path):
            raise command.UserError(f"--explain {path or '(empty)'}: give the name of a folder")
        command.output_file("explain", os.path.join(path, "song.png"))
        if system is not None:
            from mgr_jax.explain import track

            track.choose_method(system, method)
        self._path, self._taken = path, set()

    def write(self, path: str, explain: Callable[[str], Any]) -> tuple[str, Any]:
        """Explain a song, write its files, and return the path of the picture and the value."""
        explanation = explain(path)
        # Names of files have at most 255 bytes, endings included.
        own = os.path.basename(path)
        if len(os.fsencode(own)) > _LONGEST:
            own = os.fsencode(own)[:_LONGEST].decode("utf-8", "ignore")
        name, number = own, 1
        while name in self._taken:
            number += 1
            name = f"{own}.{number}"
        self._taken.add(name)
        stem = os.path.join(self._path, f"{name}.explanation")
        title = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
        with command.naming_file(stem):
            with open(f"{stem}.png", "wb") as file:
                file.write(explanation.to_png(printable(title)))
            with open(f"{stem}.json", "w", encoding="utf-8") as file:
                json.dump({"path": path} | explanation.to_json(), file)
        return f"{stem}.png", explanation


def add(lines: Iterable[str], style: str, picture: str, explanation: Any) -> list[str]:
    """Return the lines of a prediction with those of its explanation; a CSV stays as it is."""
    result = list(lines)
    if style == "table":
        shown = f"explained {explanation.describe()}", f"picture   {picture}"
        result += [f"  {printable(line)}" for line in shown]
    elif style == "json":
        values = {"picture": picture, "values": f"{picture.removesuffix('.png')}.json"}
        result[0] = json.dumps(json.loads(result[0]) | {"explanation": values})
    return result
