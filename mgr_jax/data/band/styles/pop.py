"""The style of pop."""

from mgr_jax.data.band.styles.notation import (
    CANTABILE,
    ELECTRONIC,
    FINGERED,
    FRETLESS,
    PICKED,
    RIFFS,
    SLAPPED,
    STANDARD,
    SUNG,
    SYNTH_BASS,
    Feel,
    Layer,
    Lead,
)

FOUR_CHORDS = (
    "I V VIm IV",
    "VIm IV I V",
    "I VIm IV V",
    "IV V VIm I",
    "I IIIm IV V",
    "I IV VIm V",
)

POP = (
    Feel(
        "dance",
        tempo=(104, 134),
        drums=(
            {"kick": "X...X...X...X...", "clap": "....X.......X...", "hat": "..x...x...x...x."},
            {
                "kick": "X...X...X...X..x",
                "snare": "....X.......X...",
                "hat": "x.x.x.x.x.x.x.x.",
                "shaker": "xoxoxoxoxoxoxoxo",
            },
            {"kick": "X..x..X...X.....", "snare": "....X.......X...", "hat": "xxxxxxxxxxxxxxxx"},
        ),
        bass=("RRRRRRRR", "R..R..R.R..R..5.", ".R.R.R.R", "R--R--R-"),
        layers=(
            Layer(
                (81, 50, 0, 4), ("x--x--x-x--x--x-", "1.2.3.2.1.2.3.2.", "x.x.x.x."), "close", 58
            ),
            Layer((50, 89, 89), ("x---------------",), "wide", 53, 66),
            Layer(
                (27, 25, 28),
                ("x.xxx.xxx.xxx.xx", "1.3.2.3.1.3.2.3.", "..x...x...x...x."),
                "close",
                57,
                68,
                0.6,
            ),
        ),
        leads=(
            Lead((54, 53), SUNG, "diatonic", low=62, high=79, rest=0.12),
            Lead((80, 81), RIFFS + SUNG, "pentatonic", low=65, high=84, rest=0.3),
        ),
        progressions=FOUR_CHORDS,
        kits=(ELECTRONIC,),
        basses=(SYNTH_BASS, 39),
        weight=1.6,
    ),
    Feel(
        "band",
        tempo=(92, 140),
        drums=(
            {"kick": "X.....x.x.......", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X..x....x.x.....", "snare": "....X.......X...", "hat": "xoxoxoxoxoxoxoxo"},
            {
                "kick": "X.....xx..x.....",
                "snare": "....X.......X...",
                "ride": "x.x.x.x.x.x.x.x.",
                "tamb": "....x.......x...",
            },
        ),
        bass=("R-RRR-RR", "R..R..R.", "RRRRRRRR", "R-----5a"),
        layers=(
            Layer((25, 27, 0), ("x.xxx.xxx.xxx.xx", "x-x-xxxx", "1323132313231323"), "close", 55),
            Layer((0, 4, 50), ("x-------x-------", "x--x--x-"), "close", 57, 68),
            Layer((50, 89), ("x---------------",), "wide", 55, 62, 0.9),
        ),
        leads=(
            Lead((54, 53), SUNG, "diatonic", low=60, high=79, rest=0.12),
            Lead((80, 53), SUNG, "pentatonic", low=62, high=81, rest=0.35),
        ),
        progressions=FOUR_CHORDS,
        kits=(ELECTRONIC, STANDARD),
        basses=(FINGERED, PICKED),
        weight=1.0,
    ),
    Feel(
        "ballad",
        tempo=(60, 96),
        drums=(
            {"kick": "X.....x.x.......", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.........x.....", "stick": "....X.......X...", "shaker": "xoxoxoxoxoxoxoxo"},
            {},
        ),
        bass=("R-------", "R---5---", "R-----5a"),
        layers=(
            Layer(
                (0, 4, 5, 24),
                ("1-3-2-3-1-3-2-3-", "x-------x-------", "x---x---x---x---"),
                "close",
                53,
            ),
            Layer((89, 50), ("x---------------",), "wide", 55, 64),
            Layer((25, 27), ("1323132313231323", "x.x.xxx."), "close", 57, 62, 0.5),
        ),
        leads=(
            Lead((54, 53), SUNG + CANTABILE, "diatonic", low=60, high=79, rest=0.1),
            Lead((66, 64, 27, 73), CANTABILE, "diatonic", low=62, high=81, rest=0.35),
        ),
        progressions=FOUR_CHORDS,
        basses=(FINGERED, FRETLESS),
        weight=0.4,
    ),
    Feel(
        "funky",
        tempo=(92, 122),
        drums=(
            {"kick": "X..x..x...x.....", "snare": "....X.......X...", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "X.....x.x..x....", "clap": "....X.......X...", "hat": "x.xxx.xxx.xxx.xx"},
        ),
        bass=("R..R..8.R..5..7.", "R.8..R8.R.8..5.a", "R.....R.5..5..a."),
        layers=(
            Layer((28, 27, 7), ("x..x..x...x.x...", "xoxxoxxoxoxxoxxo"), "close", 60),
            Layer((50, 4, 5), ("x--x--x---------", "x-------x--x----"), "close", 55, 66),
            Layer((61, 62), ("............x.x.|x-..............",), "close", 60, 72, 0.4),
        ),
        leads=(
            Lead((54, 53), SUNG, "diatonic", low=62, high=79, rest=0.15),
            Lead((81, 66, 62), RIFFS, "pentatonic", low=62, high=81, rest=0.35),
        ),
        progressions=(*FOUR_CHORDS, "IIm7 V7 Imaj7 VIm7", "IVmaj7 IIIm7 IIm7 V7"),
        kits=(ELECTRONIC, STANDARD),
        basses=(FINGERED, SLAPPED, SYNTH_BASS),
        weight=0.25,
    ),
)
