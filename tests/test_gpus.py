"""The GPUs of a machine and the share of a process, from the variables that clusters set."""

import jax
import pytest

from mgr_jax import gpus
from mgr_jax.errors import UserError
from mgr_jax.training import processes


def slurm_step(tasks_per_node, nodes=2, **more):
    """The variables of every task of a job step, `SLURM_TASKS_PER_NODE` in Slurm's short form."""
    for node in range(nodes):
        for local in range(tasks_per_node):
            yield {
                "SLURM_JOB_ID": "7",
                "SLURM_STEP_NODELIST": "node[1-2]",
                "SLURM_NTASKS": str(nodes * tasks_per_node),
                "SLURM_PROCID": str(node * tasks_per_node + local),
                "SLURM_NODEID": str(node),
                "SLURM_LOCALID": str(local),
                "SLURM_STEP_TASKS_PER_NODE": f"{tasks_per_node}(x{nodes})",
                **{name: str(value) for name, value in more.items()},
            }


def taken(environments, visible):
    """Return the GPUs that the tasks of each node take; `visible(local)` are those of a task."""
    nodes = {}
    for environment in environments:
        ids = visible(int(environment["SLURM_LOCALID"]))
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, ids))
        count = gpus.count_visible(environment)
        assert count == len(ids)
        chosen = gpus.local_ids(environment, count)
        nodes.setdefault(environment["SLURM_NODEID"], []).extend(ids[i] for i in chosen)
    return list(nodes.values())


@pytest.mark.parametrize("on_node", [{}, {"SLURM_GPUS_ON_NODE": 4}])
@pytest.mark.parametrize("num_tasks", [1, 2, 4])
def test_tasks_that_see_all_gpus_of_a_node_divide_them(num_tasks, on_node):
    every = [0, 1, 2, 3]
    assert taken(slurm_step(num_tasks, **on_node), lambda local: every) == [every, every]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"SLURM_GPUS_ON_NODE": 4},
        {"SLURM_GPUS_ON_NODE": 4, "SLURM_GPUS_PER_TASK": 1},
        {"SLURM_GPUS_ON_NODE": 1, "SLURM_GPUS_PER_TASK": "h100:1"},
        {"SLURM_TRES_PER_TASK": "cpu=8,gres/gpu:h100=1"},
        {"SLURM_TRES_PER_TASK": "cpu:8,gres/gpu:1"},
    ],
)
def test_a_task_with_a_gpu_of_its_own_takes_that(more):
    """With `--gpus-per-task=1` a task sees one GPU, whatever its number on the node is."""
    every = [0, 1, 2, 3]
    assert taken(slurm_step(4, **more), lambda local: [local]) == [every, every]


def test_a_task_with_gpus_of_its_own_takes_them_all():
    more = {"SLURM_GPUS_ON_NODE": 8, "SLURM_GPUS_PER_TASK": 4}
    for variables in (more, {"SLURM_GPUS_ON_NODE": 8}, {"SLURM_GPUS_PER_TASK": 4}):
        halves = taken(
            slurm_step(2, **variables), lambda local: list(range(4 * local, 4 * local + 4))
        )
        assert halves == [list(range(8))] * 2


def test_part_of_a_node_is_numbered_from_zero():
    assert taken(slurm_step(2, nodes=1), lambda local: [2, 3]) == [[2, 3]]


def test_gpus_that_tasks_cannot_share_evenly_are_refused():
    for num_tasks, num_gpus in ((3, 4), (2, 3)):
        with pytest.raises(UserError, match=rf"{num_tasks} processes .* share {num_gpus} GPU"):
            taken(slurm_step(num_tasks), lambda local, n=num_gpus: list(range(n)))
    with pytest.raises(UserError, match=r"4 processes .* share 1 GPU"):
        taken(slurm_step(4, SLURM_GPUS_ON_NODE=1), lambda local: [0])


def test_nodes_may_have_different_numbers_of_tasks():
    environment = {"SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2),2"}
    chosen = [gpus.local_ids(environment | {"SLURM_NODEID": node}, 4) for node in "012"]
    assert chosen == [[1], [1], [2, 3]]
    spread = {"SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "4"}
    assert gpus.local_ids(spread, 4) == [2, 3]


def test_processes_of_open_mpi_divide_the_gpus():
    environment = {"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "SLURM_LOCALID": "0"}
    chosen = [
        gpus.local_ids(environment | {"OMPI_COMM_WORLD_LOCAL_RANK": rank}, 4) for rank in "01"
    ]
    assert chosen == [[0, 1], [2, 3]]


def test_jax_chooses_where_no_gpu_is_and_where_the_user_has_chosen():
    (task,) = slurm_step(1, nodes=1)
    assert gpus.local_ids(task, 0) is None
    assert gpus.local_ids(task | {"JAX_LOCAL_DEVICE_IDS": "3"}, 4) is None
    assert gpus.local_ids({}, 4) is None  # Cloud TPU, Kubernetes and `--process_id`: all of them.


@pytest.mark.parametrize(
    ("listed", "count"),
    [
        ("", 0),
        ("NoDevFiles", 0),
        ("-1", 0),
        ("0", 1),
        ("2, 3", 2),
        ("0,-1,1", 1),
        ("GPU-8932f937,MIG-4b9a", 2),
    ],
)
def test_count_visible_reads_the_variable_as_cuda_does(listed, count):
    assert gpus.count_visible({"CUDA_VISIBLE_DEVICES": listed}) == count


def test_count_visible_counts_what_the_driver_lists(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'GPU 0: H100 (UUID: GPU-1)'\necho '  MIG 1g.10gb'\necho 'GPU 1: H100'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.count_visible({}) == 2
    tool.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert gpus.count_visible({}) == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "1"}, [0, 1, 2, 3]),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "4"}, [3]),
        ({"CUDA_VISIBLE_DEVICES": "3", "SLURM_STEP_TASKS_PER_NODE": "4"}, [0]),
        ({"CUDA_VISIBLE_DEVICES": "", "SLURM_STEP_TASKS_PER_NODE": "4"}, None),
    ],
)
def test_initialize_passes_the_gpus_of_the_task_to_jax(monkeypatch, environment, expected):
    given = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **_: given.extend(args))
    tasks = int(environment["SLURM_STEP_TASKS_PER_NODE"])
    for name, value in (environment | {"SLURM_LOCALID": str(tasks - 1)}).items():
        monkeypatch.setenv(name, value)
    processes.initialize()
    assert given == [None, None, None, expected]
