"""Every function and option of the front end against librosa."""

import numpy as np
import pytest

from experiments.benchmarks import parity, parity_cases

CASES = list(parity_cases.cases())
DEFAULTS = [
    case for case in CASES if not case.options or case.options in ({"tuning": 0.0}, {"n_mels": 40})
]


def tiered(cases):
    """Parameters: the first case of every function in the default tier, the others in `e2e`."""
    first = {case.function: case for case in reversed(cases)}
    return [
        pytest.param(
            case,
            id=case.name,
            marks=() if case is first[case.function] else pytest.mark.e2e,
        )
        for case in cases
    ]


@pytest.mark.parametrize("case", tiered(CASES))
def test_function_agrees_with_librosa_on_synthetic_signals(case):
    for signal, error in parity.errors(case, parity.signals(12_000)).items():
        assert error <= parity.bound(case, signal), signal


@pytest.mark.e2e
@pytest.mark.parametrize(
    "case", [case for case in DEFAULTS if case.function != "delta"], ids=lambda case: case.name
)
def test_function_agrees_with_librosa_on_a_clip_of_100_samples(case):
    for signal, error in parity.errors(case, parity.signals(100)).items():
        assert error <= parity.bound(case, signal), signal


@pytest.mark.e2e
@pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.name)
def test_function_agrees_with_librosa_on_real_tracks(case):
    tracks = parity.tracks(2, 110_250)
    if not tracks:
        pytest.skip("MGR_JAX_SHARED is not set")
    for track, error in parity.errors(case, tracks).items():
        assert error <= parity.bound(case, track), track


def test_errors_notices_a_wrong_value_and_a_wrong_shape():
    case = next(case for case in CASES if case.function == "stft")
    clips = parity.signals(8192)
    wrong = case._replace(ours=lambda batch: 1.001 * np.asarray(case.ours(batch)))
    assert parity.errors(wrong, clips)["noise"] == pytest.approx(1e-3, rel=0.01)
    short = case._replace(ours=lambda batch: case.ours(batch)[:, 1:])
    with pytest.raises(ValueError, match="shape"):
        parity.errors(short, clips)
