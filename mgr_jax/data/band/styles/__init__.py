"""The ten styles of the embedded band, by genre: each a tuple of feels."""

from mgr_jax.data.band.styles.blues import BLUES
from mgr_jax.data.band.styles.classical import CLASSICAL
from mgr_jax.data.band.styles.country import COUNTRY
from mgr_jax.data.band.styles.disco import DISCO
from mgr_jax.data.band.styles.hiphop import HIPHOP
from mgr_jax.data.band.styles.jazz import JAZZ
from mgr_jax.data.band.styles.metal import METAL
from mgr_jax.data.band.styles.pop import POP
from mgr_jax.data.band.styles.reggae import REGGAE
from mgr_jax.data.band.styles.rock import ROCK

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
