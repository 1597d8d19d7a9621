"""The launch scripts: the commands that they run, wrong flags, and shellcheck."""

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments import jax_settings

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"
SCRIPTS = ["local.sh", "slurm.sbatch", "tpu_vm.sh", "refresh_constraints.sh"]
TRAIN = ["--config=experiments/configs/rnn.py", "--workdir=runs/with space"]
SLICE = ["--name=slice", "--zone=us-west4-a"]


def _run(script, *arguments, **environment):
    return subprocess.run(
        [str(LAUNCH / script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | environment,
    )


def _commands(done):
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_scripts_pass_shellcheck():
    tool = pathlib.Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [str(tool), *(str(LAUNCH / name) for name in SCRIPTS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_stop_at_the_first_error_and_can_be_run(script):
    assert os.access(LAUNCH / script, os.X_OK)
    assert "\nset -euo pipefail\n" in (LAUNCH / script).read_text()
    assert "--dry-run" in (LAUNCH / script).read_text()


def test_local_dry_run_is_one_command_that_keeps_spaces():
    (command,) = _commands(_run("local.sh", "--dry-run", *TRAIN, "--config.data.name=gtzan"))
    assert command == ["python", "-m", "experiments.train", *TRAIN, "--config.data.name=gtzan"]


def test_local_dry_run_gives_every_process_its_number():
    done = _run("local.sh", "--dry-run", "--processes=3", *TRAIN, MGR_JAX_PORT="4321")
    commands = _commands(done)
    assert [c[-2:] for c in commands] == [[f"--process_id={i}", "&"] for i in range(3)]
    for command in commands:
        assert {"--distributed", "--num_processes=3"} < set(command)
        assert "--coordinator_address=127.0.0.1:4321" in command


def _nvidia_smi(folder, count):
    """Write an `nvidia-smi` of a host with so many GPUs; return the search path with it."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nseq 0 {count - 1}\n")
    tool.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("processes", "chosen", "shares"),
    [
        (4, None, ["0", "1", "2", "3"]),
        (2, None, ["0,1", "2,3"]),
        (2, "2,3", ["2", "3"]),  # As in half a node of Slurm.
        (2, "GPU-a,GPU-b,GPU-c,GPU-d", ["GPU-a,GPU-b", "GPU-c,GPU-d"]),
    ],
)
def test_local_divides_the_gpus_among_the_processes(tmp_path, processes, chosen, shares):
    variables = {"PATH": _nvidia_smi(tmp_path, 4), "MGR_JAX_PORT": "1"}
    if chosen:
        variables["CUDA_VISIBLE_DEVICES"] = chosen
    commands = _commands(
        _run("local.sh", "--dry-run", f"--processes={processes}", *TRAIN, **variables)
    )
    assert [command[1] for command in commands] == [f"CUDA_VISIBLE_DEVICES={s}" for s in shares]


@pytest.mark.parametrize("processes", [3, 5])
def test_local_refuses_processes_that_cannot_share_the_gpus(tmp_path, processes):
    variables = {"PATH": _nvidia_smi(tmp_path, 4), "MGR_JAX_PORT": "1"}
    done = _run("local.sh", "--dry-run", f"--processes={processes}", *TRAIN, **variables)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"--processes is {processes}" in done.stderr and "4 GPU(s)" in done.stderr


def test_local_without_gpus_leaves_the_devices_to_jax():
    for chosen in ("", "NoDevFiles"):
        done = _run(
            "local.sh", "--dry-run", "--processes=2", *TRAIN, MGR_JAX_PORT="1",
            CUDA_VISIBLE_DEVICES=chosen,
        )  # fmt: skip
        assert "CUDA_VISIBLE_DEVICES=" not in done.stdout and len(_commands(done)) == 2


def test_local_exports_the_memory_settings_of_the_commands(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/bash\nenv | grep ^MALLOC_\n")
    python.chmod(0o755)
    done = _run("local.sh", *TRAIN, PYTHON=str(python), MALLOC_MMAP_MAX_="5")
    assert done.returncode == 0, done.stderr
    ours = {name: str(value) for name, (_, value) in jax_settings._MALLOPT.items()}
    exported = dict(line.split("=") for line in done.stdout.splitlines())
    assert exported == ours | {"MALLOC_MMAP_MAX_": "5"}  # What the user sets stays.


def test_slurm_dry_run_follows_the_number_of_tasks():
    (one,) = _commands(_run("slurm.sbatch", "--dry-run", *TRAIN))
    assert one == ["srun", "--kill-on-bad-exit=1", "python", "-m", "experiments.train", *TRAIN]
    (two,) = _commands(_run("slurm.sbatch", "--dry-run", *TRAIN, SLURM_NTASKS="2"))
    assert two == [*one, "--distributed"]


def test_slurm_requests_gpus_and_passes_the_cpus_on(tmp_path):
    text = (LAUNCH / "slurm.sbatch").read_text()
    assert "\n#SBATCH --gpus-per-node=1\n" in text
    (tmp_path / "srun").write_text("#!/bin/sh\necho cpus $SRUN_CPUS_PER_TASK\n")
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    job = {"SLURM_SUBMIT_DIR": str(LAUNCH.parent), "SLURM_CPUS_PER_TASK": "8"}
    done = _run("slurm.sbatch", *TRAIN, PATH=path, **job)
    assert done.returncode == 0 and "cpus 8\n" in done.stdout, done.stderr


def test_tpu_vm_dry_run_creates_sets_up_runs_and_deletes():
    create = _run("tpu_vm.sh", "create", *SLICE, "--type=v5litepod-16", "--spot", "--dry-run")
    (request,) = _commands(create)
    assert request[:6] == ["gcloud", "compute", "tpus", "queued-resources", "create", "slice"]
    assert {"--spot", "--accelerator-type=v5litepod-16", "--zone=us-west4-a"} < set(request)
    assert "--runtime-version=v2-alpha-tpuv5-lite" in request
    archive, copy, install = _commands(_run("tpu_vm.sh", "setup", *SLICE, "--dry-run"))
    assert archive[0] == "git" and "scp" in copy and "--worker=all" in copy
    assert "jax[tpu]" in install[-1]
    (run,) = _commands(_run("tpu_vm.sh", "run", *SLICE, "--dry-run", "--", *TRAIN))
    assert "experiments.train" in run[-1] and "--distributed" in run[-1]
    assert shlex.quote(TRAIN[1]) in run[-1] or TRAIN[1].replace(" ", "\\ ") in run[-1]
    status = _commands(_run("tpu_vm.sh", "status", *SLICE, "--dry-run"))
    assert len(status) == 2
    (logs,) = _commands(_run("tpu_vm.sh", "logs", *SLICE, "--project=p-1", "--dry-run"))
    assert "--project=p-1" in logs
    (delete,) = _commands(_run("tpu_vm.sh", "delete", *SLICE, "--dry-run"))
    assert delete[4:6] == ["delete", "slice"]


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        ("local.sh", ["--dry-run", TRAIN[0]], "--workdir"),
        ("local.sh", ["--dry-run", TRAIN[1]], "--config"),
        ("local.sh", ["--dry-run", "--processes=0", *TRAIN], "--processes"),
        ("local.sh", ["--dry-run", "--processes=1;ls", *TRAIN], "--processes"),
        ("local.sh", ["--dry-run", "stray", *TRAIN], "stray"),
        ("slurm.sbatch", ["--dry-run", TRAIN[0]], "--workdir"),
        ("slurm.sbatch", ["--dry-run", "stray", *TRAIN], "stray"),
        ("tpu_vm.sh", ["start", *SLICE], "start"),
        ("tpu_vm.sh", ["create", "--zone=us-west4-a"], "--name"),
        ("tpu_vm.sh", ["create", "--name=a b", "--zone=us-west4-a"], "--name"),
        ("tpu_vm.sh", ["create", "--name=slice", "--zone=mars"], "--zone"),
        ("tpu_vm.sh", ["create", *SLICE, "--dry-run", "--type=h100"], "--type"),
        ("tpu_vm.sh", ["create", *SLICE, "--project=$(ls)"], "--project"),
        ("tpu_vm.sh", ["run", *SLICE, "--dry-run", "--", TRAIN[0]], "--workdir"),
        ("tpu_vm.sh", ["delete", *SLICE, "--dry-run", "--", TRAIN[0]], "run"),
        ("tpu_vm.sh", ["delete", *SLICE, "--force"], "--force"),
    ],
)
def test_scripts_refuse_in_one_line_that_names_the_flag(script, arguments, named):
    done = _run(script, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert named in done.stderr


def test_tpu_vm_takes_the_place_of_a_lost_slice(tmp_path):
    """With a `gcloud` that logs its arguments: a suspended slice is deleted and requested again."""
    log = tmp_path / "log"
    (tmp_path / "states").write_text("SUSPENDED\nACTIVE\n")
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(
        "#!/bin/bash\n"
        f'echo "$4" >> {log}\n'
        f'[ "$4" = describe ] && sed -n 1p {tmp_path}/states && sed -i 1d {tmp_path}/states\n'
        "exit 0\n"
    )
    gcloud.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = _run("tpu_vm.sh", "create", *SLICE, "--type=v6e-8", PATH=path)
    assert done.returncode == 0, done.stderr
    assert log.read_text().split() == ["describe", "delete", "create", "describe"]


def test_constraints_pin_what_the_package_and_the_page_need_above_their_lower_bounds():
    project = tomllib.loads((LAUNCH.parent / "pyproject.toml").read_text())["project"]
    lines = (LAUNCH / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines)}
    needed = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    for requirement in map(Requirement, needed):
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"}):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_constraints_pin_what_the_page_needs_in_turn():
    if not importlib.util.find_spec("gradio"):
        pytest.skip("needs the extra app: pip install -e '.[app]'")
    pins = (LAUNCH / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in pins}
    version = re.search(r"FROM python:([\d.]+)", (LAUNCH / "Dockerfile").read_text())[1]
    environment = {"extra": "", "python_version": version, "python_full_version": f"{version}.0"}
    rest, seen = ["gradio", "fastapi", "uvicorn"], set()
    while rest:
        name = canonicalize_name(rest.pop())
        if name not in seen:
            seen.add(name)
            requires = map(Requirement, importlib.metadata.requires(name) or ())
            rest += [r.name for r in requires if not r.marker or r.marker.evaluate(environment)]
    assert seen <= pinned
