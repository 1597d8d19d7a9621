"""The style of blues."""

from mgr_jax.data.band.styles import notation as n

TWELVE_BARS = (
    "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
    "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
    "I9 IV9 I9 I9 IV9 IV9 I9 I9 V9 IV9 I9,IV9 I9,V9",
    "Im7 Im7 Im7 Im7 IVm7 IVm7 Im7 Im7 bVI7 V7 Im7 V7",
)

BLUES = (
    n.Feel(
        "shuffle",
        tempo=(84, 138),
        swing=(0.62, 0.69),
        drums=(
            {"kick": "x.x.", "snare": ".X.X", "hat": "xoxoxoxo"},
            {"kick": "x..xx...", "snare": ".X.X", "ride": "xoxoxoxo"},
            {"kick": "xxxx", "snare": ".oXo.oXo", "ride": "x.xox.xo"},
        ),
        bass=("R.3.5.6.|8.6.5.3.", "R.3.5.6.", "RR335566", "R.R.5.a."),
        layers=(
            n.Layer((26, 26, 27), ("xxxx", "xxxxxxxx", "x.x.x.x."), "boogie", low=43),
            n.Layer((3, 17), (".x.x.x.x", "..x...x.", "x---", ".x-...x-"), chance=0.7),
        ),
        leads=(
            n.Lead((22, 22, 26, 27), n.BLUESY, "blues", rest=0.35, bend=0.4),
            n.Lead((26, 22, 66), n.BLUESY, "blues", low=55, rest=0.35, bend=0.2),
        ),
        progressions=TWELVE_BARS,
        basses=(n.UPRIGHT, n.FINGERED),
        weight=2.0,
    ),
    n.Feel(
        "slow",
        tempo=(48, 76),
        drums=(
            {"kick": "x.....x..x..", "snare": "...X.....X..", "hat": "xooxooxooxoo"},
            {"kick": "x.....xx....", "snare": "...X.....X.o", "ride": "xooxooxooxoo"},
        ),
        bass=("R--3--5--6--", "R-----R--5-a", "R-RR-R5-56-a"),
        layers=(
            n.Layer((3, 17, 18), ("xooxooxooxoo", "x-----------", "...x-....x-."), low=52),
            n.Layer((26, 27), ("...x.....x..", "x--...x--..."), low=55, chance=0.7),
        ),
        leads=(
            n.Lead((26, 27, 22), n.TRIPLET, "blues", rest=0.3, bend=0.5),
            n.Lead((22, 26), n.TRIPLET, "blues", low=55, rest=0.4, bend=0.3),
        ),
        progressions=TWELVE_BARS,
        basses=(n.UPRIGHT, n.FINGERED),
    ),
    n.Feel(
        "boogaloo",
        tempo=(104, 150),
        drums=(
            {"kick": "x..xxx..", "snare": "....X.......X..o", "hat": "xxxxxxxx"},
            {"kick": "x..x....x.......", "snare": "....X..o.o..X...", "ride": "xxxxxxxx"},
        ),
        bass=("R.RR5.65", "R..R8.65", "RR5a"),
        layers=(
            n.Layer(
                (27, 29), ("x.x.x.x.x.x.x.x.", "..x...x...x...x.", "x--x--x---------"), "boogie", 43
            ),
            n.Layer((3, 17), ("..x...x...x...x.", "x---"), chance=0.6),
        ),
        leads=(
            n.Lead((22, 22, 27, 29), n.BLUESY, "blues", rest=0.3, bend=0.4),
            n.Lead((26, 22), n.BLUESY, "blues", low=55, rest=0.4, bend=0.2),
        ),
        progressions=TWELVE_BARS,
        weight=0.4,
    ),
    n.Feel(
        "solo",
        tempo=(66, 112),
        swing=(0.56, 0.68),
        drums=({}, {"kick": "oooo"}),
        bass=("R.R.R.R.", "R.5.R.5.", "R.8.R.8."),
        layers=(n.Layer((25, 26, 3), (".x.x.x.x", "..xx..x.", "x---.x.x"), low=50),),
        leads=(n.Lead((25, 22, 26), n.BLUESY, "blues", rest=0.25, bend=0.2),),
        progressions=TWELVE_BARS,
        basses=(25, 26),
        rubato=0.03,
        weight=0.2,
    ),
)
