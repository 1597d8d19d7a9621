"""A scikit-learn classifier of audio files."""

import contextlib
import copy
import dataclasses
import io
import os
import pathlib
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from mgr_jax import config as config_lib
from mgr_jax import named_configs, predictor, schema, workdir
from mgr_jax.classical import fitting
from mgr_jax.data import batches, splits
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.audio import AudioError
from mgr_jax.data.catalog import clean_label
from mgr_jax.errors import UserError
from mgr_jax.files import csv_text, write_whole
from mgr_jax.training import loop, preemption

_MANIFEST = "manifest.csv"
# The validation part is drawn here; there is no test part, since the caller tests.
_PROTOCOL = "listed"


class GenreClassifier(ClassifierMixin, BaseEstimator):
    """Any system of this package as a scikit-learn classifier: X is a list of audio files.

    `fit` trains as `experiments.train` does: it writes a manifest of the files and a workdir, and
    holds out some of the files for validation. `predict` scores all windows of a file. Duplicates
    in X are used once.

    Args:
      config: a `mgr_jax.config.Config`, whose `data.name`, `data.root` and `data.protocol` are
        replaced, or a name: `musicnn` (also `musicnn:svm`, `musicnn:lda`) learns from the embedding
        of a pretrained network, `logistic` and `svm` from mean and covariance of 14 MFCCs. None
        means `model`.
      model: such a name, in place of a config; None means `logistic`.
      workdir: folder to train in, which `mgr_jax.load` can read afterwards. An interrupted `fit`
        with the same arguments resumes there; other files or another config are refused. None
        means a temporary folder that is deleted with the classifier, as for cross-validation.
      validation_fraction: share of each class to validate on, between 0 and 1; at least one file.
      random_state: seed of the validation part, as in scikit-learn; training uses
        `config.train.seed`.
      verbose: whether to print the output of `experiments.train`.
      **fields: fields of the config with a section before two underscores, such as
        `optim__learning_rate=0.1`; a search over parameters finds and sets them as well.

    Attributes:
      classes_: labels [C], sorted.
      predictor_: the trained `mgr_jax.Predictor`.
      workdir_: folder of the training.
    """

    def __init__(
        self,
        config: config_lib.Config | str | None = None,
        *,
        model: str | None = None,
        workdir: str | os.PathLike | None = None,
        validation_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
        **fields: Any,
    ):
        self.config = config
        self.model = model
        self.workdir = workdir
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        for name, value in fields.items():
            setattr(self, name, value)  # `fit` checks them, as scikit-learn wants it.

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor, by name."""
        return super().get_params(deep=False) | _fields(self)

    def set_params(self, **params: Any) -> "GenreClassifier":
        """Set arguments of the constructor and return itself; `fit` checks them."""
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, X: Sequence[str | os.PathLike], y: Sequence[Any]) -> "GenreClassifier":
        """Train on the files X [N] with labels y [N] and return itself.

        Files that cannot be read are named in a warning and left out.

        Raises:
          ValueError: if X is no list of paths, y does not match it, a file has two labels, or a
            class has fewer than two readable files.
          UserError: if the config is invalid, or the workdir belongs to other files.
        """
        if y is None:
            raise ValueError("GenreClassifier requires y to be passed, but the target y is None")
        paths = _paths(X)
        check_consistent_length(paths, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction is {self.validation_fraction}; it must lie between 0 and 1"
            )
        classes = np.unique(y)
        names = [str(label) for label in classes]
        label_of = _label_of(paths, [str(label) for label in y])
        counts = {name: list(label_of.values()).count(name) for name in names}
        _check_counts(counts, "different")

        folder = self._folder()
        with workdir.hold(str(folder)):
            _write_manifest(folder / _MANIFEST, label_of)
            dataset = self._dataset(self._config(folder), names)
            run = workdir.create(str(folder), self._config(folder), dataset.catalog, dataset.split)
            train = loop.train if run.config.model.name in config_lib.NETWORKS else fitting.train
            quiet = contextlib.redirect_stdout(io.StringIO())
            try:
                with contextlib.nullcontext() if self.verbose else quiet:
                    train(run.config, dataset, run)
            except preemption.Interrupted as error:
                raise KeyboardInterrupt(str(error)) from error
        self.predictor_ = predictor.load(str(folder))
        self.classes_ = classes
        self.workdir_ = str(folder)
        return self

    def predict(self, X: Sequence[str | os.PathLike]) -> np.ndarray:
        """Return the most probable label of each file [N]; raises as `predict_proba` does."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Sequence[str | os.PathLike]) -> np.ndarray:
        """Return the probabilities [N, C] of the files X, with columns as in `classes_`.

        Raises:
          NotFittedError: before `fit`.
          ValueError: if X is no list of paths, or a file cannot be read.
        """
        check_is_fitted(self)
        try:
            probabilities = self.predictor_.predict_proba(_paths(X))
        except AudioError as error:
            raise ValueError(f"X: {error}; leave it out") from error
        return probabilities[
            :, [self.predictor_.labels.index(str(label)) for label in self.classes_]
        ]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        if hasattr(self, "predictor_"):
            raise TypeError(
                "a fitted GenreClassifier holds compiled programs and cannot be serialised; give it"
                " a workdir=, and call mgr_jax.load(workdir) where the model is needed"
            )
        state: Any = super().__getstate__()
        return state

    def _folder(self) -> pathlib.Path:
        if self.workdir is not None:
            folder = pathlib.Path(self.workdir)
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        folder = tempfile.mkdtemp(prefix="mgr_jax_")
        if hasattr(self, "_remove_folder"):
            self._remove_folder()  # The folder of the previous fit.
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return pathlib.Path(folder)

    def _config(self, folder: pathlib.Path) -> config_lib.Config:
        """Return the user's config, or the one of a name, for the manifest in `folder`."""
        if isinstance(self.config, config_lib.Config):
            config = copy.deepcopy(self.config)
            if self.model is not None:
                raise ValueError("config and model: give one of them; config.model.name has it")
        elif self.config is None or isinstance(self.config, str):
            if None not in (self.config, self.model):
                raise ValueError("config and model are two names; give one of them")
            config = named_configs.get(self.config or self.model or "logistic")
        else:
            raise TypeError(f"config is a {type(self.config).__name__}; give a mgr_jax Config")
        for name, value in _fields(self).items():
            _check_field(name)
            section, _, field = name.partition("__")
            plain = value.item() if isinstance(value, np.generic) else value
            setattr(getattr(config, section), field, plain)
        config = config_lib.from_json(config_lib.to_json(config))  # Checks the types.
        config.data.name, config.data.root = "manifest", str(folder / _MANIFEST)
        config.data.protocol, config.data.fold = _PROTOCOL, 0
        if self.workdir is None and not config.data.cache:
            config.data.cache = str(folder / "cache")  # Deleted with the folder.
        return config_lib.validate(config)

    def _dataset(self, config: config_lib.Config, names: list[str]) -> dataset_lib.Dataset:
        """Decode the files of the manifest, and draw the validation part of each class."""
        catalog, store = dataset_lib.open_catalog(config)
        changed = sorted(set(names) - set(catalog.labels))
        if changed:
            raise ValueError(
                f"y: label {changed[0]!r} has spaces around it or line breaks, or is no composed"
                f" Unicode (NFC); give {clean_label(changed[0])!r}"
            )
        if conflicts := dataset_lib.label_conflicts(catalog):
            raise ValueError(
                f"X: {' and '.join(conflicts[0][:2])} are the same file, and have different labels;"
                " leave one out"
            )
        errors = store.errors()
        if errors:
            listed = "; ".join(f"{name} {reason}" for name, reason in list(errors.items())[:5])
            more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
            warnings.warn(f"{len(errors)} file(s) left out: {listed}{more}", stacklevel=3)
        ids = {
            label: [t.id for t in catalog.tracks if t.label == label and t.id in store.row]
            for label in catalog.labels
        }
        _check_counts({label: len(members) for label, members in ids.items()}, "readable")
        random = check_random_state(self.random_state)
        parts: dict[str, list[str]] = {"train": [], "valid": []}
        for members in ids.values():
            size = min(max(1, round(self.validation_fraction * len(members))), len(members) - 1)
            shuffled = [members[i] for i in random.permutation(len(members))]
            parts["valid"] += shuffled[:size]
            parts["train"] += shuffled[size:]
        sorted_parts = {name: tuple(sorted(members)) for name, members in parts.items()}
        split = splits.Split(protocol=_PROTOCOL, **sorted_parts, test=())
        label_of = {track.id: track.label for track in catalog.tracks}
        return dataset_lib.Dataset(
            catalog,
            store,
            split,
            {
                name: batches.make_part(store, members, label_of, catalog.labels)
                for name, members in sorted_parts.items()
            },
        )


def _fields(classifier: GenreClassifier) -> dict[str, Any]:
    """Return the fields of the config that were given, `section__field` -> value."""
    own = classifier._get_param_names()
    return {n: v for n, v in vars(classifier).items() if n not in own and "_" not in (n[0], n[-1])}


def _check_field(name: str) -> None:
    """Raise `ValueError` for a name that is no `section__field` of a config."""
    names = [
        f"{section}__{field.name}"
        for section, values in vars(config_lib.Config()).items()
        for field in dataclasses.fields(values)
    ]
    if name not in names:
        tip = schema.did_you_mean(name, [*names, *GenreClassifier._get_param_names()])
        raise ValueError(f"GenreClassifier has no parameter {name!r}{tip}")


def _paths(X: Any) -> list[str]:
    """Return the absolute paths in a list, a Series, or an array [N] or [N, 1]."""
    values = np.asarray(X, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not all(isinstance(v, str | os.PathLike) for v in values):
        raise ValueError(
            "X must be a list of paths of audio files, one string each; for arrays of numbers use"
            " mgr_jax.features and a classifier of scikit-learn"
        )
    if not len(values):
        raise ValueError("X has 0 files; at least one is needed")
    return [os.path.abspath(os.fspath(value)) for value in values]


def _label_of(paths: list[str], labels: list[str]) -> dict[str, str]:
    label_of: dict[str, str] = {}
    for path, label in zip(paths, labels, strict=True):
        if label_of.setdefault(path, label) != label:
            raise ValueError(f"X: {path} stands twice, as {label_of[path]!r} and as {label!r}")
    return label_of


def _check_counts(counts: dict[str, int], kind: str) -> None:
    if len(counts) < 2:
        raise ValueError(f"y has {len(counts)} class; a classifier needs two or more")
    few = min(counts, key=lambda name: counts[name])
    if counts[few] < 2:
        raise ValueError(
            f"y: class {few!r} has {counts[few]} {kind} file(s); it needs two or more, to train and"
            " to validate on"
        )


def _write_manifest(path: pathlib.Path, label_of: dict[str, str]) -> None:
    text = csv_text(["path", "label"], sorted(label_of.items()))
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UserError(
            f"workdir {path.parent}: fitted on other files or labels; use another one, or None for"
            " a temporary folder"
        )
    write_whole(path, text)
