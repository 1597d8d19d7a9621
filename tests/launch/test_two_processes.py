"""Launch scripts with two real processes of two CPU devices each, against one process of four."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from mgr_jax.workdir import read_metrics
from tests.experiments import ends, recordings

REPO = pathlib.Path(__file__).parents[2]
EPOCHS = 2
# A stub of Slurm's `srun`: starts the tasks, forwards signals to them, and exits with the largest
# of their exit codes.
SRUN = """#!/usr/bin/env bash
[[ "$1" == --kill-on-bad-exit=1 ]] || exit 2
shift
pids=()
trap 'kill -TERM "${pids[@]}"' TERM
for ((task = 0; task < SLURM_NTASKS; task++)); do
  SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
  pids+=($!)
done
echo $$ > "$STUB/srun.pid"
code=0
for pid in "${pids[@]}"; do
  while :; do
    ended=0
    wait "$pid" || ended=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  ((ended > code)) && code=$ended
done
exit "$code"
"""
SCONTROL = '#!/usr/bin/env bash\necho "$*" >> "$STUB/scontrol.log"\n'


@pytest.fixture(scope="module", name="site")
def _site(tmp_path_factory):
    """A folder with recordings, stubs of Slurm's commands, and the flags of a run."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder, recordings.make_arguments(folder / "recordings")


def start(site, script, workdir, *flags, num_devices, epochs=EPOCHS, **environment):
    """Start a launch script that trains into `workdir`."""
    folder, arguments = site
    command = [REPO / "launch" / script, *arguments, *flags, f"--workdir={workdir}"]
    return subprocess.Popen(
        [*map(str, command), f"--config.train.num_epochs={epochs}"],
        cwd=folder,
        env=os.environ
        | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PYTHONUNBUFFERED": "1",
            "STUB": str(folder),
            "XDG_CACHE_HOME": str(folder),
            "JAX_NUM_CPU_DEVICES": str(num_devices),
            "JAX_COMPILATION_CACHE_DIR": str(REPO / ".pytest_cache" / "xla"),
        }
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    """Wait for a script; return what it printed, and check its exit code."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return out


def start_slurm(site, workdir, **more):
    """Start `slurm.sbatch` as the job of two tasks on this host."""
    job = {
        # JAX takes the coordinator's port from the number of the job.
        "SLURM_JOB_ID": str(random.randrange(2**20)),
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_SUBMIT_DIR": str(REPO),
    }
    return start(site, "slurm.sbatch", workdir, num_devices=2, **job, **more)


@pytest.fixture(scope="module", name="alone")
def _alone(site, tmp_path_factory):
    """Workdir of one process, by `local.sh`."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    finish(start(site, "local.sh", workdir, num_devices=4))
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--config.data.on_device=True",),
        ("--config.data.on_device=True", "--config.train.parallelism=pmap"),
    ],
)
def test_local_of_two_processes_ends_as_one(site, alone, tmp_path, more):
    out = finish(start(site, "local.sh", tmp_path / "run", "--processes=2", *more, num_devices=2))
    assert out.count("epoch   2/2") == 1  # The second process is silent.
    ends.assert_close_end(tmp_path / "run", alone, 1e-5)
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == [4, 8]


@pytest.mark.slow
def test_slurm_of_two_tasks_ends_as_one_process(site, alone, tmp_path):
    out = finish(start_slurm(site, tmp_path / "run"))
    assert "2 task(s)" in out and out.count("epoch   2/2") == 1
    ends.assert_close_end(tmp_path / "run", alone, 1e-5)
    assert not (site[0] / "scontrol.log").exists()


@pytest.mark.slow
def test_slurm_preempted_saves_requeues_and_ends_as_one_process(site, tmp_path):
    folder, workdir = site[0], tmp_path / "run"
    process = start_slurm(site, workdir, epochs=30)
    for line in process.stdout:
        if line.startswith("epoch   3"):
            break
    # Slurm sends the signal to the tasks, through `srun`, not to the script.
    os.kill(int((folder / "srun.pid").read_text()), signal.SIGTERM)
    out = finish(process, code=75)
    assert "back to the queue" in out
    assert (folder / "scontrol.log").read_text().startswith("requeue ")
    (folder / "scontrol.log").unlink()
    assert (workdir / "STATUS").read_text() == "preempted\n"
    out = finish(start_slurm(site, workdir, epochs=30, SLURM_RESTART_COUNT="1"))
    assert "start 2" in out and "resume    from step" in out
    finish(start(site, "local.sh", tmp_path / "alone", num_devices=4, epochs=30))
    ends.assert_close_end(workdir, tmp_path / "alone", 1e-5)


@pytest.mark.slow
def test_local_ends_all_processes_when_one_fails(site, tmp_path):
    process = start(
        site,
        "local.sh",
        tmp_path / "run",
        "--processes=2",
        "--config.train.batch_size=3",
        num_devices=2,
    )
    began = time.monotonic()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "train.batch_size" in err
    assert time.monotonic() - began < 100  # They do not wait for a peer's heartbeat.
