"""The commands as processes: their start, and a reader that closes the pipe."""

import pathlib

import pytest
import soundfile

from tests.experiments import commands

pytestmark = pytest.mark.e2e

# Every module of `experiments` that is a command.
COMMANDS = [
    path.stem
    for path in sorted((commands.REPO / "experiments").glob("*.py"))
    if "command.run(main)" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_names_an_unknown_flag_in_one_line(cache, command):
    _, err = commands.run_process(cache, command, "--workdri=x", code=1)
    assert err.startswith("error: ") and err.count("\n") == 1 and "workdri" in err


def test_predict_ends_when_the_reader_of_its_output_has_closed_it(cache, trained, tmp_path):
    song = pathlib.Path(tmp_path, "song.wav")
    soundfile.write(song, [0.1, -0.1] * 4000, 8000)
    with commands.start(cache, "predict", f"--workdir={trained}", song) as process:
        process.stdout.close()
        assert process.wait(timeout=120) == 141
        assert process.stderr.read() == "devices   1 cpu\n"
