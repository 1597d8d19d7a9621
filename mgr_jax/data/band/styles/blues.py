"""The style of blues."""

from mgr_jax.data.band.styles.notation import BLUESY, FINGERED, TRIPLET, UPRIGHT, Feel, Layer, Lead

TWELVE_BARS = (
    "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
    "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
    "I9 IV9 I9 I9 IV9 IV9 I9 I9 V9 IV9 I9,IV9 I9,V9",
    "Im7 Im7 Im7 Im7 IVm7 IVm7 Im7 Im7 bVI7 V7 Im7 V7",
)

BLUES = (
    Feel(
        "shuffle",
        tempo=(84, 138),
        swing=(0.62, 0.69),
        drums=(
            {"kick": "x...x...", "snare": "..X...X.", "hat": "xoxoxoxo"},
            {"kick": "x..xx...", "snare": "..X...X.", "ride": "xoxoxoxo"},
            {"kick": "x.x.x.x.", "snare": ".oXo.oXo", "ride": "x.xox.xo"},
        ),
        bass=("R.3.5.6.|8.6.5.3.", "R.3.5.6.", "RR335566", "R.R.5.a."),
        layers=(
            Layer((26, 26, 27), ("x-x-x-x-", "xxxxxxxx", "x.x.x.x."), "boogie", low=43),
            Layer((3, 17), (".x.x.x.x", "..x...x.", "x-------", ".x-...x-"), chance=0.7),
        ),
        leads=(
            Lead((22, 22, 26, 27), BLUESY, "blues", rest=0.35, bend=0.4),
            Lead((26, 22, 66), BLUESY, "blues", low=55, rest=0.35, bend=0.2),
        ),
        progressions=TWELVE_BARS,
        basses=(UPRIGHT, FINGERED),
        weight=2.0,
    ),
    Feel(
        "slow",
        tempo=(48, 76),
        drums=(
            {"kick": "x.....x..x..", "snare": "...X.....X..", "hat": "xooxooxooxoo"},
            {"kick": "x.....xx....", "snare": "...X.....X.o", "ride": "xooxooxooxoo"},
        ),
        bass=("R--3--5--6--", "R-----R--5-a", "R-RR-R5-56-a"),
        layers=(
            Layer((3, 17, 18), ("xooxooxooxoo", "x-----------", "...x-....x-."), low=52),
            Layer((26, 27), ("...x.....x..", "x--...x--..."), low=55, chance=0.7),
        ),
        leads=(
            Lead((26, 27, 22), TRIPLET, "blues", rest=0.3, bend=0.5),
            Lead((22, 26), TRIPLET, "blues", low=55, rest=0.4, bend=0.3),
        ),
        progressions=TWELVE_BARS,
        basses=(UPRIGHT, FINGERED),
        weight=1.0,
    ),
    Feel(
        "boogaloo",
        tempo=(104, 150),
        drums=(
            {"kick": "x.....x.x.x.....", "snare": "....X.......X..o", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x..x....x.......", "snare": "....X..o.o..X...", "ride": "x.x.x.x.x.x.x.x."},
        ),
        bass=("R.RR5.65", "R..R8.65", "R-R-5-a-"),
        layers=(
            Layer(
                (27, 29), ("x.x.x.x.x.x.x.x.", "..x...x...x...x.", "x--x--x---------"), "boogie", 43
            ),
            Layer((3, 17), ("..x...x...x...x.", "x---------------"), chance=0.6),
        ),
        leads=(
            Lead((22, 22, 27, 29), BLUESY, "blues", rest=0.3, bend=0.4),
            Lead((26, 22), BLUESY, "blues", low=55, rest=0.4, bend=0.2),
        ),
        progressions=TWELVE_BARS,
        weight=0.4,
    ),
    Feel(
        "solo",
        tempo=(66, 112),
        swing=(0.56, 0.68),
        drums=({}, {"kick": "o.o.o.o."}),
        bass=("R.R.R.R.", "R.5.R.5.", "R.8.R.8."),
        layers=(Layer((25, 26, 3), (".x.x.x.x", "..xx..x.", "x---.x.x"), low=50),),
        leads=(Lead((25, 22, 26), BLUESY, "blues", rest=0.25, bend=0.2),),
        progressions=TWELVE_BARS,
        basses=(25, 26),
        rubato=0.03,
        weight=0.2,
    ),
)
