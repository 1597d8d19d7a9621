"""The JobSet for Kubernetes, against the schemas of Kubernetes and of JobSet, without a cluster."""

import copy
import pathlib
import re

import jsonschema
import kubernetes_validate
import pytest
import yaml

from mgr_jax import config as config_lib
from mgr_jax.config import Config

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"

# The fields of `jobset.x-k8s.io/v1alpha2` around the job template, after its published resource
# definition; the template itself is a Kubernetes Job and checked as one.
_STRINGS = {"type": "array", "items": {"type": "string"}}


def _object(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_RULE = _object(
    ["name", "action"],
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons={
        "type": "array",
        "items": {
            "enum": [
                "BackoffLimitExceeded",
                "DeadlineExceeded",
                "FailedIndexes",
                "MaxFailedIndexesExceeded",
                "PodFailurePolicy",
            ]
        },
    },
    targetReplicatedJobs=_STRINGS,
)
JOBSET = _object(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata={"type": "object", "required": ["name"]},
    spec=_object(
        ["replicatedJobs"],
        failurePolicy=_object(
            maxRestarts={"type": "integer", "minimum": 0},
            restartStrategy={"enum": ["Recreate", "BlockingRecreate"]},
            rules={"type": "array", "maxItems": 20, "items": _RULE},
        ),
        successPolicy=_object(
            ["operator"], operator={"enum": ["All", "Any"]}, targetReplicatedJobs=_STRINGS
        ),
        network=_object(
            enableDNSHostnames={"type": "boolean"},
            subdomain={"type": "string"},
            publishNotReadyAddresses={"type": "boolean"},
        ),
        suspend={"type": "boolean"},
        ttlSecondsAfterFinished={"type": "integer", "minimum": 0},
        replicatedJobs={
            "type": "array",
            "minItems": 1,
            "items": _object(
                ["name", "template"],
                name={"type": "string"},
                replicas={"type": "integer", "minimum": 0},
                template={"type": "object", "required": ["spec"]},
            ),
        },
    ),
)


@pytest.fixture(scope="module")
def jobset():
    return yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())


@pytest.fixture(scope="module")
def job(jobset):
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]


def _check_job(spec):
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}, "spec": spec}
    kubernetes_validate.validate(job, "1.31", strict=True)


def test_jobset_has_the_fields_of_its_resource(jobset, job):
    jsonschema.validate(jobset, JOBSET)
    _check_job(job)


def test_jobset_with_a_misspelt_field_is_refused(jobset, job):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**jobset, "spec": {**jobset["spec"], "replicatedJob": []}}, JOBSET)
    with pytest.raises(kubernetes_validate.ValidationError):
        _check_job({**job, "paralelism": 4})


def test_jobset_starts_one_process_a_host_and_restarts_all_of_them(jobset, job):
    hosts = job["parallelism"]
    selector = job["template"]["spec"]["nodeSelector"]
    rows, columns = map(int, selector["cloud.google.com/gke-tpu-topology"].split("x"))
    (container,) = job["template"]["spec"]["containers"]
    assert rows * columns == hosts * container["resources"]["limits"]["google.com/tpu"]
    assert job["completions"] == hosts and job["completionMode"] == "Indexed"
    assert job["backoffLimit"] == 0 and jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    batch = next(a for a in container["args"] if a.startswith("--config.train.batch_size="))
    assert int(batch.rpartition("=")[2]) % (rows * columns) == 0


def test_jobset_ends_at_a_mistake_and_restarts_after_a_preemption(job):
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert 1 in rule["onExitCodes"]["values"] and 75 not in rule["onExitCodes"]["values"]


def test_jobset_overrides_fields_that_the_config_has(job):
    (container,) = job["template"]["spec"]["containers"]
    config = Config()
    for argument in container["args"]:
        if argument.startswith("--config."):
            name, _, value = argument.removeprefix("--config.").partition("=")
            section, field = name.split(".")
            values = getattr(config, section)
            setattr(values, field, type(getattr(values, field))(value))
    config_lib.validate(config)


def test_jobset_for_gpus_as_the_readme_changes_it(job):
    """The variables of the README, for the hosts of this job, which then is valid for GPUs."""
    text = (LAUNCH / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    job = copy.deepcopy(job)
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    container |= yaml.safe_load(block) | {"resources": {"limits": {"nvidia.com/gpu": 8}}}
    pod["nodeSelector"] = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    _check_job(job)
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert values["JAX_NUM_PROCESSES"] == str(job["parallelism"])
    # JobSet, job, number of the job, number of the pod; then the name of its service.
    assert values["JAX_COORDINATOR_ADDRESS"].startswith("mgr-jax-train-0-0.mgr-jax:")
    assert "JAX_PROCESS_ID" in values
