"""The style of reggae."""

import functools

from mgr_jax.data.band.styles import notation as n

_roots = functools.partial(
    n.Feel,
    bass=(
        "R--RR-3-|5--53-R-",
        ".RR5|.853",
        "R-.R3.5.|....5.3.",
        "R--R..53|R--.....",
        "..RR..35|.R53",
    ),
    layers=(
        n.Layer((27, 27, 28), (".x.x", "..x...x.", "..xx..xx", "..xo..x."), "close", 59, 96),
        n.Layer((16, 17, 18), ("..o.o.o.|..o.ooo.", ".ooo.ooo", ".x.x"), "close", 53, 70),
        n.Layer(
            n.BRASS + n.SAXES, ("x-.x....|....", "......xx|x...", "x-..|...."), "close", 58, 74, 0.4
        ),
    ),
    leads=(
        n.Lead((53, 54), n.SUNG, "pentatonic", rest=0.2, bend=0.1),
        n.Lead((57, 66, 16), n.SUNG, "pentatonic", rest=0.35),
    ),
    progressions=(
        "Im IVm Im IVm",
        "I IV I IV",
        "I V VIm IV",
        "Im bVII Im bVII",
        "I IIm I IIm",
        "Im Im IVm Vm",
        "I VIm IIm V",
        "Im bVI bVII Im",
    ),
    basses=(n.FINGERED, n.FRETLESS),
)

REGGAE = (
    _roots(
        "one_drop",
        tempo=(122, 172),
        swing=(0.5, 0.58),
        drums=(
            {"kick": "..X.", "stick": "..X.", "hat": "x.xox.xo"},
            {"kick": "..X.", "snare": "..X.", "hat": "xoxoxoxo"},
            {"kick": "..X.", "stick": "..X.|....X..x", "hat": ".x.x", "open": "...x|...."},
        ),
        weight=1.6,
    ),
    _roots(
        "steppers",
        tempo=(124, 164),
        drums=(
            {"kick": "xxxx", "stick": "..X.", "hat": "xoxoxoxo"},
            {"kick": "xxxx", "snare": "..X.", "hat": "x.xox.xo", "conga_hi": "......xx"},
        ),
    ),
    _roots(
        "rockers",
        tempo=(128, 176),
        swing=(0.5, 0.6),
        drums=(
            {"kick": "x.X.", "snare": "..X.", "hat": "xoxoxoxo"},
            {"kick": "x..xX...", "stick": "..X.|....X..x", "hat": "xxxx", "shaker": "xxxxxxxx"},
        ),
    ),
    n.Feel(
        "dancehall",
        tempo=(84, 108),
        drums=(
            {"kick": "x..x..x.x..x..x.", "snare": "...X..X....X..X.", "hat": "xxxxxxxx"},
            {"kick": "x.x.", "snare": "...X..X....X..X.", "shaker": "xxxxxxxxxxxxxxxx"},
        ),
        bass=("R..R..5.|R..R..3.", "R-.R-.R-|...."),
        layers=(
            n.Layer((27, 16, 5, 62), ("..x...x...x...x.", "...x..x....x..x."), "close", 57),
            n.Layer((50, 18), ("x-..",), "close", 55, 60, 0.4),
        ),
        leads=(
            n.Lead((54, 53, 85), n.RAPPED + n.SUNG, "pentatonic", 57, 74, 0.15),
            n.Lead((80, 62, 53), n.SUNG, "pentatonic", rest=0.4),
        ),
        progressions=("Im Im Im Im", "Im bVII Im bVII", "I IIm I IIm"),
        basses=(n.SYNTH_BASS, n.FINGERED),
        kits=(n.STANDARD, n.ELECTRONIC),
        weight=0.2,
    ),
)
