"""The views that an ensemble may use.

`classical.ensemble` chooses among all of `VIEWS` on the training part, or takes those of `LISTED`,
which were picked by hand.
"""

from mgr_jax.classical.views import View

_LOG24 = {"scale": "log", "n_bands": 24, "fmin": 90.0}
_LOG32 = {"scale": "log", "n_bands": 32, "fmin": 90.0}


def _covariance(width: int, num_components: int, **bands) -> View:
    return View("covariance", width=width, num_components=num_components, **bands)


def _words(width: int, num_components: int, num_words: int = 512, **options) -> View:
    size = {"width": width, "num_components": num_components, "num_words": num_words}
    return View("words", **size, **options)


VIEWS = {
    "moments": View("moments"),
    "moments_cepstra": View("moments", n_mfcc=20),
    "percentiles": View("percentiles"),
    "percentiles_slopes": View("slope_percentiles"),
    "covariance_cepstra": View("mean_covariance", n_mfcc=20),
    "log_covariance_cepstra": View("log_covariance", n_mfcc=20),
    "log_covariance_slopes": View("slope_covariance", n_mfcc=20),
    "log_covariance_log": View("log_covariance", **_LOG24),
    "modulation": View("modulation", n_bands=20),
    "modulation_cepstra": View("modulation", n_mfcc=20),
    "onsets": View("onsets"),
    "energy": View("energy", scale="linear"),
    "texture": View("texture"),
    # Patches: frames x components.
    "covariance_1x20": _covariance(1, 20),
    "covariance_2x30": _covariance(2, 30),
    "covariance_4x30": _covariance(4, 30),
    "covariance_4x60": _covariance(4, 60),
    "covariance_8x30": _covariance(8, 30),
    "covariance_8x45": _covariance(8, 45),
    "covariance_8x60": _covariance(8, 60),
    "covariance_16x45": _covariance(16, 45),
    "covariance_2x30_log32": _covariance(2, 30, **_LOG32),
    "covariance_4x30_log24": _covariance(4, 30, **_LOG24),
    "covariance_8x45_log24": _covariance(8, 45, **_LOG24),
    "words_2x30": _words(2, 30),
    "words_4x40": _words(4, 40),
    "words_4x80": _words(4, 80),
    "words_8x40": _words(8, 40),
    "words_8x80": _words(8, 80),
    "words_8x80_again": _words(8, 80, seed=1),
    "words_8x80_once_more": _words(8, 80, seed=2),
    "words_8x80_of_256": _words(8, 80, 256),
    "words_8x80_of_1024": _words(8, 80, 1024),
    "words_16x80": _words(16, 80),
    "words_8x60_mel20": _words(8, 60, n_bands=20),
    "words_8x80_mel64": _words(8, 80, n_bands=64),
    "words_4x40_log24": _words(4, 40, **_LOG24),
    "words_8x60_log24": _words(8, 60, **_LOG24),
    "words_8x80_log32": _words(8, 80, **_LOG32),
}

# View and classifier of each member of the listed ensemble.
LISTED = (
    ("texture", "lda"),
    ("texture", "svm"),
    ("covariance_4x30", "lda"),
    ("covariance_4x30", "svm"),
    ("covariance_8x45", "lda"),
    ("covariance_8x45", "svm"),
    ("covariance_4x30_log24", "lda"),
    ("covariance_4x30_log24", "svm"),
    ("words_8x80", "lda"),
    ("words_8x80_again", "lda"),
    ("words_8x80_once_more", "lda"),
    ("words_4x40", "lda"),
    ("words_8x60_log24", "lda"),
)

# The linear members, which take little space.
LINEAR = tuple(member for member in LISTED if member[1] == "lda")
