"""From MIDI to a mixed recording, with nothing that depends on the genre."""

import dataclasses
import functools
import io
import pathlib
import wave

import numpy as np
import scipy.fft

PARTS = ("drums", "bass", "layer0", "layer1", "layer2", "layer3", "lead0", "lead1")


@dataclasses.dataclass(frozen=True)
class Mix:
    """The settings of a recording.

    Attributes:
      balance: gain of each part in dB.
      rms_db: loudness of the clip, dB below full scale.
      tilt_db: slope of the spectrum in dB per octave about 800 Hz.
      bass_db, treble_db: shelves below 150 Hz and above 4 kHz.
      highpass_hz, lowpass_hz: limits of the band (second and sixth order).
      reverb_seconds, reverb_db: time to fall by 60 dB; level of the reverberation.
      drive_db: gain into a tanh saturation; 0 dB leaves the loudest parts nearly clean.
      noise_db: hiss relative to the music.
      noise_seed: seed of the hiss and of the room.
    """

    balance: dict[str, float]
    rms_db: float
    tilt_db: float
    bass_db: float
    treble_db: float
    highpass_hz: float
    lowpass_hz: float
    reverb_seconds: float
    reverb_db: float
    drive_db: float
    noise_db: float
    noise_seed: int


def draw_mix(album: np.random.Generator, clip: np.random.Generator) -> Mix:
    """Draw the mix of a clip: what all clips of an album share from `album`, the rest from `clip`.

    The distribution is the same for all genres.
    """
    return Mix(
        balance={part: float(album.normal(0, 1.5)) for part in PARTS},
        tilt_db=float(album.normal(0, 0.3)),
        bass_db=float(album.normal(0, 1.2)),
        treble_db=float(album.normal(0, 1.2)),
        highpass_hz=float(np.exp(album.uniform(np.log(20), np.log(70)))),
        lowpass_hz=float(np.exp(album.uniform(np.log(8000), np.log(13000)))),
        reverb_seconds=float(album.uniform(0.4, 1.2)),
        reverb_db=float(album.uniform(-22, -11)),
        drive_db=float(album.uniform(-14, 0)),
        noise_db=float(album.uniform(-70, -52)),
        rms_db=float(clip.uniform(-28, -18)),
        noise_seed=int(clip.integers(2**32)),
    )


@functools.lru_cache(maxsize=1)
def soundfont() -> bytes:
    """Return TimGM6mb, the General MIDI soundfont inside the installed `pretty_midi`."""
    import pretty_midi

    return (pathlib.Path(pretty_midi.__file__).parent / "TimGM6mb.sf2").read_bytes()


def synthesize(midi: bytes, *, sample_rate: int) -> np.ndarray:
    """Play a MIDI file: float32 [T], mono, `sample_rate` Hz, until the last note has faded."""
    import midirenderer
    import soxr

    with wave.open(io.BytesIO(midirenderer.render_wave_from(soundfont(), midi))) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        rate, channels = file.getframerate(), file.getnchannels()
    audio = frames.reshape(-1, channels).sum(axis=1, dtype=np.int32).astype(np.float32)
    audio /= 32768 * channels
    return soxr.resample(audio, rate, sample_rate)


def mix_down(audio: np.ndarray, mix: Mix, *, num_samples: int, sample_rate: int) -> np.ndarray:
    """Apply saturation, equaliser, room, hiss and loudness: float32 [T] -> [num_samples]."""
    rng = np.random.default_rng(mix.noise_seed)
    audio = audio[:num_samples]
    level = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    if level == 0:
        raise ValueError("audio is silent; there is nothing to mix")
    drive = np.float32(10 ** (mix.drive_db / 20) / 3)
    audio = np.tanh(audio * np.float32(drive / level))

    room = _room(mix, sample_rate, rng)
    size = int(scipy.fft.next_fast_len(num_samples + len(room), real=True) or 0)
    spectrum = np.asarray(scipy.fft.rfft(audio, size)) * np.asarray(scipy.fft.rfft(room, size))
    spectrum *= _equaliser(mix, np.fft.rfftfreq(size, 1 / sample_rate))
    audio = np.asarray(scipy.fft.irfft(spectrum, size))[:num_samples]

    level = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    hiss = rng.standard_normal(num_samples, dtype=np.float32)
    audio += hiss * np.float32(level * 10 ** (mix.noise_db / 20))
    audio *= np.float32(10 ** (mix.rms_db / 20) / np.sqrt(np.mean(np.square(audio))))
    peak = np.abs(audio).max()
    return audio / peak if peak > 1 else audio


def _room(mix: Mix, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return the impulse response: direct sound, noise that falls 60 dB in `reverb_seconds`."""
    time = np.arange(round(mix.reverb_seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / mix.reverb_seconds)
    tail[: round(0.008 * sample_rate)] = 0  # The first reflection arrives after 8 ms.
    tail *= 10 ** (mix.reverb_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return tail.astype(np.float32)


def _equaliser(mix: Mix, frequency: np.ndarray) -> np.ndarray:
    """Return the gain at each frequency in Hz."""
    frequency = np.maximum(frequency, 1.0)
    gain_db = mix.tilt_db * np.clip(np.log2(frequency / 800), -4, 4)
    gain_db += mix.bass_db / (1 + (frequency / 150) ** 2)
    gain_db += mix.treble_db / (1 + (4000 / frequency) ** 2)
    power = 1 / (1 + (mix.highpass_hz / frequency) ** 4) / (1 + (frequency / mix.lowpass_hz) ** 12)
    return (10 ** (gain_db / 20) * np.sqrt(power)).astype(np.float32)
