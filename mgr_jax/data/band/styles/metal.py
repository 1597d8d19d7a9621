"""The style of metal."""

import functools

from mgr_jax.data.band.styles import notation as n

METAL_CHORDS = (
    "I5 I5 bII5 I5",
    "I5 bVI5 bVII5 I5",
    "I5 bIII5 IV5 bII5",
    "I5,bII5 I5,bV5 I5 bVI5,bVII5",
    "I5 bVII5 bVI5 V5",
    "I5 I5 IV5,bIII5 bII5",
)

_feel = functools.partial(n.Feel, kits=(n.POWER, n.ROOM), basses=(n.PICKED, n.FINGERED))

METAL = (
    _feel(
        "thrash",
        tempo=(140, 212),
        drums=(
            {"kick": "xxxx", "snare": ".X.X.X.X", "hat": "xxxxxxxx"},
            {"kick": "xxxxxxxxxxxxxxxx", "snare": ".X.X", "ride": "xxxxxxxx"},
            {"kick": "x.xxx.xxx.xxx.xx", "snare": ".X.X", "hat": "xxxx"},
        ),
        bass=("RRRRRRRR", "R.RRR.RRR.RRR.RR", "RRRRRRRRRRRRRRRR"),
        layers=(
            n.Layer(
                (30,), ("xoxxxoxxxoxxxoxx", "X-xxxxX-xxxxX-xx", "xxxxxxxxxxxxxxxx"), "power", 38, 84
            ),
            n.Layer((30, 29, 28), ("X-X-", "x.xxx.xxx.xxx.xx", "X---"), "power", 43, 78, 0.8),
        ),
        leads=(
            n.Lead((30, 29), n.FAST_LINES, "phrygian", low=62, high=88, rest=0.3, bend=0.3),
            n.Lead((53, 54, 30, 85), n.SUNG + n.RAPPED, "harmonic", low=55, high=72, rest=0.3),
        ),
        progressions=METAL_CHORDS,
        weight=1.3,
    ),
    _feel(
        "heavy",
        tempo=(96, 160),
        drums=(
            {"kick": "xx.xxx..", "snare": ".X.X", "hat": "xxxx"},
            {"kick": "x..xx..xx..xx..x", "snare": ".X.X", "open": "xxxx"},
            {"kick": "xxx.xxx.xxx.xxx.", "snare": ".X.X", "bell": "xxxx"},
        ),
        bass=("RRRRRRRR", "R.RRR.RR", "R-RRR-RR"),
        layers=(
            n.Layer((30,), ("X-xxX-xx", "x.xxx.xxx.xxx.xx", "X--x--X-X--x--X-"), "power", 40, 84),
            n.Layer((30, 30, 29), ("X---", "X-X-"), "power", 47, 76),
        ),
        leads=(
            n.Lead(
                (30, 29), n.FAST_LINES + n.SUNG, "harmonic", low=62, high=88, rest=0.3, bend=0.3
            ),
            n.Lead((54, 53, 85), n.SUNG, "harmonic", low=60, high=79, rest=0.2),
        ),
        progressions=METAL_CHORDS,
        weight=1.4,
    ),
    _feel(
        "doom",
        tempo=(56, 88),
        drums=(
            {"kick": "x..xx...", "snare": ".X.X", "ride": "xxxx"},
            {"kick": "x..x....x.x.....", "snare": "..X.", "open": "xxxx"},
        ),
        bass=("R---", "R-RR", "RR--"),
        layers=(
            n.Layer((30, 29), ("X---", "X---XxX-", "X--xX---"), "power", 36, 84),
            n.Layer((30, 30, 27), ("13231323", "X---"), "triad", 52, 70, 0.7),
        ),
        leads=(
            n.Lead((30, 29), n.SUNG, "phrygian", low=58, high=82, rest=0.35, bend=0.3),
            n.Lead((53, 52, 54), n.SUNG, "harmonic", low=57, high=74, rest=0.3),
        ),
        progressions=METAL_CHORDS,
        weight=0.8,
    ),
    _feel(
        "clean",
        tempo=(70, 120),
        drums=(
            {"kick": "x..xx...", "snare": ".X.X", "ride": "xxxxxxxx"},
            {"kick": "x.......x.....xx", "snare": ".X.X", "hat": "xxxxxxxx"},
        ),
        bass=("R---", "R--5", "RRRR"),
        layers=(
            n.Layer(
                (27, 24, 25), ("1323132313231323", "1232123212321232", "12343212"), "close", 52, 74
            ),
            n.Layer((29, 30), ("X---",), "power", 45, 64, 0.6),
            n.Layer((48, 52), ("x---",), "close", 55, 54, 0.4),
        ),
        leads=(
            n.Lead(
                (30, 29, 27),
                n.SUNG + n.CANTABILE,
                "harmonic",
                low=62,
                high=86,
                rest=0.25,
                bend=0.25,
            ),
            n.Lead((54, 53), n.SUNG, "harmonic", low=57, high=74, rest=0.25),
        ),
        progressions=("Im bVI bIII bVII", "Im bVII bVI V7", "Im IVm bVI V7"),
        weight=0.2,
    ),
)
