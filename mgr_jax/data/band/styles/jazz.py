"""The style of jazz."""

from mgr_jax.data.band.styles import notation as n

JAZZ_CHANGES = (
    "IIm7 V7 Imaj7 Imaj7",
    "IIm9 V13 Imaj9 VI7",
    "Imaj7,VI7 IIm7,V7 Imaj7,VI7 IIm7,V7 Im7,I7 IVmaj7,bVII7 IIIm7,VI7 IIm7,V7",
    "IIm7b5 V7b9 Im9 Im9 IVm7 bVII9 bIIImaj7 bVImaj7",
    "VIm7 IIm7 V7 Imaj7 IVmaj7 VIIm7b5 III7b9 VIm7",
    "I7 IV7 I7 Vm7,I7 IV7 IV7 I7 VI7b9 IIm7 V7 I7,VI7 IIm7,V7",
)

JAZZ = (
    n.Feel(
        "swing",
        tempo=(108, 232),
        swing=(0.6, 0.68),
        drums=(
            {"ride": "x.xox.xo", "pedal": ".x.x", "kick": "oooo"},
            {"ride": "x.xox.xo", "pedal": ".x.x", "snare": "...o...."},
            {"hat": "x.xox.xo", "kick": "o...", "snare": ".o...o.."},
        ),
        bass=("Rwwa", "R3wa", "Rw5a"),
        layers=(
            n.Layer(
                (0, 1, 26, 11), (".x...x..|..x....x", "x..x....|...x..x.", "..x....x"), "shell", 54
            ),
            n.Layer(
                (61, 66, 65, 57),
                ("...x....|......xx", ".x-.....|...x...."),
                "shell",
                57,
                chance=0.35,
            ),
        ),
        leads=(
            n.Lead((66, 65, 56), n.BEBOP, "chord", low=56, high=80, rest=0.2),
            n.Lead((0, 66, 56), n.BEBOP, "chord", low=60, high=84, rest=0.25),
        ),
        progressions=JAZZ_CHANGES,
        kits=(n.JAZZ_KIT, n.BRUSHES),
        basses=(n.UPRIGHT,),
        weight=2.2,
    ),
    n.Feel(
        "ballad",
        tempo=(52, 88),
        swing=(0.55, 0.66),
        drums=(
            {"ride": "x.xox.xo", "pedal": ".x.x", "snare": "oooooooo"},
            {"snare": "oxoooxoo", "pedal": ".x.x"},
            {},
        ),
        bass=("R-5-", "R-wa", "R-5a"),
        layers=(
            n.Layer((0, 4, 26), ("x---", "x--x----", "x-x-"), "shell", 54, 68),
            n.Layer((48, 11), ("x---",), "shell", 58, 52, chance=0.3),
        ),
        leads=(
            n.Lead((66, 56, 59), n.CANTABILE + n.SUNG, "chord", low=56, high=79, rest=0.15),
            n.Lead((0, 66), n.BEBOP + n.CANTABILE, "chord", low=60, high=82, rest=0.2),
        ),
        progressions=JAZZ_CHANGES,
        kits=(n.BRUSHES, n.JAZZ_KIT),
        basses=(n.UPRIGHT,),
        rubato=0.03,
        weight=0.7,
    ),
    n.Feel(
        "bossa",
        tempo=(104, 160),
        drums=(
            {"kick": "x..xx..x", "stick": "x..x..x.|..x..x..", "hat": "xxxxxxxx"},
            {"kick": "x..xx..x", "stick": "x..x..x.|.x..x...", "shaker": "xoxoxoxo"},
        ),
        bass=("R--55--R", "R--5R-5-", "R--55--a"),
        layers=(
            n.Layer((24, 26, 0), ("x-.x-.x-|.x-.x-..", "x.x..x.x|.x..x.x."), "shell", 53),
            n.Layer((4, 48, 11), ("x---",), "shell", 57, 54, chance=0.4),
        ),
        leads=(
            n.Lead((66, 73, 65), n.SUNG + n.BEBOP, "chord", low=58, high=80, rest=0.2),
            n.Lead((0, 24), n.BEBOP, "chord", low=60, high=82, rest=0.25),
        ),
        progressions=JAZZ_CHANGES,
        kits=(n.JAZZ_KIT, n.BRUSHES),
        basses=(n.UPRIGHT,),
        weight=0.45,
    ),
    n.Feel(
        "fusion",
        tempo=(88, 128),
        swing=(0.5, 0.6),
        swing_unit=0.5,
        drums=(
            {"kick": "x..x..x...x.....", "snare": "....X..o.o..X..o", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "x.....xx..x.....", "snare": "....X..o....X.o.", "ride": "x.xox.xox.xox.xo"},
        ),
        bass=("R..R8.7.R...5.a.", "R.....R5..7.8...", "R.R...R...5.7.wa"),
        layers=(
            n.Layer((4, 5, 26), ("...x..x-....x...", "x..x...."), "shell", 54),
            n.Layer(
                (61, 27, 18), ("x..x............", ".....x....x....."), "shell", 57, chance=0.5
            ),
        ),
        leads=(
            n.Lead((65, 64, 56, 29), n.FAST_LINES + n.BEBOP, "chord", low=58, high=84, rest=0.25),
            n.Lead((4, 26, 80), n.BEBOP + n.FAST_LINES, "chord", low=60, high=84, rest=0.25),
        ),
        progressions=("Im9 IV13 Im9 IV13", "IIm9 V13 Imaj9 VIm9", "Im9 bIIImaj9 bVImaj9 V7b9"),
        basses=(n.FINGERED, n.FRETLESS, n.SLAPPED),
        weight=0.2,
    ),
)
