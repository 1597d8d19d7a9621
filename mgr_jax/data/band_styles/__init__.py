"""The ten styles of the embedded band, by genre: each a tuple of feels."""

from mgr_jax.data.band_styles.blues import BLUES
from mgr_jax.data.band_styles.classical import CLASSICAL
from mgr_jax.data.band_styles.country import COUNTRY
from mgr_jax.data.band_styles.disco import DISCO
from mgr_jax.data.band_styles.hiphop import HIPHOP
from mgr_jax.data.band_styles.jazz import JAZZ
from mgr_jax.data.band_styles.metal import METAL
from mgr_jax.data.band_styles.pop import POP
from mgr_jax.data.band_styles.reggae import REGGAE
from mgr_jax.data.band_styles.rock import ROCK

STYLES = {
    "blues": BLUES,
    "classical": CLASSICAL,
    "country": COUNTRY,
    "disco": DISCO,
    "hiphop": HIPHOP,
    "jazz": JAZZ,
    "metal": METAL,
    "pop": POP,
    "reggae": REGGAE,
    "rock": ROCK,
}
