"""The style of rock."""

from mgr_jax.data.band.styles import notation as n

ROCK_CHORDS = (
    "I5 IV5 I5 V5",
    "I bVII IV I",
    "I IV V IV",
    "Im bVII bVI bVII",
    "I V VIm IV",
    "I I IV IV",
    "Im bIII IV bVI",
    "I bIII IV I",
)

ROCK = (
    n.Feel(
        "driving",
        tempo=(108, 172),
        drums=(
            {"kick": "x...xx..", "snare": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "x..xx...", "snare": ".X.X", "open": "xxxx"},
            {"kick": "x..x....x..x....", "snare": ".X.X", "ride": "xxxxxxxx"},
        ),
        bass=("RRRRRRRR", "R.RRR.RR", "RRRRRRRR|RRRRRR5a"),
        layers=(
            n.Layer(
                (29, 29, 27),
                ("x-xxx-xx", "X-xxX-xx", "xxxxxxxx", "X--x--x-X-------"),
                "power",
                43,
                80,
            ),
            n.Layer(
                (29, 27, 25), ("X---", "x.xxx.xxx.xxx.xx", "1323132313231323"), "triad", 53, 70, 0.8
            ),
            n.Layer((18, 0), ("x---", "x.x.x.x."), "triad", 57, 62, 0.3),
        ),
        leads=(
            n.Lead((54, 54, 53), n.SUNG, "pentatonic", low=60, high=79, rest=0.15, bend=0.1),
            n.Lead((29, 29, 27), n.FAST_LINES + n.BLUESY + n.SUNG, "pentatonic", 60, 86, 0.3, 0.35),
        ),
        progressions=ROCK_CHORDS,
        basses=(n.PICKED, n.FINGERED),
        weight=1.6,
    ),
    n.Feel(
        "riff",
        tempo=(84, 136),
        drums=(
            {"kick": "x..x....x.x.....", "snare": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "x.x....xx.x.....", "snare": "....X.......X..o", "hat": "xxxx"},
        ),
        bass=("R.R8.R57", "R-.RR-57", "R..RR.5a"),
        layers=(
            n.Layer((29, 29, 27), ("x.xx.x.x", "X--x--x-..x-x---", "x-.xx-x."), "power", 43, 82),
            n.Layer((27, 29, 25), ("x-x-", "x.x.x.x."), "triad", 55, 70),
        ),
        leads=(
            n.Lead((54, 54, 53), n.SUNG, "pentatonic", low=60, high=79, rest=0.2, bend=0.1),
            n.Lead((29, 27), n.BLUESY + n.SUNG, "blues", low=60, high=84, rest=0.3, bend=0.4),
        ),
        progressions=ROCK_CHORDS,
        basses=(n.PICKED, n.FINGERED),
        weight=1.3,
    ),
    n.Feel(
        "acoustic",
        tempo=(72, 124),
        drums=(
            {"kick": "x..xx...", "snare": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "x...xx..", "stick": ".X.X", "shaker": "xoxoxoxoxoxoxoxo"},
            {},
        ),
        bass=("R--5", "R--RR--a", "R-RRR-5a"),
        layers=(
            n.Layer(
                (25, 24, 27), ("x-x-xxxx", "x.xxx.xxx.xxx.xx", "1323132313231323"), "triad", 55, 80
            ),
            n.Layer((27, 29, 0), ("x---", "13231323"), "triad", 57, 64, 0.7),
            n.Layer((16, 48), ("x---",), "triad", 55, 56, 0.4),
        ),
        leads=(
            n.Lead((54, 53, 22), n.SUNG, "pentatonic", low=59, high=77, rest=0.15),
            n.Lead((27, 25, 29), n.SUNG, "pentatonic", low=60, high=81, rest=0.35, bend=0.25),
        ),
        progressions=ROCK_CHORDS,
        weight=0.3,
    ),
    n.Feel(
        "rock_and_roll",
        tempo=(132, 192),
        swing=(0.5, 0.6),
        drums=(
            {"kick": "x.x.", "snare": ".X.X", "ride": "xxxxxxxx"},
            {"kick": "x..xx...", "snare": "..XX..X.", "hat": "xxxxxxxx"},
        ),
        bass=("R.3.5.6.", "RR335566", "RRRRRRRR"),
        layers=(
            n.Layer((29, 27), ("xxxxxxxx", "xxxx"), "boogie", 43, 80),
            n.Layer((0, 3), ("xxxxxxxx", "..x...x."), "triad", 62, 74, 0.7),
            n.Layer((66,), ("x...", "......xx"), "triad", 55, 70, 0.3),
        ),
        leads=(
            n.Lead((54, 53), n.SUNG, "pentatonic", low=60, high=79, rest=0.2),
            n.Lead((27, 29, 66, 0), n.BLUESY, "blues", low=60, high=84, rest=0.3, bend=0.3),
        ),
        progressions=("I I I I IV IV I I V IV I V", "I VIm IV V", "I7 I7 IV7 IV7 I7 I7 V7 V7"),
        basses=(n.UPRIGHT, n.FINGERED, n.PICKED),
        weight=0.35,
    ),
)
