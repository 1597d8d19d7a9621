"""The style of rock."""

from mgr_jax.data.band.styles.notation import (
    BLUESY,
    FAST_LINES,
    FINGERED,
    PICKED,
    ROOM,
    STANDARD,
    SUNG,
    UPRIGHT,
    Feel,
    Layer,
    Lead,
)

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
    Feel(
        "driving",
        tempo=(108, 172),
        drums=(
            {"kick": "x.......x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x.....x.x.......", "snare": "....X.......X...", "open": "x...x...x...x..."},
            {"kick": "x..x....x..x....", "snare": "....X.......X...", "ride": "x.x.x.x.x.x.x.x."},
        ),
        bass=("RRRRRRRR", "R.RRR.RR", "RRRRRRRR|RRRRRR5a"),
        layers=(
            Layer(
                (29, 29, 27),
                ("x-xxx-xx", "X---x-x-X---x-x-", "xxxxxxxx", "X--x--x-X-------"),
                "power",
                43,
                80,
            ),
            Layer(
                (29, 27, 25),
                ("X---------------", "x.xxx.xxx.xxx.xx", "1323132313231323"),
                "triad",
                53,
                70,
                0.8,
            ),
            Layer((18, 0), ("x---------------", "x.x.x.x."), "triad", 57, 62, 0.3),
        ),
        leads=(
            Lead((54, 54, 53), SUNG, "pentatonic", low=60, high=79, rest=0.15, bend=0.1),
            Lead((29, 29, 27), FAST_LINES + BLUESY + SUNG, "pentatonic", 60, 86, 0.3, 0.35),
        ),
        progressions=ROCK_CHORDS,
        kits=(STANDARD, ROOM),
        basses=(PICKED, FINGERED),
        weight=1.6,
    ),
    Feel(
        "riff",
        tempo=(84, 136),
        drums=(
            {"kick": "x..x....x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x.x....xx.x.....", "snare": "....X.......X..o", "hat": "x...x...x...x..."},
        ),
        bass=("R.R8.R57", "R-.RR-57", "R..RR.5a"),
        layers=(
            Layer((29, 29, 27), ("x.xx.x.x", "X--x--x-..x-x---", "x-.xx-x."), "power", 43, 82),
            Layer((27, 29, 25), ("x-------x-------", "x.x.x.x."), "triad", 55, 70),
        ),
        leads=(
            Lead((54, 54, 53), SUNG, "pentatonic", low=60, high=79, rest=0.2, bend=0.1),
            Lead((29, 27), BLUESY + SUNG, "blues", low=60, high=84, rest=0.3, bend=0.4),
        ),
        progressions=ROCK_CHORDS,
        kits=(STANDARD, ROOM),
        basses=(PICKED, FINGERED),
        weight=1.3,
    ),
    Feel(
        "acoustic",
        tempo=(72, 124),
        drums=(
            {"kick": "x.....x.x.......", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x.......x.x.....", "stick": "....X.......X...", "shaker": "xoxoxoxoxoxoxoxo"},
            {},
        ),
        bass=("R-----5-", "R--RR--a", "R-RRR-5a"),
        layers=(
            Layer(
                (25, 24, 27), ("x-x-xxxx", "x.xxx.xxx.xxx.xx", "1323132313231323"), "triad", 55, 80
            ),
            Layer((27, 29, 0), ("x---------------", "1-3-2-3-1-3-2-3-"), "triad", 57, 64, 0.7),
            Layer((16, 48), ("x---------------",), "triad", 55, 56, 0.4),
        ),
        leads=(
            Lead((54, 53, 22), SUNG, "pentatonic", low=59, high=77, rest=0.15),
            Lead((27, 25, 29), SUNG, "pentatonic", low=60, high=81, rest=0.35, bend=0.25),
        ),
        progressions=ROCK_CHORDS,
        basses=(FINGERED, PICKED),
        weight=0.3,
    ),
    Feel(
        "rock_and_roll",
        tempo=(132, 192),
        swing=(0.5, 0.6),
        drums=(
            {"kick": "x...x...", "snare": "..X...X.", "ride": "xxxxxxxx"},
            {"kick": "x..xx...", "snare": "..XX..X.", "hat": "xxxxxxxx"},
        ),
        bass=("R.3.5.6.", "RR335566", "RRRRRRRR"),
        layers=(
            Layer((29, 27), ("xxxxxxxx", "x-x-x-x-"), "boogie", 43, 80),
            Layer((0, 3), ("xxxxxxxx", "..x...x."), "triad", 62, 74, 0.7),
            Layer((66,), ("x-......", "......xx"), "triad", 55, 70, 0.3),
        ),
        leads=(
            Lead((54, 53), SUNG, "pentatonic", low=60, high=79, rest=0.2),
            Lead((27, 29, 66, 0), BLUESY, "blues", low=60, high=84, rest=0.3, bend=0.3),
        ),
        progressions=("I I I I IV IV I I V IV I V", "I VIm IV V", "I7 I7 IV7 IV7 I7 I7 V7 V7"),
        basses=(UPRIGHT, FINGERED, PICKED),
        weight=0.35,
    ),
)
