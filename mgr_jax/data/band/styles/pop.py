"""The style of pop."""

from mgr_jax.data.band.styles import notation as n

FOUR_CHORDS = (
    "I V VIm IV",
    "VIm IV I V",
    "I VIm IV V",
    "IV V VIm I",
    "I IIIm IV V",
    "I IV VIm V",
)

POP = (
    n.Feel(
        "dance",
        tempo=(104, 134),
        drums=(
            {"kick": "XXXX", "clap": ".X.X", "hat": ".x.x.x.x"},
            {
                "kick": "X...X...X...X..x",
                "snare": ".X.X",
                "hat": "xxxxxxxx",
                "shaker": "xoxoxoxoxoxoxoxo",
            },
            {"kick": "X..x..X...X.....", "snare": ".X.X", "hat": "xxxxxxxxxxxxxxxx"},
        ),
        bass=("RRRRRRRR", "R..R..R.R..R..5.", ".R.R.R.R", "R--R--R-"),
        layers=(
            n.Layer(
                (81, 50, 0, 4), ("x--x--x-x--x--x-", "1.2.3.2.1.2.3.2.", "x.x.x.x."), "close", 58
            ),
            n.Layer((50, 89, 89), ("x---",), "wide", 53, 66),
            n.Layer(
                (27, 25, 28),
                ("x.xxx.xxx.xxx.xx", "1.3.2.3.1.3.2.3.", "..x...x...x...x."),
                "close",
                57,
                68,
                0.6,
            ),
        ),
        leads=(
            n.Lead((54, 53), n.SUNG, "diatonic", low=62, high=79, rest=0.12),
            n.Lead((80, 81), n.RIFFS + n.SUNG, "pentatonic", low=65, high=84, rest=0.3),
        ),
        progressions=FOUR_CHORDS,
        kits=(n.ELECTRONIC,),
        basses=(n.SYNTH_BASS, 39),
        weight=1.6,
    ),
    n.Feel(
        "band",
        tempo=(92, 140),
        drums=(
            {"kick": "X..xx...", "snare": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "X..x....x.x.....", "snare": ".X.X", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "X.....xx..x.....", "snare": ".X.X", "ride": "xxxxxxxx", "tamb": ".x.x"},
        ),
        bass=("R-RRR-RR", "R..R..R.", "RRRRRRRR", "R-----5a"),
        layers=(
            n.Layer((25, 27, 0), ("x.xxx.xxx.xxx.xx", "x-x-xxxx", "1323132313231323"), "close", 55),
            n.Layer((0, 4, 50), ("x-x-", "x--x--x-"), "close", 57, 68),
            n.Layer((50, 89), ("x---",), "wide", 55, 62, 0.9),
        ),
        leads=(
            n.Lead((54, 53), n.SUNG, "diatonic", low=60, high=79, rest=0.12),
            n.Lead((80, 53), n.SUNG, "pentatonic", low=62, high=81, rest=0.35),
        ),
        progressions=FOUR_CHORDS,
        kits=(n.ELECTRONIC, n.STANDARD),
    ),
    n.Feel(
        "ballad",
        tempo=(60, 96),
        drums=(
            {"kick": "X..xx...", "snare": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "X....x..", "stick": ".X.X", "shaker": "xoxoxoxoxoxoxoxo"},
            {},
        ),
        bass=("R---", "R-5-", "R-----5a"),
        layers=(
            n.Layer((0, 4, 5, 24), ("13231323", "x-x-", "xxxx"), "close", 53),
            n.Layer((89, 50), ("x---",), "wide", 55, 64),
            n.Layer((25, 27), ("1323132313231323", "x.x.xxx."), "close", 57, 62, 0.5),
        ),
        leads=(
            n.Lead((54, 53), n.SUNG + n.CANTABILE, "diatonic", low=60, high=79, rest=0.1),
            n.Lead((66, 64, 27, 73), n.CANTABILE, "diatonic", low=62, high=81, rest=0.35),
        ),
        progressions=FOUR_CHORDS,
        basses=(n.FINGERED, n.FRETLESS),
        weight=0.4,
    ),
    n.Feel(
        "funky",
        tempo=(92, 122),
        drums=(
            {"kick": "X..x..x...x.....", "snare": ".X.X", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "X.....x.x..x....", "clap": ".X.X", "hat": "x.xxx.xxx.xxx.xx"},
        ),
        bass=("R..R..8.R..5..7.", "R.8..R8.R.8..5.a", "R.....R.5..5..a."),
        layers=(
            n.Layer((28, 27, 7), ("x..x..x...x.x...", "xoxxoxxoxoxxoxxo"), "close", 60),
            n.Layer((50, 4, 5), ("x--x--x---------", "x-------x--x----"), "close", 55, 66),
            n.Layer((61, 62), ("............x.x.|x.......",), "close", 60, 72, 0.4),
        ),
        leads=(
            n.Lead((54, 53), n.SUNG, "diatonic", low=62, high=79, rest=0.15),
            n.Lead((81, 66, 62), n.RIFFS, "pentatonic", low=62, high=81, rest=0.35),
        ),
        progressions=(*FOUR_CHORDS, "IIm7 V7 Imaj7 VIm7", "IVmaj7 IIIm7 IIm7 V7"),
        kits=(n.ELECTRONIC, n.STANDARD),
        basses=(n.FINGERED, n.SLAPPED, n.SYNTH_BASS),
        weight=0.25,
    ),
)
