"""The GTZAN model that comes with the package."""

import numpy as np

from mgr_jax.classical import fusion, tag_head
from mgr_jax.data import gtzan as gtzan_data
from mgr_jax.pretrained import gtzan


def test_the_model_is_small_and_has_learned_no_track_of_the_test_part():
    model, facts = gtzan.load(), gtzan_data.facts()
    assert model.labels == gtzan_data.GENRES
    assert {facts[name].part for name in model.trained_on} == {"train", "valid"}
    heard = {facts[name].artist for name in model.trained_on}
    assert not heard & {fact.artist for fact in facts.values() if fact.part == "test"}
    assert sum(path.stat().st_size for path in gtzan.FOLDER.iterdir()) < 4e6
    assert all(np.isfinite(v).all() for v in model.params.values() if v.dtype.kind == "f")


def test_the_card_has_the_accuracy_of_the_model():
    facts = gtzan.load().facts
    card = (gtzan.FOLDER / "README.md").read_text(encoding="utf-8")
    low, high = (100 * end for end in facts["ci95_by_artist"])
    accuracy = f"{100 * facts['num_correct'] / facts['n']:.1f} % [{low:.1f}, {high:.1f}] by artist"
    assert f"{accuracy} (n = {facts['n']}, {facts['num_groups']} artists, artist_kfold;" in card


def test_log_probabilities_do_not_depend_on_the_other_pieces():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 496, 128)).astype(np.float32) * 0.3
    tags = tag_head.summarize([random.uniform(size=(count, 50)) ** 4 for count in (1, 10, 28)])
    params = gtzan.load().params
    log_p = fusion.log_probabilities(params, x, tags)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, rtol=1e-6)
    alone = fusion.log_probabilities(params, x[1:2], tags[1:2])
    np.testing.assert_allclose(alone, log_p[1:2], atol=1e-3)


def test_the_named_tag_raises_its_genre_and_other_sounds_are_unlike_music():
    model = gtzan.load()
    silent = np.zeros((1, 496, 128), np.float32)
    # The order of MusiCNN's tags: 9 is jazz, 11 is metal.
    for tag, genre in ((9, "jazz"), (11, "metal")):
        plain, raised = np.full((5, 50), 0.02), np.full((5, 50), 0.02)
        raised[:, tag] = 0.5
        tags = tag_head.summarize([plain, raised])
        log_p = fusion.log_probabilities(model.params, np.repeat(silent, 2, axis=0), tags)
        assert log_p[1, model.labels.index(genre)] > log_p[0, model.labels.index(genre)]
    tags = tag_head.summarize([np.ones((5, 50))])
    assert fusion.relative_distances(model.params, tags)[0] > 1
